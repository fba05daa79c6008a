//! Joining, and coming back as somebody new.

use std::time::Duration;

use wadi_core::authority::{Answer, Command};
use wadi_core::member::NodeName;
use wadi_core::node::{Agreement, Authority, PartEnd, Unreachable};

use crate::world::{LEASE, World, list, pass, until};

#[tokio::test(start_paused = true)]
async fn a_node_without_a_list_founds_alone_and_others_join_it() {
    let mut world = World::new();
    world.start("n1", &[]);
    world.all_ready(&["n1"]).await;
    world.start("n2", &["n1"]);
    world.start("n3", &["n2", "n1"]);
    world.all_ready(&["n1", "n2", "n3"]).await;
    world.voters_count(3).await;
    pass(LEASE * 2).await;
    world.all_ready(&["n1", "n2", "n3"]).await;
    assert!(world.nodes.values().all(|node| !node.life.lock().lapsed));
}

#[tokio::test(start_paused = true)]
async fn commands_before_the_first_join_are_not_answered_and_a_closed_one_answers_nothing() {
    let world = World::new();
    let agreement = Agreement::new(world.settings("n1", list(&[])));
    let nobody = wadi_core::member::Incarnation::new(1);
    let early = agreement.command(Command::Ready(nobody)).await;
    assert_eq!(early, Err(Unreachable));
    let join = || Command::Join {
        node: NodeName::new("n1"),
        address: "n1".to_owned(),
        place: None,
    };
    let joined = agreement.command(join()).await;
    assert!(matches!(joined, Ok(Answer::Joined(_))), "{joined:?}");
    let layout = agreement.layout_after(None).await.unwrap();
    let waiting = agreement.layout_after(Some(layout.version));
    let (none, ()) = tokio::join!(waiting, agreement.close());
    assert_eq!(none.err(), Some(Unreachable));
    assert_eq!(agreement.command(join()).await, Err(Unreachable));
    agreement.close().await;
}

