//! A session used beyond its request: by a stream, a socket or a task, for a moment at a time.
//!
//! Nothing here holds the session's lock between two operations, so a long-lived connection never
//! keeps a session from moving.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::SessionId;
use super::attributes::Prepared;
use super::error::SessionError;
use super::held::{Guard, Held};
use super::known::Known;
use super::limits::Limits;
use super::sessions::Look;
use super::value::{Attribute, Storable};
use super::visit::Visit;

/// How often a session that goes away again and again is brought back for one operation.
const LOOKS: usize = 4;

/// How long another node has a session at least before it is brought back for the same handle again.
const STAYS: Duration = Duration::from_millis(250);

/// A handle on a session that outlives its request.
///
/// It never creates a session: write in the handler first, while the client's cookie can still be
/// set. Each operation waits, at most `lock_wait`, for the session to be free.
#[derive(Clone)]
pub struct DetachedSession {
    visit: Arc<Visit>,
}

impl Visit {
    /// A handle that uses the session for a moment at a time, also after the response head.
    #[must_use]
    pub fn detach(self: &Arc<Self>) -> DetachedSession {
        DetachedSession::new(Arc::clone(self))
    }
}

impl DetachedSession {
    pub(super) const fn new(visit: Arc<Visit>) -> Self {
        Self { visit }
    }

    /// Shares the session for as long as the attachment lives, which should be a moment. This
    /// counts as a request for the session's idle time. A session that has gone to another node of a
    /// cluster comes back for it, unless this node is leaving; one that has just come is waited for until
    /// its manager has confirmed that.
    ///
    /// # Errors
    ///
    /// [`SessionError::Absent`] when there was no session, [`SessionError::Ended`] when there is
    /// none any more, [`SessionError::Busy`], [`SessionError::Moved`], [`SessionError::Unconfirmed`] or
    /// [`SessionError::Lapsed`] when it cannot be used now.
    ///
    /// # Cancellation
    ///
    /// Gives the place in the queue up; nothing has changed.
    pub async fn attach(&self) -> Result<Attachment, SessionError> {
        let sessions = self.visit.sessions();
        let mut held = self.visit.target()?;
        let id = self.visit.known().get().ok_or(SessionError::Absent)?;
        let mut looks = 0;
        let guard = loop {
            if !sessions.may_act() {
                return Err(SessionError::Lapsed);
            }
            let entered = match sessions.enter(&held, &id, sessions.now()) {
                Look::Here(guard) => Ok(guard),
                Look::Busy(held) => sessions.share(&held).await,
                Look::NotHere(_) => Err(SessionError::Ended),
            };
            match entered {
                // What is done here is for others to see, and no response head waits for it.
                Ok(guard) if guard.session().is_unconfirmed() => {
                    drop(guard);
                    sessions.confirmed(&held).await?;
                }
                Err(SessionError::Moved) if looks < LOOKS => {
                    looks += 1;
                    let moved = self.recalled(&id, &held).await?;
                    self.visit.means(&held, &moved);
                    held = moved;
                }
                entered => break entered?,
            }
        };
        // Somebody else's renewal shuts this handle out, like every other holder of the old id.
        held.attach(self.visit.known(), sessions.limits(), sessions.now())?;
        Ok(Attachment {
            visit: Arc::clone(&self.visit),
            guard,
        })
    }

    /// The session, which is not in `gone` any more.
    async fn recalled(&self, id: &SessionId, gone: &Arc<Held>) -> Result<Arc<Held>, SessionError> {
        let sessions = self.visit.sessions();
        let in_map = || {
            let held = sessions.map().get(id);
            held.filter(|held| !Arc::ptr_eq(held, gone))
        };
        if let Some(held) = in_map() {
            return Ok(held);
        }
        let others = sessions.others().ok_or(SessionError::Moved)?;
        // Handles on two nodes would else spend their time on having it moved.
        let again = self.visit.recalled_at().map(|at| at + STAYS);
        let wait = again.map_or(Duration::ZERO, |again| again.since(sessions.now()));
        if !wait.is_zero() {
            tokio::time::sleep(wait.min(sessions.limits().lock_wait)).await;
            if let Some(held) = in_map() {
                return Ok(held);
            }
        }
        others.recall(*id).await?;
        self.visit.recalled(sessions.now());
        in_map().ok_or(SessionError::Moved)
    }

    /// A copy of an attribute.
    ///
    /// # Errors
    ///
    /// As [`DetachedSession::attach`] and [`Attachment::get`].
    pub async fn get<T: Attribute>(&self, key: &str) -> Result<Option<T>, SessionError> {
        self.attach().await?.get(key)
    }

