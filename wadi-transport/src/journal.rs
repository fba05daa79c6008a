//! What is written to the log of connections, sparingly: strangers must not fill it.
//!
//! Of each sort so many lines are written in a while, and then how many were not. No line quotes what
//! a message says, a key, or text that its sender may have chosen freely.

use std::time::Duration;

use parking_lot::Mutex;
use wadi_core::clock::{BootClock, Clock, Moment};

use crate::handshake::Refusal;
use crate::notice::{Ended, Notice};

/// Lines of one sort in a while.
const LINES: u32 = 10;
const WHILE: Duration = Duration::from_secs(60);

/// Writes lines of an endpoint's connections.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    strangers: Sparing,
    refused: Sparing,
    broken: Sparing,
    dialled: Sparing,
}

impl Journal {
    /// What happened to a connection that others opened.
    pub(crate) fn note(&self, notice: &Notice) {
        let sort = match notice {
            Notice::Unfinished { .. } => &self.strangers,
            Notice::Renewed => {
                tracing::info!("{notice}");
                return;
            }
            Notice::CannotAccept { .. }
            | Notice::NotRenewed { .. }
            | Notice::Ended {
                why: Ended::Malformed(_),
                ..
            } => &self.broken,
            Notice::Refused {
                why: Refusal::Full, ..
            } => &self.refused,
            Notice::Refused { why, .. } if why.needs_a_hand() => &self.refused,
            // Who comes and goes is sought for a while where it was, and was given up there, and a node that
            // dials itself is no worse off: others are told of it in time, and nobody has to mend anything.
            Notice::Accepted { .. }
            | Notice::Ended { .. }
            | Notice::GivenUp { .. }
            | Notice::Refused { .. } => {
                tracing::debug!("{notice}");
                return;
            }
        };
        match sort.admit(BootClock.now()) {
            Some(0) => tracing::warn!("{notice}"),
            Some(held_back) => tracing::warn!("{notice} ({held_back} more such lines left out)"),
            None => tracing::debug!("{notice}"),
        }
    }

    /// Why a connection that this node wants could not be made, or be used, and whether somebody has to mend it.
    pub(crate) fn failed(&self, why: &impl std::fmt::Display, needs_a_hand: bool) {
        if !needs_a_hand {
            tracing::debug!("{why}");
            return;
        }
        match self.dialled.admit(BootClock.now()) {
            Some(0) => tracing::warn!("{why}"),
            Some(held_back) => tracing::warn!("{why} ({held_back} more such lines left out)"),
            None => tracing::debug!("{why}"),
        }
    }
}

/// Lets some lines through.
#[derive(Debug, Default)]
pub(crate) struct Sparing(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    since: Moment,
    lines: u32,
    held_back: u64,
}

impl Sparing {
    /// How many were held back before this one; `None` when this one is, too.
    pub(crate) fn admit(&self, now: Moment) -> Option<u64> {
        let mut told = self.0.lock();
        if now.since(told.since) >= WHILE {
            told.since = now;
            told.lines = 0;
        }
        if told.lines >= LINES {
            told.held_back += 1;
            return None;
        }
        told.lines += 1;
        Some(std::mem::take(&mut told.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_ten_lines_and_a_count() {
        let sparing = Sparing::default();
        let at = |seconds: u64| Moment::from_nanos(seconds * 1_000_000_000);
        let shown = (0..10_000).filter_map(|_| sparing.admit(at(100))).count();
        assert_eq!(shown, 10);
        assert_eq!(sparing.admit(at(159)), None);
        assert_eq!(sparing.admit(at(160)), Some(9_991));
        assert_eq!(sparing.admit(at(160)), Some(0));
    }
}
