//! What all tasks of one endpoint share.
//!
//! No task holds the [`crate::Endpoint`] itself, so that dropping it ends them all.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Semaphore, broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wadi_core::member::Incarnation;

use crate::config::Limits;
use crate::handshake::Versions;
use crate::journal::Journal;
use crate::medium::Medium;
use crate::members::Members;
use crate::notice::{Notice, Observe};
use crate::peer::{Cluster, Membership, Peer};
use crate::security::Guard;
use crate::stream::{Audience, Stream};

/// So many arrivals are kept for links that have not looked yet; one that misses some dials.
pub(crate) const ARRIVALS: usize = 64;

pub(crate) struct Shared {
    pub(crate) cluster: Cluster,
    pub(crate) versions: Versions,
    pub(crate) limits: Limits,
    pub(crate) trusts_refusals: bool,
    pub(crate) guard: Guard,
    pub(crate) medium: Arc<dyn Medium>,
    /// How this node introduces itself; connections for messages watch it.
    pub(crate) us: watch::Sender<Peer>,
    pub(crate) members: RwLock<Members>,
    /// Who has just come here by a connection of its own, and so can be dialled now.
    pub(crate) came: broadcast::Sender<Incarnation>,
    pub(crate) observer: Arc<dyn Observe>,
    pub(crate) journal: Journal,
    /// One permit per accepted connection, held while it lives.
    pub(crate) connections: Arc<Semaphore>,
    /// One permit per link.
    pub(crate) links: Arc<Semaphore>,
    /// Bytes of received messages that wait for the node.
    pub(crate) incoming: Arc<Semaphore>,
    pub(crate) kinds: Mutex<HashMap<String, Taker>>,
    pub(crate) tasks: TaskTracker,
    /// No new connections; what is queued is still written.
    pub(crate) closing: CancellationToken,
    /// Everything ends now.
    pub(crate) ended: CancellationToken,
}

/// Where the streams of one kind go, and whose they may be.
#[derive(Clone)]
pub(crate) struct Taker {
    pub(crate) takes: mpsc::Sender<Stream>,
    pub(crate) audience: Audience,
}

impl Shared {
    pub(crate) fn tell(&self, notice: &Notice) {
        self.journal.note(notice);
        self.observer.observe(notice);
    }

    /// Runs until it is done, or until everything ends.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let ended = self.ended.clone();
        self.tasks.spawn(async move {
            ended.run_until_cancelled(task).await;
        });
    }

    /// A connection of this peer was accepted.
    pub(crate) fn accepted(&self, peer: &Arc<Peer>) {
        self.tell(&Notice::Accepted { peer: peer.clone() });
        let is_with_us = self.us.borrow().membership.is_with(&peer.membership);
        if let Some(incarnation) = peer.membership.incarnation.filter(|_| is_with_us) {
            // No link may be waiting.
            let _ = self.came.send(incarnation);
        }
    }

    pub(crate) fn join(&self, membership: Membership) {
        self.us.send_if_modified(|us| {
            let changed = us.membership != membership;
            us.membership = membership;
            changed
        });
    }

    /// Whether this peer may have streams that are for members.
    pub(crate) fn is_member(&self, peer: &Peer) -> bool {
        let is_with_us = self.us.borrow().membership.is_with(&peer.membership);
        let incarnation = peer.membership.incarnation.filter(|_| is_with_us);
        incarnation.is_some_and(|incarnation| self.members.read().may_have(incarnation))
    }
}
