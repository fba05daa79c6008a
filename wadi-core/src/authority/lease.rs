//! A node's side of its lease: until when it may act, and when to ask for more.
//!
//! It counts from when a renewal was *sent*, and nine tenths of what was granted, so that it ends
//! before the authority's own count does, however late the answer and with clocks whose rates
//! differ by up to a tenth. It never decides whether the node acts: it is asked.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Moment;
use crate::sabotage::{self, Rule};

/// One renewal that was sent; the answer carries it back.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct RenewalNumber(u64);

/// One incarnation's right to act.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// It may act strictly before this moment; `None`: always, because the authority is this very
    /// process and stops when it stops.
    until: Option<Moment>,
    /// Refused: the incarnation is none of the cluster's any more, and no answer brings it back.
    ended: bool,
    /// The length last granted.
    length: Duration,
    /// When the latest renewal was sent, answered or not.
    last_sent: Moment,
    next_number: u64,
    /// Renewals sent and not answered → when they were sent; at most [`Lease::MOST_UNANSWERED`].
    unanswered: BTreeMap<RenewalNumber, Moment>,
}

impl Lease {
    /// Of how many unanswered renewals the answer is still understood; of more, the latest.
    pub const MOST_UNANSWERED: usize = 16;

    /// The first lease of an incarnation whose join was sent at `sent_at` and granted `length`;
    /// the answer came in at `now`.
    #[must_use]
    pub fn joined(sent_at: Moment, length: Duration, now: Moment) -> Self {
        Self {
            until: Some(Self::end(sent_at, length, now)),
            ended: false,
            length,
            last_sent: sent_at,
            next_number: 0,
            unanswered: BTreeMap::new(),
        }
    }

    /// The lease of a node that is its own authority: it never runs out and is never renewed.
    #[must_use]
    pub const fn endless() -> Self {
        Self {
            until: None,
            ended: false,
            length: Duration::ZERO,
            last_sent: Moment::ZERO,
            next_number: 0,
            unanswered: BTreeMap::new(),
        }
    }

    /// Whether this incarnation may act at `now`.
    #[must_use]
    pub fn is_valid(&self, now: Moment) -> bool {
        !self.ended && self.until.is_none_or(|until| now < until)
    }

    /// The first moment at which it may not act any more, unless it is renewed before; `None`
    /// where it never runs out.
    #[must_use]
    pub const fn until(&self) -> Option<Moment> {
        self.until
    }

    /// Whether the authority has refused it for ever: join again as somebody new.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.ended
    }

    /// When the next renewal is due: a quarter of the lease after the last was sent, answered or
    /// not; `None` when there is nothing to renew.
    #[must_use]
    pub fn renewal_due(&self) -> Option<Moment> {
        let renews = !self.ended && self.until.is_some();
        renews.then(|| self.last_sent + self.length / 4)
    }

    /// Notes that a renewal is being sent at `now`; the number goes with it and comes back with
    /// the answer. Call it before the message leaves.
    pub fn renew(&mut self, now: Moment) -> RenewalNumber {
        let number = RenewalNumber(self.next_number);
        self.next_number += 1;
        self.last_sent = now;
        self.unanswered.insert(number, now);
        while self.unanswered.len() > Self::MOST_UNANSWERED {
            self.unanswered.pop_first();
        }
        number
    }

    /// Takes the answer to a renewal, which came in at `now`. An answer never shortens the lease;
    /// a second one to the same renewal, or to one that is forgotten, changes nothing.
    pub fn granted(&mut self, number: RenewalNumber, length: Duration, now: Moment) {
        let Some(sent_at) = self.unanswered.remove(&number) else {
            return;
        };
        self.length = length;
        let end = Self::end(sent_at, length, now);
        self.until = self.until.map(|until| until.max(end));
    }

    /// Whether the answer to this renewal would still be taken.
    #[must_use]
    pub fn awaits(&self, number: RenewalNumber) -> bool {
        self.unanswered.contains_key(&number)
    }

    /// Takes a refusal: the authority does not know this incarnation as a member any more.
    pub fn refused(&mut self) {
        self.ended = true;
    }

    fn end(sent_at: Moment, length: Duration, now: Moment) -> Moment {
        let from = if sabotage::is_off(Rule::CountFromSend) {
            now
        } else {
            sent_at
        };
        let counted = if sabotage::is_off(Rule::NineTenths) {
            length
        } else {
            nine_tenths(length)
        };
        from + counted
    }
}

/// Nine tenths, rounded down to a nanosecond.
fn nine_tenths(length: Duration) -> Duration {
    // Tenths first: so it cannot overflow, and is rounded down by less than ten nanoseconds more.
    let nanos = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(nanos / 10 * 9 + nanos % 10 * 9 / 10)
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
