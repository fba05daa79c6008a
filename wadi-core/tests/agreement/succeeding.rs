//! Most of those who agree die at once: the others found the next generation, one at most, and never
//! before every lease of the old one is over.

use std::collections::BTreeSet;
use std::time::Duration;

use wadi_core::authority::{Command, Proof};
use wadi_core::bucket::LayoutVersion;
use wadi_core::member::{Founding, Incarnation};
use wadi_core::node::{Authority, PartEnd};

use crate::world::{LEASE, World, pass, until};

/// Literal addresses: only of those a refusal proves anything.
pub(crate) const FIVE: [&str; 5] = [
    "10.0.0.1:1",
    "10.0.0.2:1",
    "10.0.0.3:1",
    "10.0.0.4:1",
    "10.0.0.5:1",
];

/// What this test proves deaths by: the node is told so, and others perhaps by it.
const REFUSED: Proof = Proof::ClosedAndRefused;

/// These nodes have this proof of that one's end, and say so to whom they agree with, as drivers do.
pub(crate) fn prove(world: &World, dead: Incarnation, to: &[&str], proof: Proof) {
    for name in to {
        let agreement = world.node(name).agreement.clone();
        let Some(by) = world.node(name).me() else {
            continue;
        };
        tokio::spawn(async move {
            let command = Command::DeclareDead {
                by,
                incarnation: dead,
                proof,
            };
            let _ = agreement.command(command).await;
        });
    }
}

pub(crate) async fn kill_and_prove(
    world: &mut World,
    dies: &[&str],
    to: &[&str],
) -> Vec<Incarnation> {
    let mut dead = Vec::new();
    for name in dies {
        dead.push(world.kill(name).await);
    }
    for who in &dead {
        prove(world, *who, to, REFUSED);
    }
    dead
}

pub(crate) fn generation(world: &World, name: &str) -> u32 {
    let layout = world.node(name).layout().expect("it knows one");
    layout.version.generation()
}

/// The clusters in which somebody may act.
fn acting(world: &World) -> BTreeSet<Founding> {
    let nodes = world.nodes.iter();
    let acting = nodes.filter(|(name, _)| world.may_act(name));
    let parts = acting.filter_map(|(_, node)| node.agreement.part());
    parts.map(|part| part.founding()).collect()
}

/// Until all of these are in one cluster of this generation, of which at no moment there were two; how
/// long that took.
pub(crate) async fn next_generation(world: &World, names: &[&str], expected: u32) -> Duration {
    let began = world.clock.now();
    let mut seen = BTreeSet::new();
    until("the next generation", || {
        for node in world.nodes.values() {
            if let (Some(part), Some(layout)) = (node.agreement.part(), node.layout())
                && layout.version.generation() >= expected
            {
                seen.insert(part.founding());
            }
        }
        let is_there = |name: &&str| generation(world, name) == expected && world.may_act(name);
        names.iter().all(is_there)
    })
    .await;
    let took = world.clock.now().since(began);
    world.all_ready(names).await;
    assert_eq!(seen.len(), 1, "one generation only");
    took
}

