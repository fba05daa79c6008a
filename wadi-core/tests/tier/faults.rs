//! What a store may do to a node, and when a node may be stopped or killed: nothing is lost by it, nothing comes
//! back, and nothing is waited for for ever.

use wadi_core::bucket::LayoutVersion;
use wadi_core::store::Payload;
use wadi_core::tenure::{Revision, Tenure};

use super::copies::write;
use super::node::*;

const LONG: Duration = Duration::from_secs(1000);

#[tokio::test]
async fn what_is_on_its_way_up_when_the_node_closes_goes_down_again() {
    let node = Arc::new(node(Always));
    let id = node.create(7);
    node.everything_goes_down().await;
    node.store.is(Mood::Slow);
    let asks = tokio::spawn({
        let node = Arc::clone(&node);
        async move { node.tier.promote(id).await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    let closes = tokio::spawn({
        let node = Arc::clone(&node);
        let revoke_at = node.clock.now();
        async move { node.tier.close(revoke_at).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    node.store.is(Mood::Well);
    node.store.gate.add_permits(10);
    assert_eq!(closes.await.unwrap(), 0);
    asks.await.unwrap();
    assert_eq!((node.sessions.map().len(), node.rows().await), (0, 1));
    assert_eq!(node.restarted().read(&id).await, Ok(7));
}

#[tokio::test]
async fn what_the_store_may_have_already_goes_down_all_the_same_when_the_node_closes() {
    let node = node(Always);
    let id = node.create(7);
    node.store.is(Mood::Silent);
    node.everything_goes_down().await;
    node.store.is(Mood::Well);
    let visit = node.visit(&id).await.unwrap();
    visit.insert("n", 8_u64).unwrap();
    visit.commit().unwrap();
    assert_eq!(node.tier.close(node.clock.now()).await, 0);
    assert_eq!(node.restarted().read(&id).await, Ok(8));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_answers_holds_up_no_end() {
    let node = Arc::new(node(Always));
    node.create(7);
    node.store.is(Mood::Hangs);
    let ends = tokio::time::timeout(LONG, node.tier.close(node.clock.now())).await;
    assert_eq!(ends, Ok(1), "it says how many are left");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_answers_holds_up_no_end_in_the_middle_of_a_round() {
    let node = Arc::new(node(Always));
    let below = node.create(7);
    node.everything_goes_down().await;
    node.create(8);
    node.store.is(Mood::Hangs);
    let asks = Arc::clone(&node);
    tokio::spawn(async move { asks.tier.promote(below).await });
    let goes_down = Arc::clone(&node);
    tokio::spawn(async move { goes_down.everything_goes_down().await });
    tokio::time::sleep(Duration::from_millis(1)).await;
    let ends = tokio::time::timeout(LONG, node.tier.close(node.clock.now())).await;
    assert!(ends.as_ref().is_ok_and(|left| *left >= 1), "{ends:?}");
}

#[tokio::test]
async fn one_batch_that_the_store_does_not_take_costs_no_other_at_the_end() {
    let node = node(Never);
    let mut ids: Vec<_> = (0..2000).map(|n| node.create(n)).collect();
    let buckets = node.sessions.map().buckets();
    ids.sort_unstable_by_key(|id| id.bucket(buckets));
    node.store.poison.lock().insert(ids[0]);
    let left = node.tier.close(node.clock.now()).await;
    assert!((1..10).contains(&left), "{left} are left");
    assert_eq!(node.rows().await, 2000 - left);
}

#[tokio::test]
async fn a_row_that_was_given_out_without_a_word_is_not_lost() {
    let node = node(Always);
    let id = node.create(7);
    node.everything_goes_down().await;
    node.store.is(Mood::Mute);
    assert_eq!(node.read(&id).await, Err(Promoted::Unavailable));
    node.store.is(Mood::Well);
    assert_eq!(node.read(&id).await, Ok(7));
    assert_eq!(node.rows().await, 0, "it is in one place");
}

#[tokio::test]
async fn a_put_that_is_done_late_brings_nothing_back() {
    let node = node(Always);
    let (ends, lives) = (node.create(7), node.create(8));
    node.store.is(Mood::Late);
    node.everything_goes_down().await;
    node.store.is(Mood::Well);
    node.visit(&ends).await.unwrap().flush().await.unwrap();
    node.clock.advance(Duration::from_secs(1));
    node.tier.sweep().await;
    node.store.does_it_now().await;
    assert_eq!(node.restarted().tier.promote(ends).await, Promoted::Absent);
    let visit = node.visit(&lives).await.unwrap();
    visit.insert("n", 9_u64).unwrap();
    visit.commit().unwrap();
    drop(visit);
    for _ in 0..10 {
        node.clock.advance(Duration::from_secs(30));
        node.tier.sweep().await;
    }
    node.everything_goes_down().await;
    assert_eq!(node.read(&lives).await, Ok(9));
    assert_eq!(node.rows().await, 0);
}

#[tokio::test]
async fn a_renewed_session_outlives_a_process_that_is_killed_in_the_middle() {
    let node = node_with(Never, Copies::AtOnce);
    let id = node.create(7);
    write(&node, &id, 8).await;
    // It takes no new row, but ends the old one.
    node.store.is(Mood::Closed);
    let visit = node.visit(&id).await.unwrap();
    assert_eq!(visit.cycle_id().await, Err(SessionError::Unsettled));
    let new = visit.id().unwrap();
    assert_eq!(
        node.restarted().read(&id).await,
        Ok(8),
        "nobody was told of another id"
    );
    node.store.is(Mood::Well);
    assert!(node.tier.end_rows().await, "it is tried again");
    let third = node.restarted();
    assert_eq!(third.read(&new).await, Ok(8));
    assert_eq!(third.tier.promote(id).await, Promoted::Absent);
}

async fn runs_out(node: &Node) {
    for _ in 0..20 {
        while !node.sessions.sweep(node.clock.now(), 256).round_done {}
        node.tier.sweep().await;
        node.everything_goes_down().await;
        node.clock.advance(Duration::from_secs(1));
    }
}

#[tokio::test]
async fn what_came_up_and_was_not_copied_before_a_kill_runs_out_all_the_same() {
    let first = node_with(Never, Copies::AtOnce);
    let (asked, lives) = (first.create(7), first.create(8));
    for id in [&asked, &lives] {
        write(&first, id, 9).await;
    }
    let second = first.restarted();
    for id in [&asked, &lives] {
        assert_eq!(second.tier.promote(*id).await, Promoted::Look);
    }
    // Killed at once, and again before anybody asks.
    let third = first.restarted();
    runs_out(&third).await;
    assert_eq!(third.rows().await, 2);
    assert_eq!(third.read(&lives).await, Ok(9));
    third.clock.advance(Duration::from_secs(3600));
    runs_out(&third).await;
    assert_eq!(third.rows().await, 0);
}

#[tokio::test]
async fn rows_of_another_number_of_buckets_run_out_all_the_same() {
    let first = node(Always);
    let ids: Vec<_> = (0..50).map(|n| first.create(n)).collect();
    first.everything_goes_down().await;
    let few = BucketCount::new(16).unwrap();
    let (store, clock) = (Arc::clone(&first.store.store), Arc::clone(&first.clock));
    let second = node_of(few, store, clock, Always, Copies::Never);
    runs_out(&second).await;
    assert_eq!(second.read(&ids[3]).await, Ok(3));
    second.clock.advance(Duration::from_secs(3600));
    runs_out(&second).await;
    assert_eq!((first.rows().await, second.sessions.map().len()), (0, 0));
}

#[tokio::test]
async fn a_row_of_another_session_is_given_to_nobody() {
    for copies in [Copies::Never, Copies::AtOnce] {
        let node = node_with(Always, copies);
        let ids = [node.create(7), node.create(8)];
        node.everything_goes_down().await;
        node.store.is(Mood::Mixed);
        let read = node.read(&ids[0]).await;
        assert!(read.is_err(), "it has another's: {read:?}");
        node.store.is(Mood::Well);
        assert_eq!(node.read(&ids[0]).await, Ok(7));
    }
}

#[tokio::test]
async fn damaged_rows_do_not_keep_others_from_running_out() {
    let node = node(Always);
    let buckets = node.sessions.map().buckets();
    let mut ids: Vec<_> = (0..700).map(|n| node.create(n)).collect();
    ids.sort_unstable_by_key(|id| (id.bucket(buckets), *id));
    node.everything_goes_down().await;
    node.store.poison.lock().extend(&ids[..600]);
    node.clock.advance(Duration::from_secs(3600));
    for _ in 0..20 {
        node.tier.sweep().await;
    }
    assert_eq!(node.rows().await, 600, "what is damaged stays");
}

#[tokio::test]
async fn what_this_version_cannot_read_keeps_its_age_and_ends_when_its_time_is_over() {
    let node = node(Always);
    let id = node.create(7);
    let left = Duration::from_secs(60);
    let row = Row {
        id,
        bucket: id.bucket(node.sessions.map().buckets()),
        tenure: Tenure::new(LayoutVersion::ZERO.next(), 0),
        revision: Revision::new(1),
        left,
        payload: Payload::seal(id, &[0; 30]),
    };
    node.visit(&id).await.unwrap().flush().await.unwrap();
    node.store.store.put(vec![row]).await.unwrap();
    node.clock.advance(Duration::from_secs(30));
    assert_eq!(node.tier.promote(id).await, Promoted::Unreadable);
    assert_eq!(node.rows().await, 1, "a later version may read it");
    let took = node.store.store.take(
        id,
        Claim::Granted(Tenure::new(LayoutVersion::ZERO.next(), 0)),
    );
    let Ok(Took::Row(kept)) = took.await else {
        panic!("it is there")
    };
    let aged = u64::from_le_bytes(kept.payload.state()[..8].try_into().unwrap());
    assert_eq!(Duration::from_nanos(aged), Duration::from_secs(30));
    runs_out(&node).await;
    assert_eq!(node.rows().await, 1);
    node.clock.advance(Duration::from_secs(40 * 24 * 3600));
    runs_out(&node).await;
    assert_eq!(node.rows().await, 0);
    assert_eq!(node.sessions.map().len(), 0);
}

#[tokio::test]
async fn a_store_that_panics_costs_one_answer() {
    for copies in [Copies::Never, Copies::AtOnce] {
        let node = node_with(Always, copies);
        let id = node.create(7);
        node.store.is(Mood::Panics);
        let round = tokio::time::timeout(LONG, node.tier.evict(64)).await;
        assert!(round.is_ok(), "the round goes on");
        assert_eq!(node.read(&id).await, Ok(7));
        node.store.is(Mood::Well);
        node.clock.advance(Duration::from_secs(60));
        node.everything_goes_down().await;
        assert_eq!(node.sessions.map().len(), 0);
        node.store.is(Mood::Panics);
        assert_eq!(node.tier.promote(id).await, Promoted::Unavailable);
        node.store.is(Mood::Well);
        assert_eq!(node.read(&id).await, Ok(7), "it is asked again");
    }
}

#[tokio::test]
async fn a_session_that_is_only_read_is_not_lost_with_its_copy() {
    for copies in [Copies::AtOnce, Copies::After(Duration::from_secs(10))] {
        let node = node_with(Never, copies);
        let id = node.create(7);
        let visit = node.visit(&id).await.unwrap();
        visit.insert("n", 8_u64).unwrap();
        visit.commit().unwrap();
        drop(visit);
        for _ in 0..20 {
            assert_eq!(node.read(&id).await, Ok(8));
            node.everything_goes_down().await;
            node.clock.advance(Duration::from_secs(240));
        }
        let second = node.restarted();
        runs_out(&second).await;
        assert_eq!(second.read(&id).await, Ok(8), "{copies:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_waiting_leaves_nothing_behind() {
    let node = node_with(Never, Copies::AtOnce);
    let id = node.create(7);
    node.store.is(Mood::Hangs);
    let held = node.visit(&id).await.unwrap().session().unwrap();
    let below = SessionId::from_parts([9; 16], 1);
    for _ in 0..100 {
        node.tier.copy(&held).await;
        assert_eq!(node.tier.promote(below).await, Promoted::Unavailable);
    }
    assert!(node.tier.waiting() <= 4, "{} wait", node.tier.waiting());
}

#[tokio::test]
async fn who_wants_a_session_alone_has_it_though_it_goes_down_meanwhile() {
    let node = node(Always);
    let id = node.create(7);
    let (other, alone) = (
        node.visit(&id).await.unwrap(),
        node.visit(&id).await.unwrap(),
    );
    assert!(!alone.try_alone());
    other.commit().unwrap();
    drop(other);
    // Between its two locks nobody holds it.
    assert_eq!(node.everything_goes_down().await, 1);
    assert_eq!(alone.alone().await, Ok(()));
    assert_eq!(alone.update("n", |n: &mut u64| *n += 1), Ok(()));
    alone.commit().unwrap();
    drop(alone);
    assert_eq!(node.read(&id).await, Ok(8));
}
