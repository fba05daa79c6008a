//! Strangers with bytes: whatever they send, or do not send, the endpoint goes on serving.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use wadi_core::bucket::BucketCount;
use wadi_core::member::{Incarnation, NodeName};
use wadi_transport::handshake::{Hello, Reply};
use wadi_transport::{Config, Membership, Peer, Purpose, Refusal, Versions};

use crate::scene::{LONG, Node, config, letter, send};

/// Without TLS, so that a bare socket reaches the layers behind it.
fn open(node: &str) -> Config {
    let mut config = config(node);
    config.security = wadi_transport::Security::Loopback;
    config
}

fn hello() -> Hello {
    Hello {
        versions: Versions::SUPPORTED,
        cluster: "shop".to_owned(),
        buckets: BucketCount::DEFAULT,
        peer: Peer {
            node: NodeName::new("stranger"),
            membership: Membership::default(),
            start: 1,
            advertised: "127.0.0.1:1".to_owned(),
        },
        sought: None,
        purpose: Purpose::Messages,
    }
}

fn framed(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap();
    [&length.to_be_bytes(), body].concat()
}

async fn connect(node: &Node) -> TcpStream {
    TcpStream::connect(node.endpoint.local()).await.unwrap()
}

/// Sends these bytes as a whole connection, and waits until the node has closed it.
async fn throw(node: &Node, bytes: &[u8]) -> Vec<u8> {
    let mut socket = connect(node).await;
    // It may close before it has read all.
    let _ = socket.write_all(bytes).await;
    let _ = socket.shutdown().await;
    let mut answer = Vec::new();
    let _ = timeout(LONG, socket.read_to_end(&mut answer))
        .await
        .expect("it is closed in time");
    answer
}

/// A node of good will is still served.
async fn check_serves(node: &mut Node, config: Config) {
    let friend = Node::start(config).await;
    let link = friend.link_to(node);
    link.connected(LONG).await.unwrap();
    send(&link, &letter(77, 10)).await;
    assert_eq!(node.next().await.1.number, 77);
}

