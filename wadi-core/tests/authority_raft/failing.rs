//! Leaders that die or are cut off: nobody dies before its lease, nothing is granted twice.

use std::time::Duration;

use wadi_core::authority::raft::AskFailed;
use wadi_core::authority::{Command, Death};
use wadi_core::bucket::LayoutVersion;

use crate::world::{LEASE, World, now, until};

#[tokio::test]
async fn a_killed_leader_is_followed_and_nobody_dies_before_one_lease() {
    let mut world = World::of(&["n1", "n2", "n3"]).await;
    world.voters_count(3).await;
    let leader = world.leader().await;
    let killed = world.kill(leader).await;
    // The new leader can only have taken over later than this, by the same clock.
    let killed_at = now();
    let next = world.leader().await;
    assert_ne!(next, leader);
    let node = world.node(next);
    let before = node.layout().expect("it has one");
    assert!(before.is_member(killed.me));
    let mut died_at = None;
    until("the death of the killed one", || {
        let layout = node.layout().expect("it has one");
        let died = !layout.is_member(killed.me);
        died_at = died.then(now);
        died
    })
    .await;
    let waited = died_at.expect("it died").since(killed_at);
    assert!(waited >= LEASE, "declared dead after {waited:?}");
    let register = node.authority.register().expect("it has one");
    let tombstone = register.tombstone(killed.me).expect("it is remembered");
    assert_eq!(tombstone.death, Death::LeaseRanOut);
    // And nobody else.
    let survivors: Vec<_> = world.nodes.keys().copied().collect();
    world.all_see(&survivors).await;
    world.voters_count(1).await;
}

#[tokio::test]
async fn a_leader_of_a_minority_changes_nothing() {
    let world = World::of(&["n1", "n2", "n3"]).await;
    world.voters_count(3).await;
    let old = world.leader().await;
    let others: Vec<_> = world.nodes.keys().copied().filter(|n| *n != old).collect();
    world.net.cut(&[old], &others);
    // What was under way before the cut may still be agreed.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let node = world.node(old);
    let before = node.layout();
    assert!(node.authority.leads());
    let renewed = node.authority.renew(LEASE / 2).await;
    assert_eq!(renewed, Err(AskFailed::Unknown));
    let left = node.authority.propose(Command::Leave(node.me), LEASE / 2);
    assert_eq!(left.await, Err(AskFailed::Unknown));
    let proposal = Command::Propose {
        against: before.as_ref().map_or(LayoutVersion::ZERO, |l| l.version),
        most_moves: None,
    };
    let proposed = node.authority.propose(proposal, LEASE / 2).await;
    assert_eq!(proposed, Err(AskFailed::Unknown));
    assert_eq!(node.layout(), before);
    // The others agree without it, and it follows them when it hears again.
    world.leader_among(&others).await;
    world.leave(others[0]).await;
    world.net.heal();
    until("one layout everywhere", || {
        let layouts: Vec<_> = world.nodes.values().map(|n| n.layout()).collect();
        let leaves = |layout: &wadi_core::bucket::Layout| {
            let who = world.node(others[0]).me;
            let member = layout.members.get(&who);
            member.is_none_or(|m| m.standing == wadi_core::member::Standing::Leaving)
        };
        layouts.iter().all(|l| *l == layouts[0]) && layouts[0].as_deref().is_some_and(leaves)
    })
    .await;
}

#[tokio::test]
async fn a_deposed_leader_grants_nothing_and_its_own_lease_ends_before_it_is_dead() {
    let world = World::of(&["n1", "n2", "n3"]).await;
    world.voters_count(3).await;
    let old = world.leader().await;
    let others: Vec<_> = world.nodes.keys().copied().filter(|n| *n != old).collect();
    world.net.cut(&[old], &others);
    let deposed = world.node(old);
    let new = world.leader_among(&others).await;
    // Its renewals go on by themselves; here everybody hears whether one is granted.
    let granted_until = deposed.lease.lock().expect("nobody panicked").until();
    until("the end of the deposed leader's lease", || {
        let node = world.node(new);
        let is_dead = node.layout().is_some_and(|l| !l.is_member(deposed.me));
        let lease = deposed.lease.lock().expect("nobody panicked");
        // Read the layout first, then the clock: dead must mean that the lease had ended.
        assert!(!is_dead || !lease.is_valid(now()), "dead while it may act");
        assert_eq!(
            lease.until(),
            granted_until,
            "a deposed leader granted a lease"
        );
        is_dead
    })
    .await;
    world.net.heal();
    until("the deposed leader is refused", || {
        deposed.lease.lock().expect("nobody panicked").has_ended()
    })
    .await;
    assert!(!deposed.authority.leads());
}

/// Cuts come and go, also in one direction only. Whenever anybody sees a layout without a member,
/// that member's lease has ended; and once the cuts end, all agree.
#[tokio::test]
async fn whoever_is_seen_dead_has_no_lease_whatever_is_cut() {
    let world = World::of(&["n1", "n2", "n3", "n4", "n5"]).await;
    world.all_see(&["n1", "n2", "n3", "n4", "n5"]).await;
    world.voters_count(5).await;
    let names: Vec<_> = world.nodes.keys().copied().collect();
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut draw = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    for round in 0..4 {
        for _ in 0..4 {
            world.net.cut_way(names[draw(5)], names[draw(5)]);
        }
        world.net.cut(&[names[draw(5)]], &[names[draw(5)]]);
        world.net.slow(Duration::from_millis(draw(20) as u64));
        // Shorter than a lease, and longer.
        for _ in 0..100 + round * 80 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            nobody_dead_may_act(&world);
        }
        world.net.heal();
    }
    world.net.slow(Duration::ZERO);
    until("all who live see the same", || {
        nobody_dead_may_act(&world);
        let ended = |name: &&str| {
            let lease = world.node(name).lease.lock().expect("nobody panicked");
            lease.has_ended()
        };
        let alive: Vec<_> = names.iter().copied().filter(|name| !ended(name)).collect();
        let expected = world.set(&alive);
        let leads = alive.iter().any(|name| world.node(name).authority.leads());
        (alive.is_empty() || leads)
            && alive.iter().all(|name| {
                let layout = world.node(name).layout();
                layout.is_some_and(|layout| layout.members.keys().eq(&expected))
            })
    })
    .await;
}

fn nobody_dead_may_act(world: &World) {
    for watcher in world.nodes.values() {
        let Some(layout) = watcher.layout() else {
            continue;
        };
        for node in world.nodes.values().filter(|n| !layout.is_member(n.me)) {
            let lease = node.lease.lock().expect("nobody panicked");
            assert!(!lease.is_valid(now()), "{:?} is dead and may act", node.me);
        }
    }
}
