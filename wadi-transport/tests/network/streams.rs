//! Raw streams between members.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use wadi_core::member::Incarnation;
use wadi_core::transport::Bytestream;

use crate::scene::{KEY, LONG, NO_KEY, Node, agree, layout, settings, tcp};

async fn dial(from: &Node, to: &Node, kind: &'static str) -> Result<Box<dyn Bytestream>, String> {
    let dialled = (from.open.streams)
        .dial(to.me, to.address(), kind, LONG)
        .await;
    dialled.map_err(|why| why.to_string())
}

/// Until the first call of it, a kind is refused.
async fn expect(node: &Node, kind: &'static str) {
    let _ = timeout(Duration::from_millis(1), node.open.streams.accept(kind)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_mebibytes_pass_both_ways() {
    const BLOCK: usize = 64 * 1024;
    const BLOCKS: usize = 1024;
    for secrets in [KEY, NO_KEY] {
        let n1 = Node::start(1, secrets).await;
        let n2 = Node::start(2, secrets).await;
        agree(1, &[&n1, &n2]);
        expect(&n2, "http").await;
        let (there, here) = tokio::join!(dial(&n1, &n2, "http"), n2.open.streams.accept("http"));
        let (from, here) = here.unwrap();
        assert_eq!(from, n1.me);
        let mut busy = tokio::task::JoinSet::new();
        for stream in [there.unwrap(), here] {
            let (mut read, mut write) = tokio::io::split(stream);
            busy.spawn(async move {
                for block in 0..BLOCKS {
                    write.write_all(&[block as u8; BLOCK]).await.unwrap();
                }
                write.shutdown().await.unwrap();
            });
            busy.spawn(async move {
                let mut bytes = vec![0; BLOCK];
                for block in 0..BLOCKS {
                    read.read_exact(&mut bytes).await.unwrap();
                    assert!(bytes.iter().all(|byte| *byte == block as u8));
                }
                assert_eq!(read.read(&mut bytes).await.unwrap(), 0);
            });
        }
        while let Some(done) = busy.join_next().await {
            done.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_finds_its_kind_and_an_incarnation_that_is_gone_is_not_found() {
    let n1 = Node::start(1, KEY).await;
    let mut n2 = Node::start(2, KEY).await;
    agree(1, &[&n1, &n2]);
    let why = dial(&n1, &n2, "http").await.unwrap_err();
    assert!(why.contains("nobody there listens"), "{why}");
    expect(&n2, "http").await;
    expect(&n2, "copies").await;
    let mut there = dial(&n1, &n2, "copies").await.unwrap();
    there.write_all(b"of mine").await.unwrap();
    there.shutdown().await.unwrap();
    let (from, mut here) = n2.open.streams.accept("copies").await.unwrap();
    let mut told = String::new();
    here.read_to_string(&mut told).await.unwrap();
    assert_eq!((from, told.as_str()), (n1.me, "of mine"));

    n2.me = Incarnation::new(7);
    let why = dial(&n1, &n2, "http").await.unwrap_err();
    assert!(why.contains("i7 was sought"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_no_member_has_no_stream() {
    let n1 = Node::start(1, KEY).await;
    let n3 = Node::start(3, KEY).await;
    agree(1, &[&n1, &n3]);
    expect(&n1, "http").await;
    // One that has not joined.
    let n4 = Node::open(4, &tcp(), settings("n4", KEY)).await;
    let why = dial(&n4, &n1, "http").await.unwrap_err();
    assert!(why.contains("members only"), "{why}");
    // One that joined a moment ago: the layout that names it is on its way.
    n4.listen();
    dial(&n4, &n1, "http").await.unwrap();
    assert_eq!(n1.open.streams.accept("http").await.unwrap().0, n4.me);
    // One that was a member, and is gone.
    dial(&n3, &n1, "http").await.unwrap();
    n1.open.transport.members(&layout(2, &[&n1, &n4]));
    let why = dial(&n3, &n1, "http").await.unwrap_err();
    assert!(why.contains("members only"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_not_there_in_time_is_not_dialled() {
    let n1 = Node::start(1, KEY).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let within = Duration::from_millis(100);
    let to = Incarnation::new(2);
    let dialled = n1.open.streams.dial(to, &address, "http", within).await;
    let why = dialled.unwrap_err().to_string();
    assert!(why.contains("did not answer within"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_break_when_their_network_ends() {
    let n1 = Node::start(1, KEY).await;
    let n2 = Node::start(2, KEY).await;
    agree(1, &[&n1, &n2]);
    expect(&n2, "http").await;
    let there = dial(&n1, &n2, "http").await.unwrap();
    let (_, here) = n2.open.streams.accept("http").await.unwrap();
    let (mut read, mut write) = tokio::io::split(here);
    let reading = tokio::spawn(async move { read.read_u8().await });
    let writing = tokio::spawn(async move {
        // Nobody reads it, so it comes to wait.
        loop {
            if let Err(ended) = write.write_all(&[7; 65_536]).await {
                return ended;
            }
        }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(n2);
    let ended = timeout(LONG, reading).await.unwrap().unwrap();
    assert!(ended.unwrap_err().to_string().contains("has ended"));
    let ended = timeout(LONG, writing).await.unwrap().unwrap();
    assert!(ended.to_string().contains("has ended"), "{ended}");
    drop(there);
}
