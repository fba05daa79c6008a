//! Leaving, also of who leads, of the last but one, and of everybody at once.

use wadi_core::authority::{Answer, Command};
use wadi_core::bucket::Layout;
use wadi_core::node::Authority;

use crate::world::{LEASE, World, pass};

const THREE: [&str; 3] = ["n1", "n2", "n3"];

fn nobody_lapsed(world: &World) {
    for (name, node) in &world.nodes {
        assert!(!node.life.lock().lapsed, "{name} lost its lease");
    }
}

#[tokio::test(start_paused = true)]
async fn one_after_the_other_leaves_the_leader_always_first() {
    let mut world = World::of(&["n1", "n2", "n3", "n4", "n5"]).await;
    world.voters_count(5).await;
    for voters in [3, 3, 1, 1] {
        let leader = world.leader().await;
        world.leave(leader).await;
        let rest: Vec<_> = world.nodes.keys().copied().collect();
        world.all_ready(&rest).await;
        world.voters_count(voters).await;
        pass(LEASE * 2).await;
        nobody_lapsed(&world);
    }
    let last = world.leader().await;
    world.leave(last).await;
}

#[tokio::test(start_paused = true)]
async fn one_after_the_other_leaves_the_leader_always_last() {
    let mut world = World::of(&["n1", "n2", "n3", "n4", "n5"]).await;
    world.voters_count(5).await;
    for voters in [3, 3, 1, 1] {
        let leader = world.leader().await;
        let follower = world.nodes.keys().copied().find(|name| *name != leader);
        world.leave(follower.unwrap()).await;
        let rest: Vec<_> = world.nodes.keys().copied().collect();
        world.all_ready(&rest).await;
        world.voters_count(voters).await;
        pass(LEASE * 2).await;
        nobody_lapsed(&world);
    }
}

