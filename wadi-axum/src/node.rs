//! What a layer knows of its node beside the sessions: its configuration and its life.

use wadi_core::session::Limits;

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
