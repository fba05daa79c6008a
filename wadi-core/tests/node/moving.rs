//! A session goes to where its requests are, whole, and never twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use wadi_core::message::Want;
use wadi_core::node::Located;
use wadi_core::session::{Expiry, Visit};
use wadi_core::transport::memory::Condition;

use crate::world::{World, millis, secs};

#[tokio::test(start_paused = true)]
async fn a_session_moves_with_its_attributes_to_who_asks() {
    let world = World::of(&["n1", "n2", "n3"]).await;
    let id = world.create("n1").await;
    world
        .request("n1", &id, async |visit| {
            visit.insert("basket", vec![1_u32, 2, 3])?;
            visit.set_expiry(Expiry::OnInactivity(secs(100)))
        })
        .await
        .unwrap();
    assert_eq!(world.serving(&id), ["n1"]);
    let basket = world
        .request("n2", &id, async |visit| visit.get::<Vec<u32>>("basket"))
        .await;
    assert_eq!(basket, Ok(Some(vec![1, 2, 3])));
    assert_eq!(world.serving(&id), ["n2"]);
    // Whoever asks for it afterwards is told, and it may go on.
    let at_n2 = world.node("n3").locate(id, Want::Locate).await;
    let n2 = world.node("n2").status().incarnation.unwrap();
    assert_eq!(at_n2, Located::At(n2));
    assert_eq!(world.owner("n3", &id).await, Ok("n1".to_owned()));
    assert_eq!(world.serving(&id), ["n3"]);
    tokio::time::sleep(secs(99)).await;
    let n3 = world.node("n3");
    n3.sessions().sweep(n3.sessions().now(), 1000);
    assert_eq!(
        world.serving(&id),
        ["n3"],
        "its own idle time moved with it"
    );
    for name in ["n1", "n2", "n3"] {
        assert_eq!(world.events(name), [], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_used_for_long_stays_and_is_asked_there() {
    let world = World::of(&["n1", "n2", "n3"]).await;
    let id = world.create("n1").await;
    let (long, other) = tokio::join!(
        world.request("n1", &id, async |visit| {
            tokio::time::sleep(secs(1)).await;
            visit.insert("long", true)
        }),
        async {
            tokio::time::sleep(millis(100)).await;
            world
                .request("n2", &id, async |visit| visit.get::<String>("owner"))
                .await
        }
    );
    assert_eq!(long, Ok(()));
    assert_eq!(other, Ok(Some("n1".to_owned())));
    assert_eq!(world.serving(&id), ["n1"]);
}

#[tokio::test(start_paused = true)]
async fn a_handler_runs_at_once_and_answers_when_the_manager_confirms_the_arrival() {
    let world = World::of(&["n1", "n2", "n3"]).await;
    let id = world.create("n1").await;
    let ran = AtomicBool::new(false);
    world.condition(
        "n1",
        "n2",
        Condition {
            delay: millis(100),
            ..Condition::default()
        },
    );
    let answered = AtomicBool::new(false);
    let request = async {
        let written = async |visit: &Visit| {
            visit.insert("n", 1_u8)?;
            ran.store(true, Ordering::Relaxed);
            visit.get::<String>("owner")
        };
        let owner = world.request("n2", &id, written).await;
        answered.store(true, Ordering::Relaxed);
        owner
    };
    let (asked, ()) = tokio::join!(request, async {
        // The question is under way, and the word of the arrival will not be.
        tokio::time::sleep(millis(50)).await;
        let cut = Condition {
            cut: true,
            ..Condition::default()
        };
        world.condition("n2", "n1", cut);
        tokio::time::sleep(millis(500)).await;
        assert!(ran.load(Ordering::Relaxed));
        assert!(!answered.load(Ordering::Relaxed));
        assert_eq!(world.serving(&id), [""; 0]);
        world.network.heal();
    });
    assert_eq!(asked, Ok(Some("n1".to_owned())));
    let read = world.request("n2", &id, async |visit| visit.get("n")).await;
    assert_eq!(read, Ok(Some(1_u8)));
    assert_eq!(world.serving(&id), ["n2"]);
}

/// A value whose own code panics when it is encoded, once it is armed.
#[derive(Clone, Debug)]
struct Trap(Arc<AtomicBool>);

impl Serialize for Trap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let armed = self.0.load(Ordering::Relaxed);
        assert!(!armed, "this value panics, as the test wants it");
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Trap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <()>::deserialize(deserializer)?;
        Ok(Self(Arc::default()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_that_panics_when_it_is_encoded_stays_and_the_node_lives_on() {
    let world = World::of(&["n1", "n2", "n3"]).await;
    let (trapped, other) = (world.create("n1").await, world.create("n1").await);
    world
        .request("n1", &trapped, async |visit| {
            let trap = Trap(Arc::default());
            visit.insert("trap", trap.clone())?;
            trap.0.store(true, Ordering::Relaxed);
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(world.owner("n2", &trapped).await, Ok("n1".to_owned()));
    assert_eq!(world.serving(&trapped), ["n1"]);
    assert_eq!(world.owner("n2", &other).await, Ok("n1".to_owned()));
    assert_eq!(world.serving(&other), ["n2"]);
}

#[tokio::test(start_paused = true)]
async fn overlapping_updates_lose_nothing_while_the_session_is_forced_to_move() {
    let world = World::of(&["n1", "n2", "n3"]).await;
    count_over_moves(&world, 200).await;
}

#[tokio::test(start_paused = true)]
async fn nor_where_messages_are_late_and_doubled() {
    let world = World::of(&["n1", "n2", "n3"]).await;
    world.every_link(Condition {
        delay: millis(7),
        doubled: true,
        cut: false,
    });
    count_over_moves(&world, 50).await;
}

async fn count_over_moves(world: &World, rounds: u64) {
    let id = world.create("n1").await;
    let names = ["n1", "n2", "n3"];
    for round in 0..rounds {
        let increments = (0..16).map(|n| async move {
            let name = names[(round as usize + n) % 3];
            loop {
                let counted = world
                    .request(name, &id, async |visit| {
                        visit.update("count", |count: &mut u64| *count += 1)?;
                        tokio::time::sleep(millis(n as u64 % 3)).await;
                        Ok(())
                    })
                    .await;
                if counted.is_ok() {
                    return;
                }
                tokio::time::sleep(millis(10)).await;
            }
        });
        all(increments).await;
        assert!(world.serving(&id).len() <= 1, "round {round}");
    }
    let count = world
        .request("n1", &id, async |visit| visit.get::<u64>("count"))
        .await;
    assert_eq!(count, Ok(Some(rounds * 16)));
    for name in names {
        assert_eq!(world.events(name), [], "{name}");
    }
}

/// Awaits all of them at once.
async fn all(futures: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        futures.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if futures.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn clocks_on_walls_may_be_days_off_and_jump_and_no_session_is_the_worse_for_it() {
    const DAYS: i64 = 2 * 24 * 3600;
    let world = World::of(&["n1", "n2", "n3"]).await;
    world.wall_is_off("n2", DAYS);
    world.wall_is_off("n3", -DAYS);
    let mut ids = Vec::new();
    for name in ["n1", "n2", "n3"] {
        ids.push((name, world.create(name).await));
    }
    for turn in 0..6 {
        for (creator, id) in &ids {
            for name in ["n1", "n2", "n3"] {
                let owner = world.owner(name, id).await;
                assert_eq!(owner, Ok((*creator).to_owned()), "at {name} in turn {turn}");
            }
        }
        // All of them jump, and each by itself.
        for (index, name) in ["n1", "n2", "n3"].into_iter().enumerate() {
            let by = [-DAYS, 3600, DAYS][(turn + index) % 3];
            world.wall_is_off(name, by);
        }
        tokio::time::sleep(secs(5)).await;
    }
    for name in ["n1", "n2", "n3"] {
        assert_eq!(world.events(name), [], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_may_live_for_long_is_found_by_others_when_its_id_is_old() {
    let world = World::of(&["n1", "n2"]).await;
    let id = world.create("n1").await;
    world
        .request("n1", &id, async |visit| {
            visit.set_expiry(Expiry::After(secs(30 * 24 * 3600)))
        })
        .await
        .unwrap();
    for name in ["n1", "n2"] {
        world.wall_is_off(name, 3 * 24 * 3600);
    }
    assert_eq!(world.owner("n2", &id).await, Ok("n1".to_owned()));
}
