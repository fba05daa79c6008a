//! The machine's clock, and as much later as the test says.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use wadi_core::clock::{BootClock, Clock, Moment};

/// A clock that runs by itself, and that a test moves on.
#[derive(Debug, Default)]
pub(super) struct Moved {
    nanos: AtomicU64,
}

impl Moved {
    fn by(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Relaxed))
    }

    pub(super) fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        let moved = |nanos: u64| Some(nanos.saturating_add(by));
        // The closure always gives a value, so the update cannot fail.
        let _ = self.nanos.fetch_update(Relaxed, Relaxed, moved);
    }
}

impl Clock for Moved {
    fn now(&self) -> Moment {
        BootClock.now() + self.by()
    }

    fn unix_seconds(&self) -> u32 {
        let moved = u32::try_from(self.by().as_secs()).unwrap_or(u32::MAX);
        BootClock.unix_seconds().saturating_add(moved)
    }
}
