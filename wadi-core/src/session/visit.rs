//! One request's hold on its session, from locating it until the response head.
//!
//! It owns the session lock's guard meanwhile. Whoever keeps it longer finds it detached.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::SessionId;
use super::attributes::Prepared;
use super::error::SessionError;
use super::held::{Guard, Held};
use super::known::Known;
use super::limits::Expiry;
use super::nested;
use super::origin::Origin;
use super::sessions::Sessions;
use super::value::{Attribute, Storable};
use crate::clock::Moment;

/// A request's hold on its session.
pub struct Visit {
    sessions: Arc<Sessions>,
    origin: Origin,
    known: Known,
    /// How much of the time that a request may wait for its session is used up.
    waited: Duration,
    pub(super) state: Mutex<State>,
}

pub(super) struct State {
    pub(super) hold: Hold,
    /// Set before there is a session to set it on.
    expiry: Option<Expiry>,
    read_only: bool,
    /// Whether the session was created in this request.
    pub(super) fresh: bool,
    /// Whether that session is nowhere to be found yet, because no bucket was open for it.
    pub(super) unregistered: bool,
    /// Whether the request destroyed its session.
    pub(super) flushed: bool,
    /// When the session was last brought back for a handle.
    recalled: Option<Moment>,
}

pub(super) enum Hold {
    /// There is no session; the first write creates one.
    Nothing,
    Holding(Guard),
    /// Between giving up the shared lock and getting it alone.
    Changing(Arc<Held>),
    /// The route wants no session. One that it let go of while it was unconfirmed may have been used
    /// before that, and is waited for.
    Bypassed(Option<Arc<Held>>),
    /// The response head has gone out, or the request was given up.
    Gone(Option<Arc<Held>>),
}

impl Visit {
    /// The visit of a request whose session was found by `id`.
    #[must_use]
    pub fn holding(sessions: Arc<Sessions>, guard: Guard, id: SessionId) -> Self {
        let known = Known::presented(id);
        Self::new(sessions, Origin::Existing, Hold::Holding(guard), known)
    }

    /// The visit of a request that has no session yet.
    #[must_use]
    pub fn without(sessions: Arc<Sessions>, origin: Origin) -> Self {
        Self::new(sessions, origin, Hold::Nothing, Known::nothing())
    }

    fn new(sessions: Arc<Sessions>, origin: Origin, hold: Hold, known: Known) -> Self {
        Self {
            sessions,
            origin,
            known,
            waited: Duration::ZERO,
            state: Mutex::new(State {
                hold,
                expiry: None,
                read_only: false,
                fresh: false,
                unregistered: false,
                flushed: false,
                recalled: None,
            }),
        }
    }

    pub(super) const fn after(mut self, waited: Duration) -> Self {
        self.waited = waited;
        self
    }

    pub(super) const fn waited(&self) -> Duration {
        self.waited
    }

    /// What the session was before the request.
    #[must_use]
    pub const fn origin(&self) -> Origin {
        self.origin
    }

    pub(super) const fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    pub(super) const fn known(&self) -> &Known {
        &self.known
    }

    /// The session's id: `None` while there is no session, and after the response head.
    #[must_use]
    pub fn id(&self) -> Option<SessionId> {
        nested::refuse().ok()?;
        let held = self.state.lock().held().ok().flatten();
        held.and_then(|_| self.known.get())
    }

    /// The session itself, while the visit holds it.
    #[must_use]
    pub fn session(&self) -> Option<Arc<Held>> {
        self.state.lock().held().ok().flatten()
    }

    fn held(&self) -> Result<Option<Arc<Held>>, SessionError> {
        nested::refuse()?;
        self.state.lock().held()
    }

