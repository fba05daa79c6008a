//! What all services of one layer share: the sessions, the cookie, the node, and whether it is open.
//! A request only reads it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use wadi_core::session::Sessions;
use wadi_core::tier::Tier;

use crate::cluster::Cluster;
use crate::config::WadiConfig;
use crate::cookie::Cookie;
use crate::node::Node;
use crate::watched::Watched;

/// What all services of one layer share.
pub(crate) struct Shared {
    pub(crate) sessions: Arc<Sessions>,
    /// `None`: the node is alone.
    pub(crate) cluster: Option<Cluster>,
    /// The store below this node's memory, or below all nodes', where there is one.
    pub(crate) store: Option<Arc<Watched>>,
    /// What goes down into the store and comes up, where it is this node's alone.
    pub(crate) tier: Option<Arc<Tier>>,
    pub(crate) cookie: Cookie,
    pub(crate) node: Node,
    pub(crate) open: AtomicBool,
    pub(crate) told_once: AtomicBool,
}

/// What is below the sessions.
pub(crate) struct Below {
    pub(crate) store: Option<Arc<Watched>>,
    pub(crate) tier: Option<Arc<Tier>>,
}

impl Shared {
    pub(crate) fn new(
        sessions: Arc<Sessions>,
        cluster: Option<Cluster>,
        Below { store, tier }: Below,
        cookie: Cookie,
        config: WadiConfig,
    ) -> Self {
        Self {
            sessions,
            cluster,
            store,
            tier,
            cookie,
            node: Node::new(config),
            open: AtomicBool::new(false),
            told_once: AtomicBool::new(false),
        }
    }

    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Relaxed)
    }

    /// Says, once, what is missing.
    pub(crate) fn tell_not_started(&self) {
        if !self.told_once.swap(true, Relaxed) {
            tracing::error!(
                "the WADI layer was not started, so requests are answered with 503: call \
                 `wadi.start().await?` before serving, or serve with `wadi.serve(listener, app)`"
            );
        }
    }
}
