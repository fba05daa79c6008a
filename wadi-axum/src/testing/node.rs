//! One node of a cluster in one process.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower::ServiceExt;
use wadi_core::authority::Command;
use wadi_core::member::{Incarnation, NodeName};
use wadi_core::node::Authority;
use wadi_core::session::SessionId;

use super::ground::{Ground, PATIENCE, config};
use crate::WadiLayer;
use crate::cluster::Surroundings;
use crate::layer::Settings;

/// A node of a [`Cluster`](super::Cluster); clones are the same one.
#[derive(Clone)]
pub struct Node(Arc<Stage>);

struct Stage {
    name: String,
    wadi: WadiLayer,
    app: Router,
    address: SocketAddr,
    incarnation: Incarnation,
    ground: Arc<Ground>,
    gone: AtomicBool,
    serving: Mutex<Option<JoinHandle<()>>>,
}

impl Node {
    pub(super) async fn start(ground: &Arc<Ground>, name: &str) -> Self {
        let surroundings = Surroundings {
            clock: Arc::clone(&ground.clock) as Arc<_>,
            network: Some(Arc::new(ground.network.clone())),
            authority: Some(Arc::clone(&ground.authority) as Arc<_>),
            in_haste: true,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("there is a free port on loopback");
        let address = listener.local_addr().expect("it is bound");
        let config = config(name, Some(address), &ground.key, &ground.configure);
        let wadi = WadiLayer::new((ground.policy)(Settings::within(config, surroundings)));
        let app = (ground.app)(wadi.clone());
        let serving = {
            let (wadi, app) = (wadi.clone(), app.clone());
            tokio::spawn(async move {
                let served = wadi.serve(listener, app).await;
                served.expect("the node starts");
            })
        };
        let node = wadi.cluster().expect("it is configured").node();
        let ready = node.ready(PATIENCE).await;
        Self(Arc::new(Stage {
            name: name.to_owned(),
            incarnation: ready.expect("the node gets ready in time"),
            app,
            address,
            ground: Arc::clone(ground),
            gone: AtomicBool::new(false),
            serving: Mutex::new(Some(serving)),
            wadi,
        }))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its layer.
    #[must_use]
    pub fn layer(&self) -> &WadiLayer {
        &self.0.wadi
    }

    /// Where it serves the application over HTTP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// A request that reaches this node, and its response. Without a socket: nobody's address is known.
    pub async fn request(&self, request: Request<Body>) -> Response<Body> {
        let answered = self.0.app.clone().oneshot(request).await;
        match answered {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// From now on this node accepts no streams of others, as one that runs without `serve`: nothing
    /// can be proxied to it.
    pub fn take_no_guests(&self) {
        let network = &self.0.ground.network;
        network.accept_nothing(&NodeName::new(self.name()));
    }

    /// Whether the session is served by this node.
    #[must_use]
    pub fn holds(&self, id: &SessionId) -> bool {
        let sessions = self.0.wadi.sessions();
        let held = sessions.map().get(id);
        held.is_some_and(|held| held.is_confirmed()) && sessions.may_act()
    }

    /// Leaves in good order, as after a signal: every session goes to the other nodes.
    ///
    /// # Panics
    ///
    /// When that takes too long.
    pub async fn leave(&self) {
        self.0.wadi.leave();
        let serving = self.0.serving.lock().take();
        if let Some(serving) = serving {
            let left = tokio::time::timeout(PATIENCE, serving).await;
            left.expect("the node leaves in time")
                .expect("serving does not panic");
        }
        self.forget();
    }

    /// Is gone from one moment to the next, with every session that it has; the others know at once.
    pub async fn kill(&self) {
        self.cut_off();
        let dead = Command::Left {
            incarnation: self.0.incarnation,
            force: true,
        };
        let told = self.0.ground.authority.command(dead).await;
        told.expect("the authority is in this process");
    }

    pub(super) fn cut_off(&self) {
        if let Some(serving) = self.0.serving.lock().take() {
            serving.abort();
        }
        self.wadi_node().stop();
        self.forget();
    }

    /// From now on nobody reaches it.
    fn forget(&self) {
        self.0.gone.store(true, Relaxed);
        self.0.ground.network.remove(&NodeName::new(self.name()));
    }

    pub(super) fn is_gone(&self) -> bool {
        self.0.gone.load(Relaxed)
    }

    pub(super) fn wadi_node(&self) -> &wadi_core::node::Node {
        self.0.wadi.cluster().expect("it is configured").node()
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({})", self.name())
    }
}
