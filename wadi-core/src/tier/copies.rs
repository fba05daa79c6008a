//! Copies in the store of sessions that are in memory, so that they outlive a process that is killed.
//!
//! Overlapping requests of one session share a copy: each waits for one that has what it wrote. A store that
//! fails holds nobody up for long: what it did not take is tried again by the rounds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::{Tier, Told};
use crate::clock::Moment;
use crate::session::{CopyOut, Held, Resting, SessionId};
use crate::store::{Payload, Put, Row, StoreError};
use crate::tenure::Revision;

/// The most rows that one call carries.
const ROWS: usize = 256;
/// In parts of the time that a session has according to its copy: where it has so much more, since it was used,
/// its copy is renewed.
const RENEWED_AFTER: u32 = 10;

/// Whether the store has a copy of each session that is in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Copies {
    /// No: what is in memory goes with a process that is killed.
    #[default]
    Never,
    /// A response that comes of a write waits until the store has it.
    AtOnce,
    /// Some time after a write, about: what was written since goes with a process that is killed.
    After(Duration),
}

/// What the store has of sessions in memory.
#[derive(Debug, Default)]
pub(super) struct Copied {
    latest: HashMap<SessionId, Latest>,
    /// Who waits for a copy that is being written, and for which revision.
    writing: HashMap<SessionId, Vec<(Revision, oneshot::Sender<()>)>>,
}

#[derive(Clone, Copy, Debug)]
struct Latest {
    revision: Revision,
    at: Moment,
    /// How long until it ends, if nobody asks for it.
    left: Duration,
}

impl Latest {
    /// Whether the session ends so much later than this says that it matters.
    fn is_outlived(&self, now: Moment, left: Duration) -> bool {
        let ends = self.at + self.left + self.left / RENEWED_AFTER;
        now + left > ends
    }
}

/// A session as its copy has it.
#[derive(Clone, Copy)]
struct Version {
    id: SessionId,
    revision: Revision,
    left: Duration,
}

impl Copied {
    pub(super) fn forget(&mut self, id: &SessionId) {
        self.latest.remove(id);
    }

    pub(super) fn waiting(&self) -> usize {
        self.writing.values().map(Vec::len).sum()
    }
}

impl Tier {
    /// Whether there are responses that wait for copies at all.
    #[must_use]
    pub fn holds_answers(&self) -> bool {
        self.copies == Copies::AtOnce
    }

    /// Whether a response that comes of this session is to wait for a copy.
    #[must_use]
    pub fn lacks_copy(&self, held: &Held) -> bool {
        if !self.holds_answers() || !held.is_confirmed() {
            return false;
        }
        let (id, (_, revision)) = (held.id(), held.version());
        let now = self.sessions.now();
        let copied = self.copied.lock();
        copied.latest.get(&id).is_none_or(|latest| {
            latest.revision < revision || latest.is_outlived(now, held.left(now))
        })
    }

    /// Waits until the store has a copy of the session as it is now, or has failed: then the copy is tried
    /// again later. Waits at most for as long as a request waits for a session.
    ///
    /// # Cancellation
    ///
    /// The copy is written all the same.
    pub async fn copy(self: &Arc<Self>, held: &Arc<Held>) {
        let (id, (_, revision)) = (held.id(), held.version());
        let (written, waits) = oneshot::channel();
        let is_first = {
            let writing = &mut self.copied.lock().writing;
            if let Some(waiting) = writing.get_mut(&id) {
                waiting.retain(|(_, written)| !written.is_closed());
                waiting.push((revision, written));
                false
            } else {
                writing.insert(id, vec![(revision, written)]);
                true
            }
        };
        if is_first {
            let (tier, held) = (Arc::clone(self), Arc::clone(held));
            tokio::spawn(async move { tier.write(id, &held).await });
        }
        let within = self.sessions.limits().lock_wait;
        // Whatever comes of it: what was written stands, and the rounds try again.
        let _ = tokio::time::timeout(within, waits).await;
    }

    /// Writes copies until nobody waits for a later one.
    async fn write(&self, id: SessionId, held: &Arc<Held>) {
        loop {
            let done = match self.copy_out(held) {
                Some((row, version)) if row.id == id => {
                    let put = self.put_copies(vec![row], vec![version]).await;
                    put.is_ok().then_some(version.revision)
                }
                // It has ended, goes down or has another id: nothing is to be waited for.
                _ => None,
            };
            let mut copied = self.copied.lock();
            let Some(waiting) = copied.writing.get_mut(&id) else {
                return;
            };
            match done {
                Some(revision) => waiting.retain(|(wanted, _)| *wanted > revision),
                None => waiting.clear(),
            }
            if waiting.is_empty() {
                copied.writing.remove(&id);
                return;
            }
        }
    }

    /// Those of these whose copies are to be written in this round.
    pub(super) fn behind(&self, resting: Vec<Resting>, now: Moment) -> Vec<Arc<Held>> {
        let after = match self.copies {
            Copies::Never => return Vec::new(),
            Copies::AtOnce => Duration::ZERO,
            Copies::After(after) => after,
        };
        let copied = self.copied.lock();
        let is_behind = |one: &Resting| {
            let (_, revision) = one.held.version();
            let latest = copied.latest.get(&one.id);
            latest.is_none_or(|latest| {
                let age = now.since(latest.at);
                latest.revision < revision && age >= after
                    || latest.is_outlived(now, one.left)
                        && age >= after.min(latest.left / RENEWED_AFTER)
            })
        };
        let behind = resting.into_iter().filter(is_behind);
        behind.map(|one| one.held).collect()
    }

    pub(super) async fn copy_all(&self, sessions: Vec<Arc<Held>>) -> Result<(), StoreError> {
        for some in sessions.chunks(ROWS) {
            let out = some.iter().filter_map(|held| self.copy_out(held));
            let (rows, versions): (Vec<_>, Vec<_>) = out.unzip();
            self.put_copies(rows, versions).await?;
        }
        Ok(())
    }

    fn copy_out(&self, held: &Held) -> Option<(Row, Version)> {
        let CopyOut {
            id,
            tenure,
            revision,
            left,
            state,
        } = self.sessions.copy(held, self.sessions.now()).ok()?;
        let row = Row {
            id,
            bucket: id.bucket(self.sessions.map().buckets()),
            tenure,
            revision,
            left,
            payload: Payload::seal(id, &state),
        };
        let version = Version { id, revision, left };
        Some((row, version))
    }

    async fn put_copies(&self, rows: Vec<Row>, versions: Vec<Version>) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let at = self.sessions.now();
        let asked = self.ask(|store| async move { store.put(rows).await });
        let put = asked.await.inspect_err(|error| {
            self.counts.did_not();
            self.tell(Told::NotCopied(error.clone()));
        })?;
        let mut copied = self.copied.lock();
        for (Version { id, revision, left }, put) in versions.into_iter().zip(put) {
            let new = Latest { revision, at, left };
            // One that goes down or ends meanwhile is refused, and is no copy.
            if put == Put::Stored && self.sessions.map().get(&id).is_some() {
                let latest = copied.latest.entry(id).or_insert(new);
                if latest.revision <= revision {
                    *latest = new;
                }
            }
        }
        Ok(())
    }
}
