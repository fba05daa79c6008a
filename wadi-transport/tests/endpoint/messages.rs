//! Messages both ways, their order, full queues, and connections that come back.

use wadi_core::member::{Founding, Incarnation};
use wadi_transport::{Audience, Ended, Farewell, LinkState, Membership, SendError, Versions};

use crate::scene::{LONG, Node, config, letter, send, state};

const MANY: u64 = 10_000;

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_messages_go_both_ways_in_order() {
    let n1 = Node::start(config("n1")).await;
    let n2 = Node::start(config("n2")).await;
    let (there, back) = (n1.link_to(&n2), n2.link_to(&n1));
    there.connected(LONG).await.unwrap();
    back.connected(LONG).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for link in [there.clone(), back.clone()] {
        tasks.spawn(async move {
            for number in 0..MANY {
                send(&link, &letter(number, number as usize % 100)).await;
            }
        });
    }
    for (mut node, from) in [(n1, "n2"), (n2, "n1")] {
        tasks.spawn(async move {
            for number in 0..MANY {
                let sent = letter(number, number as usize % 100);
                assert_eq!(node.next().await, (from.to_owned(), sent));
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_message_arrives_and_a_longer_one_is_refused() {
    let mut long = config("n1");
    long.limits.frame_bytes = 1 << 20;
    let n1 = Node::start(long.clone()).await;
    let mut n2 = Node::start(long).await;
    let link = n1.link_to(&n2);
    link.connected(LONG).await.unwrap();
    let error = link.send(&letter(1, 1 << 20)).unwrap_err();
    assert!(matches!(error, SendError::TooLong { .. }), "{error}");
    link.send(&letter(2, (1 << 20) - 10)).unwrap();
    assert_eq!(n2.next().await.1.number, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_says_so_and_what_was_queued_arrives_in_order() {
    let mut slow = config("n2");
    slow.limits.incoming_messages = 4;
    let mut quick = config("n1");
    quick.limits.queue_messages = 8;
    let n1 = Node::start(quick).await;
    let mut n2 = Node::start(slow).await;
    let link = n1.link_to(&n2);
    link.connected(LONG).await.unwrap();
    // n2 takes nothing, so this fills its inbox, the socket and the queue, and never more.
    let mut sent = 0;
    let mut refused = 0;
    while refused < 20 {
        match link.send(&letter(sent, 100_000)) {
            Ok(()) => (sent, refused) = (sent + 1, 0),
            Err(SendError::Full) => {
                refused += 1;
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            Err(error) => panic!("{error}"),
        }
        assert!(sent < 1000, "something has no limit");
    }
    for number in 0..sent {
        assert_eq!(n2.next().await.1.number, number);
    }
    send(&link, &letter(sent, 0)).await;
    assert_eq!(n2.next().await.1.number, sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_wait_are_bounded_too() {
    let mut narrow = config("n1");
    narrow.limits.frame_bytes = 1 << 20;
    narrow.limits.queue_bytes = 1 << 20;
    let n1 = Node::start(narrow).await;
    let n2 = Node::start(config("n2")).await;
    let link = n1.link_to(&n2);
    link.connected(LONG).await.unwrap();
    // Without a wait between them, the second cannot have room before the first is written.
    let both = [letter(1, 700_000), letter(2, 700_000)].map(|letter| link.send(&letter));
    assert!(both[0].is_ok());
    let outcome = &both[1];
    // On a second core, the first may have been written in the meantime.
    assert!(
        matches!(outcome, Ok(()) | Err(SendError::Full)),
        "{outcome:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_comes_back_when_its_peer_restarts_at_the_same_address() {
    let n1 = Node::start(config("n1")).await;
    let mut n2 = Node::start(config("n2")).await;
    let link = n1.link_to(&n2);
    let first = link.connected(LONG).await.unwrap();
    link.send(&letter(1, 0)).unwrap();
    assert_eq!(n2.next().await.1.number, 1);

    let mut again = config("n2");
    again.bind = n2.endpoint.local();
    n2.endpoint.shutdown(LONG).await.unwrap();
    state(&link, |state| matches!(state, LinkState::Unreachable(_))).await;
    assert!(matches!(
        link.send(&letter(2, 0)),
        Err(SendError::NotConnected)
    ));

    let mut n2 = Node::start(again).await;
    let second = link.connected(LONG).await.unwrap();
    assert_ne!(first.start, second.start);
    link.send(&letter(3, 0)).unwrap();
    assert_eq!(n2.next().await.1.number, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_joins_introduces_itself_anew() {
    let n1 = Node::start(config("n1")).await;
    let mut n2 = Node::start(config("n2")).await;
    let (there, back) = (n1.link_to(&n2), n2.link_to(&n1));
    there.connected(LONG).await.unwrap();
    back.connected(LONG).await.unwrap();

    let membership = Membership {
        generation: 1,
        incarnation: Some(Incarnation::new(7)),
        founding: Some(Founding::new(5)),
    };
    n1.endpoint.join(membership);
    state(
        &back,
        |state| matches!(state, LinkState::Up(peer) if peer.membership == membership),
    )
    .await;
    n2.heard.of("n1/i7 at").await;
    there.connected(LONG).await.unwrap();
    send(&there, &letter(1, 0)).await;
    let (peer, _) = n2.incoming.next().await.unwrap();
    assert_eq!(peer.membership, membership);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_queued_is_still_written_when_a_link_or_an_endpoint_closes() {
    let n1 = Node::start(config("n1")).await;
    let mut n2 = Node::start(config("n2")).await;
    let link = n1.link_to(&n2);
    link.connected(LONG).await.unwrap();
    (0..500).for_each(|number| link.send(&letter(number, 1000)).unwrap());
    drop(link);
    for number in 0..500 {
        assert_eq!(n2.next().await.1.number, number);
    }
    let link = n1.link_to(&n2);
    link.connected(LONG).await.unwrap();
    (0..500).for_each(|number| link.send(&letter(number, 1000)).unwrap());
    n1.endpoint.shutdown(LONG).await.unwrap();
    for number in 0..500 {
        assert_eq!(n2.next().await.1.number, number);
    }
    assert!(link.send(&letter(0, 0)).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_messages_says_why_it_ends_from_version_2_on() {
    let both = Versions::SUPPORTED;
    let old = Versions { min: 1, max: 1 };
    for (dialling, accepting, told) in [
        (both, both, Ended::Farewell(Farewell::Closing)),
        (old, both, Ended::Closed),
        (both, old, Ended::Closed),
    ] {
        let (mut one, mut other) = (config("n1"), config("n2"));
        (one.versions, other.versions) = (dialling, accepting);
        let (n1, n2) = (Node::start(one).await, Node::start(other).await);
        let link = n1.link_to(&n2);
        link.connected(LONG).await.unwrap();
        let ended = tokio::spawn(async move {
            state(&link, |state| matches!(state, LinkState::Ended(_))).await
        });
        n2.endpoint.shutdown(LONG).await.unwrap();
        assert_eq!(ended.await.unwrap(), LinkState::Ended(told));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_dropped_ends_everything() {
    let n1 = Node::start(config("n1")).await;
    let Node {
        endpoint,
        mut incoming,
        ..
    } = Node::start(config("n2")).await;
    let link = n1.endpoint.link(endpoint.us().advertised, None).unwrap();
    link.connected(LONG).await.unwrap();
    let mut streams = endpoint.streams("bytes", Audience::Anybody).unwrap();
    drop(endpoint);
    assert!(incoming.next().await.is_none());
    assert!(streams.next().await.is_none());
    state(&link, |state| !matches!(state, LinkState::Up(_))).await;
}
