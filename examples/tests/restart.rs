//! A node that is alone and has a data directory, stopped and killed: its sessions are there again.

#![cfg(unix)]

mod process;

use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use process::{Node, ask, command};

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wadi-{name}-{}", std::process::id()));
        std::fs::remove_dir_all(&path).ok();
        Self(path)
    }

    fn flags<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let path = self.0.to_str().expect("the path is text");
        let mut flags = vec!["--deregister-delay", "0", "--data-dir", path];
        flags.extend(more);
        flags
    }

    fn start(&self, more: &[&str]) -> Node {
        Node::start(&self.flags(more))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn on_disc(node: &Node) -> u64 {
    let status = ask(node.admin, "GET /wadi/cluster", "", "").body;
    let (_, rest) = status.split_once(r#""disc":"#).expect("it says so");
    let number = rest.split([',', '}']).next().unwrap_or_default();
    number.parse().expect("a number")
}

fn stop(node: Node) {
    node.signal("TERM");
    let (well, said) = node.ended();
    assert!(well, "{said}");
    assert!(said.contains("every session is in the store"), "{said}");
}

#[test]
fn a_node_that_is_stopped_has_its_sessions_when_it_starts_again() {
    let directory = Directory::new("stopped");
    let node = directory.start(&[]);
    let mut cookies = Vec::new();
    for n in 0..20 {
        let cookie = node.ask("POST /counter", "", "").cookie();
        for _ in 0..n {
            node.ask("POST /counter", &cookie, "");
        }
        cookies.push(cookie);
    }
    node.ask("POST /logout", &cookies[0], "");
    stop(node);

    let node = directory.start(&[]);
    assert_eq!(on_disc(&node), 19);
    assert!(
        node.ask("GET /counter", &cookies[0], "")
            .body
            .contains(r#""count":0"#)
    );
    for (n, cookie) in cookies.iter().enumerate().skip(1) {
        let answer = node.ask("GET /counter", cookie, "");
        let expected = format!(r#""count":{},"#, n + 1);
        assert!(answer.body.contains(&expected), "{}", answer.body);
        assert_eq!(
            answer.header("x-wadi"),
            Some("promoted; node=n1; hops=0"),
            "it says so"
        );
    }
    assert_eq!(on_disc(&node), 0);
    stop(node);
}

#[test]
fn what_went_down_is_there_after_kill_9() {
    let directory = Directory::new("killed");
    let flags = ["--demote-after", "1"];
    let mut node = directory.start(&flags);
    let cookies: Vec<_> = (0..20)
        .map(|_| node.ask("POST /counter", "", "").cookie())
        .collect();
    for _ in 0..3 {
        for _ in 0..1000 {
            if on_disc(&node) == 20 {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(on_disc(&node), 20, "they go down");
        node.signal("KILL");
        node.ended();
        node = directory.start(&flags);
        for cookie in &cookies {
            let answer = node.ask("POST /counter", cookie, "");
            assert!(
                answer
                    .header("set-cookie")
                    .is_none_or(|set| set.contains(cookie))
            );
            assert!(!answer.body.contains(r#""count":1,"#), "{}", answer.body);
        }
    }
}

/// Counts for ever, and knows what was acknowledged.
struct Client {
    cookie: String,
    acknowledged: AtomicU64,
    asked: AtomicU64,
}

/// The count that it answers; `None` where there is no answer, or 503.
fn post(address: std::net::SocketAddr, cookie: &str) -> Option<u64> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .ok()?;
    write!(
        stream,
        "POST /counter HTTP/1.1\r\nHost: n\r\nConnection: close\r\nCookie: {cookie}\r\nContent-Length: 0\r\n\r\n"
    )
    .ok()?;
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stream, &mut text).ok()?;
    if !text.starts_with("HTTP/1.1 200") {
        return None;
    }
    let (_, rest) = text.split_once(r#""count":"#)?;
    rest.split(',').next()?.parse().ok()
}

#[test]
fn nothing_that_was_answered_is_lost_by_a_node_that_is_killed_again_and_again_under_load() {
    let directory = Directory::new("loop");
    let flags = ["--store-copies", "at-once", "--demote-after", "1"];
    let node = directory.start(&flags);
    let at = Arc::new(Mutex::new(node.http));
    let stops = Arc::new(AtomicBool::new(false));
    let clients: Vec<Arc<Client>> = (0..8)
        .map(|_| {
            Arc::new(Client {
                cookie: node.ask("POST /counter", "", "").cookie(),
                acknowledged: AtomicU64::new(1),
                asked: AtomicU64::new(1),
            })
        })
        .collect();
    let threads: Vec<_> = clients
        .iter()
        .map(|client| {
            let (client, at, stops) = (Arc::clone(client), Arc::clone(&at), Arc::clone(&stops));
            thread::spawn(move || {
                while !stops.load(SeqCst) {
                    let address = *at.lock().expect("nobody panics");
                    let asked = client.asked.fetch_add(1, SeqCst) + 1;
                    if let Some(count) = post(address, &client.cookie) {
                        let before = client.acknowledged.swap(count, SeqCst);
                        assert!(
                            before < count && count <= asked,
                            "after {before} of {asked} came {count}"
                        );
                    } else {
                        thread::sleep(Duration::from_millis(20));
                    }
                }
            })
        })
        .collect();
    let mut node = node;
    for _ in 0..4 {
        thread::sleep(Duration::from_millis(700));
        node.signal("KILL");
        node.ended();
        node = directory.start(&flags);
        *at.lock().expect("nobody panics") = node.http;
    }
    thread::sleep(Duration::from_millis(300));
    stops.store(true, SeqCst);
    for thread in threads {
        thread.join().expect("no answer contradicts another");
    }
    for client in &clients {
        let least = client.acknowledged.load(SeqCst);
        assert!(least > 4, "it was served between the kills");
        assert!(post(node.http, &client.cookie).is_some_and(|count| count > least));
    }
}

#[test]
fn a_directory_that_cannot_be_used_is_refused_with_what_mends_it() {
    let directory = Directory::new("refused");
    let node = directory.start(&[]);
    let second = command()
        .args(directory.flags(&["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"]))
        .output()
        .expect("it starts");
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stdout);
    assert!(said.contains("is in use"), "{said}");
    drop(node);

    let foreign = Directory::new("foreign");
    std::fs::create_dir_all(foreign.0.join("sessions")).expect("it can be made");
    std::fs::write(foreign.0.join("sessions/letter.txt"), "dear").expect("it can be written");
    let third = command()
        .args(foreign.flags(&["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"]))
        .output()
        .expect("it starts");
    assert!(!third.status.success());
    let said = String::from_utf8_lossy(&third.stdout);
    assert!(said.contains("letter.txt"), "{said}");
}
