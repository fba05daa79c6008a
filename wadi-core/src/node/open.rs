//! In which buckets this node may create sessions now, and under which epoch.
//!
//! The driver opens and closes; whoever creates a session asks, from any thread and without waiting.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::bucket::{BucketCount, BucketId, LayoutVersion};
use crate::session::Managed;

/// Bucket → its epoch while it is open here.
pub(super) struct OpenBuckets(Box<[AtomicU64]>);

/// No layout has this version, so no bucket this epoch.
const CLOSED: u64 = LayoutVersion::ZERO.as_u64();

impl OpenBuckets {
    pub(super) fn new(buckets: BucketCount) -> Self {
        Self(buckets.iter().map(|_| AtomicU64::new(CLOSED)).collect())
    }

    pub(super) fn open(&self, bucket: BucketId, epoch: LayoutVersion) {
        self.set(bucket, epoch.as_u64());
    }

    /// A session that is being created in it meanwhile is in the map before the next look at that
    /// bucket of the map, or never: creating asks again under the lock that the look takes.
    pub(super) fn close(&self, bucket: BucketId) {
        self.set(bucket, CLOSED);
    }

    pub(super) fn close_all(&self) {
        for epoch in &self.0 {
            epoch.store(CLOSED, Ordering::Release);
        }
    }

    fn set(&self, bucket: BucketId, epoch: u64) {
        if let Some(known) = self.0.get(bucket.index()) {
            known.store(epoch, Ordering::Release);
        }
    }
}

impl Managed for OpenBuckets {
    fn epoch(&self, bucket: BucketId) -> Option<LayoutVersion> {
        let epoch = self.0.get(bucket.index())?.load(Ordering::Acquire);
        (epoch != CLOSED).then(|| LayoutVersion::from_u64(epoch))
    }
}

impl fmt::Debug for OpenBuckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_open = |epoch: &&AtomicU64| epoch.load(Ordering::Relaxed) != CLOSED;
        write!(f, "OpenBuckets({})", self.0.iter().filter(is_open).count())
    }
}
