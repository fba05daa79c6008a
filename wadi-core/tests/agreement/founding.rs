//! Founding by several: a majority of the list, and one cluster, whoever dies or is cut off meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use wadi_core::transport::{Discovering, Discovery, NotDiscovered};

use crate::world::{LEASE, World, pass, until};

const THREE: [&str; 3] = ["n1", "n2", "n3"];
const FIVE: [&str; 5] = ["n1", "n2", "n3", "n4", "n5"];

/// How many clusters there are: every one has founded incarnations of its own, and one layout.
fn foundings(world: &World) -> usize {
    let clusters: BTreeSet<_> = world
        .nodes
        .values()
        .filter_map(|node| node.agreement.part())
        .map(|part| part.founding())
        .collect();
    clusters.len()
}

#[tokio::test(start_paused = true)]
async fn three_that_start_together_found_one_cluster() {
    let world = World::of(&THREE).await;
    world.voters_count(3).await;
    assert_eq!(foundings(&world), 1);
    // Whoever founds has everybody's part of it running before it asks for votes.
    assert_eq!(world.net.asked_in_vain(), 0);
    pass(LEASE * 3).await;
    world.all_ready(&THREE).await;
    assert!(world.nodes.values().all(|node| !node.life.lock().lapsed));
}

#[tokio::test(start_paused = true)]
async fn two_of_three_found_and_the_third_joins() {
    let mut world = World::new();
    world.start("n2", &THREE);
    world.start("n3", &THREE);
    world.all_ready(&["n2", "n3"]).await;
    // Nobody rests at two voters.
    world.voters_count(1).await;
    world.start("n1", &THREE);
    world.all_ready(&THREE).await;
    world.voters_count(3).await;
    assert_eq!(foundings(&world), 1);
}

#[tokio::test(start_paused = true)]
async fn one_of_three_never_founds() {
    let mut world = World::new();
    world.start("n1", &THREE);
    pass(LEASE * 50).await;
    assert_eq!(foundings(&world), 0);
    world.start("n3", &THREE);
    world.all_ready(&["n1", "n3"]).await;
}

