//! Who votes: from one to three to five and back, and never two at rest.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use wadi_core::authority::Command;
use wadi_core::authority::raft::{AskFailed, RaftAuthority};

use crate::world::{LEASE, PATIENCE, World, now, until};

/// Notes how many vote, as some node sees it, for as long as it runs.
struct Counting {
    stop: Arc<AtomicBool>,
    counted: JoinHandle<BTreeSet<usize>>,
}

impl Counting {
    fn at(authority: &Arc<RaftAuthority>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let authority = Arc::clone(authority);
        let counted = tokio::spawn(async move {
            let mut counts = BTreeSet::new();
            while !stopped.load(Ordering::Relaxed) {
                counts.insert(authority.votes().voters.len());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            counts
        });
        Self { stop, counted }
    }

    async fn end(self) -> BTreeSet<usize> {
        self.stop.store(true, Ordering::Relaxed);
        self.counted.await.expect("it counts")
    }
}

#[tokio::test]
async fn voters_grow_to_five_and_shrink_when_everybody_leaves_at_once() {
    let mut world = World::founded_by("n1").await;
    let counting = Counting::at(&world.node("n1").authority);
    world.join("n2").await;
    world.ready("n2").await;
    world.all_see(&["n1", "n2"]).await;
    world.voters_count(1).await;
    world.join("n3").await;
    world.ready("n3").await;
    world.voters_are(&["n1", "n2", "n3"]).await;
    world.join("n4").await;
    world.ready("n4").await;
    world.all_see(&["n1", "n2", "n3", "n4"]).await;
    world.join("n5").await;
    world.ready("n5").await;
    world.voters_are(&["n1", "n2", "n3", "n4", "n5"]).await;
    let counts = counting.end().await;
    assert_eq!(counts, BTreeSet::from([1, 3, 5]));

    for name in ["n1", "n2", "n3", "n4", "n5"] {
        world.leave(name).await;
    }
    world.voters_count(1).await;
    // Until it is settled somebody else may be about to have it.
    world.voters_are_settled().await;
    let keeper = *world.node("n1").voters().first().expect("one votes");
    let names: Vec<_> = world.nodes.keys().copied().collect();
    let last = names.iter().find(|name| world.node(name).me == keeper);
    let last = *last.expect("it is one of them");
    for name in names.iter().filter(|name| **name != last) {
        // Nobody is ready, so nobody takes the buckets: they go at their own word.
        let node = world.nodes.remove(name).expect("it is a node");
        node.stop_renewing();
        let left = Command::Left {
            incarnation: node.me,
            force: true,
        };
        let answer = node.ask(left).await;
        assert_eq!(answer, wadi_core::authority::Answer::Left(Ok(())));
        world.net.detach(name);
        node.authority.close().await;
    }
    world.all_see(&[last]).await;
}

#[tokio::test]
async fn a_leaving_voter_is_replaced_before_it_goes() {
    let mut world = World::of(&["n1", "n2", "n3", "n4"]).await;
    world.voters_are(&["n1", "n2", "n3"]).await;
    world.leave("n2").await;
    world.voters_are(&["n1", "n3", "n4"]).await;
    world.reassign("n1").await;
    world.left("n2").await;
    world.all_see(&["n1", "n3", "n4"]).await;
    world.voters_are(&["n1", "n3", "n4"]).await;
}

#[tokio::test]
async fn a_leader_that_leaves_is_replaced_too() {
    let mut world = World::of(&["n1", "n2", "n3", "n4"]).await;
    world.voters_count(3).await;
    let leader = world.leader().await;
    world.leave(leader).await;
    let rest: Vec<_> = world
        .nodes
        .keys()
        .copied()
        .filter(|n| *n != leader)
        .collect();
    // It leads on without a vote, until it goes.
    world.voters_are(&rest).await;
    world.reassign(rest[0]).await;
    world.left(leader).await;
    world.leader_among(&rest).await;
    world.all_see(&rest).await;
    let again = world.node(rest[0]).authority.renew(LEASE).await;
    assert_eq!(again, Ok(Ok(LEASE)));
}

#[tokio::test]
async fn who_still_votes_may_not_go_in_good_order() {
    let world = World::of(&["n1", "n2", "n3"]).await;
    world.voters_count(3).await;
    let n2 = world.node("n2");
    // It has not said that it leaves, so nobody replaces it.
    let asking = async {
        loop {
            let left = Command::Left {
                incarnation: n2.me,
                force: false,
            };
            match n2.authority.propose(left, LEASE / 2).await {
                Err(AskFailed::StillVotes) => return,
                // Time ran out in the middle of an attempt: it says no more than it knows.
                Err(AskFailed::Unknown | AskFailed::NoLeader) => {}
                other => panic!("it still votes: {other:?}"),
            }
        }
    };
    let refused = tokio::time::timeout(PATIENCE, asking).await;
    assert!(refused.is_ok(), "it is never told that it still votes");
    world.all_see(&["n1", "n2", "n3"]).await;
}

#[tokio::test]
async fn a_dead_voter_is_replaced_after_its_lease() {
    let mut world = World::of(&["n1", "n2", "n3", "n4"]).await;
    world.voters_are(&["n1", "n2", "n3"]).await;
    let leader = world.leader().await;
    let follower = ["n1", "n2", "n3"].into_iter().find(|n| *n != leader);
    let follower = follower.expect("there are two");
    let dead = world.kill(follower).await;
    let killed_at = now();
    until("the dead one votes no more", || {
        let votes = world.node(leader).authority.votes();
        !votes.voters.contains(&dead.me) && !votes.is_changing
    })
    .await;
    // Its last renewal was less than half a lease old, at eight renewals a lease.
    assert!(now().since(killed_at) >= LEASE / 2);
    world.voters_count(3).await;
    let rest: Vec<_> = world.nodes.keys().copied().collect();
    world.voters_are(&rest).await;
    until("the dead one is told nothing", || {
        !world.node(leader).authority.votes().told.contains(&dead.me)
    })
    .await;
}

#[tokio::test]
async fn a_restarted_node_is_somebody_new() {
    let mut world = World::of(&["n1", "n2", "n3"]).await;
    world.voters_count(3).await;
    let leader = world.leader().await;
    let follower = ["n1", "n2", "n3"].into_iter().find(|n| *n != leader);
    let follower = follower.expect("there are two");
    let before = world.kill(follower).await;
    world.join(follower).await;
    world.ready(follower).await;
    assert!(world.node(follower).me > before.me);
    // The new one votes in place of the old one, which is not taken for it.
    let all: Vec<_> = world.nodes.keys().copied().collect();
    world.all_see(&all).await;
    world.voters_are(&all).await;
}
