//! What is remembered of a member that is none any more.
//!
//! Whether a number was ever given and is no member's any more follows from the register itself;
//! a tombstone only adds how it ended, and is kept for a bounded number of the latest.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::bucket::LayoutVersion;
use crate::member::{Incarnation, Member};

/// Why a process is known to have ended, whatever its lease says. Never a timeout, never a
/// refusal by a name or virtual address: a proxy can refuse for a living process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Proof {
    /// A new incarnation holds the lock of the same data directory.
    DataDirectory,
    /// A new incarnation has bound the same address of its own host.
    BoundAddress,
    /// The kernel refused a connection to an address of the asker's own host.
    RefusedHere,
    /// Where configured: an authenticated connection to that very incarnation was closed, and
    /// reconnecting to the same literal address was refused.
    ClosedAndRefused,
    /// An operator said so.
    Operator,
}

impl Proof {
    /// Whether this member can have this proof of that one's death. A name is never an address, and what
    /// is proven by this host's kernel is proven of who listens in the same place only.
    #[must_use]
    pub fn fits(
        self,
        (by, prover): (Incarnation, &Member),
        (dead, member): (Incarnation, &Member),
    ) -> bool {
        let is_literal = member.address.parse::<SocketAddr>().is_ok();
        let is_here = member.place.is_some() && member.place == prover.place;
        match self {
            Self::Operator => true,
            // Whoever has taken the place of another is a later one.
            Self::DataDirectory => by > dead,
            Self::BoundAddress => {
                by > dead && is_literal && is_here && member.address == prover.address
            }
            Self::RefusedHere => by != dead && is_literal && is_here,
            Self::ClosedAndRefused => by != dead && is_literal,
        }
    }
}

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
