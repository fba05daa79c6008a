//! A session comes up: out of the store, into the map, once, however many ask for it.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use tokio::sync::oneshot;

use super::{Tier, Told};
use crate::session::{SessionId, aged};
use crate::store::{Kept, Put, Row, StoreError, Took};

/// For how long a row that nobody can read is kept.
const UNREADABLE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What asking for a session came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promoted {
    /// It is in the map, or was just now: look again.
    Look,
    /// The store has nothing of it.
    Absent,
    /// The store has it, and it cannot be read.
    Unreadable,
    /// The store gave no answer in time, or nothing comes up any more.
    Unavailable,
}

impl Tier {
    /// Has a session that is not in the map come up, if the store has it. Waits at most for as long as a
    /// request waits for a session.
    ///
    /// # Cancellation
    ///
    /// It comes up all the same.
    pub async fn promote(self: &Arc<Self>, id: SessionId) -> Promoted {
        let (came, comes) = oneshot::channel();
        let is_first = {
            let mut rising = self.rising.lock();
            let waiting = rising.entry(id).or_default();
            waiting.push(came);
            waiting.len() == 1
        };
        if is_first {
            let tier = Arc::clone(self);
            // Apart from the request: between the store and the map the session is this task's.
            tokio::spawn(async move { tier.rise(id).await });
        }
        let within = self.sessions.limits().lock_wait;
        match tokio::time::timeout(within, comes).await {
            Ok(Ok(promoted)) => promoted,
            Ok(Err(_)) | Err(_) => Promoted::Unavailable,
        }
    }

    async fn rise(&self, id: SessionId) {
        let promoted = self.bring(id).await;
        let waiting = self.rising.lock().remove(&id).unwrap_or_default();
        for came in waiting {
            // Who has given up is not told.
            let _ = came.send(promoted);
        }
    }

    /// The store's answer is waited for as long as it takes: it may be the session.
    async fn bring(&self, id: SessionId) -> Promoted {
        if self.closed.load(SeqCst) {
            return Promoted::Unavailable;
        }
        if self.sessions.map().get(&id).is_some() {
            return Promoted::Look;
        }
        if self.astray.lock().contains(&id) {
            // It was in memory, and has ended there; what the store may have of it is no session any more.
            return Promoted::Absent;
        }
        match self.store.take(id, self.claim()).await {
            Ok(Took::Row(kept)) => self.install(id, kept).await,
            Ok(Took::Nothing | Took::Ended | Took::Superseded) => Promoted::Absent,
            Err(StoreError::Damaged(_)) => {
                self.tell(Told::Unreadable);
                Promoted::Unreadable
            }
            Err(error) => {
                self.counts.did_not();
                self.tell(Told::NotPromoted(error));
                Promoted::Unavailable
            }
        }
    }

    async fn install(&self, id: SessionId, kept: Kept) -> Promoted {
        let state = aged(kept.payload.state(), kept.age);
        let (tenure, revision) = (kept.tenure, kept.revision);
        let now = self.sessions.now();
        let installed = self.sessions.install(id, tenure, revision, &state, now);
        if installed.is_ok() {
            self.counts.came_up();
            return Promoted::Look;
        }
        // A later version may read it.
        let row = Row {
            id,
            bucket: id.bucket(self.sessions.map().buckets()),
            tenure,
            revision,
            left: UNREADABLE,
            payload: kept.payload,
        };
        let put = self.store.put(vec![row]).await;
        if put != Ok(vec![Put::Stored]) {
            self.counts.did_not();
        }
        self.tell(Told::Unreadable);
        Promoted::Unreadable
    }
}