    /// Lets go of a shared hold, to take the session alone; `None` where there is none to change.
    pub(super) fn give_up(&self) -> Option<Arc<Held>> {
        let mut state = self.state.lock();
        let held = match &state.hold {
            Hold::Holding(guard) if !guard.is_alone() => Arc::clone(guard.session()),
            _ => return None,
        };
        let given_up = std::mem::replace(&mut state.hold, Hold::Changing(Arc::clone(&held)));
        drop(state);
        drop(given_up);
        Some(held)
    }

    /// The session that was given up, to be had alone.
    pub(super) fn given_up(&self) -> Option<Arc<Held>> {
        match &self.state.lock().hold {
            Hold::Changing(held) => Some(Arc::clone(held)),
            _ => None,
        }
    }

    /// What was given up is this one now.
    pub(super) fn gave_up_instead(&self, gone: &Arc<Held>, now: Arc<Held>) {
        let mut state = self.state.lock();
        if let Hold::Changing(held) = &mut state.hold
            && Arc::ptr_eq(held, gone)
        {
            *held = now;
        }
    }

    /// Holds what was given up again, alone; `false` where the visit has ended meanwhile.
    pub(super) fn hold_again(&self, guard: Guard) -> bool {
        let mut state = self.state.lock();
        match &state.hold {
            Hold::Changing(held) if Arc::ptr_eq(held, guard.session()) => {
                state.hold = Hold::Holding(guard);
                true
            }
            _ => false,
        }
    }

    fn held_to_write(&self) -> Result<Option<Arc<Held>>, SessionError> {
        nested::refuse()?;
        let state = self.state.lock();
        state.writable()?;
        state.held()
    }

    fn held_or_created(&self) -> Result<Arc<Held>, SessionError> {
        nested::refuse()?;
        let mut state = self.state.lock();
        state.writable()?;
        if let Some(held) = state.held()? {
            return Ok(held);
        }
        let now = self.sessions.now();
        let (guard, unregistered) = match self.sessions.create(now)? {
            Some(guard) => (guard, false),
            None => (self.sessions.create_apart(now)?, true),
        };
        let held = Arc::clone(guard.session());
        if let Some(expiry) = state.expiry {
            held.set_first_expiry(expiry, self.sessions.limits(), now)?;
        }
        self.known.given(held.id());
        state.hold = Hold::Holding(guard);
        (state.fresh, state.unregistered) = (true, unregistered);
        Ok(held)
    }

    /// A copy of an attribute.
    ///
    /// # Errors
    ///
    /// [`SessionError::Undecodable`] when it is of another type; it is kept.
    pub fn get<T: Attribute>(&self, key: &str) -> Result<Option<T>, SessionError> {
        self.held()?
            .map_or(Ok(None), |held| held.get(&self.known, key))
    }

    /// Looks at an attribute without copying it.
    ///
    /// # Errors
    ///
    /// As [`Visit::get`].
    pub fn read<T: Attribute, R>(
        &self,
        key: &str,
        look: impl FnOnce(&T) -> R,
    ) -> Result<Option<R>, SessionError> {
        self.held()?
            .map_or(Ok(None), |held| held.read(&self.known, key, look))
    }

    /// Whether there is such an attribute.
    ///
    /// # Errors
    ///
    /// When the session cannot be used.
    pub fn contains(&self, key: &str) -> Result<bool, SessionError> {
        self.held()?
            .map_or(Ok(false), |held| held.contains(&self.known, key))
    }

    /// The keys, in order.
    ///
    /// # Errors
    ///
    /// When the session cannot be used.
    pub fn keys(&self) -> Result<Vec<String>, SessionError> {
        self.held()?
            .map_or(Ok(Vec::new()), |held| held.keys(&self.known))
    }

    /// How many attributes there are.
    ///
    /// # Errors
    ///
    /// When the session cannot be used.
    pub fn len(&self) -> Result<usize, SessionError> {
        self.held()?.map_or(Ok(0), |held| held.len(&self.known))
    }

    /// Whether there is no attribute.
    ///
    /// # Errors
    ///
    /// When the session cannot be used.
    pub fn is_empty(&self) -> Result<bool, SessionError> {
        Ok(self.len()? == 0)
    }

