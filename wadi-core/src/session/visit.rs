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
use super::held::{Guard, Held, Phase};
use super::keyring::{IdText, PresentedId};
use super::known::Known;
use super::limits::{Expiry, nanos};
use super::nested;
use super::origin::Origin;
use super::sessions::{Look, Sessions};
use super::value::{Attribute, Storable};
use crate::clock::Moment;
use crate::tenure::Revision;

/// What the response says about the session's cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CookieChange {
    /// Nothing: the client's cookie is good for long enough.
    Keep,
    /// Set it to this text, for this long.
    Set {
        /// The id's text.
        text: IdText,
        /// For how long the client is to keep it: somewhat longer than the session lives idle, so
        /// that the cookie never goes first, and no longer than it lives at all.
        max_age: Duration,
        /// Whether this request created the session.
        created: bool,
    },
    /// Remove it.
    Clear,
}

/// How much longer than a session's idle time its cookie lives, beside the tenth of that time for
/// which a renewal may be put off: for slow answers, and for clocks that run differently.
const COOKIE_GRACE: Duration = Duration::from_secs(60);

/// A request's hold on its session.
pub struct Visit {
    sessions: Arc<Sessions>,
    origin: Origin,
    known: Known,
    state: Mutex<State>,
}

struct State {
    hold: Hold,
    /// Set before there is a session to set it on.
    expiry: Option<Expiry>,
    read_only: bool,
    /// Whether the session was created in this request.
    fresh: bool,
    /// Whether the request destroyed its session.
    flushed: bool,
}

enum Hold {
    /// There is no session; the first write creates one.
    Nothing,
    Holding(Guard),
    /// Between giving up the shared lock and getting it alone.
    Changing,
    /// The route wants no session.
    Bypassed,
    /// The response head has gone out, or the request was given up.
    Gone(Option<Arc<Held>>),
}

impl Sessions {
    /// Waits for a session that [`Sessions::look`] found busy. When it ended meanwhile, the request
    /// goes on without it, and is told so by its visit's origin.
    ///
    /// # Errors
    ///
    /// [`SessionError::Busy`] after the limit on lock waits; [`SessionError::Moved`] when it is
    /// leaving this node.
    ///
    /// # Cancellation
    ///
    /// Gives the place in the queue up.
    pub async fn wait(
        self: Arc<Self>,
        presented: &PresentedId,
        held: Arc<Held>,
    ) -> Result<Visit, SessionError> {
        let id = *presented.unverified();
        let shared = self.share(&held).await;
        match shared {
            Ok(guard) if held.id() == id => Ok(Visit::holding(self, guard, id)),
            Ok(_) | Err(SessionError::Ended) => match self.look(presented, self.now()) {
                Look::Here(guard) => Ok(Visit::holding(self, guard, id)),
                Look::Busy(_) => Err(SessionError::Busy),
                Look::NotHere(origin) => Ok(Visit::without(self, origin)),
            },
            Err(error) => Err(error),
        }
    }
}

impl Visit {
    /// The visit of a request whose session was found by `id`.
    #[must_use]
    pub fn holding(sessions: Arc<Sessions>, guard: Guard, id: SessionId) -> Self {
        let known = Known::presented(id);
        Self::new(sessions, Origin::Existing, Hold::Holding(guard), known)
    }

    /// The visit of a request for which a session was registered before it began, because this node
    /// may create none by itself. It comes to be with the first write.
    #[must_use]
    pub fn registered(sessions: Arc<Sessions>, guard: Guard, origin: Origin) -> Self {
        let known = Known::nothing();
        known.given(guard.session().id());
        let visit = Self::new(sessions, origin, Hold::Holding(guard), known);
        visit.state.lock().fresh = true;
        visit
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
            state: Mutex::new(State {
                hold,
                expiry: None,
                read_only: false,
                fresh: false,
                flushed: false,
            }),
        }
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

