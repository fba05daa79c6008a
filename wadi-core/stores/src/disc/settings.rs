//! What may be set of a store on disc, with its defaults.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use wadi_core::clock::{BootClock, Clock};

/// How a store uses its disc. The defaults are right for most.
#[derive(Clone)]
pub struct DiscSettings {
    pub(super) clock: Arc<dyn Clock>,
    /// Which boot of this machine the clock's moments are of; none where that cannot be known.
    pub(super) boot: Option<String>,
    pub(super) cache_bytes: u64,
    pub(super) keep_free_bytes: u64,
    pub(super) waiting: usize,
    pub(super) sync_every: Duration,
}

impl DiscSettings {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            clock: Arc::new(BootClock),
            boot: super::time::this_boot(),
            cache_bytes: 64 << 20,
            keep_free_bytes: 256 << 20,
            waiting: 1024,
            sync_every: Duration::from_secs(1),
        }
    }

    /// How much memory the engine may use to remember what it read. Default 64 MiB; at least 1 MiB. What is
    /// written and not yet sorted takes up to about as much again.
    #[must_use]
    pub const fn cache_bytes(mut self, bytes: u64) -> Self {
        self.cache_bytes = if bytes < 1 << 20 { 1 << 20 } else { bytes };
        self
    }

    /// How much room is left on the disc for the engine itself, and for taking sessions out: with less, nothing
    /// more is put. Default 256 MiB.
    #[must_use]
    pub const fn keep_free_bytes(mut self, bytes: u64) -> Self {
        self.keep_free_bytes = bytes;
        self
    }

    /// How many calls may wait at once; a further one waits until it may. Default 1024, at least 1.
    #[must_use]
    pub const fn waiting(mut self, calls: usize) -> Self {
        self.waiting = if calls == 0 { 1 } else { calls };
        self
    }

    /// How long after it was written something may be lost in a power cut, or when the whole system stops.
    /// Default one second. When only the process is killed, nothing is.
    #[must_use]
    pub const fn sync_every(mut self, interval: Duration) -> Self {
        self.sync_every = interval;
        self
    }

    /// Another clock, for tests.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}

impl Default for DiscSettings {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for DiscSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiscSettings")
            .field("cache_bytes", &self.cache_bytes)
            .field("keep_free_bytes", &self.keep_free_bytes)
            .field("waiting", &self.waiting)
            .field("sync_every", &self.sync_every)
            .finish_non_exhaustive()
    }
}