#[tokio::test(start_paused = true)]
async fn five_come_in_any_order() {
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..20 {
        let mut world = World::new();
        let mut order = FIVE;
        random.shuffle(&mut order);
        for name in order {
            world.start(name, &FIVE);
            pass(Duration::from_millis(random.u64(0..600))).await;
        }
        world.all_ready(&FIVE).await;
        world.voters_count(5).await;
        assert_eq!(foundings(&world), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn two_found_with_each_other_only() {
    let mut world = World::new();
    world.start("n1", &["n1", "n2"]);
    pass(LEASE * 10).await;
    assert_eq!(foundings(&world), 0);
    world.start("n2", &["n1", "n2"]);
    world.all_ready(&["n1", "n2"]).await;
    world.voters_count(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_list_of_the_node_itself_is_founded_alone() {
    let mut world = World::new();
    world.start("n1", &["n1"]);
    world.all_ready(&["n1"]).await;
}

#[tokio::test(start_paused = true)]
async fn who_is_not_on_its_own_list_never_founds_and_joins() {
    let mut world = World::new();
    world.start("n4", &THREE);
    world.start("n1", &THREE);
    pass(LEASE * 20).await;
    assert_eq!(foundings(&world), 0);
    world.start("n2", &THREE);
    world.all_ready(&["n1", "n2", "n4"]).await;
}

/// In whatever order they start: the others have never heard of it, and it has heard of them.
#[tokio::test(start_paused = true)]
async fn a_node_that_is_missing_from_the_others_lists_joins_and_makes_no_second_cluster() {
    const KNOWN: [&str; 2] = ["n1", "n2"];
    for order in [["n1", "n2", "n3"], ["n3", "n1", "n2"], ["n1", "n3", "n2"]] {
        let mut world = World::new();
        for name in order {
            let names: &[&str] = if name == "n3" { &THREE } else { &KNOWN };
            world.start(name, names);
            pass(LEASE).await;
        }
        world.all_ready(&THREE).await;
        assert_eq!(foundings(&world), 1, "{order:?}");
        world.kill("n3").await;
        world.start("n3", &THREE);
        world.all_ready(&THREE).await;
        assert_eq!(foundings(&world), 1, "{order:?}");
    }
}

/// As a name that is looked up: it gives what there is just now.
#[derive(Debug)]
struct Name(Vec<String>);

impl Discovery for Name {
    fn addresses(&self) -> Discovering<'_> {
        Box::pin(async {
            if self.0.is_empty() {
                return Err(NotDiscovered("no such name".to_owned()));
            }
            Ok(self.0.clone())
        })
    }
}

#[tokio::test(start_paused = true)]
async fn with_a_name_the_expected_number_found_together() {
    let name = |addresses: &[&str]| {
        let addresses = addresses.iter().map(|address| (*address).to_owned());
        std::sync::Arc::new(Name(addresses.collect()))
    };
    let mut world = World::new();
    world.start_with("n1", name(&["n1"]), Some(3));
    pass(LEASE * 20).await;
    assert_eq!(foundings(&world), 0);
    // A name that gives nothing is no list, and nobody founds because of it.
    world.start_with("n9", name(&[]), None);
    pass(LEASE * 20).await;
    assert_eq!(foundings(&world), 0);
    world.kill("n1").await;
    world.start_with("n1", name(&["n1", "n2"]), Some(3));
    world.start_with("n2", name(&["n1", "n2"]), Some(3));
    world.all_ready(&["n1", "n2"]).await;
}

#[tokio::test(start_paused = true)]
async fn only_the_larger_side_of_a_partition_founds() {
    for (few, most) in [
        (vec!["n1", "n2"], vec!["n3", "n4", "n5"]),
        (vec!["n4", "n5"], vec!["n1", "n2", "n3"]),
    ] {
        let mut world = World::new();
        world.net.cut(&few, &most);
        for name in FIVE {
            world.start(name, &FIVE);
        }
        world.all_ready(&most).await;
        pass(LEASE * 20).await;
        assert_eq!(foundings(&world), 1);
        world.net.heal();
        world.all_ready(&FIVE).await;
        assert_eq!(foundings(&world), 1);
    }
}

/// One node dies at every moment of a founding, and comes back at once, later, or never.
#[tokio::test(start_paused = true)]
async fn whoever_dies_in_the_middle_of_a_founding_one_cluster_comes_of_it() {
    let backs = [Some(Duration::ZERO), Some(LEASE), Some(LEASE * 6), None];
    for name in THREE {
        for (after, back) in (0..28).zip(backs.into_iter().cycle()) {
            let mut world = World::new();
            for name in THREE {
                world.start(name, &THREE);
            }
            pass(Duration::from_millis(after * 4)).await;
            world.kill(name).await;
            if let Some(back) = back {
                pass(back).await;
                world.start(name, &THREE);
            }
            let all: Vec<_> = world.nodes.keys().copied().collect();
            world.all_ready(&all).await;
            assert_eq!(foundings(&world), 1, "{name} after {after} back {back:?}");
        }
    }
}

/// A side of one or two is cut off at every moment of a founding, for shorter or longer than anybody
/// waits.
#[tokio::test(start_paused = true)]
async fn whatever_is_cut_in_the_middle_of_a_founding_one_cluster_comes_of_it() {
    for few in [vec!["n1"], vec!["n2"], vec!["n1", "n2"], vec!["n1", "n3"]] {
        for (after, cut) in (0..12).zip([LEASE / 8, LEASE, LEASE * 8].into_iter().cycle()) {
            let mut world = World::new();
            let others: Vec<_> = FIVE.into_iter().filter(|n| !few.contains(n)).collect();
            for name in FIVE {
                world.start(name, &FIVE);
            }
            pass(Duration::from_millis(after * 9)).await;
            world.net.cut(&few, &others);
            let until = world.clock.now() + cut;
            while world.clock.now() < until {
                pass(Duration::from_millis(200)).await;
                let what = format!("{few:?} cut off after {after} for {cut:?}");
                assert!(foundings(&world) <= 1, "{what}");
            }
            world.net.heal();
            world.all_ready(&FIVE).await;
            assert_eq!(foundings(&world), 1);
        }
    }
}

/// Three of five found, and at every moment of that one of them is cut off together with the other two,
/// who are a majority with it.
#[tokio::test(start_paused = true)]
async fn a_founding_and_another_majority_do_not_both_come_about() {
    for cut_off in ["n1", "n2"] {
        for after in 40..64 {
            let mut world = World::new();
            for name in THREE {
                world.start(name, &FIVE);
            }
            pass(Duration::from_millis(after)).await;
            let left: Vec<_> = THREE.into_iter().filter(|n| *n != cut_off).collect();
            world.net.cut(&left, &[cut_off, "n4", "n5"]);
            world.start("n4", &FIVE);
            world.start("n5", &FIVE);
            for _ in 0..12 {
                pass(LEASE / 2).await;
                assert!(foundings(&world) <= 1, "{cut_off} cut off after {after}");
            }
            world.net.heal();
            world.all_ready(&FIVE).await;
            assert_eq!(foundings(&world), 1);
        }
    }
}

/// As above; but the one that was cut off hears of the cluster for a while, joins it perhaps, and is cut
/// off again before it was told anything.
#[tokio::test(start_paused = true)]
async fn who_was_counted_on_in_a_founding_and_has_heard_of_it_founds_with_nobody_else() {
    let (left, others) = (["n1", "n3"], ["n4", "n5"]);
    for after in 59..64 {
        for heard_for in [207, 287, 367].map(Duration::from_millis) {
            let mut world = World::new();
            for name in THREE {
                world.start(name, &FIVE);
            }
            pass(Duration::from_millis(after)).await;
            world.net.cut(&left, &["n2", "n4", "n5"]);
            for name in others {
                world.start(name, &FIVE);
            }
            pass(LEASE * 5).await;
            world.net.heal();
            world.net.cut(&left, &others);
            pass(heard_for).await;
            world.net.cut(&left, &["n2"]);
            for _ in 0..12 {
                pass(LEASE / 2).await;
                let what = format!("cut off after {after}, heard for {heard_for:?}");
                assert!(foundings(&world) <= 1, "{what}");
            }
            world.net.heal();
            world.all_ready(&FIVE).await;
        }
    }
}

/// Three of five were declared dead one after the other, and come back where nobody can ask them: they
/// join, and are told nothing. Then they are cut off from the two who go on.
#[tokio::test(start_paused = true)]
async fn who_was_a_member_and_is_told_nothing_founds_with_nobody() {
    let world = World::of(&FIVE).await;
    for gone in [4, 3, 2] {
        world.net.cut(&FIVE[gone..=gone], &FIVE[..gone]);
        world.all_ready(&FIVE[..gone]).await;
    }
    let (go_on, back) = FIVE.split_at(2);
    world.net.heal();
    world.net.silence(go_on, back);
    let before: Vec<_> = back.iter().map(|name| world.node(name).me()).collect();
    until("they are somebody else", || {
        let mut now = back.iter().map(|name| world.node(name).me());
        before.iter().all(|before| now.next() > Some(*before))
    })
    .await;
    world.net.cut(go_on, back);
    for _ in 0..20 {
        pass(LEASE / 2).await;
        assert!(foundings(&world) <= 1);
    }
    world.net.heal();
    world.all_ready(&FIVE).await;
}

/// Nodes are killed, started and cut off at random while they found. No two clusters stand side by
/// side, but where restarts have made a majority forget: so at most one node restarts.
#[tokio::test(start_paused = true)]
async fn at_random_one_cluster_comes_of_it() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut world = World::new();
        for name in FIVE {
            world.start(name, &FIVE);
            pass(Duration::from_millis(random.u64(0..60))).await;
        }
        let restarts = FIVE[random.usize(0..5)];
        for _ in 0..6 {
            pass(Duration::from_millis(random.u64(0..80))).await;
            match random.u8(0..3) {
                0 => {
                    let (a, b) = (FIVE[random.usize(0..5)], FIVE[random.usize(0..5)]);
                    world.net.cut(&[a], &[b]);
                }
                1 => world.net.heal(),
                _ => {
                    world.kill(restarts).await;
                    pass(Duration::from_millis(random.u64(0..40))).await;
                    world.start(restarts, &FIVE);
                }
            }
        }
        assert!(foundings(&world) <= 1, "seed {seed}");
        world.net.heal();
        until("one cluster of all", || {
            assert!(foundings(&world) <= 1, "seed {seed}");
            let all = world.set(&FIVE);
            world.nodes.values().all(|node| {
                let layout = node.layout();
                layout.is_some_and(|layout| layout.members.keys().eq(&all))
            })
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_whole_cluster_that_is_gone_is_founded_anew() {
    let mut world = World::of(&THREE).await;
    for name in THREE {
        world.kill(name).await;
    }
    for name in THREE {
        world.start(name, &THREE);
    }
    world.all_ready(&THREE).await;
    assert_eq!(foundings(&world), 1);
}
