//! What may be set of a Redis server, with its defaults.

use std::time::Duration;

/// How a Redis server is used. The defaults are right for most.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    pub(super) timeout: Duration,
}

impl RedisSettings {
    /// The defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            timeout: Duration::from_secs(5),
        }
    }

    /// How long a call may take, connecting included; after that it is unavailable. Default 5 s, at least 10 ms.
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

impl Default for RedisSettings {
    fn default() -> Self {
        Self::new()
    }
}
