//! The directory's own invariants; checked in debug builds and by the simulator.

use super::{Directory, Managed, Phase, Whereabouts};
use crate::bucket::{BucketId, Layout};
use crate::member::Incarnation;

/// An invariant of a directory that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryFault {
    /// A bucket is managed here that the adopted layout gives to somebody else.
    #[error("bucket {0:?} is managed here against the layout")]
    NotOurs(BucketId),
    /// An entry of an open bucket says only what the node's own map says.
    #[error("bucket {0:?} has an entry for a session at home")]
    NeedlessEntry(BucketId),
    /// A bucket waits for its previous manager, who will not be asked; or the other way round.
    #[error("bucket {0:?} is not pulled as it should be")]
    NotPulled(BucketId),
    /// A tenure is above what the manager has allotted.
    #[error("bucket {0:?} has a tenure that was never allotted")]
    NeverAllotted(BucketId),
    /// An entry names a member that is no more.
    #[error("bucket {0:?} relies on a dead member")]
    ReliesOnDead(BucketId),
}

impl Directory {
    pub(in crate::protocol) fn check(
        &self,
        me: Incarnation,
        layout: &Layout,
    ) -> Result<(), DirectoryFault> {
        let mut all = self.managed.keys();
        all.try_for_each(|bucket| self.check_bucket(*bucket, me, layout))
    }

    /// The same of one bucket, whatever the others are.
    pub(in crate::protocol) fn check_bucket(
        &self,
        bucket: BucketId,
        me: Incarnation,
        layout: &Layout,
    ) -> Result<(), DirectoryFault> {
        let Some(managed) = self.managed.get(&bucket) else {
            return Ok(());
        };
        managed.check(bucket, me, layout)?;
        if !self.pulls_what_it_waits_for(bucket, managed) {
            return Err(DirectoryFault::NotPulled(bucket));
        }
        Ok(())
    }

    /// Whether nothing is on its way and nobody is being asked.
    pub(in crate::protocol) fn is_settled(&self) -> bool {
        self.handed_over.is_empty()
            && self.endings.is_empty()
            && self.to_share.is_empty()
            && self.managed.values().all(|managed| {
                !Self::is_unsettled(managed)
                    && managed.entries.values().all(|entry| {
                        entry.older.is_empty() && !matches!(entry.place, Whereabouts::Moving { .. })
                    })
            })
    }
}

impl Managed {
    fn check(
        &self,
        bucket: BucketId,
        me: Incarnation,
        layout: &Layout,
    ) -> Result<(), DirectoryFault> {
        let placement = layout.placement(bucket);
        if placement.manager != me || placement.since != self.epoch {
            return Err(DirectoryFault::NotOurs(bucket));
        }
        for entry in self.entries.values() {
            let (tenure, parties) = match entry.place {
                Whereabouts::At { holder, tenure } => (tenure, [holder, holder]),
                Whereabouts::Moving {
                    from, to, tenure, ..
                } => (tenure, [from, to]),
                Whereabouts::Unsettled { .. } | Whereabouts::Missing { .. } => continue,
            };
            if tenure.epoch() > self.epoch
                || (tenure.epoch() == self.epoch && tenure.count() > self.allotted)
            {
                return Err(DirectoryFault::NeverAllotted(bucket));
            }
            let is_there = |who| layout.is_member(who) || who == Incarnation::STORE;
            if !parties.into_iter().all(is_there) {
                return Err(DirectoryFault::ReliesOnDead(bucket));
            }
            let at_home = matches!(entry.place, Whereabouts::At { holder, .. } if holder == me || holder == Incarnation::STORE);
            if at_home && entry.older.is_empty() && self.phase == Phase::Open {
                return Err(DirectoryFault::NeedlessEntry(bucket));
            }
        }
        Ok(())
    }
}