#[tokio::test(start_paused = true)]
async fn two_of_five_voters_found_the_next_generation_once_three_are_proven_dead() {
    for dies in [[0, 1, 2], [0, 2, 4], [2, 3, 4]] {
        let mut world = World::of(&FIVE).await;
        world.voters_count(5).await;
        let dies = dies.map(|place| FIVE[place]);
        let others: Vec<_> = FIVE.into_iter().filter(|n| !dies.contains(n)).collect();
        let dead = kill_and_prove(&mut world, &dies, &others).await;
        let took = next_generation(&world, &others, 1).await;
        eprintln!("three of five, proven: {took:?}");
        // Every lease of the old one is over before; a member counts its own shorter.
        assert!(took >= LEASE && took < LEASE * 3 / 2, "{took:?}");
        for name in &others {
            let layout = world.node(name).layout().unwrap();
            assert!(dead.iter().all(|who| !layout.is_member(*who)));
            assert_eq!(world.node(name).heard.all(), [PartEnd::Abandoned]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_need_not_have_every_proof_itself() {
    let mut world = World::of(&FIVE).await;
    world.voters_count(5).await;
    let [a, b] = [FIVE[3], FIVE[4]];
    let dead = kill_and_prove(&mut world, &FIVE[..2], &[a]).await;
    assert_eq!(dead.len(), 2);
    let third = world.kill(FIVE[2]).await;
    prove(&world, third, &[b], REFUSED);
    next_generation(&world, &[a, b], 1).await;
}

/// Two deaths are agreed, and the one that had the proofs is not the one that has to know them. Who votes
/// has not changed when the third dies: somebody is silent who has to know of that before.
#[tokio::test(start_paused = true)]
async fn deaths_that_were_agreed_count_for_those_who_had_no_proof_of_them() {
    const SILENT: &str = "10.0.0.6:1";
    let mut world = World::of(&FIVE).await;
    world.voters_count(5).await;
    world.start(SILENT, &FIVE);
    let all: Vec<_> = FIVE.into_iter().chain([SILENT]).collect();
    world.all_ready(&all).await;
    pass(LEASE).await;
    // Who leads agrees to both deaths at once.
    let leader = world.leader().await;
    let others: Vec<_> = FIVE.into_iter().filter(|name| *name != leader).collect();
    let [dies, dies_too, a, b] = others[..] else {
        panic!("{leader} is one of the five")
    };
    world.net.cut(&[SILENT], &FIVE);
    let dead = kill_and_prove(&mut world, &[dies, dies_too], &[a]).await;
    until("both deaths are agreed", || {
        [a, b].iter().all(|name| {
            let layout = world.node(name).layout().unwrap();
            dead.iter().all(|who| !layout.is_member(*who))
        })
    })
    .await;
    assert_eq!(world.node(b).voters().map(|voters| voters.len()), Some(5));
    kill_and_prove(&mut world, &[leader], &[a, b]).await;
    next_generation(&world, &[a, b], 1).await;
}

#[tokio::test(start_paused = true)]
async fn one_of_three_voters_founds_where_both_others_are_proven_dead() {
    let three = &FIVE[..3];
    for stays in three {
        let mut world = World::of(three).await;
        world.voters_count(3).await;
        let dies: Vec<_> = three.iter().copied().filter(|n| n != stays).collect();
        kill_and_prove(&mut world, &dies, &[stays]).await;
        let took = next_generation(&world, &[stays], 1).await;
        eprintln!("two of three, proven: {took:?}");
        assert!(took >= LEASE && took < LEASE * 3 / 2, "{took:?}");
    }
}

/// Silence proves nothing, however long; and neither does the end of fewer than most.
#[tokio::test(start_paused = true)]
async fn nobody_founds_where_most_are_silent() {
    let mut world = World::of(&FIVE).await;
    world.voters_count(5).await;
    let dead = kill_and_prove(&mut world, &FIVE[..2], &[]).await;
    world.kill(FIVE[2]).await;
    for who in dead {
        prove(&world, who, &FIVE[3..], REFUSED);
    }
    pass(LEASE * 30).await;
    for name in &FIVE[3..] {
        assert!(!world.may_act(name));
        assert_eq!(generation(&world, name), 0);
        assert_eq!(world.node(name).heard.all(), []);
    }
}

/// One of two is no majority of them: none founds, until they meet, or the other's end is proven.
#[tokio::test(start_paused = true)]
async fn two_heirs_that_do_not_hear_each_other_wait() {
    for meets in [true, false] {
        let mut world = World::of(&FIVE).await;
        world.voters_count(5).await;
        let [a, b] = [FIVE[3], FIVE[4]];
        world.net.cut(&[a], &[b]);
        let other = world.node(b).me().unwrap();
        kill_and_prove(&mut world, &FIVE[..3], &[a, b]).await;
        pass(LEASE * 20).await;
        assert_eq!(acting(&world), BTreeSet::new());
        assert!([a, b].iter().all(|name| generation(&world, name) == 0));
        if meets {
            world.net.heal();
            next_generation(&world, &[a, b], 1).await;
        } else {
            world.kill(b).await;
            prove(&world, other, &[a], REFUSED);
            next_generation(&world, &[a], 1).await;
        }
    }
}

/// Every voter of a smaller cluster is dead, and only somebody who does not vote is left.
#[tokio::test(start_paused = true)]
async fn who_does_not_vote_founds_where_every_voter_is_proven_dead() {
    // Of two, one votes; of four, three.
    for count in [2, 4] {
        let names = &FIVE[..count];
        let mut world = World::of(names).await;
        world.voters_count(count - 1).await;
        // Whom it would be is agreed a moment later.
        pass(LEASE).await;
        let voters = world.node(names[0]).voters().unwrap();
        let is_voter = |name: &&str| voters.contains(&world.node(name).me().unwrap());
        let dies: Vec<_> = names.iter().copied().filter(is_voter).collect();
        let stays = *names.iter().find(|name| !is_voter(name)).unwrap();
        kill_and_prove(&mut world, &dies, &[stays]).await;
        let took = next_generation(&world, &[stays], 1).await;
        eprintln!("every voter of {count}, proven: {took:?}");
    }
}

/// A voter that is left founds; who does not vote finds it and comes back as somebody new.
#[tokio::test(start_paused = true)]
async fn the_others_find_the_next_generation() {
    let names = &FIVE[..4];
    let mut world = World::of(names).await;
    world.voters_count(3).await;
    pass(LEASE).await;
    let voters = world.node(names[0]).voters().unwrap();
    let is_voter = |name: &&str| voters.contains(&world.node(name).me().unwrap());
    let votes: Vec<_> = names.iter().copied().filter(is_voter).collect();
    let other = *names.iter().find(|name| !is_voter(name)).unwrap();
    let before = world.node(other).me();
    kill_and_prove(&mut world, &votes[..2], &[votes[2], other]).await;
    let took = next_generation(&world, &[votes[2], other], 1).await;
    eprintln!("one voter and one other are left: {took:?}");
    assert!(took < LEASE * 2, "{took:?}");
    assert!(world.node(other).me() > before);
    assert_eq!(world.node(other).heard.all(), [PartEnd::Dissolved]);
}

/// The list is of three that do not vote any more. Where voters are left that they do not reach, those
/// may found the next generation, and so these must not.
#[tokio::test(start_paused = true)]
async fn those_of_the_list_found_no_second_one_where_voters_are_left() {
    const LISTED: [&str; 3] = ["10.0.1.1:1", "10.0.1.2:1", "10.0.1.3:1"];
    let mut world = World::of(&LISTED).await;
    for name in FIVE {
        world.start(name, &LISTED);
    }
    let all: Vec<_> = LISTED.into_iter().chain(FIVE).collect();
    world.all_ready(&all).await;
    // Each leaves its vote to others.
    for name in LISTED {
        world.leave(name).await;
        world.start(name, &LISTED);
        world.all_ready(&all).await;
    }
    let five = world.set(&FIVE);
    until("the five vote", || {
        world.node(FIVE[0]).voters().as_ref() == Some(&five)
    })
    .await;
    pass(LEASE).await;
    let two = [FIVE[3], FIVE[4]];
    world.net.cut(&two, &LISTED);
    let survivors: Vec<_> = LISTED.into_iter().chain(two).collect();
    kill_and_prove(&mut world, &FIVE[..3], &survivors).await;
    for _ in 0..40 {
        pass(LEASE / 2).await;
        assert!(acting(&world).len() <= 1, "{:#?}", world.nodes);
    }
    assert!(two.iter().all(|name| generation(&world, name) == 1));
    world.net.heal();
    world.all_ready(&survivors).await;
}

/// It was away, and has perhaps missed who votes now: what it learns then is no ground to found.
#[tokio::test(start_paused = true)]
async fn a_proof_that_comes_when_the_lease_is_over_founds_nothing_and_an_operators_word_does() {
    let three = &FIVE[..3];
    let mut world = World::of(three).await;
    world.voters_count(3).await;
    let stays = FIVE[2];
    let mut dead = Vec::new();
    for name in &FIVE[..2] {
        dead.push(world.kill(name).await);
    }
    pass(LEASE).await;
    assert!(!world.may_act(stays));
    for who in &dead {
        prove(&world, *who, &[stays], REFUSED);
    }
    pass(LEASE * 20).await;
    assert_eq!(generation(&world, stays), 0);
    for who in &dead {
        prove(&world, *who, &[stays], Proof::Operator);
    }
    next_generation(&world, &[stays], 1).await;
}

/// A node that others have long replaced learns that those whom it knew are dead.
#[tokio::test(start_paused = true)]
async fn who_was_replaced_while_it_was_away_founds_nothing() {
    let mut world = World::of(&FIVE[..3]).await;
    world.voters_count(3).await;
    let (away, others) = (FIVE[0], &FIVE[1..]);
    world.net.cut(&[away], others);
    until("it is replaced", || {
        let layout = world.node(FIVE[1]).layout().unwrap();
        layout.members.len() == 2
    })
    .await;
    for name in &FIVE[3..] {
        world.start(name, &FIVE[..3]);
    }
    world.all_ready(others).await;
    let votes = || world.node(FIVE[3]).voters();
    until("three vote", || votes().is_some_and(|v| v.len() == 3)).await;
    // Those whom it knew die; the others go on.
    kill_and_prove(&mut world, &[FIVE[1]], &[away, FIVE[2], FIVE[3], FIVE[4]]).await;
    until("the death is agreed", || {
        let layout = world.node(FIVE[3]).layout().unwrap();
        layout.members.len() == 3
    })
    .await;
    pass(LEASE).await;
    kill_and_prove(&mut world, &[FIVE[2]], &[away, FIVE[3], FIVE[4]]).await;
    for _ in 0..40 {
        pass(LEASE / 2).await;
        assert!(acting(&world).len() <= 1);
        assert_eq!(generation(&world, away), 0);
    }
    world.net.heal();
    world.all_ready(&[away, FIVE[3], FIVE[4]]).await;
}

/// Who founds dies at every moment of it. The other one gets over that, and two never act.
#[tokio::test(start_paused = true)]
async fn whoever_dies_in_the_middle_of_a_succession_there_is_one_cluster_at_most() {
    for dies_too in [FIVE[3], FIVE[4]] {
        for after in 0..30_u32 {
            let mut world = World::of(&FIVE).await;
            world.voters_count(5).await;
            let two = [FIVE[3], FIVE[4]];
            let stays = if dies_too == two[0] { two[1] } else { two[0] };
            kill_and_prove(&mut world, &FIVE[..3], &two).await;
            // All of it, and closely around the founding itself.
            let moment = if after < 10 {
                LEASE / 8 * after
            } else {
                LEASE + Duration::from_millis(u64::from(after - 10) * 25)
            };
            let incarnation = world.node(dies_too).me().unwrap();
            let end = world.clock.now() + moment;
            while world.clock.now() < end {
                pass(Duration::from_millis(5)).await;
                assert!(acting(&world).len() <= 1, "{dies_too} after {moment:?}");
            }
            let now = world.kill(dies_too).await;
            for who in BTreeSet::from([incarnation, now]) {
                prove(&world, who, &[stays], REFUSED);
            }
            let what = format!("{stays} goes on, {dies_too} dead after {moment:?}");
            until(&what, || {
                assert!(acting(&world).len() <= 1, "{what}");
                let layout = world.node(stays).layout().unwrap();
                layout.version > LayoutVersion::founding(1)
                    && layout.members.len() == 1
                    && world.may_act(stays)
            })
            .await;
        }
    }
}

/// One of two was declared dead, and in the moment before it is back the only voter starts anew. Nobody
/// else is left who could go on, so they found again.
#[tokio::test(start_paused = true)]
async fn who_was_declared_dead_founds_again_where_everybody_else_has_started_anew() {
    let two = &FIVE[..2];
    for after in 0..40_u32 {
        let mut world = World::of(two).await;
        world.voters_count(1).await;
        pass(LEASE).await;
        let voters = world.node(two[0]).voters().unwrap();
        let is_voter = |name: &&&str| voters.contains(&world.node(name).me().unwrap());
        let votes = *two.iter().find(is_voter).unwrap();
        let other = *two.iter().find(|name| **name != votes).unwrap();
        world.net.cut(&[votes], &[other]);
        until("it is declared dead", || {
            world.node(votes).layout().unwrap().members.len() == 1
        })
        .await;
        world.net.heal();
        pass(Duration::from_millis(20) * after).await;
        world.kill(votes).await;
        world.start(votes, two);
        until("both act", || two.iter().all(|name| world.may_act(name))).await;
        world.all_ready(two).await;
    }
}
