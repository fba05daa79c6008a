//! Who waits until the arrival of a session is confirmed.
//!
//! A session that came from another node is in the map, and used, before its manager has confirmed that
//! it is here. Nothing that was seen or done there leaves this node before that. Every wait is bounded.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::SessionId;
use super::error::SessionError;
use super::held::{Held, Phase};

/// The sessions that arrived and are not confirmed.
#[derive(Default)]
pub(super) struct Arrivals(Mutex<HashMap<SessionId, Arc<Notify>>>);

impl Arrivals {
    /// It is about to be in the map, unconfirmed.
    pub(super) fn expect(&self, id: SessionId) {
        self.0.lock().entry(id).or_default();
    }

    /// Another copy, which is not confirmed either, has taken its place: who waits for this one looks
    /// again.
    pub(super) fn superseded(&self, id: &SessionId) {
        if let Some(waiting) = self.0.lock().get(id) {
            waiting.notify_waiters();
        }
    }

    /// It was confirmed, or is not here any more: everybody looks again.
    pub(super) fn settled(&self, id: &SessionId) {
        let waiting = self.0.lock().remove(id);
        if let Some(waiting) = waiting {
            waiting.notify_waiters();
        }
    }

    /// Waits, at most `wait`, until `held` is not unconfirmed any more: it is confirmed, or another copy
    /// is current.
    pub(super) async fn confirmed(&self, held: &Held, wait: Duration) -> Result<(), SessionError> {
        if !held.is_unconfirmed() {
            return Ok(());
        }
        let id = held.id();
        let waiting = self.0.lock().get(&id).cloned();
        if let Some(waiting) = waiting {
            // From here on no settling is missed, so the look comes after it.
            let settled = waiting.notified();
            if held.is_unconfirmed() {
                let waited = tokio::time::timeout(wait, settled).await;
                waited.map_err(|_| SessionError::Unconfirmed)?;
            }
        }
        // Who settles an arrival has changed the session before.
        if held.body().phase == Phase::Arriving {
            return Err(SessionError::Unconfirmed);
        }
        Ok(())
    }
}

impl fmt::Debug for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Arrivals({})", self.0.lock().len())
    }
}

#[cfg(test)]
#[path = "arrivals_tests.rs"]
mod tests;
