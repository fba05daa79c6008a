//! Over a store below all nodes a new cluster is of a generation that the store says; one that goes on does
//! not depend on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use wadi_core::bucket::LayoutVersion;
use wadi_core::node::StoreTold;
use wadi_core::session::SessionId;
use wadi_core::store::{
    Claim, Ended, Head, MemoryStore, Page, Put, Row, SessionStore, StoreError, Storing, Took,
};

use crate::succeeding::{FIVE, generation, kill_and_prove, next_generation};
use crate::world::{LEASE, World, pass, until};

const THREE: [&str; 3] = ["n1", "n2", "n3"];

/// Says numbers, unless it is away.
#[derive(Debug, Default)]
struct Numbers {
    store: MemoryStore,
    away: AtomicBool,
}

impl SessionStore for Numbers {
    fn put(&self, rows: Vec<Row>) -> Storing<'_, Vec<Put>> {
        self.store.put(rows)
    }

    fn take(&self, id: SessionId, claim: Claim) -> Storing<'_, Took> {
        self.store.take(id, claim)
    }

    fn end(&self, ended: Vec<Ended>) -> Storing<'_, ()> {
        self.store.end(ended)
    }

    fn begin(&self, after: u32) -> Storing<'_, u32> {
        if self.away.load(Relaxed) {
            return Box::pin(std::future::pending());
        }
        self.store.begin(after)
    }

    fn page(&self, page: Page) -> Storing<'_, Vec<Head>> {
        self.store.page(page)
    }
}

async fn over_a_store(begun: u32) -> (World, Arc<Numbers>) {
    let numbers = Arc::<Numbers>::default();
    for _ in 0..begun {
        numbers.begin(0).await.expect("it says one");
    }
    let mut world = World::new();
    world.store = Some(Arc::clone(&numbers) as Arc<_>);
    (world, numbers)
}

#[tokio::test(start_paused = true)]
async fn a_new_cluster_is_of_a_generation_that_the_store_has_not_said_before() {
    for names in [&THREE[..], &THREE[..1]] {
        let (mut world, numbers) = over_a_store(7).await;
        for _ in 0..3 {
            let before = numbers.begin(0).await.expect("it says one");
            let addresses = if names.len() == 1 { &[] } else { names };
            for name in names {
                world.start(name, addresses);
            }
            world.all_ready(names).await;
            for name in names {
                assert!(generation(&world, name) > before);
                assert_eq!(world.node(name).heard.of_the_store(), []);
            }
            for name in names {
                world.kill(name).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_store_does_not_say_none_is_founded_and_a_running_one_goes_on() {
    let (mut world, numbers) = over_a_store(1).await;
    numbers.away.store(true, Relaxed);
    for name in THREE {
        world.start(name, &THREE);
    }
    pass(LEASE * 20).await;
    assert!(THREE.iter().all(|name| world.node(name).layout().is_none()));
    let told: Vec<_> = THREE
        .iter()
        .flat_map(|name| world.node(name).heard.of_the_store())
        .collect();
    assert!((1..=3).contains(&told.len()), "{told:?}");
    let is_silent =
        |told: &StoreTold| matches!(told, StoreTold::NotFounded(StoreError::Unavailable(_)));
    assert!(told.iter().all(is_silent), "{told:?}");
    numbers.away.store(false, Relaxed);
    world.all_ready(&THREE).await;
    assert!(generation(&world, "n1") > 1);

    numbers.away.store(true, Relaxed);
    // One comes back as somebody new, which asks the store nothing.
    world.kill("n3").await;
    pass(LEASE * 3).await;
    world.start("n3", &THREE);
    world.all_ready(&THREE).await;
    assert!(world.nodes.values().all(|node| !node.life.lock().lapsed));
}

#[tokio::test(start_paused = true)]
async fn survivors_go_on_without_the_store_and_tell_it_when_they_can() {
    let (mut world, numbers) = over_a_store(0).await;
    for name in FIVE {
        world.start(name, &FIVE);
    }
    world.all_ready(&FIVE).await;
    world.voters_count(5).await;
    let first = generation(&world, FIVE[0]);
    numbers.away.store(true, Relaxed);
    let others = [FIVE[3], FIVE[4]];
    kill_and_prove(&mut world, &FIVE[..3], &others).await;
    next_generation(&world, &others, first + 1).await;
    numbers.away.store(false, Relaxed);
    pass(LEASE * 10).await;
    let said = numbers.begin(0).await.expect("it says one");
    assert!(said > first + 2, "it was told of {}: {said}", first + 1);
}

#[tokio::test(start_paused = true)]
async fn a_generation_beyond_the_last_one_is_none() {
    let (mut world, numbers) = over_a_store(0).await;
    numbers.begin(LayoutVersion::LAST_GENERATION).await.unwrap();
    world.start("n1", &[]);
    let is_full = || {
        let told = world.node("n1").heard.of_the_store();
        matches!(told[..], [StoreTold::NotFounded(StoreError::Full(_))])
    };
    until("it is told", is_full).await;
    pass(LEASE * 5).await;
    assert!(world.node("n1").layout().is_none());
}
