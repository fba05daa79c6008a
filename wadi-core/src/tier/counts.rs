//! How many sessions have gone down and come up, for people.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counted since the node's start.
#[derive(Debug, Default)]
pub struct Counts {
    demoted: AtomicU64,
    promoted: AtomicU64,
    failed: AtomicU64,
}

impl Counts {
    /// Sessions that went into the store.
    #[must_use]
    pub fn demoted(&self) -> u64 {
        self.demoted.load(Relaxed)
    }

    /// Sessions that came out of it.
    #[must_use]
    pub fn promoted(&self) -> u64 {
        self.promoted.load(Relaxed)
    }

    /// Calls that the store did not do.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    pub(super) fn went_down(&self, many: usize) {
        self.demoted.fetch_add(many as u64, Relaxed);
    }

    pub(super) fn came_up(&self) {
        self.promoted.fetch_add(1, Relaxed);
    }

    pub(super) fn did_not(&self) {
        self.failed.fetch_add(1, Relaxed);
    }
}
