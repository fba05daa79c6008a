//! The reference node as a process: its line when ready, its endpoints, its signals.

#![cfg(unix)]

mod process;

use std::io::{BufRead, BufReader, Read, Write};
use std::time::Duration;

use wadi_core::clock::{BootClock, Clock};

use process::{Node, ask, ask_as, command, connect};

#[test]
fn every_endpoint_answers() {
    let node = Node::start(&["--name", "n7"]);
    let first = node.ask("POST /counter", "", "");
    assert_eq!(first.body, r#"{"count":1,"node":"n7"}"#);
    assert_eq!(first.header("x-wadi"), Some("created; node=n7; hops=0"));
    let cookie = first.cookie();
    let second = node.ask("POST /counter", &cookie, "");
    assert_eq!(second.body, r#"{"count":2,"node":"n7"}"#);
    assert_eq!(second.header("x-wadi"), Some("local; node=n7; hops=0"));
    assert_eq!(node.ask("GET /counter", &cookie, "").body, second.body);

    node.ask("POST /list/a", &cookie, "one");
    let list = node.ask("POST /list/a", &cookie, "two");
    assert_eq!(list.body, r#"{"list":["one","two"],"node":"n7"}"#);
    assert_eq!(node.ask("GET /list/a", &cookie, "").body, list.body);

    assert_eq!(node.ask("GET /attr/k", &cookie, "").status, 404);
    assert_eq!(node.ask("PUT /attr/k", &cookie, "raw").status, 204);
    assert_eq!(node.ask("GET /attr/k", &cookie, "").body, "raw");
    assert_eq!(node.ask("DELETE /attr/k", &cookie, "").status, 204);
    assert_eq!(node.ask("DELETE /attr/k", &cookie, "").status, 404);

    let hold = node.ask("GET /hold?ms=30", &cookie, "");
    assert_eq!(hold.body, r#"{"held_ms":30,"holds":1,"node":"n7"}"#);
    let events = node.ask("GET /events?n=3&ms=10", &cookie, "");
    for event in ["data: 1", "data: 2", "data: 3"] {
        assert!(events.body.contains(event), "{}", events.body);
    }
    assert!(!events.body.contains("data: 4"), "{}", events.body);
    assert_eq!(node.ask("POST /echo", &cookie, "and back").body, "and back");

    let login = node.ask("POST /login", &cookie, "user=ann");
    let renewed = login.cookie();
    assert_ne!(renewed, cookie);
    let me = node.ask("GET /me", &renewed, "");
    assert_eq!(me.body, r#"{"user":"ann","node":"n7"}"#);
    let planted = node.ask("GET /me", &cookie, "");
    assert_eq!(planted.body, r#"{"user":null,"node":"n7"}"#);
    assert!(
        node.ask("GET /counter", &renewed, "")
            .body
            .contains(r#""count":2"#)
    );
    assert_eq!(node.ask("POST /logout", &renewed, "").status, 204);
    assert!(
        node.ask("GET /counter", &renewed, "")
            .body
            .contains(r#""count":0"#)
    );

    for path in ["GET /healthz", "GET /readyz"] {
        let answer = node.ask(path, "", "");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("x-wadi"), Some("local; node=n7; hops=0"));
        assert_eq!(ask(node.admin, path, "", "").status, 200);
    }
    let nowhere = node.ask("GET /nowhere", "", "");
    assert_eq!(nowhere.status, 404);
    assert_eq!(nowhere.header("x-wadi"), Some("local; node=n7; hops=0"));
}

#[test]
fn a_read_creates_no_session_and_attributes_are_any_bytes() {
    let node = Node::start(&[]);
    for path in ["GET /counter", "GET /list/a", "GET /attr/k", "GET /me"] {
        let answer = node.ask(path, "", "");
        assert_eq!(answer.header("set-cookie"), None, "{path}");
        assert_eq!(answer.header("x-wadi"), Some("local; node=n1; hops=0"));
    }
    let cookie = node.ask("POST /counter", "", "").cookie();
    let bytes = [0, 0xff, 0xfe, b'\r', b'\n', 0x80];
    let mut stream = connect(node.http);
    let length = bytes.len();
    write!(
        stream,
        "PUT /attr/k HTTP/1.1\r\nHost: n\r\nCookie: {cookie}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    )
    .expect("it reads");
    stream.write_all(&bytes).expect("it reads");
    let mut said = Vec::new();
    stream.read_to_end(&mut said).expect("an answer");
    let mut stream = connect(node.http);
    write!(
        stream,
        "GET /attr/k HTTP/1.1\r\nHost: n\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
    )
    .expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    assert!(answer.ends_with(&bytes), "{answer:?}");
}

#[test]
fn an_echo_comes_back_while_the_body_is_still_being_sent() {
    let node = Node::start(&[]);
    let mut stream = connect(node.http);
    write!(
        stream,
        "POST /echo HTTP/1.1\r\nHost: n\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    .expect("it reads");
    let mut answer = BufReader::new(stream.try_clone().expect("a handle"));
    for part in ["first", "other"] {
        write!(stream, "5\r\n{part}\r\n").expect("it reads");
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            let read = answer.read_line(&mut line).expect("text in time");
            assert!(read > 0, "the answer ended before {part}");
        }
    }
    write!(stream, "0\r\n\r\n").expect("it reads");
}

#[test]
fn events_and_holds_count_on_in_their_session() {
    let node = Node::start(&[]);
    let cookie = node.ask("GET /events?n=2&ms=1", "", "").cookie();
    let again = node.ask("GET /events?n=1&ms=1", &cookie, "");
    assert!(again.body.contains("data: 3"), "{}", again.body);
    node.ask("GET /hold?ms=1", &cookie, "");
    let began = BootClock.now();
    let held = node.ask("GET /hold?ms=200", &cookie, "");
    assert_eq!(held.body, r#"{"held_ms":200,"holds":2,"node":"n1"}"#);
    assert!(BootClock.now().since(began) >= Duration::from_millis(200));
}

#[test]
fn a_websocket_counts_in_the_session_until_it_ends() {
    let node = Node::start(&["--deregister-delay", "0"]);
    let cookie = node.ask("POST /counter", "", "").cookie();
    let open = || {
        let request = tungstenite::http::Request::builder()
            .uri(format!("ws://{}/ws", node.http))
            .header("Host", "n")
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("Cookie", &cookie)
            .body(())
            .expect("a request");
        let stream = connect(node.http);
        tungstenite::client(request, stream).expect("it upgrades").0
    };
    let mut socket = open();
    for expected in ["1: hello", "2: hello"] {
        socket.send("hello".into()).expect("it reads");
        let echoed = socket.read().expect("it answers");
        assert_eq!(echoed.to_text().expect("text"), expected);
    }
    let mut ended = open();
    assert_eq!(node.ask("POST /logout", &cookie, "").status, 204);
    ended.send("hello".into()).expect("it reads");
    assert!(ended.read().expect("an answer").is_close());

    // A socket does not hold a leaving node up: it is told to go away.
    node.signal("TERM");
    assert!(socket.read().expect("a farewell").is_close());
    assert!(node.ended().0);
}

#[test]
fn administration_tells_what_is_there_on_its_own_listener() {
    let node = Node::start(&[]);
    let cluster = |live: usize| {
        let answer = ask(node.admin, "GET /wadi/cluster", "", "");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let json: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
        let expected = serde_json::json!({
            "node": "n1",
            "incarnation": json["incarnation"].as_u64().expect("a number"),
            "version": json["version"].as_u64().expect("a number"),
            "generation": 0,
            "coordinator": "n1",
            "members": [{"node": "n1", "incarnation": json["incarnation"], "cluster": null, "buckets": 4096, "state": "ready"}],
            "sessions": {"live": live, "frozen": 0, "disc": 0, "replicas": 0},
            "store": null,
            "displaced": 0,
            "migrations": {"in": 0, "out": 0},
            "aftermath": {"lost": 0, "older": 0, "outdated": 0, "refused": 0, "ended": 0},
            "evacuation": null,
            "draining": false,
            "on_quorum_loss": null,
            "requests": null,
            "authority": null,
        });
        assert_eq!(json, expected);
    };
    cluster(0);
    let cookie = node.ask("POST /counter", "", "").cookie();
    cluster(1);
    let (_, id) = cookie.split_once('=').expect("a pair");

    let page = ask(node.admin, "GET /wadi/", "", "");
    assert!(
        page.body.contains("Sessions, live<td class=n>1"),
        "{}",
        page.body
    );
    let metrics = ask(node.admin, "GET /metrics", "", "");
    for figure in [
        r#"wadi_sessions{state="live"} 1"#,
        r#"node_requests_total{route="/counter",status="200"} 1"#,
    ] {
        assert!(metrics.body.contains(figure), "{}", metrics.body);
    }
    assert!(!format!("{}{}", page.body, metrics.body).contains(id));
    for path in ["GET /metrics", "GET /wadi/", "GET /wadi/cluster"] {
        assert_eq!(node.ask(path, "", "").status, 404, "not where clients are");
        // A page of elsewhere whose name was made to mean this address.
        let rebound = ask_as("evil.example", node.admin, path, "", "");
        assert_eq!(rebound.status, 421);
        assert!(!rebound.body.contains("4096"), "{}", rebound.body);
    }
}

#[test]
fn idle_sessions_freeze_and_then_end() {
    let node = Node::start(&["--idle-timeout", "2"]);
    node.ask("POST /counter", "", "");
    for sessions in [r#""live":0,"frozen":1"#, r#""live":0,"frozen":0"#] {
        let began = BootClock.now();
        while !ask(node.admin, "GET /wadi/cluster", "", "")
            .body
            .contains(sessions)
        {
            let waited = BootClock.now().since(began);
            assert!(waited < Duration::from_secs(20), "never {sessions}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_signal_makes_it_leave_and_a_second_one_stops_it() {
    let node = Node::start(&["--deregister-delay", "1"]);
    node.signal("INT");
    let began = BootClock.now();
    let mut ready = node.ask("GET /readyz", "", "");
    while ready.status == 200 {
        assert!(BootClock.now().since(began) < Duration::from_secs(5));
        ready = node.ask("GET /readyz", "", "");
    }
    assert_eq!(ready.status, 503);
    assert_eq!(node.ask("GET /healthz", "", "").status, 200, "it lives");
    assert_eq!(
        node.ask("POST /counter", "", "").status,
        200,
        "it still serves"
    );
    let (well, said) = node.ended();
    assert!(
        well && said.contains("every request was finished"),
        "{said}"
    );

    let node = Node::start(&["--deregister-delay", "60"]);
    node.signal("TERM");
    while node.ask("GET /readyz", "", "").status == 200 {}
    let began = BootClock.now();
    node.signal("TERM");
    let (_, said) = node.ended();
    assert!(
        BootClock.now().since(began) < Duration::from_secs(10),
        "{said}"
    );
}

#[test]
fn variables_are_honoured_and_unknown_ones_refused() {
    let mut quiet = command();
    quiet.env("WADI_X_WADI", "false");
    let node = Node::start_from(quiet, &[]);
    assert_eq!(node.ask("GET /healthz", "", "").header("x-wadi"), None);

    let output = command()
        .env("WADI_IDLE_TIMEOUTS", "45m")
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("WADI_IDLE_TIMEOUTS is no option"), "{said}");
}

#[test]
fn bad_flags_are_refused_with_what_to_do() {
    let file = std::env::temp_dir().join(format!("wadi-short-{}", std::process::id()));
    std::fs::write(&file, "hunter2").expect("a file");
    let path = file.to_str().expect("text").to_owned();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken
        .local_addr()
        .map(|address| (taken, address.to_string()));
    let (_held, taken) = taken.expect("an address");
    for (flags, told) in [
        (vec!["--idle-timeout", "soon"], "30m"),
        (vec!["--idle-timeout", "0"], "idle_timeout"),
        (
            vec!["--idle-timeout", "2d", "--absolute-lifetime", "1h"],
            "absolute_lifetime",
        ),
        (vec!["--cookie", "chocolate"], "secure or plain"),
        (vec!["--cluster-key", "/does/not/exist"], "cannot be read"),
        (vec!["--cluster-key", &path], "at least 32"),
        (vec!["--name", "no spaces"], "name"),
        (vec!["--max-sessions", "0"], "max_sessions"),
        (vec!["--http", "nowhere"], "--http"),
        (vec!["--http", &taken], "port 0 picks a free"),
        (vec!["--join", "127.0.0.1:1"], "join"),
        (vec!["--no-such-flag"], "--no-such-flag"),
    ] {
        let output = command().args(&flags).output().expect("it runs");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(!output.status.success(), "{flags:?}");
        assert!(
            said.contains(told) && !said.contains("panicked"),
            "{flags:?}: {said}"
        );
        assert!(!said.contains("hunter2"), "{said}");
    }
    std::fs::remove_file(&file).ok();
}
