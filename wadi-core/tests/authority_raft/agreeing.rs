//! Joining, being ready, leaving: agreed, and seen by everybody.

use std::time::Duration;

use wadi_core::authority::raft::AskFailed;
use wadi_core::authority::{Answer, Command, LeftRefused, NotAMember, NotDeclared, Proof};
use wadi_core::member::{Incarnation, Standing};

use crate::world::{LEASE, PATIENCE, World, now, until};

#[tokio::test]
async fn one_node_founds_alone_and_agrees_with_itself() {
    let world = World::founded_by("n1").await;
    let n1 = world.node("n1");
    assert!(n1.authority.leads());
    assert_eq!(n1.voters(), world.set(&["n1"]));
    assert_eq!(n1.authority.renew(PATIENCE).await, Ok(Ok(LEASE)));
    let layout = world.all_see(&["n1"]).await;
    assert_eq!(layout.members[&n1.me].standing, Standing::Ready);
    // It outlives its leases, because it renews them.
    tokio::time::sleep(LEASE * 3 / 2).await;
    assert!(n1.lease.lock().expect("nobody panicked").is_valid(now()));
    world.all_see(&["n1"]).await;
}

#[tokio::test]
async fn a_lone_node_that_does_not_renew_loses_its_lease() {
    let world = World::founded_by("n1").await;
    let n1 = world.node("n1");
    n1.stop_renewing();
    until("its end", || {
        n1.layout().is_some_and(|l| l.members.is_empty())
    })
    .await;
    assert!(!n1.lease.lock().expect("nobody panicked").is_valid(now()));
    let refused = n1.authority.renew(PATIENCE).await;
    assert_eq!(refused, Ok(Err(NotAMember::Tombstoned(n1.me))));
}

/// Whoever could not renew because the leader was not there is given a whole lease more.
#[tokio::test]
async fn a_leader_that_was_away_declares_nobody_dead_for_it() {
    use std::sync::Arc;
    use wadi_core::clock::ManualClock;

    let clock = Arc::new(ManualClock::new());
    let world = World::founded_with("n1", clock.clone()).await;
    let n1 = world.node("n1");
    n1.stop_renewing();
    clock.advance(LEASE * 5);
    tokio::time::sleep(LEASE / 2).await;
    assert_eq!(n1.authority.renew(PATIENCE).await, Ok(Ok(LEASE)));
    // Where time passes as it does, the lease ends.
    for _ in 0..16 {
        clock.advance(LEASE / 8);
        tokio::time::sleep(LEASE / 16).await;
    }
    let refused = n1.authority.renew(PATIENCE).await;
    assert_eq!(refused, Ok(Err(NotAMember::Tombstoned(n1.me))));
}

#[tokio::test]
async fn three_nodes_agree_and_every_watcher_sees_it() {
    let mut world = World::of(&["n1", "n2", "n3"]).await;
    let layout = world.all_see(&["n1", "n2", "n3"]).await;
    assert!(
        layout
            .members
            .values()
            .all(|m| m.standing == Standing::Ready)
    );
    world.voters_count(3).await;
    world.reassign("n2").await;
    until("buckets for all", || {
        world.nodes.values().all(|node| {
            let layout = node.layout().expect("it has one");
            world.nodes.values().all(|n| layout.managed_by(n.me) > 0)
        })
    })
    .await;

    world.leave("n3").await;
    until("everybody knows", || {
        let n3 = world.node("n3").me;
        let leaves = |node: &crate::world::Node| {
            let layout = node.layout().expect("it has one");
            layout
                .members
                .get(&n3)
                .is_some_and(|m| m.standing == Standing::Leaving)
        };
        world.nodes.values().all(leaves)
    })
    .await;
    world.reassign("n1").await;
    world.left("n3").await;
    world.all_see(&["n1", "n2"]).await;
    // With two members one votes.
    world.voters_count(1).await;
}

#[tokio::test]
async fn versions_only_grow_for_a_watcher() {
    let mut world = World::founded_by("n1").await;
    let mut layouts = world.node("n1").authority.layouts();
    let watching = tokio::spawn(async move {
        let mut last = None;
        while layouts.changed().await.is_ok() {
            let version = layouts.borrow_and_update().as_ref().map(|l| l.version);
            assert!(version > last, "{version:?} after {last:?}");
            last = version;
            if layouts
                .borrow()
                .as_ref()
                .is_some_and(|l| l.members.len() == 3)
            {
                return;
            }
        }
    });
    world.join("n2").await;
    world.join("n3").await;
    tokio::time::timeout(PATIENCE, watching)
        .await
        .expect("it sees all three")
        .expect("versions grow");
}

