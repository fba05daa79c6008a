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
/// *epoch*), its second counts within that epoch. So whatever a new manager allots is above
/// everything that any earlier manager allotted, also above what is still on its way and was
/// reported to nobody.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tenure {
    epoch: LayoutVersion,
    count: u32,
}

impl Tenure {
    /// Below every tenure that was ever allotted.
    pub const NONE: Self = Self {
        epoch: LayoutVersion::ZERO,
        count: 0,
    };

    /// The tenure of a session that a bucket's manager creates in that bucket's `epoch`.
    #[must_use]
    pub const fn first(epoch: LayoutVersion) -> Self {
        Self { epoch, count: 0 }
    }

    /// The tenure that a manager of `epoch` allots above `self`; `None` when there is none, because
    /// `self` is of a later epoch (the asker is no longer the manager) or the count is used up
    /// (the session then stays where it is until its bucket changes manager).
    #[must_use]
    pub fn next(self, epoch: LayoutVersion) -> Option<Self> {
        match self.epoch.cmp(&epoch) {
            std::cmp::Ordering::Less => Some(Self::first(epoch)),
            std::cmp::Ordering::Equal => Some(Self {
                epoch,
                count: self.count.checked_add(1)?,
            }),
            std::cmp::Ordering::Greater => None,
        }
    }

    /// The epoch in which it was allotted.
    #[must_use]
    pub const fn epoch(self) -> LayoutVersion {
        self.epoch
    }

    /// Its count within the epoch.
    #[must_use]
    pub const fn count(self) -> u32 {
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
