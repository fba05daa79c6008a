//! What one node is set up with.

use std::sync::Arc;
use std::time::Duration;

use crate::authority::Charter;
use crate::member::NodeName;
use crate::protocol::Settings;
use crate::protocol::coordinator::Pace;
use crate::stale::{Chosen, StalePolicy};

/// Names, times and limits of one node.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// What people call the node.
    pub name: NodeName,
    /// What the cluster is founded with; the same on every node.
    pub charter: Charter,
    /// The protocol's times; the same on every node.
    pub protocol: Arc<Settings>,
    /// How fast buckets are re-assigned while this node is the coordinator.
    pub pace: Pace,
    /// How long a session that is to leave this node is waited for while requests use it; then it
    /// stays. New requests wait behind. Default 500 ms; well below the protocol's `ask_for`.
    pub seal_wait: Duration,
    /// How many sessions are waited for at once; more stay. Default 2048, at least the protocol's
    /// `evacuate_at_once`.
    pub seals_at_once: usize,
    /// How many inputs wait for the driver; messages above that are dropped and come again, requests
    /// wait. Default 4096.
    pub queue: usize,
    /// How many requests at once may wait to be told where their session is; more are told that
    /// nobody can say. Default 65,536.
    pub waiting: usize,
    /// How long a call to the authority waits for its answer before it is made again. Default 1 s;
    /// at most a quarter of the lease.
    pub authority_wait: Duration,
    /// How long the store below all nodes is waited for; what it does later counts as unknown. Default 5 s.
    pub store_wait: Duration,
    /// How much the store below all nodes is asked at once, waiting and under way; for more, nobody can say
    /// where a session is, and none goes down. Default 8192; above the protocol's `evacuate_at_once`.
    pub store_queue: usize,
    /// How many sessions are taken out of the store at once; more wait. Default 64; about as many connections
    /// as the store has.
    pub store_takes: usize,
    /// How often it is looked for sessions that are to go to the store below all nodes. Default 1 s.
    pub store_rounds: Duration,
    /// How often it is looked there for sessions that have run out. Default 5 s.
    pub store_sweeps: Duration,
}

impl NodeSettings {
    /// The settings of a node of a cluster founded with `charter`; the rest as by default.
    #[must_use]
    pub fn new(name: NodeName, charter: Charter) -> Self {
        Self {
            name,
            charter,
            protocol: Arc::default(),
            pace: Pace::default(),
            seal_wait: Duration::from_millis(500),
            seals_at_once: 2048,
            queue: 4096,
            waiting: 1 << 16,
            authority_wait: Duration::from_secs(1),
            store_wait: Duration::from_secs(5),
            store_queue: 8192,
            store_takes: 64,
            store_rounds: Duration::from_secs(1),
            store_sweeps: Duration::from_secs(5),
        }
    }

    /// The same, with another policy for stale copies, where one is given, and with a store below all nodes
    /// or without.
    pub(super) fn with(
        self: &Arc<Self>,
        stale: Option<Arc<dyn StalePolicy>>,
        store: bool,
    ) -> Arc<Self> {
        let mut protocol = Settings {
            store,
            ..Settings::clone(&self.protocol)
        };
        if let Some(policy) = stale {
            protocol.stale = Chosen::new(policy);
        }
        Arc::new(Self {
            protocol: Arc::new(protocol),
            ..Self::clone(self)
        })
    }
}
