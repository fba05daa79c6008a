//! The protocol's times and limits; the same for every node of a cluster.

use std::time::Duration;

use crate::stale::Chosen;
use crate::tenure::Tenure;

/// Times and limits of the protocol. Each time is counted on the clock of the node that waits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// How long an unanswered step waits before it is asked again the first time. Default 50 ms;
    /// a few network round trips.
    pub retry: Duration,
    /// The longest wait between two askings: each wait is twice the one before, up to this.
    /// Default 1 s; at least `retry`.
    pub retry_most: Duration,
    /// How long a request's question is pursued before it is answered "unavailable". Default 2 s;
    /// several times `retry`, and below the time after which clients give up. It is asked again every
    /// fifth of it at least, so that little of it is slept away when somebody can answer again.
    pub ask_for: Duration,
    /// How long a session may be on its way before everybody is asked for it: a cut link between its
    /// two holders may be why. Default 2 s; longer than a mover waits for a session's lock.
    pub resolve_after: Duration,
    /// After a death, how long an id that nobody holds is answered "nobody can say" before it
    /// counts as lost: the time in which the dead node may come back with it. Default 30 s.
    pub absent_after: Duration,
    /// How long a refused or dropped tenure is remembered. Must be longer than any message can be
    /// under way; a message dies with its sender's or its receiver's lease, so four leases do.
    /// Default 16 s.
    pub remember_for: Duration,
    /// How long the marker of an ended session is kept. Must be longer than any copy of it can
    /// last, so above the longest idle time. Default 2 h.
    pub mark_for: Duration,
    /// How many records of directories a node that takes over buckets asks one previous manager for at once,
    /// by what those before had; always one bucket's. Default 2048; what both handle in a few milliseconds.
    pub hand_over_records: usize,
    /// How many sessions an evacuation has under way at once, from the asking until the copy here is
    /// dropped; also how many copies a node that came back offers, and how many markers are given to
    /// others, at once. Default 2048; more than move in two network round trips, so that both nodes always
    /// have something to do, and few enough that requests hardly ever meet one.
    pub evacuate_at_once: usize,
    /// How many bytes of sealed sessions an evacuation has under way at once; it overshoots by what
    /// sessions are larger than those before. Default 8 MiB; what a link carries in a tenth of a
    /// second.
    pub evacuate_bytes: usize,
    /// Whether there is a store below all nodes: whoever has nothing of a session asks there before it is
    /// called absent, and what nobody asks for may go there. Default no.
    pub store: bool,
    /// Which copy serves again where none serves. Default [`TakeLatest`](crate::stale::TakeLatest).
    pub stale: Chosen,
}

impl Settings {
    /// The longest wait before a request's question is asked again.
    pub(super) fn ask_most(&self) -> Duration {
        (self.ask_for / 5).clamp(self.retry, self.retry_most.max(self.retry))
    }

    /// How long the marker of a session that ended under `tenure` is kept. One that was never here,
    /// only asked for, can have no copies, so its marker need only outlive messages.
    pub(super) fn mark_for(&self, tenure: Tenure) -> Duration {
        if tenure == Tenure::NONE {
            self.remember_for
        } else {
            self.mark_for
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retry: Duration::from_millis(50),
            retry_most: Duration::from_secs(1),
            ask_for: Duration::from_secs(2),
            resolve_after: Duration::from_secs(2),
            absent_after: Duration::from_secs(30),
            remember_for: Duration::from_secs(16),
            mark_for: Duration::from_secs(2 * 3600),
            hand_over_records: 2048,
            evacuate_at_once: 2048,
            evacuate_bytes: 8 << 20,
            store: false,
            stale: Chosen::default(),
        }
    }
}
