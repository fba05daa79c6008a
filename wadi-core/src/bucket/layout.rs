//! The layout: which member manages which bucket, at a version.
//!
//! It is data, agreed by the authority and the same everywhere. It never says where a session is.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::member::{Incarnation, Member, Standing};

/// The number of buckets; part of a cluster's identity, so it never changes while the cluster lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct BucketCount(u16);

impl BucketCount {
    /// 4096: at least ten per node up to 400 nodes.
    pub const DEFAULT: Self = Self(4096);

    /// A count from 1 to 65,535; `None` for zero.
    #[must_use]
    pub const fn new(count: u16) -> Option<Self> {
        if count == 0 { None } else { Some(Self(count)) }
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Every bucket, in order.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = BucketId> + ExactSizeIterator {
        (0..self.0).map(BucketId)
    }
}

impl TryFrom<u16> for BucketCount {
    type Error = &'static str;

    fn try_from(count: u16) -> Result<Self, Self::Error> {
        Self::new(count).ok_or("the number of buckets is at least 1")
    }
}

impl From<BucketCount> for u16 {
    fn from(count: BucketCount) -> Self {
        count.0
    }
}

/// One of the fixed shards of the id space.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BucketId(u16);

impl BucketId {
    /// The bucket with this number.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Its number as an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Debug for BucketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b{}", self.0)
    }
}

/// The version of a layout: the authority's generation, then a number that grows with each change.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LayoutVersion(u64);

impl LayoutVersion {
    /// Below every layout that was ever agreed.
    pub const ZERO: Self = Self(0);

    const NUMBER_BITS: u32 = 40;

    /// The last generation that there can be.
    pub const LAST_GENERATION: u32 = 0xFF_FFFF;

    /// The version before the first change of a generation. One above
    /// [`LayoutVersion::LAST_GENERATION`] counts as that one, so that a later one is never below
    /// an earlier.
    #[must_use]
    pub const fn founding(generation: u32) -> Self {
        let generation = if generation > Self::LAST_GENERATION {
            Self::LAST_GENERATION
        } else {
            generation
        };
        Self((generation as u64) << Self::NUMBER_BITS)
    }

    /// The version after one more change in the same generation.
    ///
    /// A generation has room for 2^40 changes, over thirty thousand years at one a second.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The generation in the upper bits, the number in the lower: ordered as the version is.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The version that [`LayoutVersion::as_u64`] gave this number for.
    #[must_use]
    pub const fn from_u64(packed: u64) -> Self {
        Self(packed)
    }

    /// The generation of the authority that agreed it.
    #[must_use]
    pub const fn generation(self) -> u32 {
        (self.0 >> Self::NUMBER_BITS) as u32
    }

    /// Its number within the generation.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0 & ((1 << Self::NUMBER_BITS) - 1)
    }
}

impl fmt::Debug for LayoutVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.generation() == 0 {
            write!(f, "v{}", self.number())
        } else {
            write!(f, "v{}/{}", self.generation(), self.number())
        }
    }
}

/// Who answers for one bucket.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Placement {
    /// The member that answers for the bucket.
    pub manager: Incarnation,
    /// The members after it, which take over in this order. Never the manager, never twice the same.
    pub deputies: Vec<Incarnation>,
    /// The version at which `manager` took the bucket over: the bucket's *epoch*. A change of
    /// deputies alone leaves it.
    pub since: LayoutVersion,
    /// Who managed it before `since`; the new manager asks it for the directory. `None` at founding.
    pub previous: Option<Incarnation>,
}

/// Bucket → manager and deputies, and the members, at a version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Layout {
    /// Grows with every change.
    pub version: LayoutVersion,
    /// The version of the latest death that is not proven, or of the founding where it may have come
    /// after another cluster or generation: who it was may come back with what it held.
    /// [`LayoutVersion::ZERO`]: there was none.
    pub unproven: LayoutVersion,
    /// The members, in join order. Whoever is not among them is tombstoned or never joined.
    pub members: BTreeMap<Incarnation, Member>,
    /// One placement per bucket, by number. A manager may be missing from `members` between a
    /// death and the re-assignment that answers it.
    pub placements: Vec<Placement>,
}

impl Layout {
    /// How many buckets there are.
    #[must_use]
    pub fn buckets(&self) -> BucketCount {
        BucketCount::new(self.placements.len() as u16).expect("a layout has at least one bucket")
    }

    /// Who answers for `bucket`.
    ///
    /// # Panics
    ///
    /// When `bucket` is not below [`Layout::buckets`]; ids and frames are checked at the edge.
    #[must_use]
    pub fn placement(&self, bucket: BucketId) -> &Placement {
        &self.placements[bucket.index()]
    }

