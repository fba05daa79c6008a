//! Times of many, and what they come to.

use std::fmt;
use std::time::Duration;

/// What many of the same took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub(crate) fn merge(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// What so many per mille of them took at most; zero where there are none.
    pub(crate) fn per_mille(&self, part: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        let at = (sorted.len() * part / 1000).min(last);
        sorted.get(at).copied().unwrap_or_default()
    }

    pub(crate) fn p50(&self) -> Duration {
        self.per_mille(500)
    }

    pub(crate) fn p99(&self) -> Duration {
        self.per_mille(990)
    }

    /// In whole microseconds, for another process.
    pub(crate) fn to_text(&self) -> String {
        let micros = self.0.iter().map(|time| time.as_micros().to_string());
        micros.collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn from_text(text: &str) -> Self {
        let micros = text.split_whitespace();
        let time = |micros: &str| Duration::from_micros(micros.parse().expect("microseconds"));
        Self(micros.map(time).collect())
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99) = (self.p50().as_micros(), self.p99().as_micros());
        write!(f, "p50 {p50} us, p99 {p99} us")
    }
}

pub(crate) fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64().max(1e-9)
}

/// The processor's time that this process has had, in user and in kernel mode; zero where the system
/// does not tell.
pub(crate) fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    // Linux counts hundredths of a second.
    Duration::from_millis(ticks * 10)
}
