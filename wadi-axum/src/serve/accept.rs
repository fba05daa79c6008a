//! Accepting connections until the node closes, then finishing what is in flight, for a bounded time.

use std::error::Error;
use std::time::Duration;

use axum::body::Body as RequestBody;
use axum::serve::Listener;
use http::{Request, Response};
use http_body::Body;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use crate::lifecycle::{Lifecycle, Phase};
use crate::node::Node;

use super::connection;
use super::counted::Counted;
use super::leave::{Departure, leave_when_asked};
use super::signal::Signals;

/// The times that serving keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listening {
    /// How long a connection may be silent.
    pub(crate) keep_alive: Duration,
    /// How long the node is unready and still accepting.
    pub(crate) deregister_delay: Duration,
    /// How long requests in flight have, after that.
    pub(crate) drain: Duration,
}

/// Serves `app` on `listener` until somebody asks the node to leave, and leaves.
///
/// Dropping the future closes everything at once.
pub(crate) async fn serve<L, S, B>(
    listener: L,
    app: S,
    node: &Node,
    mut signals: Signals,
    times: Listening,
) where
    L: Listener,
    L::Addr: Clone + Sync + 'static,
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let lifecycle = &node.lifecycle;
    let _close = CloseOnDrop(lifecycle);
    let connections = TaskTracker::new();

    let (departure, ()) = tokio::join!(
        leave_when_asked(lifecycle, &mut signals, times.deregister_delay),
        accept(listener, app, node, &connections, times.keep_alive),
    );
    connections.close();

    let cut_short = match departure {
        Departure::AtOnce => true,
        Departure::InGoodOrder => tokio::select! {
            () = connections.wait() => false,
            () = tokio::time::sleep(times.drain) => true,
            () = signals.again() => true,
        },
    };
    if cut_short && !connections.is_empty() {
        tracing::warn!(
            connections = connections.len(),
            "stopped with open connections"
        );
    } else {
        tracing::info!("left: every request was finished");
    }
}

/// Ends every connection when serving ends, however it ends: those that are driven, and those that
/// the application took over.
struct CloseOnDrop<'a>(&'a Lifecycle);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.advance(Phase::Closed);
    }
}

async fn accept<L, S, B>(
    mut listener: L,
    app: S,
    node: &Node,
    connections: &TaskTracker,
    keep_alive: Duration,
) where
    L: Listener,
    L::Addr: Clone + Sync + 'static,
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut closing = std::pin::pin!(node.lifecycle.reached(Phase::Closing));
    loop {
        let (io, peer) = tokio::select! {
            biased;
            () = closing.as_mut() => return,
            accepted = listener.accept() => accepted,
        };
        tokio::spawn(connection::drive(
            Counted::new(io, connections, &node.lifecycle),
            peer,
            app.clone(),
            node.lifecycle.clone(),
            node.served.clone(),
            keep_alive,
        ));
    }
}