    /// Writes an attribute; creates the session if there is none.
    ///
    /// # Errors
    ///
    /// Any [`SessionError`] of a write; nothing has changed then.
    pub fn insert<T: Storable>(&self, key: &str, value: T) -> Result<(), SessionError> {
        let prepared = Prepared::new(key, value)?;
        let limits = self.sessions.limits();
        prepared.fits_alone(key, limits.max_session_bytes)?;
        self.held_or_created()?
            .insert(&self.known, key, prepared, limits)
    }

    /// Takes an attribute out.
    ///
    /// # Errors
    ///
    /// [`SessionError::Undecodable`] when it is of another type; it is kept.
    pub fn remove<T: Attribute>(&self, key: &str) -> Result<Option<T>, SessionError> {
        self.held_to_write()?
            .map_or(Ok(None), |held| held.remove(&self.known, key))
    }

    /// Takes an attribute out, whatever its type; says whether there was one.
    ///
    /// # Errors
    ///
    /// When the session cannot be written.
    pub fn discard(&self, key: &str) -> Result<bool, SessionError> {
        self.held_to_write()?
            .map_or(Ok(false), |held| held.discard(&self.known, key))
    }

    /// Takes all attributes out; the session stays.
    ///
    /// # Errors
    ///
    /// When the session cannot be written.
    pub fn clear(&self) -> Result<(), SessionError> {
        self.held_to_write()?
            .map_or(Ok(()), |held| held.clear(&self.known))
    }

