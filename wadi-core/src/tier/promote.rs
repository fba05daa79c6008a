//! A session comes up: out of the store, into the map, once, however many ask for it.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use tokio::sync::oneshot;

use super::{Copies, Tier, Told};
use crate::bucket::LayoutVersion;
use crate::session::{SessionId, aged};
use crate::store::{Claim, Kept, Payload, Row, StoreError, Took};
use crate::tenure::Tenure;

/// The tenure of every session of a node that is alone.
const ALONE: Tenure = Tenure::new(LayoutVersion::ZERO.next(), 0);
/// For how long a row that nobody can read is kept.
const UNREADABLE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How many are on their way up at once: more would only wait for the store, each in memory.
const RISING_MOST: usize = 65_536;
/// Until a row that came up is taken out, it is tried again so often.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// What asking for a session came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promoted {
    /// It is in the map, or was just now: look again.
    Look,
    /// The store has nothing of it.
    Absent,
    /// The store has it, and this version cannot read it.
    Unreadable,
    /// What the store has of it is damaged.
    Damaged,
    /// The store gave no answer in time, or nothing comes up any more.
    Unavailable,
}

/// A session on its way up. Whatever becomes of its task, those who wait are told, and it is not there any more.
struct Rise<'a> {
    tier: &'a Tier,
    id: SessionId,
    promoted: Promoted,
}

impl Drop for Rise<'_> {
    fn drop(&mut self) {
        let waiting = self.tier.rising.lock().remove(&self.id);
        for came in waiting.unwrap_or_default() {
            // Who has given up is not told.
            let _ = came.send(self.promoted);
        }
    }
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
            let (many, waiting) = (rising.len(), rising.get_mut(&id));
            match waiting {
                Some(waiting) => {
                    waiting.retain(|came| !came.is_closed());
                    waiting.push(came);
                    false
                }
                None if many >= RISING_MOST => return Promoted::Unavailable,
                None => rising.insert(id, vec![came]).is_none(),
            }
        };
        if is_first {
            let tier = Arc::clone(self);
            // Apart from the request: between the store and the map the session is this task's.
            tokio::spawn(async move {
                let mut rise = Rise {
                    tier: &tier,
                    id,
                    promoted: Promoted::Unavailable,
                };
                rise.promoted = tier.bring(id).await;
            });
        }
        let within = self.sessions.limits().lock_wait;
        match tokio::time::timeout(within, comes).await {
            Ok(Ok(promoted)) => promoted,
            Ok(Err(_)) | Err(_) => Promoted::Unavailable,
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
        match self.take_up(id).await {
            Ok(Took::Row(kept)) => self.install(id, kept).await,
            Ok(Took::Nothing | Took::Ended | Took::Superseded) => Promoted::Absent,
            Err(StoreError::Damaged(_)) => {
                self.tell(Told::Unreadable);
                Promoted::Damaged
            }
            Err(error) => {
                self.counts.did_not();
                self.tell(Told::NotPromoted(error));
                Promoted::Unavailable
            }
        }
    }

    /// Where the store has no copies of what is in memory, what it gives is taken out of it. What it may have
    /// taken out without having given it is lost: so it first gives, and is then asked again until it has said
    /// that there is nothing any more, where it does not promise otherwise.
    async fn take_up(&self, id: SessionId) -> Result<Took, StoreError> {
        let gives = Claim::Granted(ALONE);
        if self.copies != Copies::Never {
            return whole(id, self.store.take(id, gives).await?);
        }
        if self.store.takes_for_certain() {
            return whole(id, self.store.take(id, Claim::Own).await?);
        }
        let took = whole(id, self.store.take(id, gives).await?)?;
        if matches!(took, Took::Row(_)) {
            while let Err(StoreError::Unavailable(_) | StoreError::Full(_)) =
                self.store.take(id, Claim::Own).await
            {
                if self.closed.load(SeqCst) {
                    // It goes down again, whether it is there or not.
                    break;
                }
                tokio::time::sleep(TRY_AGAIN).await;
            }
        }
        Ok(took)
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
        // A later version may read it, and is to know how old it is.
        let row = Row {
            id,
            bucket: id.bucket(self.sessions.map().buckets()),
            tenure,
            revision,
            left: UNREADABLE,
            payload: Payload::seal(id, &state),
        };
        self.tell(Told::Unreadable);
        // Until then it may be nowhere else.
        while self.store.put(vec![row.clone()]).await.is_err() {
            self.counts.did_not();
            if self.closed.load(SeqCst) {
                break;
            }
            tokio::time::sleep(TRY_AGAIN).await;
        }
        Promoted::Unreadable
    }
}

/// What a store has mixed up is nobody's.
fn whole(id: SessionId, took: Took) -> Result<Took, StoreError> {
    match took {
        Took::Row(kept) if !kept.payload.is_of(id) => Err(StoreError::Damaged(
            "it gave another session than the one that was asked for".to_owned(),
        )),
        took => Ok(took),
    }
}