    /// Whether every member is leaving, so that nobody can be given a bucket.
    #[must_use]
    pub fn everybody_leaves(&self) -> bool {
        let mut members = self.members.values();
        members.all(|member| member.standing == Standing::Leaving)
    }

    /// Whether `incarnation` is a member at this version.
    #[must_use]
    pub fn is_member(&self, incarnation: Incarnation) -> bool {
        self.members.contains_key(&incarnation)
    }

    /// What is wrong with this layout, if anything; the invariants of the fields' own words.
    ///
    /// # Errors
    ///
    /// The first [`LayoutFault`] found.
    pub fn check(&self) -> Result<(), LayoutFault> {
        if self.placements.is_empty() || self.placements.len() > usize::from(u16::MAX) {
            return Err(LayoutFault::BucketCount);
        }
        if self.unproven > self.version {
            return Err(LayoutFault::NotYetDead);
        }
        for (number, placement) in self.placements.iter().enumerate() {
            let bucket = BucketId::new(number as u16);
            if placement.since > self.version {
                return Err(LayoutFault::FromTheFuture(bucket));
            }
            // A tenure of epoch zero would not be above `Tenure::NONE`.
            if placement.since == LayoutVersion::ZERO {
                return Err(LayoutFault::NoEpoch(bucket));
            }
            if placement.previous == Some(placement.manager) {
                return Err(LayoutFault::PreviousIsManager(bucket));
            }
            for (at, deputy) in placement.deputies.iter().enumerate() {
                if *deputy == placement.manager || placement.deputies[..at].contains(deputy) {
                    return Err(LayoutFault::TwiceInOneBucket(bucket));
                }
            }
        }
        Ok(())
    }

    /// What is wrong with this layout as the one agreed right after `before`, if anything.
    ///
    /// # Errors
    ///
    /// The first [`LayoutFault`] found.
    pub fn check_after(&self, before: &Self) -> Result<(), LayoutFault> {
        if self.version != before.version.next() {
            return Err(LayoutFault::NotTheNextVersion);
        }
        if self.placements.len() != before.placements.len() {
            return Err(LayoutFault::BucketCount);
        }
        if self.unproven < before.unproven {
            return Err(LayoutFault::Forgotten);
        }
        let youngest = before.members.keys().next_back();
        let is_new = |member: &Incarnation| !before.is_member(*member);
        if let Some(member) = self.members.keys().find(|member| {
            // Whoever comes back comes back as somebody new, after everybody.
            is_new(member) && Some(*member) < youngest
        }) {
            return Err(LayoutFault::CameBack(*member));
        }
        for (number, (new, old)) in self.placements.iter().zip(&before.placements).enumerate() {
            let expected = if new.manager == old.manager {
                (old.since, old.previous)
            } else {
                (self.version, Some(old.manager))
            };
            if (new.since, new.previous) != expected {
                return Err(LayoutFault::BrokenSuccession(BucketId::new(number as u16)));
            }
        }
        Ok(())
    }
}

/// An invariant of a [`Layout`] that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutFault {
    /// A bucket's epoch is above the layout's own version.
    #[error("bucket {0:?} has an epoch above the layout's version")]
    FromTheFuture(BucketId),
    /// A death is above the layout's own version.
    #[error("the latest unproven death is above the layout's version")]
    NotYetDead,
    /// A death that is not proven is not known any more.
    #[error("the latest unproven death is an earlier one than before")]
    Forgotten,
    /// One member stands twice in a bucket's list.
    #[error("bucket {0:?} names one member twice")]
    TwiceInOneBucket(BucketId),
    /// The number of buckets is zero, too high, or changed.
    #[error("the number of buckets is zero, above 65535, or changed")]
    BucketCount,
    /// A bucket has no epoch.
    #[error("bucket {0:?} has no epoch")]
    NoEpoch(BucketId),
    /// A bucket came from the member that manages it.
    #[error("bucket {0:?} names its manager as its previous manager")]
    PreviousIsManager(BucketId),
    /// A layout does not have the version after the one before it.
    #[error("a layout's version is not the one after that of the layout before")]
    NotTheNextVersion,
    /// A member is new that joined before somebody who was there already.
    #[error("incarnation {0:?} came back")]
    CameBack(Incarnation),
    /// A bucket's epoch or previous manager does not follow from the layout before.
    #[error(
        "bucket {0:?} has an epoch or a previous manager that does not follow from the layout before"
    )]
    BrokenSuccession(BucketId),
}
