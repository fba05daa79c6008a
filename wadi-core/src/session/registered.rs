//! An id that a bucket's manager has registered as held here, until the session that it is for has it.
//!
//! An empty session stands in the map under it from the step in which its tenure is known, so that
//! whoever is asked finds something there. It makes way for the real one; where that never comes, it
//! never was.

use std::fmt;
use std::sync::Arc;

use super::SessionId;
use super::error::SessionError;
use super::held::{Body, Guard, Held, Phase};
use super::sessions::Sessions;
use crate::tenure::Tenure;

/// A registered id; see the module.
pub struct Registered {
    sessions: Arc<Sessions>,
    /// The empty session, which nobody else uses; `None` when it has made way.
    keeper: Option<Guard>,
}

impl Sessions {
    /// Keeps the place of a session that the bucket's manager has registered as held here.
    ///
    /// The caller is the node's driver, in the step in which it learns of the tenure.
    #[must_use]
    pub fn put_registered(self: &Arc<Self>, id: SessionId, tenure: Tenure) -> Registered {
        let body = Body::new(&self.limits, self.now());
        let held = Arc::new(Held::new(&id, body, tenure, &self.limits));
        let keeper = held.try_share().expect("nobody else knows it yet");
        self.map.insert(id, held);
        Registered::kept_by(keeper, self)
    }
}

impl Registered {
    /// The id of the empty session that [`Others::register`](super::Others::register) gave.
    pub(super) fn kept_by(keeper: Guard, sessions: &Arc<Sessions>) -> Self {
        Self {
            sessions: Arc::clone(sessions),
            keeper: Some(keeper),
        }
    }

    /// The empty session; it is the caller's now.
    #[must_use]
    pub fn take(mut self) -> Option<Guard> {
        self.keeper.take()
    }

    /// The tenure under which the id is held here.
    pub(super) fn tenure(&self) -> Tenure {
        let keeper = self.keeper.as_ref();
        keeper.map_or(Tenure::NONE, |keeper| keeper.session().tenure())
    }

    /// Gives its place in the map to `held`, whose body the caller has locked. Whoever waits for the
    /// empty session finds it ended, and looks again.
    pub(super) fn make_way(mut self, held: &Arc<Held>) -> Result<(), SessionError> {
        let keeper = self.keeper.as_ref().ok_or(SessionError::Moved)?.session();
        // Nobody who has this one waits for another.
        let mut body = keeper.body();
        let is_in_place = body.phase == Phase::Serving;
        if !is_in_place
            || !self
                .sessions
                .map
                .replace_exactly(&keeper.id_of(&body), keeper, held)
        {
            // It was taken from under the request, or this node has lost everything.
            return Err(SessionError::Moved);
        }
        body.phase = Phase::Ended;
        keeper.set_deadline(&body, &self.sessions.limits);
        drop(body);
        self.keeper = None;
        Ok(())
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            self.sessions.unmake(keeper.session());
        }
    }
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registered")
    }
}
