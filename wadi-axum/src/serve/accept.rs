//! Accepting connections until the node closes, then finishing what is in flight, for a bounded time.

use std::error::Error;
use std::time::Duration;

use axum::body::Body as RequestBody;
use axum::serve::Listener;
use http::{Request, Response};
use http_body::Body;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use crate::cluster::Cluster;
use crate::layer_id::LayerId;
use crate::lifecycle::{Lifecycle, Phase};
use crate::node::Node;

use super::connection;
use super::counted::Counted;
use super::guests::Door;
use super::leave::{Departure, Times, leave_when_asked};
use super::signal::Signals;

/// How long connections of other nodes may take to end after this one has left.
const FAREWELL_TO_GUESTS: Duration = Duration::from_millis(500);

/// The times that serving keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listening {
    /// How long a connection may be silent.
    pub(crate) keep_alive: Duration,
    /// What leaving may take.
    pub(crate) leaving: Times,
}

/// Serves `app` on `listener` until somebody asks the node to leave, and leaves.
///
/// Dropping the future closes everything at once.
pub(crate) async fn serve<L, S, B>(
    listener: L,
    app: S,
    node: &Node,
    cluster: Option<(&Cluster, LayerId)>,
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
    let guests = TaskTracker::new();
    if let Some((cluster, layer)) = cluster {
        let door = Door {
            app: app.clone(),
            layer,
            node: cluster.node().clone(),
            lifecycle: lifecycle.clone(),
            in_flight: connections.clone(),
            connections: guests.clone(),
            patience: times.keep_alive,
        };
        door.open(cluster);
    }
    let cluster = cluster.map(|(cluster, _)| cluster);

    // Made when the time begins, and waited for at its end.
    let cut = async {
        lifecycle.reached(Phase::Leaving).await;
        (tokio::time::sleep(times.leaving.connections()),)
    };
    let (departure, (), (cut,)) = tokio::join!(
        leave_when_asked(lifecycle, &mut signals, cluster, times.leaving),
        accept(listener, app, node, &connections, times.keep_alive),
        cut,
    );
    connections.close();

    let cut_short = match departure {
        Departure::AtOnce => true,
        Departure::InGoodOrder => tokio::select! {
            () = connections.wait() => false,
            () = cut => true,
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
    if let Some(cluster) = cluster {
        let farewell = times.leaving.farewell;
        let in_haste = departure == Departure::AtOnce;
        let within = if in_haste { Duration::ZERO } else { farewell };
        cluster.depart(within).await;
        // Those who have not heard of it yet are told by who is not here any more.
        guests.close();
        let _ = tokio::time::timeout(within.min(FAREWELL_TO_GUESTS), guests.wait()).await;
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
