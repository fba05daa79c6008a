//! The layer: it gives every request its session. Making it does no I/O and cannot fail.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tower_layer::Layer;
use wadi_core::session::{ClusterKey, Keyring, ManagesAll, Sessions};

use crate::config::{CookieMode, WadiConfig};
use crate::cookie::{Cookie, SameSite};
use crate::node::Node;
use crate::service::WadiService;
use crate::shared::Shared;

/// What a layer is made of.
#[derive(Debug)]
pub struct Settings {
    sessions: Sessions,
    cookie: Cookie,
    config: WadiConfig,
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

impl Settings {
    /// A node's sessions, and the cookie that carries their ids.
    #[must_use]
    pub fn new(sessions: Sessions, cookie: Cookie) -> Self {
        let config = WadiConfig::default();
        Self {
            sessions,
            cookie,
            config,
        }
    }

    /// The configuration from which the sessions and the cookie were made.
    pub(crate) fn with_config(self, config: WadiConfig) -> Self {
        Self { config, ..self }
    }
}

/// Gives the services under it a [`Session`](crate::Session) with each request.
///
/// Cloning it, and wrapping a service with it, clones one pointer. Until it is opened, which
/// starting it does, it answers 503.
#[derive(Clone)]
pub struct WadiLayer {
    shared: Arc<Shared>,
}

impl WadiLayer {
    /// A layer that is not open yet.
    #[must_use]
    pub fn new(settings: impl Into<Settings>) -> Self {
        let Settings {
            sessions,
            cookie,
            config,
        } = settings.into();
        Self {
            shared: Arc::new(Shared::new(sessions, cookie, config)),
        }
    }

    /// An open layer for tests: sessions in memory, a cookie that plain http carries, a key of its
    /// own. Nothing runs in the background: sessions that ran out end when they are asked for.
    #[must_use]
    pub fn in_memory() -> Self {
        let sessions = Sessions::builder(Keyring::new(ClusterKey::random())).build();
        let cookie = Cookie::plain("wadi", SameSite::Lax).expect("a good name");
        let layer = Self::new(Settings::new(sessions, cookie));
        layer.open();
        layer
    }

    pub(crate) fn node(&self) -> &Node {
        &self.shared.node
    }

    /// The sessions behind it.
    #[must_use]
    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.shared.sessions
    }

    /// The cookie that carries their ids.
    #[must_use]
    pub fn cookie(&self) -> &Cookie {
        &self.shared.cookie
    }

    /// Serves from now on. Whoever starts the node calls this when it is ready.
    pub fn open(&self) {
        self.shared.open.store(true, Relaxed);
    }

    /// Answers 503 from now on; requests in flight go on.
    pub fn close(&self) {
        self.shared.open.store(false, Relaxed);
        self.shared.told_once.store(true, Relaxed);
    }

    /// Whether it serves.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.shared.is_open()
    }
}

impl<S> Layer<S> for WadiLayer {
    type Service = WadiService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        WadiService::new(inner, Arc::clone(&self.shared))
    }
}

impl fmt::Debug for WadiLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WadiLayer")
            .field("open", &self.is_open())
            .field("cookie", &self.shared.cookie)
            .finish_non_exhaustive()
    }
}
