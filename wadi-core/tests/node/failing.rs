//! A driver that fails, and a network that is full.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use wadi_core::clock::BootClock;
use wadi_core::member::NodeName;
use wadi_core::node::{InProcess, Listener, Node, NodeSettings, Surroundings, Told};
use wadi_core::session::{ClusterKey, Keyring, Origin, SessionError, Sessions, Visit};
use wadi_core::transport::memory::Network;

use crate::world::{World, secs};

/// Panics whatever it is told once it was told of a member, and counts deaths.
#[derive(Debug, Default)]
struct Panics(AtomicUsize);

impl Listener for Panics {
    fn told(&self, what: Told) {
        if what == Told::Died {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        panic!("whatever it is");
    }
}

#[tokio::test]
async fn a_node_whose_driver_fails_serves_nothing_and_says_so() {
    let clock = Arc::new(BootClock);
    let charter = InProcess::solo_charter();
    let key = ClusterKey::from_secret(&[7; 32]).unwrap();
    let settings = NodeSettings::new(NodeName::new("n1"), charter);
    let node = Node::new(
        settings,
        Arc::clone(&clock) as _,
        Sessions::builder(Keyring::new(key)),
    );
    let listener = Arc::new(Panics::default());
    let surroundings = Surroundings {
        place: None,
        authority: Arc::new(InProcess::new(charter, 0, clock)),
        transport: Network::new().port(NodeName::new("n1")),
        listener: Arc::clone(&listener) as _,
    };
    node.start("n1", surroundings);
    assert!(node.ready(Duration::from_millis(200)).await.is_err());
    assert_eq!(listener.0.load(Ordering::Relaxed), 1);
    assert!(!node.sessions().may_act());
    let visit = Visit::without(Arc::clone(node.sessions()), Origin::New);
    assert_eq!(visit.insert("n", 1_u8), Err(SessionError::Lapsed));
}

#[tokio::test(start_paused = true)]
async fn an_evacuation_gets_through_a_way_that_is_often_full() {
    let world = World::with_queue(32, 24, &["n1", "n2"]).await;
    for _ in 0..400 {
        world.create("n1").await;
    }
    let left = world.node("n1").leave(secs(60)).await;
    assert!(left.in_good_order, "{left:?}");
    assert_eq!(world.node("n2").sessions().map().len(), 400);
}
