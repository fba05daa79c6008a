//! What may be set of a shared database, with its defaults.

use std::time::Duration;

/// How a shared database is used. The defaults are right for most.
#[derive(Clone, Debug)]
pub struct SqlSettings {
    pub(super) connections: u32,
    pub(super) timeout: Duration,
}

impl SqlSettings {
    /// The defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            connections: 8,
            timeout: Duration::from_secs(5),
        }
    }

    /// How many connections this node has at most; a call waits for one. Default 8, at least 1. All nodes together
    /// need no more than the database allows.
    #[must_use]
    pub const fn connections(mut self, most: u32) -> Self {
        self.connections = if most == 0 { 1 } else { most };
        self
    }

    /// Within how long a database is opened: another node may be making its tables.
    pub(super) fn to_open(&self) -> Duration {
        self.timeout * 4
    }

    /// How long a call may take, a connection included; after that it is unavailable. Default 5 s, at least 10 ms.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        let least = Duration::from_millis(10);
        self.timeout = if timeout.as_nanos() < least.as_nanos() {
            least
        } else {
            timeout
        };
        self
    }
}

impl Default for SqlSettings {
    fn default() -> Self {
        Self::new()
    }
}
