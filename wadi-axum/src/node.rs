//! What a layer knows of its node beside the sessions: its configuration and its life.

use wadi_core::authority::Charter;
use wadi_core::session::{ClusterKey, Keyring, Limits};

use crate::config::WadiConfig;
use crate::lifecycle::Lifecycle;
use crate::served::Served;

/// A node, as its layer carries it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) config: WadiConfig,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) served: Served,
}

impl Node {
    pub(crate) fn new(config: WadiConfig) -> Self {
        Self {
            served: Served::by(&config.name(), config.x_wadi()),
            config,
            lifecycle: Lifecycle::new(),
        }
    }
}

impl WadiConfig {
    /// The keys of the ids.
    pub(crate) fn keyring(&self) -> Keyring {
        match (self.cluster_key(), self.cluster()) {
            (Some(given), _) => given,
            (None, None) => Keyring::new(ClusterKey::random()),
            // On loopback, and without a key: the nodes need the same one, so anybody can have it.
            (None, Some(_)) => {
                let known = format!("wadi without a cluster key: {:>32}", self.cluster_name());
                let key = ClusterKey::from_secret(known.as_bytes());
                Keyring::new(key.expect("it is long enough"))
            }
        }
    }

    /// What a cluster is founded with.
    pub(crate) fn charter(&self) -> Charter {
        Charter {
            buckets: self.buckets(),
            lease: self.lease(),
            ..Charter::default()
        }
    }

    /// The part of it that the sessions keep to.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            idle: self.idle_timeout(),
            absolute: self.absolute_lifetime(),
            idle_unreturned: self.unreturned_timeout(),
            freeze_after: self.freeze_after(),
            lock_wait: self.lock_wait(),
            max_session_bytes: self.max_session_bytes(),
            max_sessions: self.max_sessions(),
            ..Limits::default()
        }
    }
}
