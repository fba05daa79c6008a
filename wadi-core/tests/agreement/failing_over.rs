//! A leader that dies: the others' leases outlast it.

use std::time::Duration;

use wadi_core::authority::raft::Timing;
use wadi_core::authority::{Answer, Command, Death, NotAMember, NotDeclared, Proof};
use wadi_core::node::{Authority, PartEnd};

use crate::world::{LEASE, World, pass, until};

const THREE: [&str; 3] = ["n1", "n2", "n3"];

/// How a leader goes, without a word.
#[derive(Clone, Copy, Debug)]
enum Goes {
    /// Its process is gone: whoever asks it hears so.
    Closed,
    /// Its host is gone: whoever asks it hears nothing.
    Silent,
}

impl Goes {
    async fn take(self, world: &mut World, leader: &'static str, others: &[&str]) {
        match self {
            Self::Closed => {
                world.kill(leader).await;
            }
            Self::Silent => {
                world.net.cut(&[leader], others);
                let node = world.nodes.remove(leader).expect("it is a node");
                node.agreement.close().await;
            }
        }
    }
}

async fn leader_goes(how: Goes) {
    for after in 0..24 {
        let mut world = World::of(&THREE).await;
        world.voters_count(3).await;
        pass(LEASE + Duration::from_millis(after * 61)).await;
        let leader = world.leader().await;
        let others: Vec<_> = THREE.into_iter().filter(|name| *name != leader).collect();
        how.take(&mut world, leader, &others).await;
        let until_when = world.clock.now() + LEASE * 3;
        until("a while has passed", || {
            for name in &others {
                assert!(world.may_act(name), "{name} lapsed, {how:?} after {after}");
            }
            world.clock.now() > until_when
        })
        .await;
        world.all_ready(&others).await;
    }
}

/// It renews, because its questions are answered, and hears of no layout: so it comes back, also as
/// often as it must.
#[tokio::test(start_paused = true)]
async fn who_renews_and_is_told_nothing_any_more_comes_back() {
    let mut world = World::of(&["n1", "n2", "n3", "n4", "n5"]).await;
    world.voters_count(5).await;
    let leader = world.leader().await;
    let deaf = world.nodes.keys().copied().find(|name| *name != leader);
    let deaf = deaf.expect("there are five");
    world.net.silence(&[leader], &[deaf]);
    pass(LEASE).await;
    let before = world.node(deaf).me().unwrap();
    let version = world.node(deaf).layout().unwrap().version;
    world.start("n6", &["n1", "n2", "n3", "n4", "n5"]);
    until("it hears of a later layout, or is somebody else", || {
        let layout = world.node(deaf).layout().unwrap();
        world.node(deaf).me() > Some(before) || layout.version > version
    })
    .await;
    world.net.heal();
    world.all_ready(&["n1", "n2", "n3", "n4", "n5", "n6"]).await;
    assert!(world.node(deaf).me() > Some(before), "nobody else led");
    let heard = world.node(deaf).heard.all();
    assert_eq!(heard.first(), Some(&PartEnd::Behind));
}

/// Who has no vote to hand over is somebody new before it renews the next time.
#[tokio::test(start_paused = true)]
async fn who_is_somebody_new_before_its_next_renewal_learns_that_it_is() {
    let five = ["n1", "n2", "n3", "n4", "n5"];
    let mut world = World::of(&five).await;
    world.voters_count(5).await;
    world.start("n6", &five);
    world.all_ready(&["n1", "n2", "n3", "n4", "n5", "n6"]).await;
    let leader = world.leader().await;
    world.net.silence(&[leader], &["n6"]);
    let before = world.node("n6").me().expect("it is a member");
    world.start("n7", &five);
    until("its part in the agreement ends", || {
        !world.node("n6").heard.all().is_empty()
    })
    .await;
    world.net.heal();
    world
        .all_ready(&["n1", "n2", "n3", "n4", "n5", "n6", "n7"])
        .await;
    assert!(world.node("n6").me() > Some(before));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_closed_makes_nobody_lapse() {
    leader_goes(Goes::Closed).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_falls_silent_makes_nobody_lapse() {
    leader_goes(Goes::Silent).await;
}

/// Every survivor says so, as it does where each had a connection to it.
async fn proven_leader_goes(how: Goes) {
    for after in 0..12 {
        let mut world = World::of(&THREE).await;
        world.voters_count(3).await;
        pass(LEASE + Duration::from_millis(after * 37)).await;
        let leader = world.leader().await;
        let others: Vec<_> = THREE.into_iter().filter(|name| *name != leader).collect();
        let dead = world.node(leader).me().expect("it is a member");
        how.take(&mut world, leader, &others).await;
        let began = world.clock.now();
        let mut saying = Vec::new();
        for name in &others {
            let command = Command::DeclareDead {
                by: world.node(name).me().expect("it is a member"),
                incarnation: dead,
                proof: Proof::Operator,
            };
            let agreement = world.node(name).agreement.clone();
            saying.push(tokio::spawn(
                async move { agreement.command(command).await },
            ));
        }
        let gone = NotDeclared::NotAMember(NotAMember::Tombstoned(dead));
        for one in saying {
            let said = one.await.expect("it does not panic");
            // Each may be the second to say so, also where it asked twice.
            let is_agreed = [Ok(()), Err(gone)].map(|told| Ok(Answer::Declared(told)));
            assert!(is_agreed.contains(&said), "{said:?}, {how:?} after {after}");
        }
        let took = world.clock.now().since(began);
        // Before that nobody stands who only misses the leader.
        let least = Timing::of(LEASE).election_least();
        assert!(took < least, "{took:?}, {how:?} after {after}");
        let part = world
            .node(others[0])
            .agreement
            .part()
            .expect("it has a part");
        let register = part.register().expect("it has one");
        let tombstone = register.tombstone(dead).expect("it is remembered");
        assert_eq!(tombstone.death, Death::Proven(Proof::Operator));
        for name in &others {
            assert!(world.may_act(name));
        }
        world.all_ready(&others).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_closed_and_proven_dead_is_followed_at_once() {
    proven_leader_goes(Goes::Closed).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_silent_and_proven_dead_is_followed_at_once() {
    proven_leader_goes(Goes::Silent).await;
}

/// By an operator's word. It agrees to that itself, and leads until it comes back as somebody new.
#[tokio::test(start_paused = true)]
async fn a_leader_that_is_declared_dead_and_lives_is_not_voted_out_for_that() {
    let world = World::of(&THREE).await;
    world.voters_count(3).await;
    let leader = world.leader().await;
    let dead = world.node(leader).me().unwrap();
    let other = THREE.into_iter().find(|name| *name != leader).unwrap();
    let command = Command::DeclareDead {
        by: world.node(other).me().unwrap(),
        incarnation: dead,
        proof: Proof::Operator,
    };
    let said = world.node(other).agreement.command(command).await;
    assert_eq!(said, Ok(Answer::Declared(Ok(()))));
    assert!(world.node(leader).leads());
    until("it is somebody new", || {
        world.node(leader).me().is_some_and(|me| me > dead)
    })
    .await;
    world.all_ready(&THREE).await;
}