    fn held(&self) -> Result<Option<Arc<Held>>, SessionError> {
        nested::refuse()?;
        self.state.lock().held()
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
        let guard = self.sessions.create(self.sessions.now())?;
        let held = Arc::clone(guard.session());
        if let Some(expiry) = state.expiry {
            let now = self.sessions.now();
            held.set_first_expiry(expiry, self.sessions.limits(), now)?;
        }
        self.known.given(held.id());
        state.hold = Hold::Holding(guard);
        state.fresh = true;
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
    /// On one node it is done at its first poll.
    pub async fn flush(&self) -> Result<(), SessionError> {
        let held = self.held_to_write()?;
        let parting = match &held {
            // With no lock held: the values' own code runs, and may use this very session.
            Some(held) => self.sessions.destroy(held, &self.known)?,
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
                state.fresh = false;
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
    /// When the session cannot be written.
    ///
    /// # Cancellation
    ///
    /// On one node it is done at its first poll.
    pub async fn cycle_id(&self) -> Result<(), SessionError> {
        match self.held_to_write()? {
            Some(held) => {
                let parting = self.sessions.renew(&held, &self.known)?;
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
            match state.hold {
                Hold::Nothing | Hold::Holding(_) if !state.fresh => {
                    std::mem::replace(&mut state.hold, Hold::Bypassed)
                }
                _ => return,
            }
        };
        drop(hold);
    }

    /// Gives up the shared lock and takes the session alone, if that needs no waiting; `false`
    /// when it does, and then only [`Visit::alone`] makes the session usable again.
    #[must_use]
    pub fn try_alone(&self) -> bool {
        let Some(held) = self.give_up() else {
            return true;
        };
        let guard = held
            .try_alone()
            .filter(|_| held.admits(&self.known).is_ok());
        let is_alone = guard.is_some();
        self.state.lock().hold = guard.map_or(Hold::Gone(Some(held)), Hold::Holding);
        is_alone
    }

    /// Waits, at most [`super::Limits::lock_wait`], to have the session alone after
    /// [`Visit::try_alone`] said `false`.
    ///
    /// # Errors
    ///
    /// [`SessionError::Busy`] after that time; [`SessionError::Ended`] or [`SessionError::Moved`]
    /// when it is not served any more, or has another id. The request is then best answered with
    /// 503.
    ///
    /// # Cancellation
    ///
    /// Gives the place in the queue up; the visit holds nothing then.
    pub async fn alone(&self) -> Result<(), SessionError> {
        let held = match &self.state.lock().hold {
            Hold::Gone(Some(held)) => Arc::clone(held),
            _ => return Ok(()),
        };
        let guard = self.sessions.alone(&held).await?;
        held.admits(&self.known)?;
        self.state.lock().hold = Hold::Holding(guard);
        Ok(())
    }

    /// Lets go of a shared hold, to take the session alone; `None` where there is none to change.
    fn give_up(&self) -> Option<Arc<Held>> {
        let mut state = self.state.lock();
        match &state.hold {
            Hold::Holding(guard) if !guard.is_alone() => {}
            _ => return None,
        }
        match std::mem::replace(&mut state.hold, Hold::Changing) {
            Hold::Holding(guard) => Some(Arc::clone(guard.session())),
            _ => None,
        }
    }

    /// The response head is about to go out: ends the visit, and says what becomes of the cookie.
    ///
    /// # Errors
    ///
    /// [`SessionError::Lapsed`] when this node's lease has run out meanwhile, and
    /// [`SessionError::Moved`] when the session was taken from under the request: the response must
    /// not go out, since another node may own the session.
    pub fn commit(&self) -> Result<CookieChange, SessionError> {
        self.commit_where(|| true)
    }

    /// As [`Visit::commit`]; a cookie that only lives longer by it is sent where `may_prolong` says
    /// that this response is one to carry it, and else with the next one.
    ///
    /// # Errors
    ///
    /// As [`Visit::commit`].
    pub fn commit_where(
        &self,
        may_prolong: impl FnOnce() -> bool,
    ) -> Result<CookieChange, SessionError> {
        let mut state = self.state.lock();
        let kept = match &state.hold {
            Hold::Holding(guard) => Some(Arc::clone(guard.session())),
            Hold::Bypassed => return Ok(CookieChange::Keep),
            Hold::Nothing | Hold::Changing | Hold::Gone(_) => None,
        };
        let hold = std::mem::replace(&mut state.hold, Hold::Gone(kept));
        let (fresh, flushed) = (state.fresh, state.flushed);
        drop(state);
        if !self.sessions.may_act() {
            self.discard_fresh(fresh, &hold);
            return Err(SessionError::Lapsed);
        }
        let change = match &hold {
            Hold::Holding(guard) => self.leave(guard.session(), fresh, may_prolong)?,
            _ => CookieChange::Keep,
        };
        Ok(match change {
            CookieChange::Keep if flushed => CookieChange::Clear,
            change => change,
        })
    }

    /// Renews the session's time, and says whether its cookie is due.
    fn leave(
        &self,
        held: &Arc<Held>,
        fresh: bool,
        may_prolong: impl FnOnce() -> bool,
    ) -> Result<CookieChange, SessionError> {
        let now = self.sessions.now();
        let limits = self.sessions.limits();
        let mut body = held.body();
        if body.phase != Phase::Serving {
            return match body.phase {
                Phase::Serving | Phase::Ended => Ok(CookieChange::Keep),
                // It was taken from under this request, and what it wrote may not be what counts.
                Phase::Arriving | Phase::Sealed => Err(SessionError::Moved),
            };
        }
        if fresh && body.revision == Revision::ZERO {
            // Its first write failed, so it never came to be.
            drop(body);
            self.sessions.unmake(held);
            return Ok(CookieChange::Keep);
        }
        // Whoever knows it by an older id neither uses it nor learns the new one.
        let Some(came_back) = self.known.came_back(&body.id) else {
            return Ok(CookieChange::Keep);
        };
        body.used(now, came_back);
        held.set_deadline(&body, limits);
        let idle = body.lifetime.idle(limits, true);
        let age = now.as_nanos().saturating_sub(body.cookie_sent.as_nanos());
        let due = body.cookie_sent == Moment::ZERO
            || (age.saturating_mul(10) >= nanos(idle) && may_prolong());
        if !due {
            return Ok(CookieChange::Keep);
        }
        body.cookie_sent = now;
        let (id, left) = (body.id, body.lifetime.ends.since(now));
        drop(body);
        Ok(CookieChange::Set {
            text: self.sessions.text(&id),
            max_age: idle
                .saturating_add(idle / 10)
                .saturating_add(COOKIE_GRACE)
                .min(left),
            created: fresh,
        })
    }

    /// The request ends without a response head: what it wrote stands, and it counts as a request
    /// for the idle time. But a session that it created is nobody's, since nobody has its id.
    pub fn abandon(&self) {
        let mut state = self.state.lock();
        let fresh = state.fresh;
        let kept = match &state.hold {
            Hold::Holding(guard) if !fresh => Some(Arc::clone(guard.session())),
            Hold::Gone(Some(held)) if !fresh => Some(Arc::clone(held)),
            Hold::Bypassed => return,
            _ => None,
        };
        let hold = std::mem::replace(&mut state.hold, Hold::Gone(kept.clone()));
        drop(state);
        self.discard_fresh(fresh, &hold);
        if let Some(held) = kept {
            // Where it has ended, or is known by an older id, there is nothing to count.
            let (limits, now) = (self.sessions.limits(), self.sessions.now());
            held.touch(&self.known, limits, now).ok();
        }
    }

    fn discard_fresh(&self, fresh: bool, hold: &Hold) {
        if let (true, Hold::Holding(guard)) = (fresh, hold) {
            self.sessions.unmake(guard.session());
        }
    }

    /// The session that a detached handle means.
    pub(super) fn target(&self) -> Result<Arc<Held>, SessionError> {
        nested::refuse()?;
        let state = self.state.lock();
        match &state.hold {
            Hold::Holding(guard) => Ok(Arc::clone(guard.session())),
            Hold::Gone(Some(held)) => Ok(Arc::clone(held)),
            Hold::Bypassed => Err(SessionError::Bypassed),
            Hold::Changing => Err(SessionError::Busy),
            Hold::Nothing | Hold::Gone(None) => Err(SessionError::Absent),
        }
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
            Hold::Changing => Err(SessionError::Busy),
            Hold::Bypassed => Err(SessionError::Bypassed),
            Hold::Gone(_) => Err(SessionError::Detached),
        }
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
