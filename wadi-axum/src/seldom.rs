//! Log lines that clients can cause: once a minute is enough to know.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use wadi_core::clock::{BootClock, Clock, Moment};

const EVERY: Duration = Duration::from_secs(60);

/// When one log line was last written, in nanoseconds of the process's clock; zero before.
#[derive(Debug, Default)]
pub(crate) struct Seldom(AtomicU64);

impl Seldom {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Whether the line is to be written now.
    pub(crate) fn is_due(&self) -> bool {
        self.is_due_at(BootClock.now())
    }

    fn is_due_at(&self, now: Moment) -> bool {
        let last = self.0.load(Relaxed);
        let due = last == 0 || now.since(Moment::from_nanos(last)) >= EVERY;
        // Of several that find it due, one writes.
        due && self
            .0
            .compare_exchange(last, now.as_nanos().max(1), Relaxed, Relaxed)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_a_minute() {
        let line = Seldom::new();
        let at = |seconds: u64| line.is_due_at(Moment::from_nanos(seconds * 1_000_000_000));
        assert_eq!(
            [100, 101, 159, 160, 161].map(at),
            [true, false, false, true, false]
        );
    }
}