    /// Changes an attribute in one step that no other request can come between; starts from the
    /// default where there is none.
    ///
    /// # Errors
    ///
    /// Any [`SessionError`] of a read or a write; nothing has changed then.
    pub fn update<T: Attribute + Default, R>(
        &self,
        key: &str,
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<R, SessionError> {
        self.held_or_created()?
            .update(&self.known, key, change, self.sessions.limits())
    }

    /// Sets when this session ends by itself; also before there is one.
    ///
    /// # Errors
    ///
    /// [`SessionError::NoTime`], or when the session cannot be written.
    pub fn set_expiry(&self, expiry: Expiry) -> Result<(), SessionError> {
        if matches!(expiry, Expiry::OnInactivity(time) | Expiry::After(time) if time.is_zero()) {
            return Err(SessionError::NoTime(expiry));
        }
        if let Some(held) = self.held_to_write()? {
            let (limits, now) = (self.sessions.limits(), self.sessions.now());
            return held.set_expiry(&self.known, expiry, limits, now);
        }
        self.state.lock().expiry = Some(expiry);
        Ok(())
    }

    /// Destroys the session. A request that still shares it can neither read nor write it. A write
    /// after this creates another session, with another id.
    ///
    /// # Errors
    ///
    /// When the session cannot be written.
    ///
    /// # Cancellation
    ///
    /// On one node it is done at its first poll. In a cluster, a session that has just come here and is
    /// not confirmed is waited for before.
    pub async fn flush(&self) -> Result<(), SessionError> {
        let held = self.held_to_write()?;
        let parting = match &held {
            Some(held) => {
                // Only what is held may end.
                self.sessions.confirmed(held).await?;
                // With no lock held: the values' own code runs, and may use this very session.
                self.sessions.destroy(held, &self.known)?
            }
            None => None,
        };
        drop(self.let_go_of(held.as_ref()));
        self.sessions.settled(parting).await
    }

    /// The request has destroyed `held`: from now on it has no session.
    fn let_go_of(&self, held: Option<&Arc<Held>>) -> Option<Hold> {
        let mut state = self.state.lock();
        state.flushed = true;
        match (&state.hold, held) {
            (Hold::Holding(guard), Some(held)) if Arc::ptr_eq(guard.session(), held) => {
                (state.fresh, state.unregistered) = (false, false);
                Some(std::mem::replace(&mut state.hold, Hold::Nothing))
            }
            _ => None,
        }
    }

    /// Gives the session a new id, and with it a new cookie. When this returns the old id is dead,
    /// also for requests in flight that came with it: they get [`SessionError::Ended`]. Does
    /// nothing where there is no session. Do this at every login, before anything of it is written.
    ///
    /// # Errors
    ///
    /// When the session cannot be written; [`SessionError::Unregistered`] when the new id would be one of
    /// another node's bucket, and nobody has registered it in time. It has its old id then.
    ///
    /// # Cancellation
    ///
    /// On one node it is done at its first poll.
    pub async fn cycle_id(&self) -> Result<(), SessionError> {
        match self.held_to_write()? {
            Some(held) => {
                let parting = self.sessions.renew(&held, &self.known).await?;
                // With its new id it is in the map, whatever it was before.
                self.state.lock().unregistered = false;
                self.sessions.settled(parting).await
            }
            None => Ok(()),
        }
    }

    /// From now on, writes are an error.
    pub fn make_read_only(&self) {
        self.state.lock().read_only = true;
    }

    /// Lets go of the session without a trace: neither its idle time nor its cookie is renewed.
    pub fn bypass(&self) {
        let hold = {
            let mut state = self.state.lock();
            let unconfirmed = state.unconfirmed().cloned();
            match state.hold {
                Hold::Nothing | Hold::Holding(_) if !state.fresh => {
                    std::mem::replace(&mut state.hold, Hold::Bypassed(unconfirmed))
                }
                _ => return,
            }
        };
        drop(hold);
    }

    /// The session that a detached handle means.
    pub(super) fn target(&self) -> Result<Arc<Held>, SessionError> {
        nested::refuse()?;
        let state = self.state.lock();
        match &state.hold {
            Hold::Holding(guard) => Ok(Arc::clone(guard.session())),
            Hold::Gone(Some(held)) => Ok(Arc::clone(held)),
            Hold::Bypassed(_) => Err(SessionError::Bypassed),
            Hold::Changing(_) => Err(SessionError::Busy),
            Hold::Nothing | Hold::Gone(None) => Err(SessionError::Absent),
        }
    }

    /// The session that a detached handle means has gone and come back: this is where it is now.
    pub(super) fn means(&self, gone: &Arc<Held>, now: &Arc<Held>) {
        let mut state = self.state.lock();
        if let Hold::Gone(Some(held)) = &mut state.hold
            && Arc::ptr_eq(held, gone)
        {
            *held = Arc::clone(now);
        }
    }

    pub(super) fn recalled_at(&self) -> Option<Moment> {
        self.state.lock().recalled
    }

    pub(super) fn recalled(&self, now: Moment) {
        self.state.lock().recalled = Some(now);
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.state.lock().read_only
    }
}

impl State {
    #[inline]
    fn held(&self) -> Result<Option<Arc<Held>>, SessionError> {
        match &self.hold {
            Hold::Holding(guard) => Ok(Some(Arc::clone(guard.session()))),
            Hold::Nothing => Ok(None),
            Hold::Changing(_) => Err(SessionError::Busy),
            Hold::Bypassed(_) => Err(SessionError::Bypassed),
            Hold::Gone(_) => Err(SessionError::Detached),
        }
    }

    /// The session that was used and of which no manager has said yet that it is here.
    #[inline]
    pub(super) fn unconfirmed(&self) -> Option<&Arc<Held>> {
        let held = match &self.hold {
            Hold::Holding(guard) => guard.session(),
            Hold::Changing(held) | Hold::Bypassed(Some(held)) => held,
            Hold::Nothing | Hold::Bypassed(None) | Hold::Gone(_) => return None,
        };
        held.is_unconfirmed().then_some(held)
    }

    const fn writable(&self) -> Result<(), SessionError> {
        if self.read_only {
            Err(SessionError::ReadOnly)
        } else {
            Ok(())
        }
    }
}

impl fmt::Debug for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visit")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}
