//! A node that leaves in good order takes nothing with it.

use wadi_core::message::Want;
use wadi_core::node::{Left, Told};

use crate::world::{Refused, World, secs};

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
async fn the_last_node_leaves_at_once_and_says_what_it_leaves_behind() {
    let world = World::of(&["n1"]).await;
    world.create("n1").await;
    let node = world.node("n1");
    let evacuated = tokio::time::timeout(secs(1), node.evacuate(secs(20))).await;
    assert_eq!(evacuated, Ok(false));
    let left = tokio::time::timeout(secs(1), world.leave("n1")).await;
    assert_eq!(
        left,
        Ok(Left {
            in_good_order: false,
            left_behind: 1
        })
    );
}

#[tokio::test(start_paused = true)]
async fn all_leave_at_once() {
    let world = World::of(&["n1", "n2", "n3"]).await;
    for name in ["n1", "n2", "n3"] {
        world.create(name).await;
    }
    let [a, b, c] = ["n1", "n2", "n3"].map(|name| world.node(name));
    let all = async { tokio::join!(a.leave(secs(20)), b.leave(secs(20)), c.leave(secs(20))) };
    // Somebody might come to take it all, so they wait, and no longer than they may.
    let (a, b, c) = tokio::time::timeout(secs(21), all).await.unwrap();
    assert_eq!(a.left_behind + b.left_behind + c.left_behind, 3);
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_all_leave_takes_everything() {
    let world = World::of(&["n1", "n2"]).await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(world.create("n1").await);
        ids.push(world.create("n2").await);
    }
    let [first, second] = ["n2", "n1"].map(|name| world.node(name));
    let leaving = async { tokio::join!(first.leave(secs(20)), second.leave(secs(20))) };
    let coming = async {
        tokio::time::sleep(secs(1)).await;
        world.start("n3").await;
    };
    let ((first, second), ()) = tokio::join!(leaving, coming);
    assert!(first.in_good_order && second.in_good_order);
    world.kill("n1");
    world.kill("n2");
    for id in &ids {
        assert_eq!(world.serving(id), ["n3"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_farewell_was_heard_has_left_whatever_it_hears() {
    let world = World::of(&["n1", "n2", "n3"]).await;
    world.create("n1").await;
    world.farewell_unheard("n1");
    let left = tokio::time::timeout(secs(5), world.node("n1").leave(secs(20))).await;
    assert!(left.unwrap().in_good_order);
    assert_eq!(
        world.times_told("n1", |told| matches!(told, Told::Joined(_))),
        1
    );
    assert!(!world.was_told("n1", |told| matches!(told, Told::Fenced { .. })));
}

#[tokio::test(start_paused = true)]
async fn an_evacuated_node_says_where_everything_is_until_it_leaves() {
    let world = World::of(&["n1", "n2", "n3"]).await;
    let id = world.create("n1").await;
    let node = world.node("n1");
    assert!(node.evacuate(secs(20)).await);
    assert!(node.sessions().map().is_empty());
    let evacuation = node.status().evacuation.unwrap();
    assert_eq!((evacuation.began_with, evacuation.left), (1, 0));
    tokio::time::sleep(secs(20)).await;
    let owner = world.request_wanting(Want::Locate, "n1", &id, async |visit| {
        visit.get::<String>("owner")
    });
    assert_eq!(owner.await, Ok(Some("n1".to_owned())));
    assert!(world.leave("n1").await.in_good_order);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_uses_a_session_for_too_long_loses_it() {
    let world = World::of(&["n1", "n2"]).await;
    let id = world.create("n1").await;
    let node = world.node("n1");
    let (too_long, moved) = tokio::join!(
        world.request("n1", &id, async |visit| {
            visit.insert("before", true)?;
            tokio::time::sleep(secs(30)).await;
            visit.insert("after", true)
        }),
        node.evacuate(secs(5)),
    );
    assert!(moved);
    assert_eq!(too_long, Err(Refused::Unavailable));
    let seen = world.request("n2", &id, async |visit| {
        Ok((visit.contains("before")?, visit.contains("after")?))
    });
    assert_eq!(seen.await, Ok((true, false)));
}

#[tokio::test(start_paused = true)]
async fn who_watches_a_node_does_not_keep_it() {
    let world = World::of(&["n1", "n2"]).await;
    let mut watch = world.node("n2").watch();
    let never = tokio::time::timeout(secs(60), watch.wait_for(|_| false));
    let (ended, ()) = tokio::join!(never, async { world.kill("n2") });
    assert!(ended.expect("it ends").is_err());
}
