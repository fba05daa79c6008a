//! A cluster in one process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use parking_lot::Mutex;
use wadi_core::authority::Charter;
use wadi_core::bucket::Placement;
use wadi_core::clock::Clock;
use wadi_core::node::{InProcess, Want};
use wadi_core::relocate::Relocation;
use wadi_core::session::{ClusterKey, Keyring, SessionId};
use wadi_core::store::SessionStore;
use wadi_core::transport::memory::Network;

use super::clock::Moved;
use super::ground::{Configure, Ground, PATIENCE, Policy, config};
use super::node::Node;
use crate::WadiLayer;
use crate::config::WadiConfigBuilder;

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A cluster of nodes that are all in this process, with a network in memory between them. Each also
/// serves the application on a loopback port.
///
/// Time is the machine's, and moves on besides when the test says so. No lease ever runs out; a node
/// that is killed is known to be dead at once. Dropping it kills all nodes.
pub struct Cluster {
    ground: Arc<Ground>,
    /// All that were started.
    nodes: Mutex<Vec<Node>>,
}

/// A cluster in the making.
#[derive(Clone)]
pub struct ClusterBuilder {
    nodes: usize,
    configure: Configure,
    policy: Policy,
}

impl Cluster {
    /// `size` nodes called `n1`, `n2` and so on, each of which serves what `app` makes with its layer;
    /// all of them ready.
    ///
    /// # Panics
    ///
    /// When they do not get ready.
    pub async fn new(
        size: usize,
        app: impl Fn(WadiLayer) -> Router + Send + Sync + 'static,
    ) -> Self {
        Self::builder(size).start(app).await
    }

    /// A cluster of `size` nodes in the making.
    #[must_use]
    pub fn builder(size: usize) -> ClusterBuilder {
        ClusterBuilder {
            nodes: size,
            configure: Arc::new(|builder| builder),
            policy: Arc::new(|settings| settings),
        }
    }

    /// The nodes that were started and are neither dead nor gone, in the order of their start.
    #[must_use]
    pub fn nodes(&self) -> Vec<Node> {
        let mut nodes = self.nodes.lock();
        nodes.retain(|node| !node.is_gone());
        nodes.clone()
    }

    /// Starts one more node, and waits until it is ready.
    ///
    /// # Panics
    ///
    /// When it does not get ready.
    pub async fn start(&self, name: &str) -> Node {
        let started = Node::start(&self.ground, name).await;
        self.nodes.lock().push(started.clone());
        started
    }

    /// Moves the clock of all nodes on.
    pub fn advance(&self, by: Duration) {
        self.ground.clock.advance(by);
    }

    /// The network between the nodes, whose links a test cuts and delays.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.ground.network
    }

    /// Waits until every node knows of the others and has its share of the buckets.
    ///
    /// # Panics
    ///
    /// When that takes too long.
    pub async fn settled(&self) {
        let settled = async {
            while !self.is_settled() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let settled = tokio::time::timeout(PATIENCE, settled).await;
        settled.expect("the cluster settles in time");
    }

    /// Has a session move to a node, whatever the policy says; whether it is there afterwards.
    pub async fn migrate(&self, id: SessionId, to: &Node) -> bool {
        to.wadi_node().locate(id, Want::Move).await;
        to.holds(&id)
    }
}

impl ClusterBuilder {
    /// Changes every node's configuration, which is that of a test: few buckets, a plain cookie, a header
    /// `x-wadi`, and no time lost when a node leaves.
    #[must_use]
    pub fn configure(
        mut self,
        change: impl Fn(WadiConfigBuilder) -> WadiConfigBuilder + Send + Sync + 'static,
    ) -> Self {
        let before = self.configure;
        self.configure = Arc::new(move |builder| change(before(builder)));
        self
    }

    /// Has a policy of your own decide where requests and sessions come together.
    #[must_use]
    pub fn relocation<P: Relocation>(
        mut self,
        policy: impl Fn() -> P + Send + Sync + 'static,
    ) -> Self {
        let before = self.policy;
        self.policy = Arc::new(move |settings| before(settings).relocation(policy()));
        self
    }

    /// Puts a store below all nodes. Sessions that are idle for `demote_after` by the clock of the nodes go there
    /// soon; what is in it runs out by the store's own clock.
    #[must_use]
    pub fn store<S: SessionStore>(mut self, store: Arc<S>) -> Self {
        let before = self.policy;
        self.policy = Arc::new(move |settings| before(settings).store(Arc::clone(&store)));
        self
    }

    /// Starts it; see [`Cluster::new`].
    ///
    /// # Panics
    ///
    /// When the nodes do not get ready.
    pub async fn start(self, app: impl Fn(WadiLayer) -> Router + Send + Sync + 'static) -> Cluster {
        let clock = Arc::new(Moved::default());
        let key = Keyring::new(ClusterKey::random());
        let configure = Arc::clone(&self.configure);
        let config = config("n1", None, &key, &configure);
        let charter = Charter {
            buckets: config.buckets(),
            lease: Duration::MAX,
            ..Charter::default()
        };
        let authority = InProcess::new(charter, 0, Arc::clone(&clock) as Arc<dyn Clock>);
        let ground = Ground {
            app: Arc::new(app),
            network: Network::new(),
            authority: Arc::new(authority),
            clock,
            key,
            configure,
            policy: self.policy,
        };
        let cluster = Cluster {
            ground: Arc::new(ground),
            nodes: Mutex::default(),
        };
        for number in 1..=self.nodes {
            cluster.start(&format!("n{number}")).await;
        }
        cluster.settled().await;
        cluster
    }
}

impl Cluster {
    fn is_settled(&self) -> bool {
        let nodes = self.nodes();
        let layouts: Vec<_> = nodes
            .iter()
            .filter_map(|node| node.wadi_node().status().layout)
            .collect();
        let Some(first) = layouts.first() else {
            return nodes.is_empty();
        };
        let share = first.placements.len() / nodes.len();
        layouts.len() == nodes.len()
            && layouts.iter().all(|layout| layout.version == first.version)
            && first.members.len() == nodes.len()
            && nodes.iter().all(|node| {
                let me = node.wadi_node().status().incarnation;
                let own = |placement: &&Placement| Some(placement.manager) == me;
                first.placements.iter().filter(own).count() >= share
                    && (share == 0 || node.wadi_node().may_create())
            })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in self.nodes() {
            node.cut_off();
        }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.nodes()).finish()
    }
}

impl fmt::Debug for ClusterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterBuilder({})", self.nodes)
    }
}
