//! One node of the session model: the product's participant, the one session where it is here, and
//! whether its lease holds. The driver in miniature; it decides nothing itself.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use wadi_core::bucket::BucketId;
use wadi_core::clock::Moment;
use wadi_core::member::Incarnation;
use wadi_core::protocol::{Copy, Holdings, Participant, ReturnedCopy, Settings};
use wadi_core::sabotage::{self, Rule};
use wadi_core::session::SessionId;
use wadi_core::tenure::{Revision, Tenure};

use super::truth::Commits;

/// The one session.
pub(super) const SESSION: SessionId = SessionId::from_parts([7; 16], 1);

/// Nothing ever times out by itself here: time stands still but for leases. Each wait is as long as
/// the next, so that asking again leads to the same state again.
static SETTINGS: LazyLock<Arc<Settings>> = LazyLock::new(|| {
    Arc::new(Settings {
        retry: Duration::from_secs(1),
        retry_most: Duration::from_secs(1),
        ..Settings::default()
    })
});

/// The same, but nobody who may come back is waited for.
static IMPATIENT: LazyLock<Arc<Settings>> = LazyLock::new(|| {
    Arc::new(Settings {
        absent_after: Duration::ZERO,
        ..Settings::clone(&SETTINGS)
    })
});

fn settings(waits: bool) -> Arc<Settings> {
    Arc::clone(if waits { &SETTINGS } else { &IMPATIENT })
}

const LEASE: Duration = Duration::from_secs(1);
const BEGAN: Moment = Moment::from_nanos(3_600_000_000_000);

/// The session where it is in a node's map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Resident {
    pub(super) tenure: Tenure,
    pub(super) revision: Revision,
    pub(super) commits: Commits,
    pub(super) confirmed: bool,
    /// Commits whose answers wait for the confirmation.
    pub(super) held_back: Commits,
}

impl Resident {
    pub(super) fn new(tenure: Tenure, revision: Revision, commits: Commits) -> Self {
        Self {
            tenure,
            revision,
            commits,
            confirmed: true,
            held_back: 0,
        }
    }

    pub(super) fn returned(&self) -> ReturnedCopy {
        ReturnedCopy {
            id: SESSION,
            tenure: self.tenure,
            revision: self.revision,
            held: self.confirmed,
            away_since: None,
            state: vec![self.commits].into(),
        }
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Node {
    /// Whether who may come back is waited for.
    waits: bool,
    /// `None`: no process runs.
    pub(super) participant: Option<Participant>,
    pub(super) resident: Option<Resident>,
    /// A mover waits for the session's lock.
    pub(super) sealing: bool,
    /// It has said that nothing is left.
    pub(super) evacuated: bool,
    /// By its own clock.
    pub(super) now: Moment,
    lease_until: Moment,
}

impl Node {
    pub(super) fn new(me: Incarnation, waits: bool) -> Self {
        let participant = Participant::new(me, settings(waits));
        Self::of(participant, waits, None, BEGAN)
    }

    fn of(participant: Participant, waits: bool, resident: Option<Resident>, now: Moment) -> Self {
        Self {
            waits,
            participant: Some(participant),
            resident,
            sealing: false,
            evacuated: false,
            now,
            lease_until: now + LEASE,
        }
    }

    pub(super) fn me(&self) -> Option<Incarnation> {
        self.participant.as_ref().map(Participant::me)
    }

    pub(super) fn lease_until(&self) -> Moment {
        self.lease_until
    }

    /// Whether its lease holds, whatever the participant makes of that.
    pub(super) fn has_lease(&self) -> bool {
        self.participant.is_some() && self.now < self.lease_until
    }

    /// Whether the driver lets requests act here.
    pub(super) fn acts(&self) -> bool {
        self.participant.is_some() && (self.has_lease() || sabotage::is_off(Rule::LeaseGate))
    }

    /// The copy from which a request would be answered here.
    pub(super) fn serves(&self) -> Option<&Resident> {
        self.resident
            .as_ref()
            .filter(|resident| resident.confirmed && self.has_lease())
    }

    /// Its lease runs out.
    pub(super) fn expire(&mut self) {
        self.now = self.lease_until + LEASE;
    }

    /// The process ends, and its memory with it.
    pub(super) fn stop(&mut self) {
        self.participant = None;
        self.resident = None;
        self.sealing = false;
        self.evacuated = false;
    }

    /// Comes back as `me`: with what it had, where the process still runs, else with nothing.
    pub(super) fn come_back(&mut self, me: Incarnation) {
        let returned = self.resident.take().map(|copy| copy.returned());
        let participant = match self.participant.take() {
            Some(former) => former.come_back(me, returned.into_iter().collect()),
            None => Participant::new(me, settings(self.waits)),
        };
        *self = Self::of(participant, self.waits, None, self.now);
    }
}

/// A node's own map, which has room for one session.
pub(super) struct Map<'a>(pub(super) &'a Option<Resident>);

impl Map<'_> {
    fn copy(&self) -> Option<Copy> {
        self.0.map(|resident| Copy {
            tenure: resident.tenure,
            revision: resident.revision,
        })
    }
}

impl Holdings for Map<'_> {
    fn get(&self, _id: &SessionId) -> Option<Copy> {
        self.copy()
    }

    fn for_each_in(&self, _bucket: BucketId, each: &mut dyn FnMut(SessionId, Copy)) {
        if let Some(copy) = self.copy() {
            each(SESSION, copy);
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}
