//! Sessions that ended here and of which the cluster has not been told yet.
//!
//! A session is put in here before it goes from the map, and taken out in the step in which the
//! cluster is told; so whoever is asked meanwhile never says that it was not here. It holds no
//! values, and waits for nobody.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::SessionId;
use super::error::SessionError;
use crate::bucket::{BucketCount, BucketId};
use crate::tenure::{Revision, Tenure};

/// What ended, until the node's driver takes it. There are never more than sessions that ended
/// since it last looked, which it does before whatever else it does.
pub struct Departures {
    gone: Mutex<Gone>,
    wake: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct Gone {
    sessions: BTreeMap<SessionId, Departed>,
    /// Somebody was woken, and has not taken all since.
    woken: bool,
}

/// A session that ended here.
#[derive(Debug)]
pub struct Departed {
    /// The session.
    pub id: SessionId,
    /// The tenure under which it was held; [`Tenure::NONE`] for one that no client ever heard of.
    pub tenure: Tenure,
    /// How many commits it had seen.
    pub revision: Revision,
    /// The id under which it goes on, where it was renewed.
    pub renewed_as: Option<SessionId>,
    /// Told when nothing brings it back any more; dropped when nobody can say.
    pub settled: oneshot::Sender<()>,
}

/// The end of a session, until it is certain that nothing brings it back.
#[derive(Debug)]
pub struct Parting(oneshot::Receiver<()>);

impl Departures {
    /// Calls `wake` when a session ended and nobody has been woken since all were taken: at once, from
    /// whoever ended it, and it must neither wait nor use a session.
    #[must_use]
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            gone: Mutex::default(),
            wake: Box::new(wake),
        }
    }

    pub(super) fn depart(
        &self,
        id: SessionId,
        tenure: Tenure,
        revision: Revision,
        renewed_as: Option<SessionId>,
    ) -> Parting {
        let (settled, parting) = oneshot::channel();
        let departed = Departed {
            id,
            tenure,
            revision,
            renewed_as,
            settled,
        };
        let mut gone = self.gone.lock();
        gone.sessions.insert(id, departed);
        let sleeps = !std::mem::replace(&mut gone.woken, true);
        drop(gone);
        if sleeps {
            (self.wake)();
        }
        Parting(parting)
    }

    /// Takes one out; the caller tells the cluster in the same step.
    #[must_use]
    pub fn take(&self) -> Option<Departed> {
        let mut gone = self.gone.lock();
        let taken = gone.sessions.pop_first().map(|(_, departed)| departed);
        gone.woken = !gone.sessions.is_empty();
        taken
    }

    /// Takes this one out, as [`Departures::take`] does.
    #[must_use]
    pub fn take_one(&self, id: &SessionId) -> Option<Departed> {
        self.gone.lock().sessions.remove(id)
    }

    /// The tenure and revision of one that was not taken.
    #[must_use]
    pub fn get(&self, id: &SessionId) -> Option<(Tenure, Revision)> {
        let gone = self.gone.lock();
        gone.sessions
            .get(id)
            .map(|departed| (departed.tenure, departed.revision))
    }

    /// Those of one bucket that were not taken.
    #[must_use]
    pub fn bucket(
        &self,
        bucket: BucketId,
        buckets: BucketCount,
    ) -> Vec<(SessionId, (Tenure, Revision))> {
        let gone = self.gone.lock();
        gone.sessions
            .values()
            .filter(|departed| departed.id.bucket(buckets) == bucket)
            .map(|departed| (departed.id, (departed.tenure, departed.revision)))
            .collect()
    }

    /// Whether all were taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.gone.lock().sessions.is_empty()
    }
}

impl Parting {
    /// Waits, at most `wait`, until nothing brings back the session that ended.
    pub(super) async fn settled(self, wait: Duration) -> Result<(), SessionError> {
        match tokio::time::timeout(wait, self.0).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(SessionError::Unsettled),
        }
    }
}

impl fmt::Debug for Departures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Departures({})", self.gone.lock().sessions.len())
    }
}
