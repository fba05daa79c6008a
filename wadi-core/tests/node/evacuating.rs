//! What an evacuation has under way, and what holds it up.

use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};
use wadi_core::message::Want;
use wadi_core::node::{Located, Node, Told};
use wadi_core::protocol::Settings;
use wadi_core::session::{Ending, Guard, Origin, SessionId, Visit};
use wadi_core::transport::memory::Condition;

use crate::world::{World, millis, secs};

const AT_ONCE: usize = 64;

async fn two_nodes() -> World {
    let protocol = Settings {
        evacuate_at_once: AT_ONCE,
        ..Settings::default()
    };
    World::with(32, protocol, &["n1", "n2"]).await
}

async fn create(world: &World, name: &str, count: usize) -> Vec<SessionId> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(world.create(name).await);
    }
    ids
}

fn in_use(node: &Node, ids: &[SessionId]) -> Vec<Guard> {
    let share = |id| node.sessions().map().get(id)?.try_share();
    ids.iter()
        .map(|id| share(id).expect("it is here"))
        .collect()
}

fn evacuate(node: &Node) {
    let node = node.clone();
    tokio::spawn(async move { node.evacuate(secs(60)).await });
}

/// What `from` sends arrives at once; what `to` answers takes so long.
fn slow_answers(world: &World, from: &str, to: &str, delay: std::time::Duration) {
    let slow = Condition {
        delay,
        ..Condition::default()
    };
    world.condition(to, from, slow);
}

#[tokio::test(start_paused = true)]
async fn sessions_in_use_stop_no_others() {
    let world = two_nodes().await;
    let busy = create(&world, "n1", AT_ONCE + 100).await;
    create(&world, "n1", 500).await;
    let node = world.node("n1");
    let guards = in_use(&node, &busy);
    evacuate(&node);
    tokio::time::sleep(millis(400)).await;
    assert_eq!(
        node.sessions().map().len(),
        busy.len(),
        "the others are gone"
    );
    drop(guards);
    tokio::time::sleep(secs(3)).await;
    assert!(node.sessions().map().is_empty());
    assert_eq!(world.node("n2").sessions().map().len(), AT_ONCE + 600);
}

#[tokio::test(start_paused = true)]
async fn no_more_are_under_way_than_were_confirmed_before() {
    let world = two_nodes().await;
    let count = 5 * AT_ONCE;
    create(&world, "n1", count).await;
    let node = world.node("n1");
    slow_answers(&world, "n1", "n2", millis(300));
    evacuate(&node);
    let mut most = 0;
    for _ in 0..200 {
        tokio::time::sleep(millis(20)).await;
        let (sealed, arrived) = (node.migrations().left(), confirmed(&world));
        // What n2 has confirmed n1 hears of 300 ms later.
        most = most.max(sealed - arrived);
    }
    assert!(most <= AT_ONCE as u64, "{most}");
    tokio::time::sleep(secs(10)).await;
    assert!(node.sessions().map().is_empty());
}

fn confirmed(world: &World) -> u64 {
    world.node("n2").migrations().arrived()
}

