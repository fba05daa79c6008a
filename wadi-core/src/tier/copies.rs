//! Copies in the store of sessions that are in memory, so that they outlive a process that is killed.
//!
//! Overlapping requests of one session share a copy: each waits for one that has what it wrote. A store that
//! fails holds nobody up for long: what it did not take is tried again by the rounds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::{Tier, Told};
use crate::bucket::LayoutVersion;
use crate::clock::Moment;
use crate::session::{CopyOut, Held, Resting, SessionId};
use crate::store::{Claim, Payload, Put, Row, StoreError};
use crate::tenure::{Revision, Tenure};

/// The tenure of every session of a node that is alone.
const ALONE: Tenure = Tenure::new(LayoutVersion::ZERO.next(), 0);
/// The most rows that one call carries.
const ROWS: usize = 256;
/// In parts of the time that a session lives idle: a copy that is older than this is renewed where the session
/// is used, for it says since when it is not.
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
}

impl Copied {
    pub(super) fn forget(&mut self, id: &SessionId) {
        self.latest.remove(id);
    }

    fn lacks(&self, id: &SessionId, revision: Revision, not_before: Moment) -> bool {
        let latest = self.latest.get(id);
        latest.is_none_or(|latest| latest.revision < revision || latest.at < not_before)
    }
}

impl Tier {
    /// By what right sessions are taken out: where copies are kept, the row stays as one.
    pub(super) const fn claim(&self) -> Claim {
        match self.copies {
            Copies::Never => Claim::Own,
            Copies::AtOnce | Copies::After(_) => Claim::Granted(ALONE),
        }
    }

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
        let limits = self.sessions.limits();
        let since = limits.idle.min(limits.idle_unreturned) / RENEWED_AFTER;
        let now = self.sessions.now().as_nanos();
        let since = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        let not_before = Moment::from_nanos(now.saturating_sub(since));
        self.copied.lock().lacks(&id, revision, not_before)
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
            let mut copied = self.copied.lock();
            let waiting = copied.writing.entry(id).or_default();
            waiting.push((revision, written));
            waiting.len() == 1
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
                    put.is_ok().then_some(version.1)
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
            latest.is_none_or(|latest| latest.revision < revision && now.since(latest.at) >= after)
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

    fn copy_out(&self, held: &Held) -> Option<(Row, (SessionId, Revision))> {
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
            payload: Payload::seal(&state),
        };
        Some((row, (id, revision)))
    }

    async fn put_copies(
        &self,
        rows: Vec<Row>,
        versions: Vec<(SessionId, Revision)>,
    ) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let at = self.sessions.now();
        let put = self.store.put(rows).await.inspect_err(|error| {
            self.counts.did_not();
            self.tell(Told::NotCopied(error.clone()));
        })?;
        let mut copied = self.copied.lock();
        for ((id, revision), put) in versions.into_iter().zip(put) {
            // One that goes down or ends meanwhile is refused, and is no copy.
            if put == Put::Stored && self.sessions.map().get(&id).is_some() {
                let latest = copied.latest.entry(id).or_insert(Latest { revision, at });
                if latest.revision <= revision {
                    *latest = Latest { revision, at };
                }
            }
        }
        Ok(())
    }
}
