//! Reference nodes that are one cluster, as processes: they find each other, and are missed.

#![cfg(unix)]

mod process;
#[path = "cluster/redis.rs"]
mod redis;

use std::net::TcpListener;
use std::time::Duration;

use serde_json::Value;
use wadi_core::clock::{BootClock, Clock};

use process::{Node, ask, command};
use redis::Redis;

/// Free ports, as a list that all nodes are given. They lie below those that the system hands out for
/// outgoing connections, of which one might be taken before its node starts.
fn addresses(count: usize) -> Vec<String> {
    let mut listeners = Vec::new();
    while listeners.len() < count {
        let port = fastrand::u16(20_000..32_000);
        listeners.extend(TcpListener::bind(("127.0.0.1", port)));
    }
    let address = |listener: &TcpListener| listener.local_addr().expect("bound").to_string();
    listeners.iter().map(address).collect()
}

/// Starts all at once: each is ready only when a majority is there.
fn start(addresses: &[String], more: &[&str]) -> Vec<Node> {
    let join = addresses.join(",");
    let start = |(number, address): (usize, &String)| {
        let name = format!("n{number}");
        let own = ["--name", &name, "--cluster", address, "--join", &join];
        Node::start(&[&own[..], more].concat())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..)
            .zip(addresses)
            .map(|pair| scope.spawn(move || start(pair)))
            .collect();
        let nodes = threads.into_iter().map(|thread| thread.join());
        nodes.map(|node| node.expect("it starts")).collect()
    })
}

