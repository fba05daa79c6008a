//! What a layer has of a cluster: its node and its network.
//!
//! A layer without a cluster has none of this, and pays nothing for it.

mod burst;
mod coming;
mod counts;
#[cfg(feature = "serve")]
mod evacuate;
mod follow;
mod join;
mod leave;
mod listen;
#[cfg(feature = "serve")]
pub(crate) mod proxy;
#[cfg(not(feature = "serve"))]
#[path = "no_proxy.rs"]
pub(crate) mod proxy;
#[cfg(feature = "serve")]
mod public;
mod view;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use wadi_core::clock::{BootClock, Clock};
use wadi_core::evict::Evicter;
use wadi_core::member::{Incarnation, NodeName, Standing};
use wadi_core::node::{Authority, Node, NodeSettings};
use wadi_core::relocate::{
    Adaptive, Choice, Migrate, Neither, Proxy, Redirect, Relocation, Stray, Use,
};
use wadi_core::session::{Keyring, SessionId, Sessions};
use wadi_core::stale::TakeNothingBack;
use wadi_core::store::SessionStore;
#[cfg(feature = "serve")]
use wadi_core::transport::Streams;
use wadi_core::transport::{Connections, Network};

use self::counts::Counts;
pub use self::counts::RequestCounts;
use self::follow::Following;
pub use self::join::JoinError;
use self::proxy::Pool;
#[cfg(feature = "serve")]
use self::proxy::Redirected;
use crate::config::{Relocate, StaleCopies, WadiConfig};
use crate::route::Route;
use crate::watched::Watched;

/// A node of a cluster, as its layer carries it.
pub(crate) struct Cluster {
    node: Node,
    network: Option<Arc<dyn Network>>,
    /// Where everything is agreed, where that is not this cluster's own affair.
    authority: Option<Arc<dyn Authority>>,
    connections: OnceLock<Connections>,
    #[cfg(feature = "cluster")]
    clock: Arc<dyn Clock>,
    #[cfg(feature = "cluster")]
    agreement: OnceLock<Arc<wadi_core::node::Agreement>>,
    relocation: Arc<dyn Relocation>,
    route: Route,
    pool: Pool,
    following: Following,
    #[cfg(feature = "serve")]
    known: public::Known,
    #[cfg(feature = "serve")]
    redirected: Redirected,
    counts: Arc<Counts>,
    /// Whose turn it is to create what this node cannot.
    turn: AtomicUsize,
    draining: AtomicBool,
    /// Below the memory of all nodes, where there is one.
    store: Option<Arc<Watched>>,
}

/// What a cluster stands in, where it is not the machine itself.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) network: Option<Arc<dyn Network>>,
    pub(crate) authority: Option<Arc<dyn Authority>>,
    /// Whether buckets change hands as fast as they can: for tests, whose nodes hold little.
    pub(crate) in_haste: bool,
}

impl Surroundings {
    pub(crate) fn of_this_machine(network: Option<Arc<dyn Network>>) -> Self {
        Self {
            clock: Arc::new(BootClock),
            network,
            authority: None,
            in_haste: false,
        }
    }
}