/// Calls that are given up lose nothing, and a lease counts from the call that is answered.
#[tokio::test(start_paused = true)]
async fn a_join_that_is_given_up_goes_on_and_the_answer_is_a_lease_of_its_own_call() {
    let mut world = World::new();
    let agreement = Agreement::new(world.settings("n2", list(&["n1"])));
    let join = || {
        agreement.command(Command::Join {
            node: NodeName::new("n2"),
            address: "n2".to_owned(),
            place: None,
        })
    };
    let nobody = tokio::time::timeout(Duration::from_millis(50), join()).await;
    assert!(nobody.is_err());
    world.start("n1", &[]);
    // Nobody asks, and it joins all the same.
    until("n2 is a member", || {
        let layout = world.node("n1").layout();
        layout.is_some_and(|layout| layout.members.len() == 2)
    })
    .await;
    pass(LEASE / 2).await;
    let Ok(Answer::Joined(joined)) = join().await else {
        panic!("it is answered");
    };
    // Without the renewal that this call made, the incarnation would be dead by now.
    pass(LEASE * 3 / 4).await;
    let layout = world.node("n1").layout().unwrap();
    assert!(layout.is_member(joined.incarnation));
    agreement.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_away_for_too_long_comes_back_as_somebody_new() {
    let mut world = World::of(&["n1", "n2", "n3"]).await;
    world.voters_count(3).await;
    for name in ["n2", "n1", "n3"] {
        let before = world.node(name).me().unwrap();
        let others: Vec<_> = ["n1", "n2", "n3"]
            .into_iter()
            .filter(|n| *n != name)
            .collect();
        world.net.cut(&[name], &others);
        until("it is dead for the others", || {
            let layout = world.node(others[0]).layout();
            layout.is_some_and(|layout| !layout.is_member(before))
        })
        .await;
        assert!(!world.may_act(name));
        world.net.heal();
        world.all_ready(&["n1", "n2", "n3"]).await;
        assert!(world.node(name).me().unwrap() > before);
        world.voters_count(3).await;
    }
    // Where its own list is of no use, it knows who was there.
    world.start("n4", &["n1"]);
    world.all_ready(&["n1", "n2", "n3", "n4"]).await;
    world.kill("n1").await;
    world.all_ready(&["n2", "n3", "n4"]).await;
    world.net.cut(&["n4"], &["n2", "n3"]);
    pass(LEASE * 2).await;
    world.net.heal();
    world.all_ready(&["n2", "n3", "n4"]).await;
}

/// Its vote, which is the only one, goes over before it is somebody new.
#[tokio::test(start_paused = true)]
async fn the_only_voter_of_two_can_be_declared_dead_and_comes_back() {
    let mut world = World::new();
    world.start("n1", &[]);
    world.all_ready(&["n1"]).await;
    world.start("n2", &["n1"]);
    world.all_ready(&["n1", "n2"]).await;
    world.voters_count(1).await;
    let before = world.node("n1").me().unwrap();
    let dead = Command::DeclareDead {
        by: world.node("n2").me().unwrap(),
        incarnation: before,
        proof: wadi_core::authority::Proof::Operator,
    };
    // Its vote goes over first, and who asks in the middle of that is not told what became of it.
    while !matches!(
        world.node("n2").agreement.command(dead.clone()).await,
        Ok(Answer::Declared(_))
    ) {}
    until("n1 is somebody new", || {
        world.node("n1").me().is_some_and(|me| me > before)
    })
    .await;
    world.all_ready(&["n1", "n2"]).await;
    assert!(!world.node("n2").life.lock().lapsed);
}

#[tokio::test(start_paused = true)]
async fn a_lone_node_that_is_fenced_founds_again_above_what_it_had() {
    let mut world = World::new();
    world.start("n1", &[]);
    world.all_ready(&["n1"]).await;
    let before = world.node("n1").me().unwrap();
    let version = world.node("n1").layout().unwrap().version;
    let dead = Command::DeclareDead {
        by: before,
        incarnation: before,
        proof: wadi_core::authority::Proof::Operator,
    };
    let declared = world.node("n1").agreement.command(dead).await;
    assert_eq!(declared, Ok(Answer::Declared(Ok(()))));
    until("it is somebody new", || {
        world.node("n1").me().is_some_and(|me| me > before)
    })
    .await;
    world.all_ready(&["n1"]).await;
    let layout = world.node("n1").layout().unwrap();
    assert_eq!(layout.version.generation(), version.generation() + 1);
}

#[tokio::test(start_paused = true)]
async fn who_was_a_member_never_founds_again() {
    let mut world = World::new();
    world.start("n1", &[]);
    world.all_ready(&["n1"]).await;
    world.start("n2", &["n1"]);
    world.all_ready(&["n1", "n2"]).await;
    world.kill("n1").await;
    pass(LEASE * 20).await;
    assert!(!world.may_act("n2"));
    assert!(!world.node("n2").leads());
}

#[tokio::test(start_paused = true)]
async fn a_restarted_node_joins_as_somebody_new() {
    let mut world = World::of(&["n1", "n2", "n3"]).await;
    for name in ["n1", "n2", "n3", "n1"] {
        world.voters_count(3).await;
        let before = world.kill(name).await;
        world.start(name, &["n1", "n2", "n3"]);
        world.all_ready(&["n1", "n2", "n3"]).await;
        assert!(world.node(name).me().unwrap() > before);
    }
    world.voters_count(3).await;
}

/// Where most voters have started anew, nothing is agreed any more; their list founds again.
#[tokio::test(start_paused = true)]
async fn where_most_voters_have_restarted_the_next_generation_is_founded() {
    const THREE: [&str; 3] = ["n1", "n2", "n3"];
    for (names, restart) in [
        (&THREE[..2], &["n1"][..]),
        (&THREE[..], &["n1", "n2"]),
        (&THREE[..], &["n3", "n1"]),
    ] {
        let mut world = World::of(names).await;
        world
            .voters_count(if names.len() == 3 { 3 } else { 1 })
            .await;
        let version = world.nodes.values().next().unwrap().layout().unwrap();
        let version = version.version;
        // With two, it is the only voter that restarts.
        let leader = [world.leader().await];
        let restart = if names.len() == 2 {
            &leader[..]
        } else {
            restart
        };
        for name in restart {
            world.kill(name).await;
        }
        let stays = names.iter().find(|name| !restart.contains(name)).unwrap();
        for name in restart {
            world.start(name, names);
        }
        until("the new generation, and no two at once", || {
            let part = world.node(stays).agreement.part();
            let is_old = part.is_none_or(|part| part.incarnation() < version_floor(version));
            let others = restart.iter().any(|name| world.may_act(name));
            assert!(!(is_old && world.may_act(stays) && others));
            !is_old
        })
        .await;
        world.all_ready(names).await;
        let layout = world.node(stays).layout().unwrap();
        assert_eq!(layout.version.generation(), version.generation() + 1);
        assert_eq!(world.node(stays).heard.all(), [PartEnd::Abandoned]);
    }
}

fn version_floor(version: wadi_core::bucket::LayoutVersion) -> wadi_core::member::Incarnation {
    let next = wadi_core::bucket::LayoutVersion::founding(version.generation() + 1);
    wadi_core::member::Incarnation::new(next.as_u64())
}

#[tokio::test(start_paused = true)]
async fn who_has_joined_and_is_told_nothing_joins_again() {
    let mut world = World::new();
    world.start("n1", &[]);
    world.all_ready(&["n1"]).await;
    world.start("n2", &["n1"]);
    until("n2 is a member", || {
        let layout = world.node("n1").layout();
        layout.is_some_and(|layout| layout.members.len() == 2)
    })
    .await;
    world.kill("n1").await;
    assert_eq!(world.node("n2").layout(), None);
    world.start("n1", &[]);
    world.all_ready(&["n1", "n2"]).await;
    let why = world.node("n2").heard.all();
    assert_eq!(why.first(), Some(&PartEnd::Untold), "{why:?}");
}

/// Nobody has to close what is dropped.
#[tokio::test(start_paused = true)]
async fn a_dropped_agreement_takes_no_more_part() {
    let mut world = World::of(&["n1", "n2", "n3"]).await;
    world.voters_count(3).await;
    let leader = world.leader().await;
    // It can still be reached, and nobody is there.
    drop(world.nodes.remove(leader));
    let rest: Vec<_> = world.nodes.keys().copied().collect();
    world.all_ready(&rest).await;
    let next = world.leader().await;
    assert_ne!(next, leader);
}

/// They are members of the same cluster again when the last voter that counted goes.
#[tokio::test(start_paused = true)]
async fn voters_that_restart_one_after_the_other_within_a_lease_are_gone_all_the_same() {
    let all = ["n1", "n2", "n3", "n4", "n5"];
    let mut world = World::of(&all).await;
    world.voters_count(5).await;
    for name in ["n1", "n2", "n3"] {
        world.kill(name).await;
        world.start(name, &all);
        let joined = || world.node(name).me().is_some();
        if name != "n3" {
            until("it has joined", joined).await;
        }
    }
    world.all_ready(&all).await;
    world.voters_count(5).await;
}

/// Its own former vote is gone, too: nobody else can say so where it is a member again.
#[tokio::test(start_paused = true)]
async fn who_has_restarted_knows_that_its_former_vote_is_gone() {
    let all = ["n1", "n2", "n3"];
    let mut world = World::of(&all).await;
    world.voters_count(3).await;
    world.kill("n2").await;
    world.start("n2", &all);
    until("it is told that it has joined", || {
        world.node("n2").layout().is_some()
    })
    .await;
    // This one never comes back.
    world.kill("n1").await;
    world.kill("n3").await;
    world.start("n3", &all);
    world.all_ready(&["n2", "n3"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_restarts_every_second_costs_the_others_nothing() {
    let mut world = World::of(&["n1", "n2", "n3"]).await;
    let before: Vec<_> = ["n1", "n2"].map(|name| world.node(name).me()).into();
    for _ in 0..30 {
        world.kill("n3").await;
        world.start("n3", &["n1", "n2", "n3"]);
        pass(std::time::Duration::from_secs(1)).await;
        for name in ["n1", "n2"] {
            assert!(world.may_act(name), "{name}");
        }
    }
    world.all_ready(&["n1", "n2", "n3"]).await;
    let after: Vec<_> = ["n1", "n2"].map(|name| world.node(name).me()).into();
    assert_eq!(
        before, after,
        "nobody else had to come back as somebody new"
    );
    // Of all its starts the last one is left.
    crate::world::until("one incarnation of each", || {
        let layout = world.node("n1").layout();
        layout.is_some_and(|layout| layout.members.len() == 3)
    })
    .await;
}
