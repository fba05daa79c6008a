//! One simulated machine and the process on it: a clock of its own rate, a session map, requests
//! that hold sessions' locks, and the product's own [`Participant`], [`Lease`] and [`Coordinator`].
//!
//! It is the driver in miniature: it does what the outputs say and decides nothing itself.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use wadi_core::authority::Lease;
use wadi_core::bucket::{BucketCount, BucketId, LayoutVersion};
use wadi_core::clock::Moment;
use wadi_core::member::Incarnation;
use wadi_core::protocol::coordinator::Coordinator;
use wadi_core::protocol::{Copy, Holdings, Participant, ReturnedCopy};
use wadi_core::session::SessionId;
use wadi_core::tenure::{Revision, Tenure};

/// True time: nanoseconds since the run began. Only the simulator knows it.
pub(crate) type Instant = u64;

/// A machine's monotonic clock: it started at another moment and runs at another rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SkewedClock {
    offset: u64,
    /// Nanoseconds that it counts in one millisecond of true time.
    per_milli: u64,
}

const MILLI: u64 = 1_000_000;

impl SkewedClock {
    /// A clock whose rate is within so many thousandths of true. Two that differ by a tenth are the
    /// worst that a lease allows for.
    pub(crate) fn random(rng: &mut fastrand::Rng, thousandths: u64) -> Self {
        Self {
            offset: rng.u64(0..1_000_000 * MILLI),
            per_milli: rng.u64(MILLI - thousandths * 1_000..=MILLI + thousandths * 1_000),
        }
    }

    pub(crate) fn read(&self, at: Instant) -> Moment {
        let passed = u128::from(at) * u128::from(self.per_milli) / u128::from(MILLI);
        Moment::from_nanos(self.offset + passed as u64)
    }

    /// The first true instant at which this clock shows `moment`.
    pub(crate) fn when(&self, moment: Moment) -> Instant {
        let passed = moment.as_nanos().saturating_sub(self.offset);
        let at = u128::from(passed) * u128::from(MILLI) / u128::from(self.per_milli);
        at as u64 + 1
    }
}

/// A session in a simulated node's map: the tokens that were appended to it, in order.
#[derive(Clone, Debug)]
pub(crate) struct Resident {
    pub(crate) tenure: Tenure,
    pub(crate) revision: Revision,
    pub(crate) tokens: Vec<u32>,
    pub(crate) confirmed: bool,
    pub(crate) readers: u32,
    /// Somebody waits for the exclusive lock: new requests wait behind.
    pub(crate) seal_until: Option<Instant>,
    /// Requests that ran before the arrival was confirmed: their answers wait.
    pub(crate) held_back: Vec<u64>,
}

impl Resident {
    pub(crate) fn new(
        tenure: Tenure,
        revision: Revision,
        tokens: Vec<u32>,
        confirmed: bool,
    ) -> Self {
        Self {
            tenure,
            revision,
            tokens,
            confirmed,
            readers: 0,
            seal_until: None,
            held_back: Vec::new(),
        }
    }
}

pub(crate) fn encode(tokens: &[u32]) -> Bytes {
    tokens
        .iter()
        .flat_map(|token| token.to_le_bytes())
        .collect()
}

pub(crate) fn decode(state: &Bytes) -> Vec<u32> {
    state
        .chunks_exact(4)
        .map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]))
        .collect()
}

/// A simulated node's session map.
#[derive(Clone, Debug)]
pub(crate) struct SessionMap {
    buckets: BucketCount,
    pub(crate) sessions: BTreeMap<SessionId, Resident>,
}

impl SessionMap {
    pub(crate) fn new(buckets: BucketCount) -> Self {
        Self {
            buckets,
            sessions: BTreeMap::new(),
        }
    }

    /// Takes everything out, encoded.
    pub(crate) fn drain(&mut self) -> Vec<ReturnedCopy> {
        std::mem::take(&mut self.sessions)
            .into_iter()
            .map(|(id, resident)| ReturnedCopy {
                id,
                tenure: resident.tenure,
                revision: resident.revision,
                held: resident.confirmed,
                away_since: None,
                state: encode(&resident.tokens),
            })
            .collect()
    }
}

impl Holdings for SessionMap {
    fn get(&self, id: &SessionId) -> Option<Copy> {
        self.sessions.get(id).map(|resident| Copy {
            tenure: resident.tenure,
            revision: resident.revision,
        })
    }

    fn for_each_in(&self, bucket: BucketId, each: &mut dyn FnMut(SessionId, Copy)) {
        for (id, resident) in &self.sessions {
            if id.bucket(self.buckets) == bucket {
                each(
                    *id,
                    Copy {
                        tenure: resident.tenure,
                        revision: resident.revision,
                    },
                );
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }
}

/// What the process on a machine is doing as a whole.
#[derive(Debug)]
pub(crate) enum Process {
    /// Not running.
    Down,
    /// Asking to join, perhaps with what an earlier incarnation held.
    Joining {
        former: Option<Box<Participant>>,
        returned: Vec<ReturnedCopy>,
        sent_at: Moment,
    },
    /// A member.
    Member {
        participant: Box<Participant>,
        lease: Lease,
        coordinator: Coordinator,
        ready: bool,
        leaving: bool,
    },
}

/// One simulated machine.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) clock: SkewedClock,
    /// Grows with every start: what was meant for an earlier process is not for this one.
    pub(crate) start: u64,
    pub(crate) process: Process,
    pub(crate) paused_until: Option<Instant>,
    pub(crate) map: SessionMap,
    /// Buckets in which sessions may be created, and their epochs.
    pub(crate) open: BTreeMap<BucketId, LayoutVersion>,
    /// Requests that wait until a session can be looked at again.
    pub(crate) waiting: BTreeMap<SessionId, BTreeSet<u64>>,
    /// When this host's next timer event is scheduled for.
    pub(crate) wake_at: Option<Instant>,
    /// The same for its coordinator.
    pub(crate) coordinator_wakes_at: Option<Instant>,
}

impl Host {
    pub(crate) fn new(clock: SkewedClock, buckets: BucketCount) -> Self {
        Self {
            clock,
            start: 0,
            process: Process::Down,
            paused_until: None,
            map: SessionMap::new(buckets),
            open: BTreeMap::new(),
            waiting: BTreeMap::new(),
            wake_at: None,
            coordinator_wakes_at: None,
        }
    }

    pub(crate) fn incarnation(&self) -> Option<Incarnation> {
        match &self.process {
            Process::Member { participant, .. } => Some(participant.me()),
            _ => None,
        }
    }

    pub(crate) fn participant(&self) -> Option<&Participant> {
        match &self.process {
            Process::Member { participant, .. } => Some(participant),
            Process::Joining {
                former: Some(former),
                ..
            } => Some(former),
            _ => None,
        }
    }

    /// Whether its incarnation may act now, by its own clock.
    pub(crate) fn may_act(&self, at: Instant) -> bool {
        match &self.process {
            Process::Member { lease, .. } => lease.is_valid(self.clock.read(at)),
            _ => false,
        }
    }

    /// Whether a request served here now would be answered from this copy.
    pub(crate) fn serves(&self, at: Instant, id: &SessionId) -> bool {
        self.may_act(at)
            && self
                .map
                .sessions
                .get(id)
                .is_some_and(|resident| resident.confirmed)
    }
}
