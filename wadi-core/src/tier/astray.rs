//! Rows that are nobody's: the store was given them, and did not say whether it has them. The sessions are in
//! memory, or have ended, and nothing that the store has of them may be served.
//!
//! What was asked may be done late. So each such row is seen to twice: at once, and when nothing of then can come.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Tier;
use super::ends::REMEMBERED;
use crate::clock::Moment;
use crate::session::SessionId;
use crate::store::{Claim, Ended, StoreError};

/// After so long nothing comes of a call that was not answered.
const LATE: Duration = Duration::from_secs(120);
/// How many are seen to in one round.
const AT_ONCE: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Astray(BTreeMap<SessionId, Unclear>);

#[derive(Clone, Copy, Debug)]
struct Unclear {
    since: Moment,
    seen_to: bool,
}

impl Astray {
    pub(super) fn add(&mut self, ids: impl Iterator<Item = SessionId>, since: Moment) {
        let unclear = Unclear {
            since,
            seen_to: false,
        };
        self.0.extend(ids.map(|id| (id, unclear)));
    }

    pub(super) fn contains(&self, id: &SessionId) -> bool {
        self.0.contains_key(id)
    }

    /// The store has said of a later row that it has it, and of that one everybody knows.
    pub(super) fn forget(&mut self, id: &SessionId) {
        self.0.remove(id);
    }

    fn to_see_to(&self, now: Moment) -> Vec<SessionId> {
        let due = |unclear: &Unclear| !unclear.seen_to || now.since(unclear.since) >= LATE;
        let due = self.0.iter().filter(|(_, unclear)| due(unclear));
        due.map(|(id, _)| *id).take(AT_ONCE).collect()
    }

    fn seen_to(&mut self, id: &SessionId, now: Moment) {
        if let Some(unclear) = self.0.get_mut(id) {
            unclear.seen_to = true;
            if now.since(unclear.since) >= LATE {
                self.0.remove(id);
            }
        }
    }
}

impl Tier {
    /// Removes rows that are nobody's. Until the store has answered that, it is given nothing more: so there
    /// are never many.
    pub(super) async fn settle_astray(&self) -> Result<(), StoreError> {
        let now = self.sessions.now();
        let astray = self.astray.lock().to_see_to(now);
        let (here, gone): (Vec<_>, Vec<_>) = astray
            .into_iter()
            .partition(|id| self.sessions.map().get(id).is_some());
        for id in here {
            // What is here is newer.
            let taken = self.ask(|store| async move { store.take(id, Claim::Own).await });
            match taken.await {
                Ok(_) | Err(StoreError::Damaged(_)) => {}
                Err(error) => return Err(error),
            }
            self.astray.lock().seen_to(&id, now);
        }
        if gone.is_empty() {
            return Ok(());
        }
        let buckets = self.sessions.map().buckets();
        let ended = gone.iter().map(|id| Ended {
            id: *id,
            bucket: id.bucket(buckets),
            remember_for: REMEMBERED,
        });
        let ended = ended.collect();
        self.ask(|store| async move { store.end(ended).await })
            .await?;
        let mut astray = self.astray.lock();
        for id in &gone {
            astray.seen_to(id, now);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_seen_to_at_once_and_when_nothing_can_come_any_more() {
        let id = SessionId::from_parts([3; 16], 1);
        let mut astray = Astray::default();
        let at = |seconds| Moment::ZERO + Duration::from_secs(seconds);
        astray.add([id].into_iter(), at(10));
        assert_eq!(astray.to_see_to(at(10)), [id]);
        astray.seen_to(&id, at(10));
        assert_eq!(astray.to_see_to(at(129)), []);
        assert!(astray.contains(&id));
        assert_eq!(astray.to_see_to(at(130)), [id]);
        astray.seen_to(&id, at(130));
        assert!(!astray.contains(&id));
    }
}
