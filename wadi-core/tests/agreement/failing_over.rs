//! A leader that dies: the others' leases outlast it.

use std::time::Duration;

use wadi_core::node::PartEnd;

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

async fn leader_goes(how: Goes) {
    for after in 0..24 {
        let mut world = World::of(&THREE).await;
        world.voters_count(3).await;
        pass(LEASE + Duration::from_millis(after * 61)).await;
        let leader = world.leader().await;
        let others: Vec<_> = THREE.into_iter().filter(|name| *name != leader).collect();
        match how {
            Goes::Closed => {
                world.kill(leader).await;
            }
            Goes::Silent => {
                world.net.cut(&[leader], &others);
                let node = world.nodes.remove(leader).expect("it is a node");
                node.agreement.close().await;
            }
        }
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

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_closed_makes_nobody_lapse() {
    leader_goes(Goes::Closed).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_falls_silent_makes_nobody_lapse() {
    leader_goes(Goes::Silent).await;
}
