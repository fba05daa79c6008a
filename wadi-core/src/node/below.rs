//! What a node says of the store below all nodes, for whoever asks at any time; and what looks
//! after it. It names no session.

pub(super) mod performer;
pub(super) mod reach;
pub(super) mod rounds;
pub(super) mod sweep;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// How much has gone to the store below all nodes and come from there, since this node started.
#[derive(Debug, Default)]
pub struct Below {
    down: AtomicU64,
    up: AtomicU64,
    failed: AtomicU64,
    away: AtomicBool,
    under_way: AtomicUsize,
}

impl Below {
    /// Sessions that this node put into the store.
    #[must_use]
    pub fn down(&self) -> u64 {
        self.down.load(Relaxed)
    }

    /// Sessions that this node took out of the store, for itself or for others.
    #[must_use]
    pub fn up(&self) -> u64 {
        self.up.load(Relaxed)
    }

    /// Calls that the store did not do.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// Whether the store does not do what this node asks it.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.away.load(Relaxed)
    }

    /// How much it is being asked at this moment.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way.load(Relaxed)
    }

    pub(super) fn went_down(&self) {
        self.down.fetch_add(1, Relaxed);
    }

    pub(super) fn came_up(&self) {
        self.up.fetch_add(1, Relaxed);
    }

    pub(super) fn did_not(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    pub(super) fn set_away(&self, away: bool) {
        self.away.store(away, Relaxed);
    }

    pub(super) fn set_under_way(&self, many: usize) {
        self.under_way.store(many, Relaxed);
    }
}
