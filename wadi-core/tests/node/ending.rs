//! What was destroyed stays away, and who destroyed it is told so only when that is certain.

use wadi_core::session::SessionError;
use wadi_core::transport::memory::Condition;

use crate::world::{Refused, World, millis, secs};

#[tokio::test(start_paused = true)]
async fn a_destroyed_session_does_not_come_back() {
    let world = World::of(&["n1", "n2", "n3"]).await;
    let id = world.create("n1").await;
    world.owner("n2", &id).await.unwrap();
    world
        .request("n2", &id, async |visit| visit.flush().await)
        .await
        .unwrap();
    for name in ["n1", "n2", "n3"] {
        assert_eq!(
            world.owner(name, &id).await,
            Err(Refused::Absent { lost: false }),
            "{name}"
        );
    }
    // Also when the node dies that managed it, or the one that ended it.
    world.kill("n2");
    tokio::time::sleep(secs(20)).await;
    for name in ["n1", "n3"] {
        assert_eq!(
            world.owner(name, &id).await,
            Err(Refused::Absent { lost: false }),
            "{name}"
        );
        assert_eq!(world.serving(&id), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_destroyer_is_not_answered_before_the_markers_are_in_place() {
    let world = World::of(&["n1", "n2"]).await;
    let id = world.create("n1").await;
    let cut = Condition {
        cut: true,
        ..Condition::default()
    };
    world.condition("n1", "n2", cut);
    let (flushed, ()) = tokio::join!(
        world.request("n1", &id, async |visit| {
            let started = world.node("n1").sessions().now();
            visit.flush().await?;
            Ok(world.node("n1").sessions().now().since(started))
        }),
        async {
            tokio::time::sleep(secs(1)).await;
            world.network.heal();
        }
    );
    assert!(flushed.unwrap() >= secs(1));

    let other = world.create("n1").await;
    world.condition("n1", "n2", cut);
    let visited = world
        .request("n1", &other, async |visit| {
            assert_eq!(visit.flush().await, Err(SessionError::Unsettled));
            Ok(())
        })
        .await;
    assert_eq!(visited, Ok(()));
    assert_eq!(world.serving(&other), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_renewed_id_is_dead_everywhere_and_the_session_lives_on() {
    let world = World::of(&["n1", "n2", "n3"]).await;
    let old = world.create("n1").await;
    let new = world
        .request("n2", &old, async |visit| {
            visit.cycle_id().await?;
            Ok(visit.id().unwrap())
        })
        .await
        .unwrap();
    for name in ["n1", "n2", "n3"] {
        assert_eq!(
            world.owner(name, &old).await,
            Err(Refused::Absent { lost: false }),
            "{name}"
        );
        assert_eq!(world.owner(name, &new).await, Ok("n1".to_owned()), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_while_it_is_wanted_elsewhere_is_not_called_lost() {
    let world = World::of(&["n1", "n2", "n3"]).await;
    for _ in 0..50 {
        let id = world.create("n1").await;
        let (flushed, asked) = tokio::join!(
            world.request("n1", &id, async |visit| {
                tokio::time::sleep(millis(2)).await;
                visit.flush().await
            }),
            async {
                tokio::time::sleep(millis(1)).await;
                world.owner("n2", &id).await
            }
        );
        assert_eq!(flushed, Ok(()));
        assert_eq!(asked, Err(Refused::Absent { lost: false }));
    }
    for name in ["n1", "n2", "n3"] {
        assert_eq!(world.events(name), [], "{name}");
    }
}
