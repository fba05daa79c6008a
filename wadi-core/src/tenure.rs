//! The two numbers that order the copies of one session: who may own it, and how new it is.
//!
//! Neither is ever decided by a clock.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::bucket::LayoutVersion;

/// A session's fencing token: it grows with each change of holder, and only the manager of the
/// session's bucket allots it.
///
/// Its first part is the layout version at which that manager took the bucket over (the bucket's
/// *epoch*), its second counts what that manager allotted in the whole bucket since then. So
/// whatever a new manager allots is above everything that any earlier manager allotted, also above
/// what is still on its way and was reported to nobody; and a tenure once spent needs no memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tenure {
    epoch: LayoutVersion,
    count: u64,
}

impl Tenure {
    /// Below every tenure that was ever allotted.
    pub const NONE: Self = Self::new(LayoutVersion::ZERO, 0);

    /// The tenure number `count` of a bucket's `epoch`. Number 0 is that of every session which
    /// the bucket's manager creates; 1 and up are allotted, each once.
    #[must_use]
    pub const fn new(epoch: LayoutVersion, count: u64) -> Self {
        Self { epoch, count }
    }

    /// The epoch in which it was allotted.
    #[must_use]
    pub const fn epoch(self) -> LayoutVersion {
        self.epoch
    }

    /// Its number within the epoch.
    #[must_use]
    pub const fn count(self) -> u64 {
        self.count
    }
}

impl fmt::Debug for Tenure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{:?}.{}", self.epoch, self.count)
    }
}

/// How many commits a session has seen; it grows by one with each.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Revision(u64);

impl Revision {
    /// Nothing was committed yet.
    pub const ZERO: Self = Self(0);

    /// The revision with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The revision after one more commit.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}
