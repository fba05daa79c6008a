//! Whole nodes, with nothing between driver and raft left out: they found, serve, lose one, and leave.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use wadi_core::authority::{OnQuorumLoss, Proof};
use wadi_core::member::NodeName;
use wadi_core::node::{
    Agreement, AgreementSettings, Left, Located, NobodyListens, Node, NodeSettings, Surroundings,
    Want,
};
use wadi_core::session::{ClusterKey, Keyring, Origin, SessionError, SessionId, Sessions, Visit};
use wadi_core::transport::memory::{Condition, Network};

use crate::world::{LEASE, World, list, pass, until};

const THREE: [&str; 3] = ["n1", "n2", "n3"];

pub(crate) struct Whole {
    pub(crate) world: World,
    network: Network,
    pub(crate) nodes: BTreeMap<&'static str, (Node, Arc<Agreement>)>,
}

impl Whole {
    pub(crate) async fn of(names: &[&'static str]) -> Self {
        Self::with(names, OnQuorumLoss::Strict).await
    }

    /// Nobody yet.
    pub(crate) fn empty() -> Self {
        Self {
            world: World::new(),
            network: Network::new(),
            nodes: BTreeMap::new(),
        }
    }

    async fn with(names: &[&'static str], on_quorum_loss: OnQuorumLoss) -> Self {
        let mut whole = Self::empty();
        for name in names {
            whole.start_with(name, names, on_quorum_loss);
        }
        whole.ready().await;
        whole
    }

    pub(crate) fn start(&mut self, name: &'static str, addresses: &[&str]) {
        self.start_with(name, addresses, OnQuorumLoss::Strict);
    }

    fn start_with(&mut self, name: &'static str, addresses: &[&str], on_quorum_loss: OnQuorumLoss) {
        let settings = AgreementSettings {
            on_quorum_loss,
            ..self.world.settings(name, list(addresses))
        };
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

    /// No two of these hear each other.
    fn part(&self, names: &[&str]) {
        for one in names {
            let others: Vec<_> = names
                .iter()
                .filter(|other| *other != one)
                .copied()
                .collect();
            self.cut(one, &others);
        }
    }

    /// This one does not hear these others any more, nor they it.
    fn cut(&self, one: &str, others: &[&str]) {
        self.world.net.cut(&[one], others);
        let cut = Condition {
            cut: true,
            ..Condition::default()
        };
        for other in others {
            let way = (NodeName::new(one), NodeName::new(*other));
            self.network.set(&way.0, &way.1, cut);
            self.network.set(&way.1, &way.0, cut);
        }
    }

    fn heal(&self) {
        self.world.net.heal();
        self.network.heal();
    }

    /// Waits until everybody is ready, and every bucket where it belongs.
    pub(crate) async fn ready(&self) {
        for (node, _) in self.nodes.values() {
            node.ready(LEASE * 20).await.expect("it gets ready");
        }
        pass(LEASE).await;
    }

    pub(crate) fn create(&self, name: &str) -> Result<SessionId, SessionError> {
        let sessions = self.nodes[name].0.sessions();
        let visit = Visit::without(Arc::clone(sessions), Origin::New);
        visit.insert("owner", name.to_owned())?;
        let id = visit.id().expect("it was created");
        visit.commit()?;
        Ok(id)
    }

    pub(crate) fn serving(&self, id: &SessionId) -> usize {
        let serves = |node: &Node| {
            let held = node.sessions().map().get(id);
            held.is_some_and(|held| held.is_confirmed()) && node.sessions().may_act()
        };
        self.nodes.values().filter(|(node, _)| serves(node)).count()
    }

    pub(crate) async fn leave(&mut self, name: &str, within: Duration) -> Left {
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

impl Whole {
    /// The node's process ends, and every other node has a proof of that, or hears nothing.
    pub(crate) async fn kill(&mut self, name: &str, proof: Option<Proof>) {
        let (node, agreement) = self.nodes.remove(name).expect("it is a node");
        node.stop();
        agreement.close().await;
        self.world.net.detach(name);
        let node = NodeName::new(name);
        match proof {
            Some(proof) => self.network.end(&node, proof),
            None => self.network.remove(&node),
        }
    }

    fn generation(&self, name: &str) -> u32 {
        let layout = self.nodes[name].0.status().layout;
        layout.expect("it knows one").version.generation()
    }

    /// How long it takes until each of these sessions is served by somebody.
    async fn all_served(&self, ids: &[SessionId]) -> Duration {
        let began = self.world.clock.now();
        until("every session is served", || {
            ids.iter().all(|id| self.serving(id) == 1)
        })
        .await;
        self.world.clock.now().since(began)
    }
}

const REFUSED: Proof = Proof::ClosedAndRefused;

/// Literal, or a refusal would prove nothing.
const FIVE: [&str; 5] = [
    "10.0.0.1:1",
    "10.0.0.2:1",
    "10.0.0.3:1",
    "10.0.0.4:1",
    "10.0.0.5:1",
];

/// Three of five die at once, or two of three, or of two the one that votes. What the others held is
/// there, and served again soon after the leases of the old generation are over.
#[tokio::test(start_paused = true)]
async fn the_survivors_of_most_voters_go_on_with_what_they_hold() {
    for (count, dies) in [(5, 3), (3, 2), (2, 1), (4, 2)] {
        let names = &FIVE[..count];
        let mut whole = Whole::of(names).await;
        pass(LEASE).await;
        // A cluster of an even number has one that does not vote: here it dies, there it stays.
        let votes = |name: &&&str| {
            let part = whole.nodes[**name].1.part().expect("it is a member");
            part.votes().voters.contains(&part.incarnation())
        };
        let voters: Vec<_> = names.iter().filter(votes).copied().collect();
        let dead = voters[..dies].to_vec();
        let stays = |name: &&'static str| !dead.contains(name);
        let stay: Vec<_> = names.iter().copied().filter(stays).collect();
        let ids: Vec<_> = stay
            .iter()
            .flat_map(|name| (0..10).map(|_| whole.create(name).unwrap()))
            .collect();
        let before: Vec<_> = stay.iter().map(|name| whole.generation(name)).collect();
        for name in &dead {
            whole.kill(name, Some(REFUSED)).await;
        }
        let began = whole.world.clock.now();
        let mut out = Duration::ZERO;
        let mut last = began;
        until("the next generation", || {
            let now = whole.world.clock.now();
            if !ids.iter().all(|id| whole.serving(id) == 1) {
                out += now.since(last);
            }
            last = now;
            let are_new = stay.iter().zip(&before);
            let are_new = are_new.clone().all(|(name, g)| whole.generation(name) > *g);
            are_new && ids.iter().all(|id| whole.serving(id) == 1)
        })
        .await;
        let took = whole.world.clock.now().since(began);
        eprintln!(
            "{dies} of {count}: served again after {took:?}, and not for {out:?} before that"
        );
        assert!(
            took >= LEASE && took < LEASE * 2,
            "{dies} of {count}: {took:?}"
        );
        let generations: Vec<_> = stay.iter().map(|name| whole.generation(name)).collect();
        assert!(
            generations.iter().all(|g| *g == before[0] + 1),
            "{generations:?}"
        );
        for name in &stay {
            until("it creates", || whole.create(name).is_ok()).await;
        }
    }
}

/// Where it has to be certain nothing is served; where it need not be, the other goes on.
#[tokio::test(start_paused = true)]
async fn where_a_voter_of_two_is_silent_the_other_goes_on_if_it_may() {
    for on_quorum_loss in [OnQuorumLoss::Strict, OnQuorumLoss::Available] {
        let names = &FIVE[..2];
        let mut whole = Whole::with(names, on_quorum_loss).await;
        pass(LEASE).await;
        let votes = |name: &&&str| {
            let part = whole.nodes[**name].1.part().expect("it is a member");
            part.votes().voters.contains(&part.incarnation())
        };
        let dies = *names.iter().find(votes).unwrap();
        let stays = *names.iter().find(|name| **name != dies).unwrap();
        let ids: Vec<_> = (0..10).map(|_| whole.create(stays).unwrap()).collect();
        whole.kill(dies, None).await;
        pass(LEASE).await;
        if on_quorum_loss == OnQuorumLoss::Strict {
            pass(LEASE * 20).await;
            assert!(ids.iter().all(|id| whole.serving(id) == 0));
            continue;
        }
        let took = whole.all_served(&ids).await;
        eprintln!("the other goes on {:?} after the last sign", took + LEASE);
        assert!(took < LEASE, "{took:?}");
        assert!(whole.generation(stays) > 0);
        // Who comes back finds it.
        whole.start_with(dies, names, on_quorum_loss);
        whole.ready().await;
        whole.all_served(&ids).await;
        assert_eq!(whole.generation(dies), whole.generation(stays));
    }
}

/// Both live and go on; when they meet, one of the two clusters dissolves, and nobody's session is lost.
#[tokio::test(start_paused = true)]
async fn two_that_are_parted_both_go_on_and_are_one_when_they_meet() {
    for count in [2, 3] {
        let names = &FIVE[..count];
        let whole = Whole::with(names, OnQuorumLoss::Available).await;
        pass(LEASE).await;
        let mut ids = Vec::new();
        for name in names {
            ids.extend((0..10).map(|_| whole.create(name).unwrap()));
        }
        whole.part(names);
        pass(LEASE * 6).await;
        for name in names {
            // Each serves what it holds, and more.
            assert!(whole.nodes[name].0.sessions().may_act(), "{name}");
            ids.push(whole.create(name).unwrap());
        }
        whole.all_served(&ids).await;
        let generations: BTreeSet<_> = names.iter().map(|name| whole.generation(name)).collect();
        assert_eq!(generations.len(), count, "each has one of its own");
        whole.heal();
        let began = whole.world.clock.now();
        until("all are in the highest", || {
            let all: BTreeSet<_> = names.iter().map(|name| whole.generation(name)).collect();
            all.len() == 1 && all.first() == generations.last()
        })
        .await;
        let met = whole.world.clock.now().since(began);
        let took = whole.all_served(&ids).await;
        eprintln!("{count} met after {met:?}, and everything is served {took:?} later");
        whole.ready().await;
        for id in &ids {
            assert_eq!(whole.serving(id), 1);
        }
    }
}

/// Two of three start anew, and found without the third, which is cut off. What that one held is not
/// told as gone while it may come back; and when it is back, everything is served again.
#[tokio::test(start_paused = true)]
async fn who_was_cut_off_while_most_started_anew_brings_back_what_it_held() {
    let mut whole = Whole::of(&THREE).await;
    // The layouts of the cluster to come are numbered lower than those of this one.
    for name in ["n1", "n2", "n1", "n2"] {
        whole.leave(name, LEASE * 5).await;
        whole.start(name, &THREE);
        whole.ready().await;
    }
    let ids: Vec<_> = (0..20).map(|_| whole.create("n3").unwrap()).collect();
    let away = whole.nodes.remove("n3").unwrap();
    whole.cut("n3", &["n1", "n2"]);
    for name in ["n1", "n2"] {
        whole.kill(name, None).await;
    }
    for name in ["n1", "n2"] {
        whole.start(name, &THREE);
    }
    whole.ready().await;
    assert_eq!(
        whole.nodes["n1"].0.status().layout.unwrap().members.len(),
        2
    );
    for id in &ids[..3] {
        let node = &whole.nodes["n1"].0;
        assert_eq!(node.locate(*id, Want::Locate).await, Located::Unavailable);
    }
    whole.heal();
    whole.nodes.insert("n3", away);
    whole.ready().await;
    let took = whole.all_served(&ids).await;
    eprintln!("everything is served {took:?} after all are in one cluster");
}

/// Everybody on the list starts anew, and nobody of them knows of the two that were members beside
/// them. Those hear of the new cluster, come into it, and bring what they held.
#[tokio::test(start_paused = true)]
async fn who_is_on_nobodys_list_comes_back_where_everybody_else_started_anew() {
    // Which of the two clusters counts as the lower is drawn at random.
    for _ in 0..5 {
        let mut whole = Whole::of(&THREE).await;
        for name in ["n4", "n5"] {
            whole.start(name, &THREE);
            whole.ready().await;
        }
        let ids: Vec<_> = (0..20).map(|_| whole.create("n4").unwrap()).collect();
        for name in THREE {
            whole.kill(name, None).await;
        }
        for name in THREE {
            whole.start(name, &THREE);
        }
        for name in THREE {
            let node = &whole.nodes[name].0;
            node.ready(LEASE * 20).await.expect("it gets ready");
            let located = node.locate(ids[0], Want::Locate).await;
            assert_eq!(located, Located::Unavailable);
        }
        whole.ready().await;
        let took = whole.all_served(&ids).await;
        eprintln!("everything is served {took:?} after all are ready");
    }
}
