//! The store, as handles beyond their requests know it: who brings a session back that is not in the map.

use std::fmt;
use std::sync::{Arc, Weak};

use super::{Promoted, Tier};
use crate::session::{Others, Recalling, Registering, SessionError, SessionId};

/// Brings sessions up for handles that outlive their request.
pub struct Recall(Weak<Tier>);

impl Recall {
    /// By this tier, for as long as it is there.
    #[must_use]
    pub fn by(tier: &Arc<Tier>) -> Self {
        Self(Arc::downgrade(tier))
    }
}

impl Others for Recall {
    fn is_below(&self) -> bool {
        true
    }

    fn recall(&self, id: SessionId) -> Recalling<'_> {
        Box::pin(async move {
            let tier = self.0.upgrade().ok_or(SessionError::Moved)?;
            match tier.promote(id).await {
                Promoted::Look => Ok(()),
                Promoted::Absent | Promoted::Unreadable | Promoted::Damaged => {
                    Err(SessionError::Ended)
                }
                Promoted::Unavailable => Err(SessionError::Moved),
            }
        })
    }

    /// A node that is alone has every bucket open.
    fn register(&self, _: SessionId) -> Registering<'_> {
        Box::pin(std::future::ready(Err(SessionError::NoBucket)))
    }
}

impl fmt::Debug for Recall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recall")
    }
}
