//! Counts: how requests were served, how long they took, what went wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::check::Span;
use crate::fleet::Trouble;

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    Trouble(Trouble),
    Status(u16),
    /// An answer that is not of the promised form.
    Unreadable,
    /// No node was ready at its last poll.
    NoNode,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trouble(trouble) => trouble.fmt(f),
            Self::Status(status) => write!(f, "status {status}"),
            Self::Unreadable => f.write_str("unreadable answer"),
            Self::NoNode => f.write_str("no node was ready"),
        }
    }
}

/// One request that failed.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    pub(super) cause: Cause,
    pub(super) span: Span,
    /// The node that was asked; none where none was ready.
    pub(super) to: Option<usize>,
    pub(super) session: String,
    /// It was asked for by an id that had ended.
    pub(super) of_ended: bool,
    pub(super) what: String,
}

/// How the requests of a run were served.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// `x-wadi`'s word and hops.
    pub(super) served: BTreeMap<(String, String), u64>,
    /// Of every answer that was read, in microseconds.
    times: Vec<u32>,
    pub(super) failed: Vec<Failed>,
    pub(super) moves: u64,
    pub(super) created: u64,
    /// The longest time in which a session's requests failed, and whose it was.
    pub(super) gap: Option<(Duration, String)>,
    /// The answers that took longest, the longest first: a bound that is nearly reached shows here before
    /// anything fails.
    pub(super) slowest: Vec<(Duration, String)>,
}

/// So many of the slowest answers are kept, and only such as nobody would call quick.
const SLOWEST: usize = 5;
const SLOW: Duration = Duration::from_millis(300);

impl Tally {
    pub(super) fn requests(&self) -> usize {
        self.times.len() + self.failed.len()
    }

    pub(super) fn answered(&mut self, x_wadi: Option<&str>, took: Duration) {
        self.times
            .push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        let (how, hops) = read_x_wadi(x_wadi.unwrap_or_default());
        *self
            .served
            .entry((how.to_owned(), hops.to_owned()))
            .or_default() += 1;
    }

    /// Keeps an answer that was among the slowest; `what` says what it was.
    pub(super) fn was_slow(&mut self, took: Duration, what: impl FnOnce() -> String) {
        if took < SLOW {
            return;
        }
        let place = self.slowest.partition_point(|(longer, _)| *longer >= took);
        if place < SLOWEST {
            self.slowest.insert(place, (took, what()));
            self.slowest.truncate(SLOWEST);
        }
    }

    pub(super) fn gap(&mut self, length: Duration, session: &str) {
        if self
            .gap
            .as_ref()
            .is_none_or(|(longest, _)| length > *longest)
        {
            self.gap = Some((length, session.to_owned()));
        }
    }

    /// The times at these hundredths of all answers.
    pub(super) fn percentiles<const N: usize>(&mut self, hundredths: [f64; N]) -> [Duration; N] {
        self.times.sort_unstable();
        hundredths.map(|part| {
            let last = self.times.len().saturating_sub(1);
            let index = (last as f64 * part / 100.0).round() as usize;
            let micros = self.times.get(index).copied().unwrap_or(0);
            Duration::from_micros(micros.into())
        })
    }
}

/// `local; node=n1; hops=0` is `local` and `0`.
fn read_x_wadi(header: &str) -> (&str, &str) {
    let mut parts = header.split(';').map(str::trim);
    let how = parts.next().filter(|how| !how.is_empty());
    let hops = parts.find_map(|part| part.strip_prefix("hops="));
    (how.unwrap_or("unsaid"), hops.unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_says_of_its_answer_is_read() {
        assert_eq!(read_x_wadi("migrated; node=n2; hops=1"), ("migrated", "1"));
        assert_eq!(read_x_wadi(""), ("unsaid", "?"));
    }

    #[test]
    fn the_slowest_answers_are_kept_in_order() {
        let mut tally = Tally::default();
        for millis in [1, 400, 900, 500, 800, 600, 700] {
            tally.was_slow(Duration::from_millis(millis), || millis.to_string());
        }
        let kept: Vec<_> = tally.slowest.iter().map(|(_, what)| what).collect();
        assert_eq!(kept, ["900", "800", "700", "600", "500"]);
    }

    #[test]
    fn percentiles_are_of_what_was_answered() {
        let mut tally = Tally::default();
        for millis in 0..=100 {
            tally.answered(None, Duration::from_millis(millis));
        }
        let [half, most, all] = tally.percentiles([50.0, 99.0, 100.0]);
        assert_eq!(half, Duration::from_millis(50));
        assert_eq!(most, Duration::from_millis(99));
        assert_eq!(all, Duration::from_millis(100));
        assert_eq!(
            Tally::default().percentiles([50.0]),
            [Duration::ZERO],
            "nothing was answered"
        );
    }
}
