//! A node that is alone, with a store below its memory: nothing is ever in two places, or in none.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "tier/copies.rs"]
mod copies;
#[path = "tier/faults.rs"]
mod faults;
#[path = "tier/moody.rs"]
mod moody;
#[path = "tier/node.rs"]
mod node;

use node::*;

#[tokio::test]
async fn what_nobody_asks_for_goes_down_and_comes_up_when_somebody_does() {
    let node = node(AfterIdle(Duration::from_secs(60)));
    let (old, young) = (node.create(7), node.create(8));
    node.clock.advance(Duration::from_secs(60));
    assert_eq!(node.read(&young).await, Ok(8));
    assert_eq!(node.everything_goes_down().await, 1);
    assert_eq!((node.sessions.map().len(), node.rows().await), (1, 1));
    node.clock.advance(Duration::from_secs(30));
    assert_eq!(node.read(&old).await, Ok(7));
    assert_eq!((node.sessions.map().len(), node.rows().await), (2, 0));
    assert_eq!(
        (node.tier.counts().demoted(), node.tier.counts().promoted()),
        (1, 1)
    );
    // What it never had costs one look, and is nothing.
    let unknown = SessionId::from_parts([9; 16], 1);
    assert_eq!(node.tier.promote(unknown).await, Promoted::Absent);
}

#[tokio::test]
async fn time_goes_on_below() {
    let node = node(Always);
    let id = node.create(7);
    // Its cookie came back, so it lives for half an hour.
    assert_eq!(node.read(&id).await, Ok(7));
    node.clock.advance(Duration::from_secs(600));
    node.everything_goes_down().await;
    node.clock.advance(Duration::from_secs(1199));
    assert_eq!(node.read(&id).await, Ok(7));
    node.everything_goes_down().await;
    node.clock.advance(Duration::from_secs(1800));
    assert_eq!(node.tier.promote(id).await, Promoted::Look);
    assert!(matches!(node.look(&id), Look::NotHere(Origin::Expired)));
}

#[tokio::test]
async fn as_many_go_as_there_are_too_many_and_those_who_are_idle_for_longest() {
    let node = node(MoreThan(60));
    let ids: Vec<_> = (0..100).map(|n| node.create(n)).collect();
    node.clock.advance(Duration::from_secs(10));
    for id in &ids[50..] {
        node.read(id).await.unwrap();
    }
    // One batch, so they are compared with each other.
    let round = node.tier.evict(1000).await;
    assert_eq!((round.demoted, round.done), (40, true));
    assert!(
        ids[50..]
            .iter()
            .all(|id| matches!(node.look(id), Look::Here(_)))
    );
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(node.read(id).await, Ok(n as u64));
    }
}

#[tokio::test]
async fn who_is_in_use_stays() {
    let node = node(Always);
    let id = node.create(7);
    let Look::Here(guard) = node.look(&id) else {
        panic!("it is here")
    };
    assert_eq!(node.everything_goes_down().await, 0);
    drop(guard);
    assert_eq!(node.everything_goes_down().await, 1);
}

#[tokio::test]
async fn who_asks_while_it_goes_down_has_it_with_all_that_was_written() {
    let node = Arc::new(node(Always));
    let id = node.create(7);
    node.store.is(Mood::Slow);
    let down = tokio::spawn({
        let node = Arc::clone(&node);
        async move { node.everything_goes_down().await }
    });
    while !matches!(node.look(&id), Look::Busy(_)) {
        tokio::task::yield_now().await;
    }
    let asks = tokio::spawn({
        let node = Arc::clone(&node);
        async move { node.read(&id).await }
    });
    tokio::task::yield_now().await;
    node.store.is(Mood::Well);
    node.store.gate.add_permits(10);
    assert_eq!(asks.await.unwrap(), Ok(7));
    assert_eq!(down.await.unwrap(), 1);
}

#[tokio::test]
async fn many_who_ask_at_once_have_one_session() {
    let node = Arc::new(node(Always));
    let id = node.create(0);
    node.everything_goes_down().await;
    let asks: Vec<_> = (0..64)
        .map(|_| {
            let node = Arc::clone(&node);
            tokio::spawn(async move {
                let visit = node.visit(&id).await.unwrap();
                visit.update("n", |n: &mut u64| *n += 1).unwrap();
                visit.commit().unwrap();
            })
        })
        .collect();
    for asked in asks {
        asked.await.unwrap();
    }
    assert_eq!(node.read(&id).await, Ok(64));
    assert_eq!(node.tier.counts().promoted(), 1);
}

