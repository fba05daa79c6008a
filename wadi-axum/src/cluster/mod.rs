//! What a layer has of a cluster: its node and its network.
//!
//! A layer without a cluster has none of this, and pays nothing for it.

#[cfg(feature = "serve")]
mod evacuate;
mod join;
mod leave;
mod listen;

use std::fmt;
use std::sync::{Arc, OnceLock};

use wadi_core::clock::{BootClock, Clock};
use wadi_core::member::{NodeName, Standing};
use wadi_core::node::{Authority, Node, NodeSettings};
use wadi_core::session::{Keyring, Sessions};
use wadi_core::transport::{Connections, Network, Streams};

pub use self::join::JoinError;
use crate::config::WadiConfig;

/// A node of a cluster, as its layer carries it.
pub(crate) struct Cluster {
    node: Node,
    network: Option<Arc<dyn Network>>,
    /// Where everything is agreed, where that is not this cluster's own affair.
    authority: Option<Arc<dyn Authority>>,
    connections: OnceLock<Connections>,
}

/// What a cluster stands in, where it is not the machine itself.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) network: Option<Arc<dyn Network>>,
    pub(crate) authority: Option<Arc<dyn Authority>>,
}

impl Surroundings {
    pub(crate) fn of_this_machine(network: Option<Arc<dyn Network>>) -> Self {
        Self {
            clock: Arc::new(BootClock),
            network,
            authority: None,
        }
    }
}

impl Cluster {
    pub(crate) fn new(config: &WadiConfig, keyring: Keyring, surroundings: Surroundings) -> Self {
        let settings = NodeSettings::new(NodeName::new(config.name()), config.charter());
        let sessions = Sessions::builder(keyring).limits(config.limits());
        Self {
            node: Node::new(settings, surroundings.clock, sessions),
            network: surroundings.network,
            authority: surroundings.authority,
            connections: OnceLock::new(),
        }
    }

    /// Whether it is a member that may be given sessions, and may act now.
    pub(crate) fn is_ready(&self) -> bool {
        self.node.status().standing() == Some(Standing::Ready) && self.node.sessions().may_act()
    }

    pub(crate) const fn node(&self) -> &Node {
        &self.node
    }

    /// The way to other nodes for what is proxied; `None` before the start.
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