/// A rolling restart: each leaves, and comes back.
#[tokio::test(start_paused = true)]
async fn each_is_restarted_in_good_order() {
    let mut world = World::of(&THREE).await;
    for name in ["n1", "n2", "n3", "n2", "n1"] {
        world.voters_count(3).await;
        world.leave(name).await;
        world.start(name, &THREE);
        world.all_ready(&THREE).await;
        nobody_lapsed(&world);
    }
    for node in world.nodes.values() {
        assert!(node.heard.all().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn two_of_three_leave_at_once() {
    let mut world = World::of(&THREE).await;
    world.voters_count(3).await;
    for name in ["n1", "n2"] {
        world.begin_to_leave(name);
    }
    for name in ["n1", "n2"] {
        world.node_has_left(name).await;
    }
    world.all_ready(&["n3"]).await;
    world.voters_count(1).await;
    nobody_lapsed(&world);
}

#[tokio::test(start_paused = true)]
async fn everybody_leaves_at_once() {
    for count in [1, 2, 3, 5] {
        let all = &["n1", "n2", "n3", "n4", "n5"][..count];
        let mut world = World::of(all).await;
        for name in all {
            world.begin_to_leave(name);
        }
        let began = world.clock.now();
        for name in all {
            world.node_has_left(name).await;
        }
        let took = world.clock.now().since(began);
        assert!(took < LEASE * 6, "{count} took {took:?}");
    }
}

/// At its deadline a node goes by force, and its vote goes to whoever stays.
#[tokio::test(start_paused = true)]
async fn the_only_voter_goes_by_force_and_the_other_stays() {
    let mut world = World::new();
    world.start("n1", &[]);
    world.all_ready(&["n1"]).await;
    world.start("n2", &["n1"]);
    world.all_ready(&["n1", "n2"]).await;
    world.voters_count(1).await;
    let n1 = world.nodes.remove("n1").unwrap();
    let left = Command::Left {
        incarnation: n1.me().unwrap(),
        force: true,
    };
    let answered = n1.agreement.command(left).await;
    assert_eq!(answered, Ok(Answer::Left(Ok(()))));
    let agreement = std::sync::Arc::clone(&n1.agreement);
    // Its driver is gone first.
    drop(n1);
    agreement.leave(LEASE).await;
    world.net.detach("n1");
    world.all_ready(&["n2"]).await;
    pass(LEASE * 2).await;
    nobody_lapsed(&world);
    assert!(world.may_act("n2"));
    // Where the node has said nothing, its agreement does.
    world.start("n3", &["n2"]);
    world.all_ready(&["n2", "n3"]).await;
    let n2 = world.nodes.remove("n2").unwrap();
    let agreement = std::sync::Arc::clone(&n2.agreement);
    drop(n2);
    agreement.leave(LEASE).await;
    world.net.detach("n2");
    world.all_ready(&["n3"]).await;
    nobody_lapsed(&world);
}

/// Two nodes, of which the first has the only vote.
async fn two_and_one_vote() -> World {
    let mut world = World::new();
    world.start("n1", &[]);
    world.all_ready(&["n1"]).await;
    world.start("n2", &["n1"]);
    world.all_ready(&["n1", "n2"]).await;
    world.voters_count(1).await;
    world
}

/// Who has the only vote is no member any more, and dies the moment this is known.
async fn goes_on_without(mut world: World) {
    world.kill("n1").await;
    world.all_ready(&["n2"]).await;
    pass(LEASE * 2).await;
    nobody_lapsed(&world);
    assert!(world.may_act("n2"));
}

async fn answered(world: &World, by: &str, command: Command) -> Answer {
    for _ in 0..20 {
        if let Ok(answer) = world.node(by).agreement.command(command.clone()).await {
            return answer;
        }
    }
    panic!("nobody answers {command:?}");
}

#[tokio::test(start_paused = true)]
async fn the_only_vote_is_somebody_elses_before_its_node_has_gone_by_force() {
    let world = two_and_one_vote().await;
    let left = Command::Left {
        incarnation: world.node("n1").me().unwrap(),
        force: true,
    };
    assert_eq!(answered(&world, "n1", left).await, Answer::Left(Ok(())));
    goes_on_without(world).await;
}

#[tokio::test(start_paused = true)]
async fn the_only_vote_is_somebody_elses_before_its_node_is_declared_dead() {
    let world = two_and_one_vote().await;
    let dead = Command::DeclareDead {
        by: world.node("n2").me().unwrap(),
        incarnation: world.node("n1").me().unwrap(),
        proof: wadi_core::authority::Proof::Operator,
    };
    assert_eq!(answered(&world, "n2", dead).await, Answer::Declared(Ok(())));
    goes_on_without(world).await;
}

#[tokio::test(start_paused = true)]
async fn the_only_vote_is_somebody_elses_before_its_nodes_lease_is_over() {
    let world = two_and_one_vote().await;
    let n1 = world.node("n1");
    n1.stop();
    let me = n1.me().unwrap();
    let mut layouts = n1.agreement.part().unwrap().layouts();
    let is_dead = |layout: &Option<std::sync::Arc<Layout>>| {
        let layout = layout.as_ref();
        layout.is_some_and(|layout| !layout.is_member(me))
    };
    drop(layouts.wait_for(is_dead).await.unwrap());
    goes_on_without(world).await;
}

/// Everybody's deadline comes at once, and nobody has said anything.
#[tokio::test(start_paused = true)]
async fn all_agreements_leave_at_once() {
    let mut world = World::of(&THREE).await;
    let began = world.clock.now();
    let leaving: Vec<_> = std::mem::take(&mut world.nodes)
        .into_values()
        .map(|node| {
            let agreement = std::sync::Arc::clone(&node.agreement);
            drop(node);
            tokio::spawn(async move { agreement.leave(LEASE).await })
        })
        .collect();
    for leaving in leaving {
        leaving.await.unwrap();
    }
    assert!(world.clock.now().since(began) <= LEASE * 2);
}
