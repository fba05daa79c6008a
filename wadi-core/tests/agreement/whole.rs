//! Whole nodes, with nothing between driver and raft left out: they found, serve, lose one, and leave.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use wadi_core::member::NodeName;
use wadi_core::node::{Agreement, Left, NobodyListens, Node, NodeSettings, Surroundings};
use wadi_core::session::{ClusterKey, Keyring, Origin, SessionError, SessionId, Sessions, Visit};
use wadi_core::transport::memory::Network;

use crate::world::{LEASE, World, list, pass, until};

const THREE: [&str; 3] = ["n1", "n2", "n3"];

struct Whole {
    world: World,
    network: Network,
    nodes: BTreeMap<&'static str, (Node, Arc<Agreement>)>,
}

impl Whole {
    async fn of(names: &[&'static str]) -> Self {
        let mut whole = Self {
            world: World::new(),
            network: Network::new(),
            nodes: BTreeMap::new(),
        };
        for name in names {
            whole.start(name, names);
        }
        whole.ready().await;
        whole
    }

    fn start(&mut self, name: &'static str, addresses: &[&str]) {
        let settings = self.world.settings(name, list(addresses));
        let charter = settings.charter;
        let agreement = Agreement::new(settings);
        let key = ClusterKey::from_secret(&[7; 32]).expect("long enough");
        let sessions = Sessions::builder(Keyring::new(key));
        let settings = NodeSettings::new(NodeName::new(name), charter);
        let node = Node::new(settings, Arc::clone(&self.world.clock), sessions);
        let surroundings = Surroundings {
            place: None,
            authority: Arc::clone(&agreement) as Arc<_>,
            transport: self.network.port(NodeName::new(name)),
            listener: Arc::new(NobodyListens),
        };
        node.start(name, surroundings);
        self.nodes.insert(name, (node, agreement));
    }

    /// Waits until everybody is ready, and every bucket where it belongs.
    async fn ready(&self) {
        for (node, _) in self.nodes.values() {
            node.ready(LEASE * 20).await.expect("it gets ready");
        }
        pass(LEASE).await;
    }

    fn create(&self, name: &str) -> Result<SessionId, SessionError> {
        let sessions = self.nodes[name].0.sessions();
        let visit = Visit::without(Arc::clone(sessions), Origin::New);
        visit.insert("owner", name.to_owned())?;
        let id = visit.id().expect("it was created");
        visit.commit()?;
        Ok(id)
    }

    fn serving(&self, id: &SessionId) -> usize {
        let serves = |node: &Node| {
            let held = node.sessions().map().get(id);
            held.is_some_and(|held| held.is_confirmed()) && node.sessions().may_act()
        };
        self.nodes.values().filter(|(node, _)| serves(node)).count()
    }

    async fn leave(&mut self, name: &str, within: Duration) -> Left {
        let (node, agreement) = self.nodes.remove(name).expect("it is a node");
        let left = node.leave(within).await;
        agreement.leave(LEASE).await;
        self.world.net.detach(name);
        left
    }
}

#[tokio::test(start_paused = true)]
async fn three_found_and_a_rolling_restart_loses_nothing() {
    let mut whole = Whole::of(&THREE).await;
    let mut ids = Vec::new();
    for name in THREE {
        for _ in 0..20 {
            ids.push(whole.create(name).unwrap());
        }
    }
    for name in THREE {
        let left = whole.leave(name, LEASE * 5).await;
        assert!(left.in_good_order, "{name}: {left:?}");
        for id in &ids {
            assert_eq!(whole.serving(id), 1, "after {name} has left");
        }
        whole.start(name, &THREE);
        whole.ready().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_dies_takes_only_what_it_held() {
    for dies in THREE {
        let mut whole = Whole::of(&THREE).await;
        let ids = THREE.map(|name| (name, whole.create(name).unwrap()));
        let (node, agreement) = whole.nodes.remove(dies).unwrap();
        node.stop();
        agreement.close().await;
        whole.world.net.detach(dies);
        let others: Vec<_> = whole.nodes.keys().copied().collect();
        let end = whole.world.clock.now() + LEASE * 3;
        until("a while has passed", || {
            for (name, id) in &ids {
                assert_eq!(whole.serving(id), usize::from(*name != dies));
            }
            whole.world.clock.now() > end
        })
        .await;
        until("the others create in every bucket", || {
            others.iter().all(|name| {
                let status = whole.nodes[name].0.status();
                status
                    .layout
                    .is_some_and(|layout| layout.members.len() == 2)
            })
        })
        .await;
        for name in others {
            whole.create(name).unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn everybody_leaves_at_once() {
    for sessions in [0, 5] {
        let whole = Whole::of(&THREE).await;
        for name in THREE {
            for _ in 0..sessions {
                whole.create(name).unwrap();
            }
        }
        let began = whole.world.clock.now();
        let leaving: Vec<_> = whole
            .nodes
            .into_values()
            .map(|(node, agreement)| {
                tokio::spawn(async move {
                    let left = node.leave(LEASE * 5).await;
                    agreement.leave(LEASE).await;
                    left
                })
            })
            .collect();
        let mut left_behind = 0;
        for leaving in leaving {
            left_behind += leaving.await.unwrap().left_behind;
        }
        let took = whole.world.clock.now().since(began);
        // Nobody is left to take anything, so who has something waits for its deadline; not longer.
        let most = if sessions == 0 { LEASE } else { LEASE * 7 };
        assert!(took <= most, "it took {took:?}");
        assert_eq!(left_behind, 3 * sessions);
    }
}