#[tokio::test(start_paused = true)]
async fn large_sessions_are_under_way_by_their_bytes() {
    const BYTES: usize = 200_000;
    let world = two_nodes().await;
    let node = world.node("n1");
    let most = Settings::default().evacuate_bytes / BYTES;
    for _ in 0..6 * most {
        let visit = Visit::without(Arc::clone(node.sessions()), Origin::New);
        visit.insert("text", "x".repeat(BYTES)).unwrap();
        visit.commit().unwrap();
    }
    slow_answers(&world, "n1", "n2", millis(300));
    evacuate(&node);
    let mut under_way = 0;
    for _ in 0..200 {
        tokio::time::sleep(millis(20)).await;
        under_way = under_way.max(node.migrations().left() - confirmed(&world));
    }
    assert!(under_way <= 2 * most as u64, "{under_way}");
    tokio::time::sleep(secs(20)).await;
    assert!(node.sessions().map().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_session_is_asked_for_again_when_its_own_time_is_up() {
    let world = two_nodes().await;
    create(&world, "n1", AT_ONCE).await;
    let node = world.node("n1");
    // n2 hears nothing of this before the end.
    slow_answers(&world, "n1", "n2", secs(5));
    let mut asked = Vec::new();
    evacuate(&node);
    tokio::time::sleep(millis(10)).await;
    for _ in 0..2 {
        let before = world.network.carried();
        tokio::time::sleep(secs(1)).await;
        asked.push(world.network.carried() - before);
    }
    // After 50 to 100, 50, 100, 200, 400, 800 ms and then each second, beside a few for buckets.
    let each = AT_ONCE as u64;
    assert!(asked[0] <= 5 * each + 200, "{asked:?}");
    assert!(asked[1] <= 2 * each + 200, "{asked:?}");
}

/// Encodes once, as often as a value is encoded when it is written.
#[derive(Clone, Debug, Default, Deserialize)]
struct Stubborn;

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use std::sync::atomic::{AtomicBool, Ordering};
        static WRITTEN: AtomicBool = AtomicBool::new(false);
        if WRITTEN.swap(true, Ordering::Relaxed) {
            return Err(serde::ser::Error::custom("not any more"));
        }
        serializer.serialize_unit()
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_without_an_encoding_is_told_of_once_and_stays() {
    let world = two_nodes().await;
    let id = world.create("n1").await;
    let inserted = world
        .request("n1", &id, async |visit| visit.insert("stubborn", Stubborn))
        .await;
    assert_eq!(inserted, Ok(()));
    create(&world, "n1", 50).await;
    let node = world.node("n1");
    evacuate(&node);
    tokio::time::sleep(secs(10)).await;
    assert_eq!(node.sessions().map().len(), 1);
    assert_eq!(world.serving(&id), ["n1"]);
    let told = world.times_told("n1", |told| matches!(told, Told::Unencodable { .. }));
    assert_eq!(told, 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_back_offers_so_many_at_once_and_all_in_the_end() {
    const FEW: usize = 8;
    let protocol = Settings {
        evacuate_at_once: FEW,
        ..Settings::default()
    };
    let world = World::with(32, protocol, &["n1", "n2"]).await;
    let ids = create(&world, "n1", 300).await;
    let cut = Condition {
        cut: true,
        ..Condition::default()
    };
    world.cut_off("n1", true);
    world.condition("n2", "n1", cut);
    tokio::time::sleep(secs(10)).await;
    world.cut_off("n1", false);
    world.settle().await;
    assert!(world.was_told("n1", |told| matches!(told, Told::Fenced { .. })));
    let before = world.network.carried();
    tokio::time::sleep(secs(2)).await;
    let carried = world.network.carried() - before;
    // So many each 50 ms, beside a few for buckets.
    assert!(carried <= 40 * FEW as u64 + 200, "{carried}");
    world.network.heal();
    tokio::time::sleep(secs(60)).await;
    for id in &ids {
        assert_eq!(world.serving(id).len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_ends_of_many_sessions_at_once_reach_a_new_deputy() {
    const FEW: usize = 8;
    let protocol = Settings {
        evacuate_at_once: FEW,
        ..Settings::default()
    };
    let world = World::with(32, protocol, &["n1", "n2"]).await;
    let ids = create(&world, "n1", 300).await;
    let node = world.node("n1");
    let ended: Vec<_> = ids
        .iter()
        .filter_map(|id| node.sessions().map().get(id))
        .collect();
    for held in ended {
        node.sessions().end(&held, Ending::Destroyed);
    }
    world.settle().await;
    // Each marker finds a new keeper when n3 comes and when n2 goes.
    world.start("n3").await;
    world.settle().await;
    world.kill("n2");
    tokio::time::sleep(secs(20)).await;
    for id in &ids {
        let asked = world.node("n3").locate(*id, Want::Locate).await;
        assert_eq!(asked, Located::Absent { lost: false });
    }
}