/// A node joins while somebody is about to greet it: who hears of it as it is now is not sent away for what
/// changed before.
#[tokio::test(flavor = "multi_thread")]
async fn who_greets_a_node_that_has_just_joined_is_not_sent_away() {
    let node = Node::start(open("n1")).await;
    let mut socket = connect(&node).await;
    // It is accepted, and has said nothing yet.
    sleep(Duration::from_millis(100)).await;
    node.endpoint.join(Membership {
        incarnation: Some(Incarnation::new(1)),
        ..Membership::default()
    });
    let hello = framed(&hello().encode().unwrap());
    socket.write_all(&hello).await.unwrap();
    let length = socket.read_u32().await.unwrap();
    let mut reply = vec![0; usize::try_from(length).unwrap()];
    socket.read_exact(&mut reply).await.unwrap();
    let reply = Reply::decode(&reply).unwrap();
    let Reply::Welcome { peer, .. } = reply else {
        panic!("{reply:?}");
    };
    assert_eq!(peer.membership.incarnation, Some(Incarnation::new(1)));
    // Signs of life, and no farewell.
    assert_eq!(socket.read_u32().await.unwrap(), 0);
    socket.shutdown().await.unwrap();
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).await.unwrap();
    assert!(rest.iter().all(|byte| *byte == 0), "{rest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_before_and_behind_tls_ends_that_connection_only() {
    let garbage: [&[u8]; 6] = [
        b"",
        b"GET / HTTP/1.1\r\nhost: here\r\n\r\n",
        &[0; 100_000],
        &[0xff; 100_000],
        // The beginning of a client's greeting in TLS, which then ends.
        &[0x16, 3, 1, 0x02, 0, 1, 0, 0x01, 0xfc, 3, 3],
        &[0, 0, 0, 5, b'W', b'A', b'D', b'I', 1],
    ];
    for config in [config, open] {
        let mut node = Node::start(config("n1")).await;
        for bytes in garbage {
            throw(&node, bytes).await;
        }
        let mut greeting = framed(&hello().encode().unwrap());
        greeting.truncate(greeting.len() - 1);
        throw(&node, &greeting).await;
        node.heard.of("came to nothing").await;
        assert_eq!(node.heard.count("was accepted"), 0);
        check_serves(&mut node, config("n2")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_version_is_told_which_are_spoken() {
    let node = Node::start(open("n1")).await;
    let dialling = Versions { min: 7, max: 9 };
    let mut later = hello();
    later.versions = dialling;
    let answer = throw(&node, &framed(&later.encode().unwrap())).await;
    let refusal = Refusal::NoCommonVersion {
        accepting: Versions::SUPPORTED,
        dialling,
    };
    node.heard.of(&refusal.to_string()).await;
    let reply = Reply::decode(&answer[4..]).unwrap();
    assert_eq!(reply, Reply::Refused(refusal));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_answers_wrongly_is_not_taken_for_a_node() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let node = Node::start(open("n1")).await;
    let cluster_of_version_9 = Reply::Welcome {
        version: 9,
        peer: hello().peer,
    };
    let answers = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        framed(b"WADI\x01rubbish"),
        framed(&cluster_of_version_9.encode().unwrap()),
    ];
    for answer in answers {
        let answering = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut length = [0; 4];
            socket.read_exact(&mut length).await.unwrap();
            let mut greeting = vec![0; u32::from_be_bytes(length) as usize];
            socket.read_exact(&mut greeting).await.unwrap();
            socket.write_all(&answer).await.unwrap();
            socket
        };
        let (opened, _socket) =
            tokio::join!(node.endpoint.open(&address, None, "bytes"), answering);
        let why = opened.unwrap_err().to_string();
        assert!(why.contains("is no node"), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_are_cut_off_too_long_or_no_messages_end_that_connection_only() {
    let mut limited = open("n1");
    limited.limits.frame_bytes = 1 << 16;
    let mut node = Node::start(limited).await;
    let frames: [(&[u8], &str); 4] = [
        (&[0, 0, 0, 9, 1, 2], "the connection broke"),
        (&[0, 1, 0, 1, 1, 2], "what came is no message"),
        (&[0xff, 0xff, 0xff, 0xff], "what came is no message"),
        (&[0, 0, 0, 1, 0xc1], "what came is no message"),
    ];
    for (frame, told) in frames {
        let before = node.heard.count(told);
        let greeting = framed(&hello().encode().unwrap());
        throw(&node, &[&greeting, frame].concat()).await;
        node.heard.of(told).await;
        assert_eq!(node.heard.count(told), before + 1);
    }
    check_serves(&mut node, open("n2")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_greeting_byte_by_byte_is_given_up_in_time() {
    for config in [config, open] {
        let mut hasty = config("n1");
        hasty.limits.handshake = Duration::from_millis(300);
        let node = Node::start(hasty).await;
        let mut socket = connect(&node).await;
        let dripping = async {
            // The header of a TLS record, or the length of a greeting that never ends.
            let _ = socket.write_all(&[0, 0, 0, 200]).await;
            while socket.write_all(b"W").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LONG, dripping).await.expect("it is closed in time");
        node.heard.of("came to nothing").await;
    }
    let mut hasty = config("n1");
    hasty.limits.handshake = Duration::from_millis(300);
    let node = Node::start(hasty).await;
    let silent = connect(&node).await;
    node.heard.of("its handshake took too long").await;
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_for_messages_is_given_up() {
    let mut short = open("n1");
    short.limits.sign_of_life = Duration::from_millis(50);
    short.limits.silence = Duration::from_millis(300);
    let mut node = Node::start(short.clone()).await;
    let mut socket = connect(&node).await;
    let greeting = framed(&hello().encode().unwrap());
    socket.write_all(&greeting).await.unwrap();
    node.heard.of("was silent for too long").await;
    // One that shows that it is alive is kept, although it says nothing.
    let friend = Node::start(short).await;
    let link = friend.link_to(&node);
    link.connected(LONG).await.unwrap();
    let state = link.state();
    let changed = timeout(Duration::from_millis(900), async {
        let mut state = state.clone();
        state.borrow_and_update();
        state.changed().await
    });
    // A loaded machine may be silent for 300 ms; then the link comes back by itself.
    let _ = changed.await;
    link.connected(LONG).await.unwrap();
    send(&link, &letter(5, 0)).await;
    assert_eq!(node.next().await.1.number, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_connections_passes() {
    let mut small = config("n1");
    small.limits.handshakes = 4;
    small.limits.handshake = Duration::from_millis(500);
    let mut node = Node::start(small).await;
    let mut flood = Vec::new();
    for _ in 0..60 {
        flood.push(connect(&node).await);
    }
    // It has its limit of handshakes at a time, so these take about 60 / 4 × 0.5 s to be got rid of.
    node.heard.of("its handshake took too long").await;
    let friend = config("n2");
    let serves = check_serves(&mut node, friend);
    timeout(LONG * 2, serves).await.expect("it goes on serving");
    drop(flood);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_does_not_wait_for_who_hangs_in_a_handshake() {
    let node = Node::start(config("n1")).await;
    let hanging = connect(&node).await;
    node.endpoint.shutdown(LONG).await.unwrap();
    drop(hanging);
}
