//! The layer: it gives every request its session. Making it does no I/O and cannot fail.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tower_layer::Layer;
use wadi_core::evict::Evicter;
use wadi_core::relocate::Relocation;
use wadi_core::session::{ClusterKey, Keyring, ManagesAll, Sessions};
use wadi_core::stale::StalePolicy;
use wadi_core::store::SessionStore;
use wadi_core::tier::Tier;
use wadi_core::transport::Network;

use crate::below;
use crate::cluster::{Cluster, RequestCounts, Surroundings};
use crate::config::{CookieMode, WadiConfig};
use crate::cookie::{Cookie, SameSite};
#[cfg(feature = "serve")]
use crate::layer_id::LayerId;
use crate::node::Node;
use crate::service::WadiService;
use crate::shared::{Below, Shared};
use crate::watched::Watched;

/// What a layer is made of.
#[derive(Debug)]
pub struct Settings {
    sessions: Arc<Sessions>,
    cluster: Option<Cluster>,
    store: Option<Arc<dyn SessionStore>>,
    evicter: Option<Arc<dyn Evicter>>,
    cookie: Cookie,
    config: WadiConfig,
}

impl From<WadiConfig> for Settings {
    fn from(config: WadiConfig) -> Self {
        Self::within(config, Surroundings::of_this_machine(None))
    }
}

impl Settings {
    /// The settings that a configuration gives, for a node that stands in these surroundings.
    pub(crate) fn within(config: WadiConfig, surroundings: Surroundings) -> Self {
        let keyring = config.keyring();
        let (sessions, cluster) = if config.cluster().is_some() {
            let cluster = Cluster::new(&config, keyring, surroundings);
            (Arc::clone(cluster.node().sessions()), Some(cluster))
        } else {
            let sessions = Sessions::builder(keyring)
                .limits(config.limits())
                .managed(config.buckets(), Arc::new(ManagesAll));
            (Arc::new(sessions.build()), None)
        };
        let cookie = match config.cookie() {
            CookieMode::Secure => Cookie::secure(&config.cookie_name(), config.same_site()),
            CookieMode::Plain => Cookie::plain(&config.cookie_name(), config.same_site()),
        };
        let cookie = cookie.expect("the name was checked when the configuration was built");
        Self {
            sessions,
            cluster,
            store: None,
            evicter: None,
            cookie,
            config,
        }
    }

    /// What [`WadiLayer::with_network`] makes a layer of.
    #[must_use]
    pub fn with_network(config: WadiConfig, network: impl Network) -> Self {
        let network: Arc<dyn Network> = Arc::new(network);
        Self::within(config, Surroundings::of_this_machine(Some(network)))
    }

    /// Has a policy of your own decide where a request and its session, which another node holds, come
    /// together, instead of the one that `relocate` names. A node that is alone never asks it.
    #[must_use]
    pub fn relocation(mut self, policy: impl Relocation) -> Self {
        if let Some(cluster) = &mut self.cluster {
            cluster.set_relocation(Arc::new(policy));
        }
        self
    }

    /// Has a policy of your own choose which copy of a session serves again, where its node was declared
    /// dead and none serves, instead of the one that `stale_copies` names. The same on all nodes. A node that
    /// is alone never asks it.
    #[must_use]
    pub fn stale_copies(self, policy: impl StalePolicy) -> Self {
        if let Some(cluster) = &self.cluster {
            cluster.node().set_stale_policy(Arc::new(policy));
        }
        self
    }

    /// Gives this node a store below its memory: a session that nobody asks for goes there after
    /// `demote_after`, and comes back into memory when somebody does. When the node leaves, every
    /// session goes there; one that starts on the same store has them, and their cookies are good where the
    /// `cluster_key` is the same.
    ///
    /// In a cluster all nodes are given the same store, one that may be shared
    /// ([`SessionStore::is_shared`]): a session goes there from any node and comes up at any. Who leaves
    /// moves its sessions to the other nodes; when all leave, every session goes there.
    ///
    /// What is in memory only is lost with a process that is killed.
    #[must_use]
    pub fn store(mut self, store: impl SessionStore) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// Has a policy of your own choose which of this node's sessions go from memory to the store, instead of the
    /// usual one: those that were idle for `demote_after`, those idle for longest beyond nine tenths of
    /// `max_sessions`, and likewise when nine tenths of the memory are taken. A node without a store never
    /// asks it.
    #[must_use]
    pub fn evicter(mut self, policy: impl Evicter) -> Self {
        self.evicter = Some(Arc::new(policy));
        self
    }

    /// A node's sessions, and the cookie that carries their ids.
    #[must_use]
    pub fn new(sessions: Sessions, cookie: Cookie) -> Self {
        Self {
            sessions: Arc::new(sessions),
            cluster: None,
            store: None,
            evicter: None,
            cookie,
            config: WadiConfig::default(),
        }
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
            mut cluster,
            store,
            evicter,
            cookie,
            config,
        } = settings.into();
        let store = store.map(Watched::new);
        let tier = match (&mut cluster, &store) {
            (Some(cluster), Some(store)) => {
                cluster.set_store(Arc::clone(store), below::chosen(evicter, &config));
                None
            }
            (None, Some(store)) => {
                let store = Arc::clone(store) as Arc<dyn SessionStore>;
                Some(below::tier(&sessions, store, evicter, &config))
            }
            (_, None) => None,
        };
        let below = Below { store, tier };
        Self {
            shared: Arc::new(Shared::new(sessions, cluster, below, cookie, config)),
        }
    }

    /// A layer that is not open yet, of a node that reaches others through `network`: for
    /// configurations that say where this node listens for others (`cluster`). Without that, the
    /// network is not used.
    #[must_use]
    pub fn with_network(config: WadiConfig, network: impl Network) -> Self {
        Self::new(Settings::with_network(config, network))
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

    #[cfg(feature = "serve")]
    pub(crate) fn id(&self) -> LayerId {
        LayerId::of(&self.shared)
    }

    /// How many requests were served in which way since the node's start; `None` for a node that is
    /// alone.
    #[must_use]
    pub fn request_counts(&self) -> Option<RequestCounts> {
        self.cluster().map(|cluster| cluster.counts().read())
    }

    /// From now on new sessions are created by other nodes, as long as there are any that will; those
    /// here are served, and stay. With `false`, they are created here again. `false` comes back from a
    /// node that is alone, where it does nothing.
    pub fn drain(&self, drains: bool) -> bool {
        if let Some(cluster) = self.cluster() {
            cluster.drain(drains);
        }
        self.cluster().is_some()
    }

    /// The store below this node's memory where that is its alone, as [`Settings::store`] gave it; `None` in a
    /// cluster, whose nodes share theirs.
    #[must_use]
    pub fn store_below(&self) -> Option<&Arc<Tier>> {
        self.shared.tier.as_ref()
    }

    /// Whatever store is below.
    pub(crate) fn watched(&self) -> Option<&Arc<Watched>> {
        self.shared.store.as_ref()
    }

    pub(crate) fn cluster(&self) -> Option<&Cluster> {
        self.shared.cluster.as_ref()
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

    /// Whether this node serves, and is a ready member of its cluster where it has one.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.is_open() && self.cluster().is_none_or(Cluster::is_ready)
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
