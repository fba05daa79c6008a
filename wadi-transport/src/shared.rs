//! What all tasks of one endpoint share.
//!
//! No task holds the [`crate::Endpoint`] itself, so that dropping it ends them all.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Limits;
use crate::handshake::Versions;
use crate::network::Network;
use crate::notice::{Notice, Observe};
use crate::peer::{Cluster, Membership, Peer};
use crate::security::Guard;
use crate::stream::Stream;

pub(crate) struct Shared {
    pub(crate) cluster: Cluster,
    pub(crate) versions: Versions,
    pub(crate) limits: Limits,
    pub(crate) guard: Guard,
    pub(crate) network: Arc<dyn Network>,
    /// How this node introduces itself; connections for messages watch it.
    pub(crate) us: watch::Sender<Peer>,
    pub(crate) observer: Arc<dyn Observe>,
    /// One permit per accepted connection, held while it lives.
    pub(crate) connections: Arc<Semaphore>,
    /// One permit per link.
    pub(crate) links: Arc<Semaphore>,
    /// Bytes of received messages that wait for the node.
    pub(crate) incoming: Arc<Semaphore>,
    pub(crate) kinds: Mutex<HashMap<String, mpsc::Sender<Stream>>>,
    pub(crate) tasks: TaskTracker,
    /// No new connections; what is queued is still written.
    pub(crate) closing: CancellationToken,
    /// Everything ends now.
    pub(crate) ended: CancellationToken,
}

impl Shared {
    pub(crate) fn tell(&self, notice: &Notice) {
        tracing::debug!("{notice}");
        self.observer.observe(notice);
    }

    /// Runs until it is done, or until everything ends.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let ended = self.ended.clone();
        self.tasks.spawn(async move {
            ended.run_until_cancelled(task).await;
        });
    }

    pub(crate) fn join(&self, membership: Membership) {
        self.us.send_if_modified(|us| {
            let changed = us.membership != membership;
            us.membership = membership;
            changed
        });
    }
}
