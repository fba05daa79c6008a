//! Keeping the lease: a task of its own renews it and opens the gate, so that a driver with much to do
//! loses no lease.
//!
//! What the task does counts only for the incarnation that it was started for: whatever an earlier one
//! is granted opens nothing.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::authority::{Answer, Command, Lease, RenewalNumber};
use crate::clock::{Clock, Moment};
use crate::lease::LeaseGate;
use crate::member::Incarnation;
use crate::node::authority::Authority;
use crate::node::given::{Asked, Given};

/// The runtime's timers may stand still while the machine sleeps, and the node's clock does not.
const LONGEST_NAP: Duration = Duration::from_secs(1);

/// The present incarnation's lease, and the gate that it opens.
#[derive(Debug)]
pub(super) struct Leases {
    gate: Arc<LeaseGate>,
    /// Held for one look or change, the gate's included, and across no await.
    current: Mutex<Option<(Incarnation, Lease)>>,
}

impl Leases {
    pub(super) fn new(gate: Arc<LeaseGate>) -> Self {
        Self {
            gate,
            current: Mutex::default(),
        }
    }

    /// From now on the lease is that of `me`.
    pub(super) fn begin(&self, me: Incarnation, lease: Lease) {
        let mut current = self.current.lock();
        self.gate.extend(until(&lease));
        *current = Some((me, lease));
    }

    /// That incarnation is no more.
    pub(super) fn end(&self) {
        let mut current = self.current.lock();
        self.gate.close();
        *current = None;
    }

    /// Until when this node may act, if it is anybody.
    pub(super) fn until(&self) -> Option<Moment> {
        self.current.lock().as_ref().map(|(_, lease)| until(lease))
    }

    fn of<T>(&self, me: Incarnation, look: impl FnOnce(&mut Lease) -> T) -> Option<T> {
        match &mut *self.current.lock() {
            Some((current, lease)) if *current == me => Some(look(lease)),
            _ => None,
        }
    }

    fn due(&self, me: Incarnation) -> Option<Moment> {
        self.of(me, |lease| lease.renewal_due()).flatten()
    }

    fn renew(&self, me: Incarnation, now: Moment) -> Option<RenewalNumber> {
        self.of(me, |lease| lease.renew(now))
    }

    fn granted(&self, me: Incarnation, number: RenewalNumber, length: Duration, now: Moment) {
        self.of(me, |lease| {
            lease.granted(number, length, now);
            self.gate.extend(until(lease));
        });
    }
}

fn until(lease: &Lease) -> Moment {
    const ALWAYS: Moment = Moment::from_nanos(u64::MAX);
    lease.until().unwrap_or(ALWAYS)
}

/// What the task needs.
pub(super) struct Keeper {
    pub(super) leases: Arc<Leases>,
    pub(super) me: Incarnation,
    pub(super) authority: Arc<dyn Authority>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) back: mpsc::Sender<Given>,
    /// How long the answer to one renewal is waited for: it is good for as long as the lease is.
    pub(super) wait: Duration,
}

impl Keeper {
    /// Lives as long as the incarnation.
    pub(super) async fn run(self) {
        let keeper = Arc::new(self);
        let mut calls = JoinSet::new();
        while let Some(due) = keeper.leases.due(keeper.me) {
            let now = keeper.clock.now();
            if now < due {
                tokio::time::sleep(due.since(now).min(LONGEST_NAP)).await;
                continue;
            }
            if let Some(number) = keeper.leases.renew(keeper.me, now) {
                calls.spawn(Arc::clone(&keeper).renew(number));
            }
            while calls.try_join_next().is_some() {}
        }
    }

    async fn renew(self: Arc<Self>, number: RenewalNumber) {
        let (me, now) = (self.me, || self.clock.now());
        let asked = self.authority.command(Command::Renew(me));
        let Ok(Ok(answer)) = tokio::time::timeout(self.wait, asked).await else {
            return;
        };
        match answer {
            Answer::Renewed(Ok(length)) => {
                self.leases.granted(me, number, length, now());
                // A driver that is idle passes it on to the protocol; one that has much to do looks anyway.
                let _ = self.back.try_send(Given::Leased);
            }
            refused => {
                let (asked, answer) = (Asked::Renew(me), Ok(refused));
                // A driver that is gone has no use for it.
                let _ = self.back.send(Given::Answered { asked, answer }).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn what_an_earlier_incarnation_is_granted_opens_nothing() {
        const LENGTH: Duration = Duration::from_secs(4);
        let clock = ManualClock::new();
        let gate = Arc::new(LeaseGate::leased(Moment::ZERO));
        let leases = Leases::new(Arc::clone(&gate));
        let [first, second] = [1, 2].map(Incarnation::new);
        let lease = || Lease::joined(clock.now(), LENGTH, clock.now());
        leases.begin(first, lease());
        assert!(gate.is_open(&clock));
        let number = leases.renew(first, clock.now()).unwrap();
        leases.end();
        leases.granted(first, number, LENGTH, clock.now());
        assert!(!gate.is_open(&clock));
        assert_eq!(leases.until(), None);
        leases.begin(second, lease());
        let begun = leases.until();
        clock.advance(LENGTH / 2);
        leases.granted(first, number, LENGTH, clock.now());
        assert_eq!(leases.until(), begun);
        assert_eq!(leases.renew(first, clock.now()), None);
    }
}
