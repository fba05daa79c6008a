//! What a layer knows of its node beside the sessions: its configuration and its life.

use std::sync::Arc;

use wadi_core::session::{Limits, ManagesAll, Sessions};

use crate::config::{CookieMode, WadiConfig};
use crate::cookie::Cookie;
use crate::layer::Settings;
use crate::lifecycle::Lifecycle;

/// A node, as its layer carries it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) config: WadiConfig,
    pub(crate) lifecycle: Lifecycle,
}

impl Node {
    pub(crate) fn new(config: WadiConfig) -> Self {
        Self {
            config,
            lifecycle: Lifecycle::new(),
        }
    }
}

impl From<WadiConfig> for Settings {
    fn from(config: WadiConfig) -> Self {
        let sessions = Sessions::builder(config.cluster_key())
            .limits(config.limits())
            .managed(config.buckets(), Arc::new(ManagesAll))
            .build();
        let cookie = match config.cookie() {
            CookieMode::Secure => Cookie::secure(&config.cookie_name(), config.same_site()),
            CookieMode::Plain => Cookie::plain(&config.cookie_name(), config.same_site()),
        };
        let cookie = cookie.expect("the name was checked when the configuration was built");
        Self::new(sessions, cookie).with_config(config)
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
