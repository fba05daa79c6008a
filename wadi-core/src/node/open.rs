//! In which buckets this node may create sessions now, and under which epoch.
//!
//! The driver opens and closes; whoever creates a session asks, from any thread and without waiting.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::bucket::{BucketCount, BucketId, LayoutVersion};
use crate::session::Managed;

/// Bucket → its epoch while it is open here.
pub(super) struct OpenBuckets {
    epochs: Box<[AtomicU64]>,
    /// How many are open.
    open: AtomicUsize,
}

/// No layout has this version, so no bucket this epoch.
const CLOSED: u64 = LayoutVersion::ZERO.as_u64();

impl OpenBuckets {
    pub(super) fn new(buckets: BucketCount) -> Self {
        Self {
            epochs: buckets.iter().map(|_| AtomicU64::new(CLOSED)).collect(),
            open: AtomicUsize::new(0),
        }
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
        for epoch in &self.epochs {
            self.put(epoch, CLOSED);
        }
    }

    fn set(&self, bucket: BucketId, epoch: u64) {
        if let Some(known) = self.epochs.get(bucket.index()) {
            self.put(known, epoch);
        }
    }

    fn put(&self, known: &AtomicU64, epoch: u64) {
        let was = known.swap(epoch, Ordering::AcqRel);
        match (was == CLOSED, epoch == CLOSED) {
            (true, false) => self.open.fetch_add(1, Ordering::AcqRel),
            (false, true) => self.open.fetch_sub(1, Ordering::AcqRel),
            _ => return,
        };
    }
}

impl Managed for OpenBuckets {
    fn epoch(&self, bucket: BucketId) -> Option<LayoutVersion> {
        let epoch = self.epochs.get(bucket.index())?.load(Ordering::Acquire);
        (epoch != CLOSED).then(|| LayoutVersion::from_u64(epoch))
    }

    fn any(&self) -> bool {
        self.open.load(Ordering::Acquire) > 0
    }
}

impl fmt::Debug for OpenBuckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenBuckets({})", self.open.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_whether_one_is_open() {
        let open = OpenBuckets::new(BucketCount::new(4).unwrap());
        let epoch = LayoutVersion::founding(0).next();
        assert!(!open.any());
        open.open(BucketId::new(1), epoch);
        open.open(BucketId::new(1), epoch.next());
        open.open(BucketId::new(2), epoch);
        open.close(BucketId::new(1));
        open.close(BucketId::new(1));
        assert!(open.any());
        assert_eq!(open.epoch(BucketId::new(2)), Some(epoch));
        open.close_all();
        assert!(!open.any());
    }
}
