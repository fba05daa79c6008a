//! The store's own time: one axis that all rows are dated on, also across restarts.
//!
//! With each write the store notes what time it was, by its own axis, by the monotonic clock of this boot, and
//! by the clock on the wall. Who opens it again counts from there: within the same boot by the monotonic clock,
//! so a jump of the wall's changes nothing; after a reboot by the wall's, which may be wrong, but never
//! takes the store's time back.

use std::sync::Arc;
use std::time::Duration;

use wadi_core::clock::{Clock, Moment};

/// A point on a store's axis: nanoseconds of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp(pub(super) u64);

impl Stamp {
    pub(super) fn after(self, time: Duration) -> Self {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }

    /// How long ago it was; zero where it was not yet.
    pub(super) const fn age(self, now: Self) -> Duration {
        Duration::from_nanos(now.0.saturating_sub(self.0))
    }
}

/// One moment, by every clock there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Anchor {
    pub(super) stamp: Stamp,
    pub(super) boot: Option<String>,
    pub(super) moment: u64,
    pub(super) unix_seconds: u32,
}

/// Tells the store's time.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    clock: Arc<dyn Clock>,
    boot: Option<String>,
    opened: Moment,
    opened_at: Stamp,
}

impl Axis {
    /// Counts on from what was noted last; a new store has noted nothing.
    pub(super) fn resume(
        clock: Arc<dyn Clock>,
        boot: Option<String>,
        last: Option<&Anchor>,
    ) -> Self {
        let opened = clock.now();
        let opened_at = last.map_or(Stamp(0), |last| {
            let same_boot = boot.is_some() && last.boot == boot && last.moment <= opened.as_nanos();
            let passed = if same_boot {
                opened.since(Moment::from_nanos(last.moment))
            } else {
                let seconds = clock.unix_seconds().saturating_sub(last.unix_seconds);
                Duration::from_secs(seconds.into())
            };
            last.stamp.after(passed)
        });
        Self {
            clock,
            boot,
            opened,
            opened_at,
        }
    }

    pub(super) fn now(&self) -> Stamp {
        self.opened_at.after(self.clock.now().since(self.opened))
    }

    /// What to note, for this time.
    pub(super) fn anchor(&self) -> Anchor {
        let moment = self.clock.now();
        Anchor {
            stamp: self.opened_at.after(moment.since(self.opened)),
            boot: self.boot.clone(),
            moment: moment.as_nanos(),
            unix_seconds: self.clock.unix_seconds(),
        }
    }
}

/// Which boot of this machine this is, where the system says so and its clock counts from there.
pub(super) fn this_boot() -> Option<String> {
    if !cfg!(any(target_os = "linux", target_os = "android")) {
        return None;
    }
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let id = id.trim();
    (!id.is_empty() && id.len() <= 64).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

    /// Two clocks that a test moves apart.
    #[derive(Debug, Default)]
    struct Apart {
        moment: AtomicU64,
        wall: AtomicU32,
    }

    impl Clock for Apart {
        fn now(&self) -> Moment {
            Moment::ZERO + Duration::from_secs(self.moment.load(Relaxed))
        }
        fn unix_seconds(&self) -> u32 {
            self.wall.load(Relaxed)
        }
    }

    fn seconds(stamp: Stamp) -> u64 {
        stamp.0 / 1_000_000_000
    }

    fn opened_again(boot: &str, moment: u64, wall: u32) -> u64 {
        let clock = Arc::new(Apart::default());
        clock.moment.store(1000, Relaxed);
        clock.wall.store(1_000_000, Relaxed);
        let first = Axis::resume(clock.clone(), Some("one".to_owned()), None);
        clock.moment.store(1010, Relaxed);
        clock.wall.store(1_000_010, Relaxed);
        let noted = first.anchor();
        assert_eq!(seconds(noted.stamp), 10);
        clock.moment.store(moment, Relaxed);
        clock.wall.store(wall, Relaxed);
        let again = Axis::resume(clock, Some(boot.to_owned()), Some(&noted));
        seconds(again.now())
    }

    #[test]
    fn within_a_boot_the_wall_clock_changes_nothing() {
        for wall in [1_000_030, 1_003_630, 996_430, 0, u32::MAX] {
            assert_eq!(opened_again("one", 1030, wall), 30, "wall at {wall}");
        }
    }

    #[test]
    fn across_boots_it_counts_and_never_backwards() {
        assert_eq!(opened_again("two", 5, 1_000_110), 110);
        assert_eq!(opened_again("two", 5000, 1_000_110), 110);
        assert_eq!(opened_again("two", 5, 999_000), 10);
        // As where the clock was set back, though the boot seems the same.
        assert_eq!(opened_again("one", 5, 1_000_110), 110);
    }

    #[test]
    fn where_boots_cannot_be_told_apart_the_wall_clock_counts() {
        let clock = Arc::new(Apart::default());
        let noted = Axis::resume(clock.clone(), None, None).anchor();
        clock.moment.store(50, Relaxed);
        clock.wall.store(70, Relaxed);
        let again = Axis::resume(clock, None, Some(&noted));
        assert_eq!(seconds(again.now()), 70);
    }
}
