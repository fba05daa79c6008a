//! What is remembered of a member that is none any more.
//!
//! Whether a number was ever given and is no member's any more follows from the register itself;
//! a tombstone only adds how it ended, and is kept for a bounded number of the latest.

use serde::{Deserialize, Serialize};

use crate::bucket::LayoutVersion;
use crate::member::{Incarnation, Member};
use crate::proof::Proof;

/// How a member ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Death {
    /// Its lease ran out by the authority's own record: it may still run, and owns nothing.
    LeaseRanOut,
    /// It is proven not to run.
    Proven(Proof),
    /// It left in good order, after it had handed over everything, or with nothing where nobody was
    /// left to take anything.
    Left,
    /// It left without having handed over everything.
    LeftInHaste,
}

impl Death {
    /// Whether the process is known not to act any more. After another death, ids that nobody
    /// holds are not yet known to be lost.
    #[must_use]
    pub const fn is_certain(self) -> bool {
        !matches!(self, Self::LeaseRanOut)
    }
}

/// A former member.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tombstone {
    /// As it was when it ended.
    pub member: Member,
    /// How it ended.
    pub death: Death,
    /// Who had the proof, where a member had one.
    pub proven_by: Option<Incarnation>,
    /// The first layout version without it.
    pub version: LayoutVersion,
}
