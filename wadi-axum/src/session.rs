//! A request's session, as handlers see it.

use std::fmt;
use std::sync::Arc;

use wadi_core::session::{
    Attribute, DetachedSession, Expiry, Origin, SessionError, SessionId, Storable, Visit,
};

/// The session of this request.
///
/// Requests of one client that overlap share it. Every operation is atomic, and what it wrote
/// stands when it returns, whatever becomes of the response. Values that are written are kept as
/// they are, measured by a walk that keeps no byte; they are encoded only when the session is frozen
/// or leaves this node.
///
/// It belongs to the request until the response head goes out. For streams, sockets and tasks,
/// [`detach`](Session::detach) it in the handler.
#[derive(Clone)]
pub struct Session {
    visit: Arc<Visit>,
}

impl Session {
    pub(crate) const fn new(visit: Arc<Visit>) -> Self {
        Self { visit }
    }

    pub(crate) const fn visit(&self) -> &Arc<Visit> {
        &self.visit
    }

    /// The session's id; `None` until the first write creates it, and after the response head.
    #[must_use]
    pub fn id(&self) -> Option<SessionId> {
        self.visit.id()
    }

    /// What this session was before the request.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.visit.origin()
    }

    /// A copy of an attribute; `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`SessionError::Undecodable`] when it is of another type, which harms nothing.
    pub fn get<T: Attribute>(&self, key: &str) -> Result<Option<T>, SessionError> {
        self.visit.get(key)
    }

    /// Looks at an attribute without copying it; `None` when there is none.
    ///
    /// # Errors
    ///
    /// As [`Session::get`].
    pub fn read<T: Attribute, R>(
        &self,
        key: &str,
        look: impl FnOnce(&T) -> R,
    ) -> Result<Option<R>, SessionError> {
        self.visit.read(key, look)
    }

    /// Writes an attribute. The first write creates the session.
    ///
    /// # Errors
    ///
    /// [`SessionError::TooLarge`] over the session's budget, [`SessionError::Unencodable`],
    /// [`SessionError::TooManySessions`], [`SessionError::Ended`] when another request destroyed
    /// the session meanwhile, [`SessionError::Detached`] after the response head,
    /// [`SessionError::ReadOnly`]. Nothing has changed then.
    pub fn insert<T: Storable>(&self, key: &str, value: T) -> Result<(), SessionError> {
        self.visit.insert(key, value)
    }

    /// Takes an attribute out and returns it; `None` when there was none.
    ///
    /// # Errors
    ///
    /// [`SessionError::Undecodable`] when it is of another type; it stays. See
    /// [`Session::discard`].
    pub fn remove<T: Attribute>(&self, key: &str) -> Result<Option<T>, SessionError> {
        self.visit.remove(key)
    }

    /// Takes an attribute out, whatever its type; says whether there was one.
    ///
    /// # Errors
    ///
    /// When the session cannot be written.
    pub fn discard(&self, key: &str) -> Result<bool, SessionError> {
        self.visit.discard(key)
    }

    /// Changes an attribute in one step: no other request comes between reading and writing.
    /// Starts from the default where there is none. A panic in `change` changes nothing.
    ///
    /// `change` runs under the session's lock: it must be short, and must not use a session
    /// ([`SessionError::Nested`]).
    ///
    /// # Errors
    ///
    /// As [`Session::get`] and [`Session::insert`].
    pub fn update<T: Attribute + Default, R>(
        &self,
        key: &str,
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<R, SessionError> {
        self.visit.update(key, change)
    }

    /// Whether there is such an attribute; `false` also where the session cannot be used.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.visit.contains(key).unwrap_or(false)
    }

    /// The keys, in order; none where the session cannot be used.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.visit.keys().unwrap_or_default()
    }

    /// How many attributes there are; none where the session cannot be used.
    #[must_use]
    pub fn len(&self) -> usize {
        self.visit.len().unwrap_or(0)
    }

    /// Whether there is no attribute; `true` also where the session cannot be used.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes all attributes out. The session stays, with its id; see [`Session::flush`].
    ///
    /// # Errors
    ///
    /// When the session cannot be written.
    pub fn clear(&self) -> Result<(), SessionError> {
        self.visit.clear()
    }

    /// Destroys the session and removes its cookie: a logout. Other requests that share it at this
    /// moment can neither read nor write it any more ([`SessionError::Ended`]). A later write in
    /// this request creates a new session, with a new id.
    ///
    /// # Errors
    ///
    /// When the session cannot be written.
    ///
    /// # Cancellation
    ///
    /// Whether it was destroyed is then unknown.
    pub async fn flush(&self) -> Result<(), SessionError> {
        self.visit.flush().await
    }

    /// Gives the session a new id; the old one is dead at once, also for other requests in flight
    /// that came with it ([`SessionError::Ended`]). Do this at every login, before the user is
    /// written, so that an id that was known before the login is worth nothing after it.
    ///
    /// Does nothing where there is no session yet: the first write gives it an id of its own.
    ///
    /// # Errors
    ///
    /// When the session cannot be written; [`SessionError::Unregistered`] when this node has to ask another
    /// one for the id, and nobody answers in time. The session has its old id then.
    ///
    /// # Cancellation
    ///
    /// Which of the two ids is good is then unknown.
    pub async fn cycle_id(&self) -> Result<(), SessionError> {
        self.visit.cycle_id().await
    }

    /// Sets when this session ends by itself; its cookie follows.
    ///
    /// # Errors
    ///
    /// [`SessionError::NoTime`] for no time at all, or when the session cannot be written.
    pub fn set_expiry(&self, expiry: Expiry) -> Result<(), SessionError> {
        self.visit.set_expiry(expiry)
    }

    /// A handle that uses the session for a moment at a time, also after the response head: for
    /// streams, sockets and tasks. On an [`exclusive`](crate::mode::exclusive) route it has to wait
    /// until the head has gone out, so the handler itself must not wait for it.
    #[must_use]
    pub fn detach(&self) -> DetachedSession {
        self.visit.detach()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("origin", &self.origin())
            .finish_non_exhaustive()
    }
}
