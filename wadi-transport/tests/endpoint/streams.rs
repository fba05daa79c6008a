//! Raw streams: whole, in order, with back-pressure, and by kind.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use wadi_core::member::{Founding, Incarnation};
use wadi_transport::{Audience, DialError, Refusal};

use crate::scene::{LONG, Node, config};

const BLOCK: usize = 64 * 1024;
const BLOCKS: u64 = 1024;

/// Far more than sockets and TLS hold, and far less than the whole.
const AHEAD: u64 = 16 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_mebibytes_pass_and_the_sender_is_never_far_ahead() {
    let n1 = Node::start(config("n1")).await;
    let n2 = Node::start(config("n2")).await;
    let mut streams = n2.endpoint.streams("bytes", Audience::Anybody).unwrap();
    let address = n2.address();
    let (opened, accepted) =
        tokio::join!(n1.endpoint.open(&address, None, "bytes"), streams.next());
    let (mut there, mut here) = (opened.unwrap(), accepted.unwrap());
    assert_eq!(there.peer().node.as_str(), "n2");
    assert_eq!(here.peer().node.as_str(), "n1");

    let written = Arc::new(AtomicU64::new(0));
    let count = written.clone();
    let sender = tokio::spawn(async move {
        for block in 0..BLOCKS {
            there.write_all(&[block as u8; BLOCK]).await.unwrap();
            count.fetch_add(BLOCK as u64, Relaxed);
        }
        there.shutdown().await.unwrap();
        let mut last = String::new();
        there.read_to_string(&mut last).await.unwrap();
        last
    });

    // Nothing is read until the sender has come to a stop.
    let mut stood = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = written.load(Relaxed);
        if now > 0 && now == stood {
            break;
        }
        stood = now;
    }
    assert!(stood < AHEAD, "{stood} bytes wait somewhere");

    let mut block = vec![0; BLOCK];
    for number in 0..BLOCKS {
        here.read_exact(&mut block).await.unwrap();
        assert!(block.iter().all(|byte| *byte == number as u8));
        let read = (number + 1) * BLOCK as u64;
        assert!(written.load(Relaxed) - read.min(written.load(Relaxed)) < AHEAD);
    }
    assert_eq!(here.read(&mut block).await.unwrap(), 0);
    here.write_all(b"all of it").await.unwrap();
    here.shutdown().await.unwrap();
    assert_eq!(sender.await.unwrap(), "all of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_finds_its_kind_or_is_refused() {
    let n1 = Node::start(config("n1")).await;
    let n2 = Node::start(config("n2")).await;
    let mut http = n2.endpoint.streams("http", Audience::Anybody).unwrap();
    let mut bulk = n2.endpoint.streams("bulk", Audience::Anybody).unwrap();
    assert!(n2.endpoint.streams("http", Audience::Anybody).is_err());

    let address = n2.address();
    let mut opened = n1.endpoint.open(&address, None, "bulk").await.unwrap();
    opened.write_all(b"sealed").await.unwrap();
    opened.shutdown().await.unwrap();
    let mut accepted = bulk.next().await.unwrap();
    let mut told = String::new();
    accepted.read_to_string(&mut told).await.unwrap();
    assert_eq!(told, "sealed");
    assert!(
        timeout(Duration::from_millis(10), http.next())
            .await
            .is_err()
    );

    let refused = n1.endpoint.open(&address, None, "ftp").await.unwrap_err();
    let why = Refusal::NoSuchKind {
        kind: "ftp".to_owned(),
    };
    assert_eq!(refused, DialError::Refused { address, why });
    drop(http);
    let _http = n2.endpoint.streams("http", Audience::Anybody).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_members_leave_room_for_messages() {
    let mut few = config("n2");
    few.limits.connections = 8;
    let mut member = config("n1");
    member.membership.incarnation = Some(Incarnation::new(1));
    member.membership.founding = Some(Founding::new(5));
    few.membership.founding = member.membership.founding;
    let (n1, n2) = (Node::start(member).await, Node::start(few).await);
    let _streams = n2.endpoint.streams("http", Audience::Members).unwrap();
    let address = n2.address();
    let mut opened = Vec::new();
    let refused = loop {
        match n1.endpoint.open(&address, None, "http").await {
            Ok(stream) => opened.push(stream),
            Err(refused) => break refused,
        }
    };
    assert!(
        refused
            .to_string()
            .contains("as many connections as it may")
    );
    assert_eq!(opened.len(), 6);
    n1.link_to(&n2).connected(LONG).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_nobody_takes_are_refused_at_the_limit() {
    let mut few = config("n2");
    few.limits.streams = 2;
    let (n1, n2) = (Node::start(config("n1")).await, Node::start(few).await);
    let mut streams = n2.endpoint.streams("http", Audience::Anybody).unwrap();
    let address = n2.address();
    let _first = n1.endpoint.open(&address, None, "http").await.unwrap();
    let _second = n1.endpoint.open(&address, None, "http").await.unwrap();
    let refused = n1.endpoint.open(&address, None, "http").await.unwrap_err();
    assert!(matches!(
        refused,
        DialError::Refused {
            why: Refusal::Full,
            ..
        }
    ));
    streams.next().await.unwrap();
    let _third = n1.endpoint.open(&address, None, "http").await.unwrap();
    let shut_down = n1.endpoint.shutdown(LONG).await;
    shut_down.unwrap();
}
