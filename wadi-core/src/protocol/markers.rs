//! Markers: proof that a session has ended. A marker beats any copy, offer or row.

use std::time::Duration;

use super::by_bucket::ByBucket;
use crate::bucket::BucketId;
use crate::clock::Moment;
use crate::session::SessionId;
use crate::tenure::Tenure;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Marker {
    tenure: Tenure,
    until: Moment,
}

/// Every marker that this node keeps, as destroyer, manager, deputy or former holder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Markers(ByBucket<Marker>);

impl Markers {
    /// Keeps a marker for `keep_for` from now on; of two markers the higher tenure and the later end
    /// stand.
    pub(super) fn set(
        &mut self,
        bucket: BucketId,
        id: SessionId,
        tenure: Tenure,
        now: Moment,
        keep_for: Duration,
    ) {
        let mut marker = Marker {
            tenure,
            until: now + keep_for,
        };
        if let Some(known) = self.0.get(bucket, &id) {
            marker.tenure = marker.tenure.max(known.tenure);
            marker.until = marker.until.max(known.until);
        }
        self.0.insert(bucket, id, marker);
    }

    /// For how long from `now` the marker of `id` is still kept; none where there is none.
    pub(super) fn keep_for(&self, bucket: BucketId, id: &SessionId, now: Moment) -> Duration {
        self.0
            .get(bucket, id)
            .map_or(Duration::ZERO, |marker| marker.until.since(now))
    }

    pub(super) fn get(&self, bucket: BucketId, id: &SessionId) -> Option<Tenure> {
        self.0.get(bucket, id).map(|marker| marker.tenure)
    }

    pub(super) fn bucket(&self, bucket: BucketId) -> impl Iterator<Item = (SessionId, Tenure)> {
        self.0
            .bucket(bucket)
            .map(|(id, marker)| (*id, marker.tenure))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SessionId, Tenure)> {
        self.0.iter().map(|(_, id, marker)| (*id, marker.tenure))
    }

    pub(super) fn forget(&mut self, now: Moment) {
        self.0.retain(|_, marker| marker.until > now);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
