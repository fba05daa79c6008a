//! Nodes that die, and nodes that only seem to.

use std::sync::Arc;

use wadi_core::node::{Loser, NotDeclaredDead, Told};
use wadi_core::proof::Proof;
use wadi_core::protocol::{Event, Settings};
use wadi_core::session::Expiry;
use wadi_core::stale::{Chosen, TakeNothingBack};
use wadi_core::transport::memory::Condition;

use crate::world::{Refused, World, millis, secs};

const CUT: Condition = Condition {
    cut: true,
    delay: std::time::Duration::ZERO,
    doubled: false,
};

#[tokio::test(start_paused = true)]
async fn the_sessions_of_a_dead_node_are_told_lost_and_the_others_are_served() {
    let world = World::of(&["n1", "n2", "n3"]).await;
    let dead = world.create("n1").await;
    let away = world.create("n1").await;
    world.owner("n2", &away).await.unwrap();
    let alive = world.create("n3").await;
    world.kill("n1");
    // Before the lease runs out, and while it may come back, nobody says that it is gone.
    let asked = world.request("n2", &dead, async |_| Ok(())).await;
    assert_eq!(asked, Err(Refused::Unavailable));
    assert_eq!(
        world.owner("n3", &dead).await,
        Err(Refused::Absent { lost: true })
    );
    assert_eq!(world.owner("n3", &away).await, Ok("n1".to_owned()));
    assert_eq!(world.owner("n2", &alive).await, Ok("n3".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_takes_most_of_the_lease_renews_it() {
    let world = World::of(&["n1", "n2"]).await;
    let id = world.create("n1").await;
    let incarnation = world.node("n1").status().incarnation;
    // Longer than other calls are waited for; the lease is good for 3.6 s from when it was asked for.
    world.slow_answers("n1", 2_400);
    for _ in 0..40 {
        tokio::time::sleep(secs(1)).await;
        assert!(world.node("n1").sessions().may_act());
    }
    assert_eq!(world.node("n1").status().incarnation, incarnation);
    assert_eq!(world.serving(&id), ["n1"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_cut_off_from_the_authority_is_fenced_and_offers_its_sessions_back() {
    let world = World::of(&["n1", "n2", "n3"]).await;
    let kept = world.create("n1").await;
    let elsewhere = world.create("n2").await;
    let former = world.node("n1").status().incarnation.unwrap();
    world.cut_off("n1", true);
    tokio::time::sleep(secs(4)).await;
    // Its own lease ended before anybody could declare it dead.
    assert!(!world.node("n1").sessions().may_act());
    let asked = world.request("n1", &kept, async |_| Ok(())).await;
    assert_eq!(asked, Err(Refused::Unavailable));
    tokio::time::sleep(secs(3)).await;
    assert_eq!(
        world.request("n2", &kept, async |_| Ok(())).await,
        Err(Refused::Unavailable),
        "it may still come back"
    );
    world.cut_off("n1", false);
    world.settle().await;
    let now = world.node("n1").status().incarnation.unwrap();
    assert!(now > former);
    assert!(world.was_told("n1", |told| *told == Told::Fenced { former, offers: 1 }));
    assert_eq!(world.owner("n3", &kept).await, Ok("n1".to_owned()));
    assert_eq!(world.owner("n1", &elsewhere).await, Ok("n2".to_owned()));
    let events: Vec<_> = ["n1", "n2", "n3"]
        .iter()
        .flat_map(|name| world.events(name))
        .collect();
    // It was away for more than half of the time after which an older copy serves.
    assert_eq!(events, [Event::Stale(kept)]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_learns_of_its_death_from_a_layout_comes_back_at_once() {
    let world = World::of(&["n1", "n2"]).await;
    world.cut_off("n1", true);
    tokio::time::sleep(secs(7)).await;
    // No renewal of it is answered in time to say so.
    world.slow_answers("n1", 5_000);
    world.cut_off("n1", false);
    tokio::time::sleep(secs(2)).await;
    assert!(world.was_told("n1", |told| matches!(told, Told::Fenced { .. })));
}

#[tokio::test(start_paused = true)]
async fn time_goes_on_for_a_session_that_nobody_can_reach() {
    let world = World::of(&["n1", "n2"]).await;
    let id = world.create("n1").await;
    let lives = secs(100);
    let set = world
        .request("n1", &id, async |visit| {
            visit.set_expiry(Expiry::OnInactivity(lives))
        })
        .await;
    assert_eq!(set, Ok(()));
    // It is fenced soon, and offers what it had long after; nobody asks for the session meanwhile.
    world.condition("n1", "n2", CUT);
    world.cut_off("n1", true);
    tokio::time::sleep(secs(20)).await;
    world.cut_off("n1", false);
    tokio::time::sleep(secs(60)).await;
    world.network.heal();
    world.settle().await;
    let [one, other] = ["n1", "n2"].map(|name| world.node(name));
    assert_eq!(world.serving(&id).len(), 1, "it has come back");
    tokio::time::sleep(secs(18)).await;
    for node in [one, other] {
        node.sessions().sweep(node.sessions().now(), 1000);
    }
    assert_eq!(world.serving(&id), [""; 0], "100 seconds are over");
}

#[tokio::test(start_paused = true)]
async fn a_proven_death_is_healed_long_before_its_lease_is_over_and_leaves_no_doubt() {
    let world = World::of(&["n1", "n2", "n3"]).await;
    let dead = world.create("n1").await;
    let alive = world.create("n3").await;
    let who = world.node("n1").status().incarnation.unwrap();
    world.kill_proven("n1");
    tokio::time::sleep(millis(500)).await;
    let lost = Err(Refused::Absent { lost: true });
    assert_eq!(world.request("n2", &dead, async |_| Ok(())).await, lost);
    assert_eq!(world.owner("n2", &alive).await, Ok("n3".to_owned()));
    let proof = Proof::RefusedHere;
    for name in ["n2", "n3"] {
        let told = world.times_told(name, |told| {
            *told
                == Told::Proven {
                    who,
                    proof,
                    was_leaving: false,
                }
        });
        assert_eq!(told, 1, "{name}");
    }
}

/// It is told of a death once, when the authority cannot be asked; and the proof is as good later.
#[tokio::test(start_paused = true)]
async fn a_proof_is_kept_until_the_authority_has_heard_it() {
    let world = World::of(&["n1", "n2", "n3"]).await;
    for name in ["n2", "n3"] {
        world.cut_off(name, true);
    }
    let dead = world.create("n1").await;
    world.kill_proven("n1");
    tokio::time::sleep(secs(2)).await;
    for name in ["n2", "n3"] {
        world.cut_off(name, false);
    }
    tokio::time::sleep(millis(1_500)).await;
    let lost = Err(Refused::Absent { lost: true });
    assert_eq!(world.request("n2", &dead, async |_| Ok(())).await, lost);
}

/// Nobody else saw its end.
#[tokio::test(start_paused = true)]
async fn who_comes_to_the_same_address_proves_that_who_was_there_has_ended() {
    let world = World::of(&["n1", "n2"]).await;
    let dead = world.create("n1").await;
    world.kill("n1");
    world.start("n1").await;
    tokio::time::sleep(millis(500)).await;
    let lost = Err(Refused::Absent { lost: true });
    assert_eq!(world.request("n2", &dead, async |_| Ok(())).await, lost);
    let proof = Proof::BoundAddress;
    let is_it = |told: &Told| matches!(told, Told::Proven { proof: p, .. } if *p == proof);
    assert!(world.was_told("n1", is_it));
}

/// It comes back with what it had, at the same address, so its former incarnation is no proven death.
#[tokio::test(start_paused = true)]
async fn a_fenced_node_does_not_prove_its_own_former_death() {
    let world = World::of(&["n1", "n2", "n3"]).await;
    let kept = world.create("n1").await;
    world.cut_off("n1", true);
    tokio::time::sleep(secs(7)).await;
    world.cut_off("n1", false);
    world.settle().await;
    assert_eq!(world.owner("n3", &kept).await, Ok("n1".to_owned()));
    for name in ["n1", "n2", "n3"] {
        assert!(!world.was_told(name, |told| matches!(told, Told::Proven { .. })));
    }
}

#[tokio::test(start_paused = true)]
async fn an_operators_word_is_a_proof_and_is_refused_where_it_seems_wrong() {
    let world = World::of(&["n1", "n2", "n3"]).await;
    let dead = world.create("n1").await;
    let [me, who] = ["n2", "n1"].map(|name| world.node(name).status().incarnation.unwrap());
    let n2 = world.node("n2");
    let nobody = wadi_core::member::Incarnation::new(99);
    for (said, refused) in [
        (who, NotDeclaredDead::Connected),
        (me, NotDeclaredDead::Myself),
        (nobody, NotDeclaredDead::NoMember),
    ] {
        assert_eq!(n2.declare_dead(said, false).await, Err(refused));
    }
    for refused in [me, nobody] {
        assert!(n2.declare_dead(refused, true).await.is_err());
    }
    world.kill("n1");
    assert_eq!(n2.declare_dead(who, true).await, Ok(()));
    tokio::time::sleep(millis(500)).await;
    let lost = Err(Refused::Absent { lost: true });
    assert_eq!(world.request("n3", &dead, async |_| Ok(())).await, lost);
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_is_dropped_where_the_policy_has_it_so() {
    let protocol = Settings {
        stale: Chosen::new(Arc::new(TakeNothingBack)),
        ..Settings::default()
    };
    let world = World::with(32, protocol, &["n1", "n2", "n3"]).await;
    let id = world.create("n1").await;
    world.cut_off("n1", true);
    tokio::time::sleep(secs(7)).await;
    let lost = Err(Refused::Absent { lost: true });
    assert_eq!(world.request("n2", &id, async |_| Ok(())).await, lost);
    world.cut_off("n1", false);
    world.settle().await;
    assert_eq!(world.request("n1", &id, async |_| Ok(())).await, lost);
    assert_eq!(world.events("n1"), [Event::Dropped(id, Loser::Refused)]);
    assert_eq!(world.node("n1").aftermath().refused(), 1);
}
