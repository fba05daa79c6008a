//! Copies in the store of sessions that are in memory.

use super::node::*;

/// As a request that writes: its response waits for the copy.
pub(crate) async fn write(node: &Node, id: &SessionId, value: u64) {
    let visit = node.visit(id).await.unwrap();
    visit.insert("n", value).unwrap();
    let held = visit.session().unwrap();
    assert!(node.tier.lacks_copy(&held));
    node.tier.copy(&held).await;
    assert!(!node.tier.lacks_copy(&held), "it waits once");
    visit.commit().unwrap();
}

#[tokio::test]
async fn what_was_answered_outlives_a_process_that_is_killed() {
    let first = node_with(Never, Copies::AtOnce);
    let (kept, unchanged, destroyed, renewed) = (
        first.create(1),
        first.create(2),
        first.create(3),
        first.create(4),
    );
    for id in [&kept, &unchanged, &destroyed, &renewed] {
        write(&first, id, 10).await;
    }
    write(&first, &kept, 11).await;
    first
        .visit(&destroyed)
        .await
        .unwrap()
        .flush()
        .await
        .unwrap();
    let visit = first.visit(&renewed).await.unwrap();
    visit.cycle_id().await.unwrap();
    let new = visit.id().unwrap();
    first.tier.copy(&visit.session().unwrap()).await;
    visit.commit().unwrap();

    // Nothing is closed: it is killed.
    let second = first.restarted();
    assert_eq!(second.read(&kept).await, Ok(11));
    assert_eq!(second.read(&unchanged).await, Ok(10));
    assert_eq!(second.read(&new).await, Ok(10));
    for gone in [&destroyed, &renewed] {
        assert_eq!(second.tier.promote(*gone).await, Promoted::Absent);
    }
    // And killed again, when nothing but this was written since.
    write(&second, &kept, 12).await;
    let third = second.restarted();
    assert_eq!(third.read(&kept).await, Ok(12));
    assert_eq!(third.read(&unchanged).await, Ok(10));
}

#[tokio::test]
async fn overlapping_requests_share_a_copy() {
    let node = Arc::new(node_with(Never, Copies::AtOnce));
    let id = node.create(0);
    node.store.is(Mood::Slow);
    let asks: Vec<_> = (0..64)
        .map(|_| {
            let node = Arc::clone(&node);
            tokio::spawn(async move {
                let visit = node.visit(&id).await.unwrap();
                visit.update("n", |n: &mut u64| *n += 1).unwrap();
                node.tier.copy(&visit.session().unwrap()).await;
                visit.commit().unwrap();
            })
        })
        .collect();
    tokio::task::yield_now().await;
    // Two are enough for all of them.
    node.store.gate.add_permits(2);
    for asked in asks {
        asked.await.unwrap();
    }
    node.store.is(Mood::Well);
    assert_eq!(node.restarted().read(&id).await, Ok(64));
}

#[tokio::test]
async fn an_end_is_certain_only_when_the_store_knows_it() {
    let node = node_with(Never, Copies::AtOnce);
    let id = node.create(7);
    write(&node, &id, 8).await;
    node.store.is(Mood::Full);
    let flushed = node.visit(&id).await.unwrap().flush().await;
    assert_eq!(flushed, Err(SessionError::Unsettled));
    assert!(
        node.told
            .lock()
            .iter()
            .any(|told| matches!(told, Told::NotEnded(_)))
    );
    node.store.is(Mood::Well);
    assert!(node.tier.end_rows().await, "it is told again");
    assert_eq!(node.restarted().tier.promote(id).await, Promoted::Absent);
}

#[tokio::test]
async fn a_store_that_fails_holds_up_no_session_in_memory_and_has_its_copy_later() {
    let node = node_with(Never, Copies::AtOnce);
    let id = node.create(7);
    node.store.is(Mood::Full);
    let visit = node.visit(&id).await.unwrap();
    visit.insert("n", 9_u64).unwrap();
    node.tier.copy(&visit.session().unwrap()).await;
    visit.commit().unwrap();
    drop(visit);
    node.store.is(Mood::Well);
    node.everything_goes_down().await;
    assert_eq!(
        node.restarted().read(&id).await,
        Ok(9),
        "the next round wrote it"
    );
}

#[tokio::test]
async fn copies_may_come_some_time_later() {
    let node = node_with(Never, Copies::After(Duration::from_secs(10)));
    let id = node.create(7);
    let visit = node.visit(&id).await.unwrap();
    assert!(
        !node.tier.lacks_copy(&visit.session().unwrap()),
        "no response waits"
    );
    drop(visit);
    node.everything_goes_down().await;
    assert_eq!(node.rows().await, 1, "there was none yet");
    let visit = node.visit(&id).await.unwrap();
    visit.insert("n", 8_u64).unwrap();
    visit.commit().unwrap();
    drop(visit);
    node.clock.advance(Duration::from_secs(9));
    node.everything_goes_down().await;
    node.clock.advance(Duration::from_secs(1));
    let before = node.store.store.take(id, Claim::Own).await.unwrap();
    assert!(matches!(before, Took::Row(kept) if kept.revision.get() == 1));
    node.everything_goes_down().await;
    assert_eq!(node.restarted().read(&id).await, Ok(8));
}

#[tokio::test]
async fn a_session_in_use_is_not_ended_for_its_copy() {
    let node = node_with(Never, Copies::AtOnce);
    let (used, idle) = (node.create(7), node.create(8));
    for id in [&used, &idle] {
        write(&node, id, 9).await;
    }
    for _ in 0..10 {
        node.clock.advance(Duration::from_secs(300));
        assert_eq!(node.read(&used).await, Ok(9));
        node.tier.sweep().await;
        node.everything_goes_down().await;
    }
    assert!(matches!(node.look(&idle), Look::NotHere(Origin::Expired)));
    assert_eq!(node.rows().await, 1);
    // Killed, it has been idle for as long as it was.
    let second = node.restarted();
    assert_eq!(second.read(&used).await, Ok(9));
    assert_eq!(second.tier.promote(idle).await, Promoted::Absent);
}
