//! Messages by incarnation.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use wadi_core::member::{Founding, Incarnation};

use crate::scene::{
    KEY, LONG, Letters, NO_KEY, Node, agree, knock, layout, limits, number, settings, state, tcp,
};

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_talk_to_each_other_with_a_key_and_without() {
    for secrets in [KEY, NO_KEY] {
        let n1 = Node::start(1, secrets).await;
        let n2 = Node::start(2, secrets).await;
        let n3 = Node::start(3, secrets).await;
        let all = [&n1, &n2, &n3];
        agree(1, &all);
        for from in all {
            for to in all {
                if from.me == to.me {
                    continue;
                }
                from.reach(to).await;
                (0..100).for_each(|number| from.send(to, state(number, 1000)));
                for expected in 0..100 {
                    let (by, message) = to.inbox.next().await;
                    assert_eq!((by, number(&message)), (from.me, expected));
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_back_at_the_same_address_is_somebody_new() {
    let n1 = Node::start(1, KEY).await;
    let n2 = Node::start(2, KEY).await;
    agree(1, &[&n1, &n2]);
    n1.reach(&n2).await;

    let mut again = settings("n2", KEY);
    again.bind = n2.address().parse().unwrap();
    let former = n2.me;
    let old = n2.inbox.clone();
    drop(n2);
    let n3 = Node::open(3, &tcp(), again).await;
    // Not joined yet, it is not the one that is sought.
    n1.open.transport.send(former, knock(5));
    n1.open.transport.flush();
    sleep(Duration::from_millis(100)).await;
    n3.listen();
    n1.open.transport.send(former, knock(6));
    n1.open.transport.flush();
    sleep(Duration::from_millis(100)).await;
    assert_eq!((n3.inbox.len(), old.len()), (0, 0));

    agree(2, &[&n1, &n3]);
    n1.reach(&n3).await;
    n3.reach(&n1).await;
    // The former one is nobody's any more.
    n1.open.transport.send(former, knock(7));
    n1.open.transport.flush();
    sleep(Duration::from_millis(50)).await;
    assert_eq!((n3.inbox.len(), old.len()), (0, 0));
}

/// A newcomer is sought before it knows itself who it is, and how long that has been in vain must not
/// count once it is there.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_sought_too_early_is_found_when_it_comes() {
    let mut never_again = limits();
    never_again.retry_first = LONG * 10;
    never_again.retry_longest = LONG * 10;
    let n1 = Node::open(1, &tcp().limits(never_again), settings("n1", KEY)).await;
    n1.listen();
    let n2 = Node::open(2, &tcp(), settings("n2", KEY)).await;
    let layout = layout(1, &[&n1, &n2]);
    n1.open.transport.members(&layout);
    // It is dialled, and refuses, having joined nothing.
    sleep(Duration::from_millis(200)).await;
    n2.listen();
    n2.open.transport.members(&layout);
    n1.reach(&n2).await;
}

/// A cluster that is founded anew gives the same numbers again, and its nodes are others all the same.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_the_same_number_in_another_founding_is_somebody_else() {
    let n1 = Node::start(1, KEY).await;
    let n2 = Node::start(2, KEY).await;
    agree(1, &[&n1, &n2]);
    n1.reach(&n2).await;
    n2.reach(&n1).await;

    let mut again = settings("n2", KEY);
    again.bind = n2.address().parse().unwrap();
    drop(n2);
    let anew = Node::open(2, &tcp(), again).await;
    anew.listen_as_of(Founding::new(2));
    anew.open.transport.members(&layout(1, &[&n1, &anew]));
    for number in 0..40 {
        n1.send(&anew, knock(number));
        anew.send(&n1, knock(number));
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!((anew.inbox.len(), n1.inbox.len()), (0, 0));
    let streams = &n1.open.streams;
    let dialled = streams.dial(anew.me, anew.address(), "any", LONG).await;
    let refused = dialled.map(drop).unwrap_err().to_string();
    assert!(refused.contains("another founding"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_becomes_somebody_new_gets_nothing_that_was_for_its_former_self() {
    let n1 = Node::start(1, KEY).await;
    let mut n2 = Node::start(2, KEY).await;
    agree(1, &[&n1, &n2]);
    n1.reach(&n2).await;
    let former = n2.inbox.clone();
    (n2.me, n2.inbox) = (Incarnation::new(9), Arc::default());
    n2.listen();
    // n1 knows nothing of that, and goes on sending to the former incarnation.
    for _ in 0..20 {
        n1.open.transport.send(Incarnation::new(2), knock(1));
        n1.open.transport.flush();
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(n2.inbox.len(), 0);
    former.empty();
    agree(2, &[&n1, &n2]);
    n1.reach(&n2).await;
    n2.reach(&n1).await;
    assert_eq!(former.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_member_any_more_is_not_listened_to() {
    let n1 = Node::start(1, KEY).await;
    let n2 = Node::start(2, KEY).await;
    agree(1, &[&n1, &n2]);
    n2.reach(&n1).await;
    // n1 learns that n2 is gone; n2 does not.
    n1.open.transport.members(&layout(2, &[&n1]));
    for _ in 0..20 {
        n2.send(&n1, knock(1));
        n1.send(&n2, knock(1));
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((n1.inbox.len(), n2.inbox.len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_is_not_lost_where_the_inbox_is_small_and_its_owner_slow() {
    const MANY: u64 = 5_000;
    let mut n2 = Node::open(2, &tcp(), settings("n2", KEY)).await;
    n2.inbox = Arc::new(Letters::with_room(64));
    n2.listen();
    let n1 = Node::start(1, KEY).await;
    agree(1, &[&n1, &n2]);
    n1.reach(&n2).await;
    (0..MANY).for_each(|number| n1.send(&n2, state(number, 1000)));
    for expected in 0..MANY {
        assert_eq!(number(&n2.inbox.next().await.1), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inbox_that_stays_full_stops_nothing() {
    let mut n2 = Node::open(2, &tcp(), settings("n2", KEY)).await;
    n2.inbox = Arc::new(Letters::with_room(10));
    n2.listen();
    let n1 = Node::start(1, KEY).await;
    agree(1, &[&n1, &n2]);
    n1.reach(&n2).await;
    (0..2_000).for_each(|number| n1.send(&n2, state(number, 1000)));
    // After its patience, what there is no room for is dropped, and the connection goes on.
    sleep(Duration::from_secs(2)).await;
    assert_eq!(n2.inbox.len(), 10);
    n2.inbox.empty();
    n1.reach(&n2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_last_is_still_written_when_the_network_is_dropped() {
    let n1 = Node::start(1, KEY).await;
    let n2 = Node::start(2, KEY).await;
    agree(1, &[&n1, &n2]);
    n1.reach(&n2).await;
    (0..500).for_each(|number| n1.send(&n2, state(number, 1000)));
    drop(n1);
    for expected in 0..500 {
        assert_eq!(number(&n2.inbox.next().await.1), expected);
    }
}
