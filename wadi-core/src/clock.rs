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

/// Notices that the wall clock jumped against the monotonic one, for the log.
///
/// It decides nothing: who owns what, and what has run out, goes by moments alone. But ids, log lines
/// and certificates are dated by the wall, so whoever runs the node wants to know.
#[derive(Debug, Default)]
pub struct WallWatch {
    last: Option<(Moment, u32)>,
    told: Option<Moment>,
    jumps: u64,
}

/// The wall clock jumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallJump {
    /// By so many seconds, forwards or, where it is below zero, backwards.
    pub seconds: i64,
    /// How many jumps were noticed so far, this one and those that were not told of among them.
    pub so_far: u64,
}

impl WallWatch {
    /// A clock that is merely set right bit by bit moves by less between two looks.
    const LEAST: i64 = 5;

    /// A clock that jumps again and again is told of so often at most.
    const EVERY: Duration = Duration::from_secs(10 * 60);

    /// Reads both clocks. The jump since the last look, where there is one to tell of.
    pub fn look(&mut self, clock: &dyn Clock) -> Option<WallJump> {
        let before = clock.now();
        let unix = clock.unix_seconds();
        let now = clock.now();
        // Who stood still between two readings saw no pair that belongs together.
        (now.since(before) < Duration::from_secs(1))
            .then(|| self.see(now, unix))
            .flatten()
    }

    fn see(&mut self, now: Moment, unix: u32) -> Option<WallJump> {
        let (then, wall) = self.last.replace((now, unix))?;
        let passed = i64::try_from(now.since(then).as_secs()).unwrap_or(i64::MAX);
        let seconds = (i64::from(unix) - i64::from(wall)).saturating_sub(passed);
        if seconds.abs() < Self::LEAST {
            return None;
        }
        self.jumps += 1;
        if self.told.is_some_and(|at| now.since(at) < Self::EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(WallJump {
            seconds,
            so_far: self.jumps,
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

    /// Of a wall clock that is right but for what a line says: at that second it jumps by so many.
    fn told(jumps: &[(u64, i64)], looks: impl Iterator<Item = u64>) -> Vec<(u64, WallJump)> {
        let mut watch = WallWatch::default();
        let told = looks.filter_map(|second| {
            let off: i64 = jumps
                .iter()
                .filter(|(at, _)| *at <= second)
                .map(|(_, by)| by)
                .sum();
            let unix = 1_780_000_000 + i64::try_from(second).unwrap() + off;
            // The two clocks do not begin their seconds at the same time.
            let now = Moment::from_nanos(second * 1_000_000_000 + 700_000_000);
            let jump = watch.see(now, u32::try_from(unix).unwrap());
            jump.map(|jump| (second, jump))
        });
        told.collect()
    }

    #[test]
    fn a_wall_clock_that_jumps_is_told_of_and_one_that_is_set_right_bit_by_bit_is_not() {
        let every_five = || (0..2000).step_by(5);
        assert_eq!(told(&[], every_five()), []);
        let bit_by_bit: Vec<_> = (0..2000).step_by(7).map(|at| (at, -2)).collect();
        assert_eq!(told(&bit_by_bit, every_five()), []);
        let jump = |seconds, so_far| WallJump { seconds, so_far };
        assert_eq!(
            told(&[(42, -3600)], every_five()),
            [(45, jump(-3600, 1))],
            "once, and by how much"
        );
        // However long nobody looked.
        assert_eq!(
            told(&[(42, 3600)], [0, 90_000].into_iter()),
            [(90_000, jump(3600, 1))]
        );
        assert_eq!(told(&[], [0, 90_000].into_iter()), []);
    }

    #[test]
    fn a_wall_clock_that_jumps_again_and_again_is_told_of_seldom() {
        let jumps: Vec<_> = (10..1300)
            .step_by(10)
            .map(|at| (at, if at % 20 == 0 { 3600 } else { -3600 }))
            .collect();
        let told = told(&jumps, (0..1300).step_by(5));
        let told: Vec<_> = told.iter().map(|(at, jump)| (*at, jump.so_far)).collect();
        assert_eq!(told, [(10, 1), (610, 61), (1210, 121)]);
    }

    #[test]
    fn who_stands_still_between_two_readings_takes_that_for_no_jump() {
        #[derive(Debug)]
        struct Stopped(ManualClock);
        impl Clock for Stopped {
            fn now(&self) -> Moment {
                self.0.now()
            }
            fn unix_seconds(&self) -> u32 {
                let unix = self.0.unix_seconds();
                self.0.advance(Duration::from_secs(600));
                unix
            }
        }
        let clock = ManualClock::new();
        let mut watch = WallWatch::default();
        assert_eq!(watch.look(&clock), None);
        clock.advance(Duration::from_secs(5));
        let clock = Stopped(clock);
        assert_eq!(watch.look(&clock), None);
        assert_eq!(watch.look(&clock.0), None);
    }
}