#[tokio::test]
async fn refusals_are_answers() {
    let world = World::of(&["n1", "n2"]).await;
    let n2 = world.node("n2");
    let nobody = Incarnation::new(99);
    let dead = Command::DeclareDead {
        by: n2.me,
        incarnation: nobody,
        proof: Proof::Operator,
    };
    let answer = n2.ask(dead).await;
    let unknown = NotDeclared::NotAMember(NotAMember::Unknown(nobody));
    assert_eq!(answer, Answer::Declared(Err(unknown)));
    let left = Command::Left {
        incarnation: n2.me,
        force: false,
    };
    let answer = n2.ask(left).await;
    assert_eq!(answer, Answer::Left(Err(LeftRefused::NotLeaving(n2.me))));
}

#[tokio::test]
async fn a_member_removes_no_other_but_with_a_proof() {
    let world = World::of(&["n1", "n2", "n3"]).await;
    let victim = world.node("n3").me;
    for name in ["n1", "n2"] {
        for command in [
            Command::Leave(victim),
            Command::Left {
                incarnation: victim,
                force: true,
            },
            // In somebody else's name.
            Command::DeclareDead {
                by: victim,
                incarnation: victim,
                proof: Proof::Operator,
            },
        ] {
            let answer = world.node(name).authority.propose(command, PATIENCE).await;
            assert_eq!(answer, Err(AskFailed::NotForYou));
        }
        let by = world.node(name).me;
        for proof in [
            Proof::BoundAddress,
            Proof::RefusedHere,
            Proof::ClosedAndRefused,
        ] {
            let dead = Command::DeclareDead {
                by,
                incarnation: victim,
                proof,
            };
            let refused = NotDeclared::NoProof { by, proof };
            let answer = world.node(name).ask(dead).await;
            assert_eq!(answer, Answer::Declared(Err(refused)));
        }
    }
    let layout = world.all_see(&["n1", "n2", "n3"]).await;
    assert_eq!(layout.members[&victim].standing, Standing::Ready);
}

/// The clock jumps to the end of the lease while more commands wait than go into one entry, the renewal
/// behind all of them.
#[tokio::test]
async fn a_renewal_that_was_received_counts_before_the_lease_ends() {
    use std::sync::Arc;
    use wadi_core::clock::ManualClock;

    let clock = Arc::new(ManualClock::new());
    let world = World::founded_with("n1", clock.clone()).await;
    let n1 = world.node("n1");
    n1.stop_renewing();
    for _ in 0..3 {
        clock.advance(LEASE / 4);
        tokio::time::sleep(LEASE / 7).await;
    }
    for _ in 0..40 {
        let authority = Arc::clone(&n1.authority);
        let ready = Command::Ready(n1.me);
        tokio::spawn(async move { authority.propose(ready, PATIENCE).await });
    }
    let authority = Arc::clone(&n1.authority);
    let renewing = tokio::spawn(async move { authority.renew(PATIENCE).await });
    // Each of them has asked before the leader has its turn.
    tokio::spawn(async move { clock.advance(LEASE / 4) });
    assert_eq!(renewing.await.unwrap(), Ok(Ok(LEASE)));
}

#[tokio::test]
async fn the_leaders_own_duties_are_not_for_nodes() {
    let world = World::of(&["n1", "n2"]).await;
    for name in ["n1", "n2"] {
        for command in [Command::Expire, Command::TakeOver] {
            let answer = world.node(name).authority.propose(command, PATIENCE).await;
            assert_eq!(answer, Err(AskFailed::NotForYou));
        }
        let long = Command::Join {
            node: wadi_core::member::NodeName::new("n"),
            address: "x".repeat(256),
            place: None,
        };
        let answer = world.node(name).authority.propose(long, PATIENCE).await;
        assert_eq!(answer, Err(AskFailed::NotForYou));
    }
    world.all_see(&["n1", "n2"]).await;
}

#[tokio::test]
async fn what_is_no_message_is_answered_and_changes_nothing() {
    use wadi_core::authority::raft::{LARGEST_MESSAGE, RaftAuthority};
    let world = World::founded_by("n1").await;
    for junk in [vec![], vec![0xc1; 10], vec![0; LARGEST_MESSAGE + 1]] {
        let answer = world.node("n1").authority.receive(junk.into()).await;
        assert_eq!(answer, RaftAuthority::not_here());
    }
    world.all_see(&["n1"]).await;
}

#[tokio::test]
async fn a_node_of_a_slow_network_joins_and_renews() {
    let mut world = World::founded_by("n1").await;
    world.net.slow(Duration::from_millis(15));
    world.join("n2").await;
    world.ready("n2").await;
    world.all_see(&["n1", "n2"]).await;
    tokio::time::sleep(LEASE * 3 / 2).await;
    world.all_see(&["n1", "n2"]).await;
}
