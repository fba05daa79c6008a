//! Log lines that come by the thousand at once, one for each session: a few of them tell as much.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use wadi_core::clock::{BootClock, Clock, Moment};

/// After so long without a line the next one is written.
const QUIET: Duration = Duration::from_secs(1);

/// How often something has happened, and when that was last told, in nanoseconds of the process's clock.
#[derive(Debug, Default)]
pub(super) struct Burst {
    count: AtomicU64,
    told: AtomicU64,
}

impl Burst {
    /// It has happened once more. How often by now, where that is to be told: the first time after a
    /// while, and within a burst whenever it has doubled.
    pub(super) fn again(&self) -> Option<u64> {
        self.again_at(BootClock.now())
    }

    fn again_at(&self, now: Moment) -> Option<u64> {
        let count = self.count.fetch_add(1, Relaxed) + 1;
        let told = self.told.load(Relaxed);
        let is_first = told == 0 || now.since(Moment::from_nanos(told)) >= QUIET;
        let is_due = is_first || count.is_power_of_two();
        is_due.then(|| {
            self.told.store(now.as_nanos().max(1), Relaxed);
            count
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_at_once_are_a_few_lines_and_one_now_and_then_is_always_told() {
        let burst = Burst::default();
        let at = |seconds: u64| Moment::from_nanos(seconds * 1_000_000_000);
        let told: Vec<_> = (0..1000).filter_map(|_| burst.again_at(at(100))).collect();
        assert_eq!(told, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]);
        assert_eq!(burst.again_at(at(100)), None);
        let now_and_then: Vec<_> = [101, 102, 110].map(at).into();
        let told: Vec<_> = now_and_then
            .into_iter()
            .filter_map(|now| burst.again_at(now))
            .collect();
        assert_eq!(told, [1002, 1003, 1004]);
    }
}