impl Cluster {
    pub(crate) fn new(config: &WadiConfig, keyring: Keyring, surroundings: Surroundings) -> Self {
        let mut settings = NodeSettings::new(NodeName::new(config.name()), config.charter());
        if surroundings.in_haste {
            settings.pace.between_steps = Duration::from_millis(20);
        }
        let sessions = Sessions::builder(keyring).limits(config.limits());
        let relocation: Arc<dyn Relocation> = match config.relocate() {
            Relocate::Adaptive => Arc::new(Adaptive::default()),
            Relocate::Migrate => Arc::new(Migrate),
            Relocate::Proxy => Arc::new(Proxy),
            Relocate::Redirect => Arc::new(Redirect::default()),
            Relocate::None => Arc::new(Neither),
        };
        let clock = surroundings.clock;
        let node = Node::new(settings, Arc::clone(&clock), sessions);
        if config.stale_copies() == StaleCopies::Drop {
            node.set_stale_policy(Arc::new(TakeNothingBack));
        }
        Self {
            pool: Pool::new(Arc::clone(&clock)),
            relocation,
            route: Route::new(config),
            following: Following::default(),
            #[cfg(feature = "serve")]
            known: public::Known::default(),
            #[cfg(feature = "serve")]
            redirected: Redirected::new(config),
            counts: Arc::default(),
            turn: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            store: None,
            node,
            #[cfg(feature = "cluster")]
            clock,
            #[cfg(feature = "cluster")]
            agreement: OnceLock::new(),
            network: surroundings.network,
            authority: surroundings.authority,
            connections: OnceLock::new(),
        }
    }

    /// Whether it is a member that may be given sessions, and may act now.
    pub(crate) fn is_ready(&self) -> bool {
        self.node.status().standing() == Some(Standing::Ready) && self.node.sessions().may_act()
    }

    /// Whether new sessions are to be created by others, as far as there are any.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    pub(crate) fn drain(&self, drains: bool) {
        self.draining.store(drains, Relaxed);
    }

    pub(crate) const fn node(&self) -> &Node {
        &self.node
    }

    /// Where the members agree on everything, once it has started.
    #[cfg(feature = "cluster")]
    pub(crate) fn agreement(&self) -> Option<&Arc<wadi_core::node::Agreement>> {
        self.agreement.get()
    }

    pub(crate) const fn route(&self) -> &Route {
        &self.route
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Puts the store that all nodes share below this one's memory; that policy chooses who goes there.
    pub(crate) fn set_store(&mut self, store: Arc<Watched>, evicter: Arc<dyn Evicter>) {
        let below = Arc::clone(&store) as Arc<dyn SessionStore>;
        self.node.over(below, evicter);
        self.store = Some(store);
    }

    /// The store below all nodes.
    pub(crate) const fn store(&self) -> Option<&Arc<Watched>> {
        self.store.as_ref()
    }

    /// Whether it gives no answers, as far as this node knows.
    pub(crate) fn store_is_away(&self) -> bool {
        let store = self.store();
        store.is_some_and(|store| store.away_for().is_some())
    }

    /// Has another policy decide.
    pub(crate) fn set_relocation(&mut self, relocation: Arc<dyn Relocation>) {
        self.relocation = relocation;
    }

    /// Where a request and its session come together, as the policy says.
    pub(crate) fn choose(&self, stray: &Stray) -> Choice {
        self.relocation.choose(stray)
    }

    /// A request of this session came by way of that member, which can hold it: whether the session
    /// had better go there.
    pub(crate) fn should_follow(
        &self,
        id: SessionId,
        via: Incarnation,
        used: Use,
        mut stray: Stray,
    ) -> bool {
        stray.streak = self.following.streaks.lock().came(id, via, used);
        let Some(view) = self.view().filter(|view| view.is_ready(via)) else {
            return false;
        };
        stray.asked = view.name(via);
        stray.manager = view.name(view.manager(&id));
        stray.holder = view.name(view.me);
        self.choose(&stray) == Choice::Migrate
    }

    /// Another member that can create a session, none of these.
    pub(crate) fn creator(&self, not: &[Incarnation]) -> Option<Incarnation> {
        let turn = self.turn.fetch_add(1, Relaxed);
        self.view()?.creator(turn, not)
    }

    /// Whether that member could not be reached a moment ago.
    pub(crate) fn is_left_alone(&self, who: Incarnation) -> bool {
        self.pool.is_left_alone(who)
    }

    /// The way to other nodes for what is proxied; `None` before the start.
    #[cfg(feature = "serve")]
    pub(crate) fn streams(&self) -> Option<&Arc<dyn Streams>> {
        self.connections.get().map(|ways| &ways.streams)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}
