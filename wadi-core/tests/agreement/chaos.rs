//! Everything at once: cuts, crashes and restarts. Whoever is seen dead may not act, two clusters never
//! act at the same time, and once all is well everybody is in one. A seed decides what happens; only
//! how long openraft waits before it stands for election is not in it.

use std::collections::BTreeSet;
use std::time::Duration;

use wadi_core::bucket::LayoutVersion;

use crate::world::{World, pass};

const FIVE: [&str; 5] = ["n1", "n2", "n3", "n4", "n5"];

fn check(world: &World, seed: u64) {
    let acting = world.nodes.iter().filter(|(name, _)| world.may_act(name));
    let acting: Vec<_> = acting.map(|(_, node)| node).collect();
    let foundings: BTreeSet<_> = acting
        .iter()
        .filter_map(|node| node.agreement.part())
        .map(|part| part.founding())
        .collect();
    assert!(foundings.len() <= 1, "two clusters act, seed {seed}");
    for watcher in world.nodes.values() {
        let Some(layout) = watcher.layout() else {
            continue;
        };
        let first = LayoutVersion::founding(layout.version.generation()).as_u64();
        // Whoever is younger than all of its members may have joined since.
        let youngest = layout.members.keys().max().map_or(0, |who| who.get());
        for node in &acting {
            let me = node.me().expect("it may act");
            let was_given = (first..=youngest).contains(&me.get());
            let is_dead = was_given && !layout.is_member(me);
            assert!(!is_dead, "{me:?} is dead and may act, seed {seed}");
        }
    }
}

async fn run(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut world = World::of(&FIVE).await;
    let mut down: Vec<&'static str> = Vec::new();
    for _ in 0..25 {
        for _ in 0..random.usize(1..30) {
            pass(Duration::from_millis(100)).await;
            check(&world, seed);
        }
        let name = FIVE[random.usize(0..5)];
        match random.u8(0..8) {
            0 | 1 => {
                let other = FIVE[random.usize(0..5)];
                world.net.cut(&[name], &[other]);
            }
            2 => {
                let others: Vec<_> = FIVE.into_iter().filter(|n| *n != name).collect();
                world.net.cut(&[name], &others);
            }
            3 | 4 => world.net.heal(),
            5 if down.len() < 2 && !down.contains(&name) => {
                world.kill(name).await;
                down.push(name);
            }
            6 if !down.contains(&name) => {
                world.kill(name).await;
                world.start(name, &FIVE);
            }
            _ => {
                if let Some(name) = down.pop() {
                    world.start(name, &FIVE);
                }
            }
        }
    }
    world.net.heal();
    for name in down {
        world.start(name, &FIVE);
    }
    world.all_ready(&FIVE).await;
    world.voters_count(5).await;
    check(&world, seed);
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_one_cluster_acts_and_in_the_end_it_is_whole() {
    for seed in 0..80 {
        eprintln!("seed {seed}");
        run(seed).await;
    }
}
