//! How many sessions this node holds, for people.

use std::sync::atomic::Ordering::Relaxed;

use super::sessions::Sessions;

/// How many sessions there are, and in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Their attributes are typed values.
    pub live: usize,
    /// Their attributes are bytes.
    pub frozen: usize,
}

impl Sessions {
    /// The sessions, counted. Costs nothing, whatever their number: how many are frozen is what the
    /// last round of sweeping met, so it lags by as long as a round takes; the sum is as of now.
    #[must_use]
    pub fn census(&self) -> Census {
        let all = self.map.len();
        let frozen = self.frozen.load(Relaxed).min(all);
        Census {
            live: all - frozen,
            frozen,
        }
    }
}
