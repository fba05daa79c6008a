//! The id by which a request knows its session: the one it presented, was given, or renewed to.
//!
//! A session answers only to who knows the id that it has now, and looks at that under its body's
//! lock. So a renewal shuts out every request that came with the old id, which may be somebody
//! whom the renewal is to shut out. Nothing else is locked under the lock in here.

use parking_lot::Mutex;

use super::SessionId;

/// The id by which one request, and what it detached, knows its session.
pub(super) struct Known(Mutex<State>);

#[derive(Clone, Copy)]
struct State {
    id: Option<SessionId>,
    /// Whether the client sent this id, which proves that it keeps cookies.
    presented: bool,
}

impl Known {
    /// As the client presented it.
    pub(super) const fn presented(id: SessionId) -> Self {
        let id = Some(id);
        Self(Mutex::new(State {
            id,
            presented: true,
        }))
    }

    /// Not at all yet.
    pub(super) const fn nothing() -> Self {
        Self(Mutex::new(State {
            id: None,
            presented: false,
        }))
    }

    pub(super) fn get(&self) -> Option<SessionId> {
        self.0.lock().id
    }

    /// By an id that the client has not seen yet.
    pub(super) fn given(&self, id: SessionId) {
        *self.0.lock() = State {
            id: Some(id),
            presented: false,
        };
    }

    /// Whether a session that is called `id` now is the one that is known.
    #[inline]
    pub(super) fn is(&self, id: &SessionId) -> bool {
        self.0.lock().id == Some(*id)
    }

    /// Whether the client presented `id`; `None` when the session is not known by it.
    pub(super) fn came_back(&self, id: &SessionId) -> Option<bool> {
        let state = *self.0.lock();
        (state.id == Some(*id)).then_some(state.presented)
    }
}
