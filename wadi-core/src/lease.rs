//! The gate through which a node's right to act reaches the request path.
//!
//! Reading it costs one relaxed atomic load, and a reading of the clock only where a lease can run
//! out. It never decides how long a lease is: whoever renews leases tells it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::{Clock, Moment};

/// Whether this node may act now. One per node, read by every request when it starts and when it
/// commits.
pub struct LeaseGate {
    /// Nanoseconds of the moment until which the node may act; `ALWAYS`, or `REVOKED` for good.
    until: AtomicU64,
}

const ALWAYS: u64 = u64::MAX;
const REVOKED: u64 = 0;

impl LeaseGate {
    /// The gate of a node that is alone: always open.
    #[must_use]
    pub const fn solo() -> Self {
        Self {
            until: AtomicU64::new(ALWAYS),
        }
    }

    /// The gate of a node whose lease runs until `until`.
    ///
    /// The caller has already counted from the send and taken nine tenths.
    #[must_use]
    pub const fn leased(until: Moment) -> Self {
        // A lease that ends at the clock's origin never began, which is not yet a revocation.
        let nanos = until.as_nanos();
        Self {
            until: AtomicU64::new(if nanos == REVOKED { 1 } else { nanos }),
        }
    }

    /// Whether the node may act. The clock is read only where a lease can run out.
    #[inline]
    pub fn is_open(&self, clock: &dyn Clock) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        until == ALWAYS || clock.now().as_nanos() < until
    }

    /// Lengthens the lease to `until`; never shortens it. Says whether the gate is still in use:
    /// `false` after [`LeaseGate::revoke`], which nothing undoes.
    pub fn extend(&self, until: Moment) -> bool {
        self.until
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
                (now != REVOKED).then(|| now.max(until.as_nanos()))
            })
            .is_ok()
    }

    /// Closes the gate until it is extended again: this incarnation was fenced, and whoever extends
    /// it next is its successor. A revoked gate stays revoked.
    pub fn close(&self) {
        // A moment that is over for every clock, and is no revocation.
        let closed = |now| (now != REVOKED).then_some(1);
        // The closure gives no value only where the gate is closed for good already.
        let _ = (self.until).fetch_update(Ordering::Relaxed, Ordering::Relaxed, closed);
    }

    /// Closes the gate for good: this node has left.
    pub fn revoke(&self) {
        self.until.store(REVOKED, Ordering::Relaxed);
    }
}

impl fmt::Debug for LeaseGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.until.load(Ordering::Relaxed) {
            ALWAYS => f.write_str("LeaseGate(solo)"),
            REVOKED => f.write_str("LeaseGate(revoked)"),
            nanos => write!(f, "LeaseGate(until {:?})", Moment::from_nanos(nanos)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn a_lease_runs_out_and_can_be_lengthened() {
        let clock = ManualClock::new();
        let gate = LeaseGate::leased(clock.now() + Duration::from_secs(3));
        assert!(gate.is_open(&clock));
        clock.advance(Duration::from_secs(3));
        assert!(!gate.is_open(&clock));
        assert!(gate.extend(clock.now() + Duration::from_secs(1)));
        assert!(gate.is_open(&clock));
    }

    #[test]
    fn a_closed_gate_opens_for_the_next_incarnation() {
        let clock = ManualClock::new();
        let gate = LeaseGate::leased(clock.now() + Duration::from_secs(3));
        gate.close();
        assert!(!gate.is_open(&clock));
        assert!(gate.extend(clock.now() + Duration::from_secs(1)));
        assert!(gate.is_open(&clock));
        gate.revoke();
        gate.close();
        assert!(!gate.extend(clock.now() + Duration::from_secs(1)));
    }

    #[test]
    fn a_revoked_gate_stays_closed() {
        let clock = ManualClock::new();
        let gate = LeaseGate::solo();
        assert!(gate.is_open(&clock));
        gate.revoke();
        assert!(!gate.extend(clock.now() + Duration::from_secs(9)));
        assert!(!gate.is_open(&clock));
    }
}
