//! A node that leaves in good order takes nothing with it.

use wadi_core::node::{Left, Told};

use crate::world::{World, secs};

#[tokio::test(start_paused = true)]
async fn every_session_of_a_leaving_node_is_on_the_others() {
    let world = World::of(&["n1", "n2", "n3"]).await;
    let mut ids = Vec::new();
    for _ in 0..500 {
        ids.push(world.create("n1").await);
    }
    // Some are away from home, some of others' are here.
    for id in &ids[..50] {
        world.owner("n2", id).await.unwrap();
    }
    for _ in 0..50 {
        let id = world.create("n3").await;
        world.owner("n1", &id).await.unwrap();
        ids.push(id);
    }
    let left = world.leave("n1").await;
    assert_eq!(
        left,
        Left {
            in_good_order: true,
            left_behind: 0
        }
    );
    for id in &ids {
        assert_eq!(world.serving(id).len(), 1);
    }
    for id in &ids {
        assert!(world.owner("n2", id).await.is_ok());
    }
    for name in ["n2", "n3"] {
        assert_eq!(world.events(name), [], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_go_on_while_a_node_leaves() {
    let world = World::of(&["n1", "n2", "n3"]).await;
    let id = world.create("n1").await;
    let node = world.node("n1").clone();
    let mut counted = 0;
    let leaving = tokio::spawn(async move { node.leave(secs(20)).await });
    while !leaving.is_finished() {
        let one = world
            .request("n2", &id, async |visit| {
                visit.update("count", |count: &mut u64| *count += 1)
            })
            .await;
        counted += u64::from(one.is_ok());
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(leaving.await.unwrap().in_good_order);
    world.kill("n1");
    let count = world
        .request("n3", &id, async |visit| visit.get::<u64>("count"))
        .await;
    assert_eq!(count, Ok(Some(counted)));
}

#[tokio::test(start_paused = true)]
async fn the_last_node_leaves_at_its_deadline_and_says_what_it_leaves_behind() {
    let world = World::of(&["n1"]).await;
    world.create("n1").await;
    let left = world.leave("n1").await;
    assert_eq!(
        left,
        Left {
            in_good_order: false,
            left_behind: 1
        }
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_that_has_left_and_was_not_told_does_not_come_back() {
    let world = World::of(&["n1", "n2", "n3"]).await;
    let n1 = world.node("n1");
    let youngest = world.node("n3").status().incarnation;
    world.lose_left("n1");
    let left = n1.leave(secs(20)).await;
    assert!(left.in_good_order, "{left:?}");
    assert!(!world.was_told("n1", |told| matches!(told, Told::Fenced { .. })));
    let layout = world.node("n2").status().layout.unwrap();
    assert_eq!(layout.members.len(), 2);
    assert_eq!(layout.members.keys().max().copied(), youngest);
}