fn status(node: &Node) -> Value {
    let answer = ask(node.admin, "GET /wadi/cluster", "", "");
    serde_json::from_str(&answer.body).expect("JSON")
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let began = BootClock.now();
    while !holds() {
        let waited = BootClock.now().since(began);
        assert!(waited < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Names and buckets of the members, as this node knows them.
fn members(node: &Node) -> Vec<(String, u64)> {
    let status = status(node);
    let members = status["members"].as_array().expect("a list");
    let mut members: Vec<_> = members
        .iter()
        .map(|member| {
            let name = member["node"].as_str().expect("a name").to_owned();
            (name, member["buckets"].as_u64().expect("a number"))
        })
        .collect();
    members.sort();
    members
}

#[test]
fn three_nodes_are_one_cluster_with_the_buckets_shared_out_and_one_may_go() {
    let addresses = addresses(3);
    let mut nodes = start(&addresses, &["--deregister-delay", "0", "--lease", "2"]);
    until("every node has its third of the buckets", || {
        let shares = |node: &Node| {
            let members = members(node);
            members.len() == 3
                && members
                    .iter()
                    .all(|(_, buckets)| (1365..=1366).contains(buckets))
        };
        nodes.iter().all(shares)
    });
    let statuses: Vec<Value> = nodes.iter().map(status).collect();
    for (status, address) in statuses.iter().zip(&addresses) {
        assert_eq!(status["coordinator"], statuses[0]["coordinator"]);
        let members = status["members"].as_array().expect("a list");
        let own = members
            .iter()
            .find(|member| member["node"] == status["node"]);
        assert_eq!(own.expect("itself")["cluster"], address.as_str());
    }

    let leaving = nodes.remove(1);
    leaving.signal("TERM");
    let (well, said) = leaving.ended();
    assert!(well && said.contains("left the cluster"), "{said}");
    until("two are left, with half of the buckets each", || {
        let all = |node: &Node| {
            let members = members(node);
            members.len() == 2 && members.iter().all(|(_, buckets)| *buckets == 2048)
        };
        nodes.iter().all(all)
    });
}

/// A file that goes with the test.
struct File(std::path::PathBuf);

impl File {
    fn new(name: &str) -> Self {
        let name = format!("wadi-{name}-{}.sqlite", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        for more in ["", "-wal", "-shm"] {
            let mut name = self.0.clone().into_os_string();
            name.push(more);
            std::fs::remove_file(name).ok();
        }
    }
}

#[test]
fn three_nodes_that_are_all_stopped_and_started_again_have_their_sessions() {
    let file = File::new("restart");
    have_their_sessions_again_above(&format!("sqlite:{}", file.0.display()));
}

#[test]
fn three_nodes_that_share_a_redis_server_have_their_sessions_when_they_start_again() {
    let Some(server) = Redis::start(&addresses(1)[0]) else {
        return;
    };
    until("the server answers", || server.answers());
    have_their_sessions_again_above(&server.url());
}

fn have_their_sessions_again_above(store: &str) {
    let addresses = addresses(3);
    let flags = [
        "--shared-store",
        store,
        "--demote-after",
        "1",
        "--lease",
        "2",
    ];
    let flags = [&flags[..], &["--deregister-delay", "0"]].concat();
    let nodes = start(&addresses, &flags);
    let cookies: Vec<String> = (0..30)
        .map(|number| {
            let node = &nodes[number % 3];
            let cookie = node.ask("POST /counter", "", "").cookie();
            for _ in 0..number {
                node.ask("POST /counter", &cookie, "");
            }
            cookie
        })
        .collect();
    nodes[1].ask("POST /logout", &cookies[0], "");
    until("sessions go down that nobody asks for", || {
        let down = |node| {
            status(node)["store"]["demoted"]
                .as_u64()
                .expect("it is said")
        };
        nodes.iter().map(down).sum::<u64>() > 0
    });
    for node in &nodes {
        node.signal("TERM");
    }
    for node in nodes {
        let (well, said) = node.ended();
        assert!(well && said.contains("left the cluster"), "{said}");
        assert!(!said.contains("found no other place"), "{said}");
    }

    let nodes = start(&addresses, &flags);
    for (number, cookie) in cookies.iter().enumerate().skip(1) {
        let answer = nodes[(number + 1) % 3].ask("GET /counter", cookie, "");
        let expected = format!(r#""count":{},"#, number + 1);
        assert!(answer.body.contains(&expected), "{number}: {}", answer.body);
    }
    // Who has just founded a cluster does not know yet what others may come back with.
    let ended = nodes[1].ask("GET /counter", &cookies[0], "");
    let is_nobodys = ended.status == 503 || ended.body.contains(r#""count":0,"#);
    assert!(is_nobodys, "{}", ended.body);
}

#[test]
fn a_shared_store_that_cannot_be_used_is_refused_with_what_mends_it() {
    let cluster = [
        "--cluster",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
    ];
    for (flags, mends) in [
        (&["--shared-store", "sqlite:a.db"][..], "--cluster"),
        (&["--demote-after", "1"], "--shared-store"),
        (
            &[&cluster[..], &["--shared-store", "secret:thing"]].concat(),
            "sqlite:PATH",
        ),
        (
            &[
                &cluster[..],
                &["--shared-store", "redis://me:secret@127.0.0.1:1/0"],
            ]
            .concat(),
            "the store cannot be opened",
        ),
        (
            &[
                &cluster[..],
                &["--shared-store", "sqlite:/nowhere/at/all.db"],
            ]
            .concat(),
            "/nowhere/at/all.db",
        ),
    ] {
        let output = command().args(flags).output().expect("it runs");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(
            !output.status.success() && said.contains(mends),
            "{flags:?}: {said}"
        );
        assert!(!said.contains("secret"), "{said}");
    }
}

#[test]
fn a_node_that_finds_no_majority_is_not_ready_and_says_so() {
    let addresses = addresses(3);
    let http = self::addresses(1).remove(0);
    let mut process = command()
        .args(["--http", &http, "--admin", "127.0.0.1:0"])
        .args(["--cluster", &addresses[0], "--join", &addresses.join(",")])
        .spawn()
        .expect("the node starts");
    until("it accepts", || std::net::TcpStream::connect(&http).is_ok());
    let http = http.parse().expect("an address");
    for path in ["GET /readyz", "POST /counter"] {
        let answer = ask(http, path, "", "");
        assert_eq!(answer.status, 503, "{path}");
    }
    assert_eq!(ask(http, "GET /healthz", "", "").status, 200);
    process.kill().expect("it runs");
    process.wait().expect("it ends");
}

#[test]
fn cluster_flags_that_mean_nothing_alone_are_refused() {
    for flags in [
        ["--join", "127.0.0.1:1"],
        ["--advertise", "127.0.0.1:1"],
        ["--cluster-name", "blue"],
        ["--lease", "5"],
        ["--relocate", "proxy"],
        ["--protocol", "1"],
        ["--found-with", "3"],
        ["--cluster", "0.0.0.0:0"],
        ["--cluster", "nowhere"],
    ] {
        let output = command().args(flags).output().expect("it runs");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(!output.status.success(), "{flags:?}");
        let mended = said.contains("cluster") || said.contains("join");
        assert!(mended && !said.contains("panicked"), "{flags:?}: {said}");
    }
}
