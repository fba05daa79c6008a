//! A node that joins is given buckets, and nobody notices.

use crate::world::{World, millis, secs};

#[tokio::test(start_paused = true)]
async fn buckets_are_handed_over_to_a_newcomer_while_sessions_are_made_and_used() {
    let world = World::of(&["n1", "n2", "n3"]).await;
    let mut ids = Vec::new();
    for name in ["n1", "n2", "n3"] {
        for _ in 0..100 {
            ids.push(world.create(name).await);
        }
    }
    world.start("n4").await;
    // While buckets change hands sessions are created in them, and found at once by others.
    for n in 0..200 {
        let name = ["n1", "n2", "n3"][n % 3];
        ids.push(world.create(name).await);
        tokio::time::sleep(millis(5)).await;
    }
    world.settle().await;
    let n4 = world.node("n4").status();
    let managed = n4.layout.unwrap().managed_by(n4.incarnation.unwrap());
    assert_eq!(managed, 8, "a quarter of 32 buckets");
    for id in &ids {
        assert_eq!(world.serving(id).len(), 1);
        assert!(world.owner("n4", id).await.is_ok());
    }
    let own = world.create("n4").await;
    assert_eq!(world.owner("n1", &own).await, Ok("n4".to_owned()));
    tokio::time::sleep(secs(5)).await;
    for name in ["n1", "n2", "n3", "n4"] {
        assert_eq!(world.events(name), [], "{name}");
    }
}

/// Where nobody leads just then, a newcomer is not answered, and asks anew as soon as it has given that up.
#[tokio::test(start_paused = true)]
async fn a_join_that_was_waited_for_in_vain_is_asked_for_again_at_once() {
    let world = World::of(&["n1", "n2"]).await;
    world.begin("n3", true);
    tokio::time::sleep(millis(900)).await;
    world.cut_off("n3", false);
    // It has waited for a second, and waits for no other.
    let ready = world.node("n3").ready(millis(500)).await;
    assert!(ready.is_ok());
}