    /// Writes an attribute.
    ///
    /// # Errors
    ///
    /// As [`DetachedSession::attach`] and [`Attachment::insert`].
    pub async fn insert<T: Storable>(&self, key: &str, value: T) -> Result<(), SessionError> {
        self.attach().await?.insert(key, value)
    }

    /// Takes an attribute out.
    ///
    /// # Errors
    ///
    /// As [`DetachedSession::attach`] and [`Attachment::remove`].
    pub async fn remove<T: Attribute>(&self, key: &str) -> Result<Option<T>, SessionError> {
        self.attach().await?.remove(key)
    }

    /// Changes an attribute in one step.
    ///
    /// # Errors
    ///
    /// As [`DetachedSession::attach`] and [`Attachment::update`].
    pub async fn update<T: Attribute + Default, R>(
        &self,
        key: &str,
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<R, SessionError> {
        self.attach().await?.update(key, change)
    }
}

impl fmt::Debug for DetachedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DetachedSession")
    }
}

/// A share in a session, beyond its request. While it lives, the session cannot move.
pub struct Attachment {
    visit: Arc<Visit>,
    guard: Guard,
}

impl Attachment {
    /// Runs one operation between two looks at the lease. After a write, [`SessionError::Lapsed`]
    /// means that whether it stands is unknown.
    fn leased<R>(
        &self,
        operation: impl FnOnce(&Held, &Known) -> Result<R, SessionError>,
    ) -> Result<R, SessionError> {
        let sessions = self.visit.sessions();
        if !sessions.may_act() {
            return Err(SessionError::Lapsed);
        }
        let result = operation(self.guard.session(), self.visit.known())?;
        // A lease that it has by now may be that of another incarnation, which owns nothing of this.
        if sessions.may_act() && !self.guard.session().was_taken() {
            Ok(result)
        } else {
            Err(SessionError::Lapsed)
        }
    }

    fn limits(&self) -> &Limits {
        self.visit.sessions().limits()
    }

    fn write<R>(
        &self,
        operation: impl FnOnce(&Held, &Known) -> Result<R, SessionError>,
    ) -> Result<R, SessionError> {
        if self.visit.is_read_only() {
            return Err(SessionError::ReadOnly);
        }
        self.leased(operation)
    }

    /// A copy of an attribute.
    ///
    /// # Errors
    ///
    /// [`SessionError::Undecodable`] when it is of another type; it is kept.
    pub fn get<T: Attribute>(&self, key: &str) -> Result<Option<T>, SessionError> {
        self.leased(|held, known| held.get(known, key))
    }

    /// Looks at an attribute without copying it.
    ///
    /// # Errors
    ///
    /// As [`Attachment::get`].
    pub fn read<T: Attribute, R>(
        &self,
        key: &str,
        look: impl FnOnce(&T) -> R,
    ) -> Result<Option<R>, SessionError> {
        self.leased(|held, known| held.read(known, key, look))
    }

    /// Whether there is such an attribute.
    ///
    /// # Errors
    ///
    /// When the session cannot be used.
    pub fn contains(&self, key: &str) -> Result<bool, SessionError> {
        self.leased(|held, known| held.contains(known, key))
    }

    /// The keys, in order.
    ///
    /// # Errors
    ///
    /// When the session cannot be used.
    pub fn keys(&self) -> Result<Vec<String>, SessionError> {
        self.leased(Held::keys)
    }

    /// Writes an attribute.
    ///
    /// # Errors
    ///
    /// Any [`SessionError`] of a write.
    pub fn insert<T: Storable>(&self, key: &str, value: T) -> Result<(), SessionError> {
        let prepared = Prepared::new(key, value)?;
        self.write(|held, known| held.insert(known, key, prepared, self.limits()))
    }

    /// Takes an attribute out.
    ///
    /// # Errors
    ///
    /// [`SessionError::Undecodable`] when it is of another type; it is kept.
    pub fn remove<T: Attribute>(&self, key: &str) -> Result<Option<T>, SessionError> {
        self.write(|held, known| held.remove(known, key))
    }

    /// Takes an attribute out, whatever its type; says whether there was one.
    ///
    /// # Errors
    ///
    /// When the session cannot be written.
    pub fn discard(&self, key: &str) -> Result<bool, SessionError> {
        self.write(|held, known| held.discard(known, key))
    }

    /// Takes all attributes out; the session stays.
    ///
    /// # Errors
    ///
    /// When the session cannot be written.
    pub fn clear(&self) -> Result<(), SessionError> {
        self.write(Held::clear)
    }

    /// Changes an attribute in one step; starts from the default where there is none.
    ///
    /// # Errors
    ///
    /// Any [`SessionError`] of a read or a write.
    pub fn update<T: Attribute + Default, R>(
        &self,
        key: &str,
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<R, SessionError> {
        self.write(|held, known| held.update(known, key, change, self.limits()))
    }
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attachment")
    }
}
