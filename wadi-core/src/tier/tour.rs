//! The way through all sessions of a node, for whoever has some of them go down; and how long a store that
//! failed is left alone. Plain values: nobody is asked anything, and nobody waits.

use std::time::Duration;

use super::memory;
use crate::bucket::BucketId;
use crate::clock::Moment;
use crate::evict::{Candidate, Evicter, Load};
use crate::session::{Resting, Sessions};

/// The first pause after a store failed, and the longest; each is twice the one before.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Where a round over all sessions is.
#[derive(Debug, Default)]
pub(crate) struct Tour {
    next: u16,
    /// The bytes met in this round so far, and in all of the last one.
    bytes_so_far: usize,
    bytes: usize,
    /// How many are to go in this round for the sake of the others, of so many in memory.
    excess: usize,
    of: usize,
}

/// What one batch of it met.
#[derive(Debug)]
pub(crate) struct Met {
    /// Those that the policy has go down.
    pub(crate) chosen: Vec<Resting>,
    /// The others.
    pub(crate) others: Vec<Resting>,
    /// Whether this batch came to the end of the last bucket.
    pub(crate) done: bool,
}

impl Tour {
    /// Looks at whole buckets until so many sessions were looked at.
    pub(crate) fn go_on(
        &mut self,
        sessions: &Sessions,
        evicter: &dyn Evicter,
        batch: usize,
        now: Moment,
    ) -> Met {
        let buckets = sessions.map().buckets().get();
        if self.next == 0 {
            let load = Load::new(sessions.map().len(), self.bytes, memory::taken());
            (self.excess, self.of) = (evicter.excess(&load), load.sessions);
        }
        let mut resting = Vec::new();
        let mut done = false;
        while resting.len() < batch && !done {
            resting.extend(sessions.resting(BucketId::new(self.next), now));
            self.next += 1;
            done = self.next >= buckets;
        }
        self.bytes_so_far += resting.iter().map(|one: &Resting| one.bytes).sum::<usize>();
        if done {
            self.next = 0;
            self.bytes = std::mem::take(&mut self.bytes_so_far);
        }
        let share = share(resting.len(), self.excess, self.of);
        let (chosen, others) = choose(evicter, resting, share);
        Met {
            chosen,
            others,
            done,
        }
    }
}

/// Those that are to go for their own sake, and of the others as many, idle for longest, as there are still
/// too many; and who stays.
fn choose(
    evicter: &dyn Evicter,
    mut resting: Vec<Resting>,
    share: usize,
) -> (Vec<Resting>, Vec<Resting>) {
    resting.sort_by_key(|one| std::cmp::Reverse(one.idle));
    let evicts = |one: &Resting| {
        let candidate = Candidate::new(one.idle, one.bytes, one.frozen);
        evicter.evicts(&candidate)
    };
    let (mut chosen, mut others): (Vec<_>, Vec<_>) = resting.into_iter().partition(evicts);
    let more = share.saturating_sub(chosen.len()).min(others.len());
    chosen.extend(others.drain(..more));
    (chosen, others)
}

/// How many of `some` go where `excess` of `all` do, rounded up.
fn share(some: usize, excess: usize, all: usize) -> usize {
    if all == 0 {
        return 0;
    }
    let share = (some as u128 * excess as u128).div_ceil(all as u128);
    usize::try_from(share).unwrap_or(some)
}

/// How long a store that failed is not given anything.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    until: Moment,
    length: Duration,
}

impl Pause {
    /// Whether it is left alone now.
    pub(crate) fn holds(&self, now: Moment) -> bool {
        now < self.until
    }

    /// It failed. What failed while it was left alone was asked before, and counts for nothing.
    pub(crate) fn failed(&mut self, now: Moment) {
        if !self.holds(now) {
            self.length = (self.length * 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
            self.until = now + self.length;
        }
    }

    /// It did what it was asked.
    pub(crate) fn worked(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pause_is_twice_the_one_before_and_failures_within_one_are_one() {
        let mut pause = Pause::default();
        let mut now = Moment::ZERO;
        let mut lengths = Vec::new();
        for _ in 0..8 {
            pause.failed(now);
            pause.failed(now);
            assert!(pause.holds(now));
            let from = now;
            while pause.holds(now) {
                now = now + Duration::from_millis(1);
            }
            lengths.push(now.since(from).as_millis());
        }
        assert_eq!(lengths, [250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000]);
        pause.worked();
        pause.failed(now);
        assert!(!pause.holds(now + SHORTEST_PAUSE));
    }

    #[test]
    fn of_some_as_many_go_as_of_all() {
        assert_eq!(share(10, 0, 100), 0);
        assert_eq!(share(10, 1, 100), 1);
        assert_eq!(share(10, 55, 100), 6);
        assert_eq!(share(10, 5, 0), 0);
    }
}
