//! Moments on one machine's monotonic clock.
//!
//! A [`Moment`] is meaningful only on the machine that read it: it is never sent to another one
//! and never compared with another machine's. Whoever needs a time elsewhere sends a [`Duration`].

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point on this machine's monotonic clock, in nanoseconds since that clock's own origin.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Moment(u64);

impl Moment {
    /// The clock's origin; earlier than every reading.
    pub const ZERO: Self = Self(0);

    /// The moment `nanos` nanoseconds after the clock's origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to `self`; zero when `earlier` is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Self;

    /// Saturates after about 584 years.
    fn add(self, rhs: Duration) -> Self {
        let seconds = rhs.as_secs().saturating_mul(1_000_000_000);
        let nanos = seconds.saturating_add(u64::from(rhs.subsec_nanos()));
        Self(self.0.saturating_add(nanos))
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", Duration::from_nanos(self.0))
    }
}

/// Where moments come from. Only a driver holds one; everything below takes `now`.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The present on this machine's monotonic clock; never smaller than an earlier answer.
    fn now(&self) -> Moment;

    /// Seconds since the Unix epoch by the wall clock. It may jump, so it dates ids and decides
    /// nothing about ownership. Saturates in the year 2106; zero before 1970.
    fn unix_seconds(&self) -> u32;
}

/// The machine's own clock.
///
/// On Linux and Android this is `CLOCK_BOOTTIME`, which also runs while the machine sleeps.
/// Elsewhere it is the standard library's monotonic clock, counted from its first use, which on
/// some systems (macOS among them) stands still during sleep: a sleep is then not seen as time.
#[derive(Clone, Copy, Debug, Default)]
pub struct BootClock;

impl Clock for BootClock {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn now(&self) -> Moment {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        // The kernel's boot time is never negative, and its nanoseconds are below a second.
        Moment((time.tv_sec as u64).saturating_mul(1_000_000_000) + time.tv_nsec as u64)
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    #[allow(clippy::disallowed_methods, reason = "this is the clock")]
    fn now(&self) -> Moment {
        static ORIGIN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        let origin = *ORIGIN.get_or_init(std::time::Instant::now);
        // One second up, so that the first reading is not the origin itself.
        Moment::ZERO + (origin.elapsed() + Duration::from_secs(1))
    }

    #[allow(clippy::disallowed_methods, reason = "this is the clock")]
    fn unix_seconds(&self) -> u32 {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| {
                u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
            })
    }
}

/// A clock that stands still until a test moves it. Its wall clock moves with it.
#[derive(Debug)]
pub struct ManualClock {
    nanos: AtomicU64,
    unix_at_start: u32,
}

impl ManualClock {
    const START: u64 = 1_000_000_000;

    /// A clock one second after its origin, on a day in 2026.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            nanos: AtomicU64::new(Self::START),
            unix_at_start: 1_780_000_000,
        }
    }

    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        let moved = |nanos: u64| Some(nanos.saturating_add(by));
        // The closure always gives a value, so the update cannot fail.
        let _ = self.nanos.fetch_update(Relaxed, Relaxed, moved);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        Moment(self.nanos.load(Relaxed))
    }

    fn unix_seconds(&self) -> u32 {
        let moved = (self.nanos.load(Relaxed) - Self::START) / 1_000_000_000;
        self.unix_at_start
            .saturating_add(u32::try_from(moved).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_clock_runs_forward() {
        let first = BootClock.now();
        std::thread::sleep(Duration::from_millis(2));
        let later = BootClock.now().since(first);
        assert!(later >= Duration::from_millis(2), "{later:?}");
        assert!(later < Duration::from_secs(60), "{later:?}");
    }

    #[test]
    fn manual_clock_moves_both_times() {
        let clock = ManualClock::new();
        let (moment, unix) = (clock.now(), clock.unix_seconds());
        clock.advance(Duration::from_secs(90));
        assert_eq!(clock.now().since(moment), Duration::from_secs(90));
        assert_eq!(clock.unix_seconds() - unix, 90);
    }
}