#[tokio::test]
async fn a_request_that_hangs_up_loses_nothing() {
    let node = Arc::new(node(Always));
    let id = node.create(7);
    node.everything_goes_down().await;
    node.store.is(Mood::Slow);
    let asks = tokio::spawn({
        let node = Arc::clone(&node);
        async move { node.tier.promote(id).await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    asks.abort();
    node.store.gate.add_permits(10);
    node.store.is(Mood::Well);
    assert_eq!(node.read(&id).await, Ok(7));
}

#[tokio::test]
async fn a_store_that_is_full_loses_nothing_and_is_left_alone_for_a_while() {
    let node = node(Always);
    let id = node.create(7);
    node.store.is(Mood::Full);
    assert_eq!(node.everything_goes_down().await, 0);
    assert_eq!(node.everything_goes_down().await, 0);
    assert_eq!(
        node.told.lock().len(),
        1,
        "it is not asked again before its time"
    );
    assert!(matches!(node.told.lock()[0], Told::NotDemoted(_)));
    assert_eq!(node.read(&id).await, Ok(7));
    node.store.is(Mood::Well);
    node.clock.advance(Duration::from_secs(1));
    assert_eq!(node.everything_goes_down().await, 1);
    node.store.is(Mood::Full);
    assert_eq!(node.read(&id).await, Err(Promoted::Unavailable));
    node.store.is(Mood::Well);
    assert_eq!(node.read(&id).await, Ok(7));
}

#[tokio::test]
async fn what_the_store_did_without_saying_so_brings_nothing_back() {
    let node = node(Always);
    let (changes, ends) = (node.create(7), node.create(9));
    node.store.is(Mood::Silent);
    assert_eq!(node.everything_goes_down().await, 0);
    assert_eq!(node.rows().await, 2, "it has them all the same");
    node.store.is(Mood::Well);
    let visit = node.visit(&changes).await.unwrap();
    visit.insert("n", 8_u64).unwrap();
    visit.commit().unwrap();
    let visit = node.visit(&ends).await.unwrap();
    visit.flush().await.unwrap();
    drop(visit);
    assert_eq!(node.tier.promote(ends).await, Promoted::Absent);
    node.clock.advance(Duration::from_secs(1));
    node.tier.sweep().await;
    assert_eq!(node.rows().await, 0);
    assert_eq!(node.everything_goes_down().await, 1);
    assert_eq!(node.read(&changes).await, Ok(8));
    assert_eq!(node.tier.promote(ends).await, Promoted::Absent);
}

#[tokio::test]
async fn what_runs_out_below_ends_as_every_session_does() {
    let node = node(Always);
    let ids: Vec<_> = (0..600).map(|n| node.create(n)).collect();
    node.everything_goes_down().await;
    node.clock.advance(Duration::from_secs(599));
    assert!(!node.tier.sweep().await);
    let late = node.create(1);
    node.everything_goes_down().await;
    assert_eq!(node.rows().await, 601);
    node.clock.advance(Duration::from_secs(1));
    let mut batches = 1;
    while node.tier.sweep().await {
        assert!(node.sessions.map().is_empty(), "each batch ends");
        batches += 1;
    }
    assert!(batches > 2, "it is done in batches: {batches}");
    assert_eq!((node.rows().await, node.sessions.map().len()), (1, 0));
    for id in &ids {
        assert!(matches!(node.look(id), Look::NotHere(Origin::Expired)));
    }
    assert_eq!(node.read(&late).await, Ok(1));
}

#[tokio::test]
async fn a_node_that_stops_and_starts_has_its_sessions() {
    let first = node(Never);
    let ids: Vec<_> = (0..1000).map(|n| first.create(n)).collect();
    let Look::Here(in_use) = first.look(&ids[3]) else {
        panic!("it is here")
    };
    let visit = Visit::holding(Arc::clone(&first.sessions), in_use, ids[3]);
    visit.insert("n", 3333_u64).unwrap();
    let revoke_at = first.clock.now();
    assert_eq!(first.tier.close(revoke_at).await, 0);
    assert_eq!(
        visit.commit(),
        Err(SessionError::Moved),
        "what it says is not certain to be kept"
    );
    assert_eq!(first.tier.promote(ids[0]).await, Promoted::Unavailable);
    assert_eq!(first.rows().await, 1000);

    let second = first.restarted();
    first.clock.advance(Duration::from_secs(10));
    for (n, id) in ids.iter().enumerate() {
        let expected = if n == 3 { 3333 } else { n as u64 };
        assert_eq!(second.read(id).await, Ok(expected));
    }
}

#[tokio::test]
async fn a_handle_beyond_its_request_finds_its_session_again() {
    let node = node(Always);
    let visit = Arc::new(Visit::without(Arc::clone(&node.sessions), Origin::New));
    visit.insert("n", 7_u64).unwrap();
    visit.commit().unwrap();
    let handle = visit.detach();
    drop(visit);
    assert_eq!(node.everything_goes_down().await, 1);
    assert_eq!(handle.get("n").await, Ok(Some(7_u64)));
}
