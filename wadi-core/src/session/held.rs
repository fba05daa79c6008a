//! One session that this node holds: its lock, its numbers and its attributes.
//!
//! Two locks, one above the other. The *session lock* is fair and may be waited for: requests share
//! it, and whatever seals, freezes or expires the session takes it alone. The *body lock* is held
//! for one operation and across no await; it makes each operation atomic.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Semaphore;

use super::SessionId;
use super::attributes::{Attributes, Displaced, Emptied, Found, Prepared, Refused};
use super::error::SessionError;
use super::known::Known;
use super::limits::{Expiry, Lifetime, Limits};
use super::named::Named;
use super::nested;
use super::value::{self, Attribute, Storable};
use crate::clock::Moment;
use crate::tenure::{Revision, Tenure};

/// All permits of the session lock: taking them all is taking it alone.
const ALONE: u32 = 1 << 20;

/// Set in a deadline while no manager has confirmed that the session is here. Once it is clear it stays
/// so: a look without a lock may find a confirmed session unconfirmed, and never the other way.
const UNCONFIRMED: u64 = 1;

/// A session in this node's memory.
pub struct Held {
    lock: Semaphore,
    /// Nanoseconds of the moment at which the session ends unless somebody asks for it; zero when
    /// nobody is served any more. The lowest bit, [`UNCONFIRMED`], stands for itself. Written only
    /// under the body lock.
    deadline: AtomicU64,
    body: Mutex<Body>,
    named: Named,
}

/// What the body lock guards.
pub(super) struct Body {
    pub(super) revision: Revision,
    pub(super) lifetime: Lifetime,
    /// When somebody last asked for it.
    pub(super) touched: Moment,
    /// When its cookie was last sent; zero before.
    pub(super) cookie_sent: Moment,
    /// When a handle beyond its request used it here last; zero for never.
    pub(super) attached: Moment,
    pub(super) attributes: Attributes,
    pub(super) phase: Phase,
    /// Whether its cookie ever came back.
    pub(super) returned: bool,
    /// Whether the last attempt to freeze it failed; a write clears it.
    pub(super) stays_live: bool,
}

/// The body of a session that somebody may use; meanwhile the values' own code on this thread may
/// not use a session. The lock goes before the mark.
pub(super) struct Serving<'a> {
    body: MutexGuard<'a, Body>,
    _mark: nested::Mark,
}

impl Deref for Serving<'_> {
    type Target = Body;

    #[inline]
    fn deref(&self) -> &Body {
        &self.body
    }
}

impl DerefMut for Serving<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Body {
        &mut self.body
    }
}

/// What is left of a session that ended, to be dropped when it is nowhere to be found: the values'
/// own code runs then.
pub(super) struct Remains {
    pub(super) id: SessionId,
    pub(super) tenure: Tenure,
    pub(super) revision: Revision,
    _attributes: Emptied,
}

/// Whether a session can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Serving,
    /// It came from another node, and no manager has confirmed that it is here: requests use it, and
    /// what they answer waits. It does not end before that.
    Arriving,
    /// Its present state is, or will be, another copy's.
    Sealed,
    Ended,
}

/// A hold on the session lock, given back when dropped.
pub struct Guard {
    held: Arc<Held>,
    permits: u32,
}

impl Guard {
    /// The session that it holds.
    #[must_use]
    pub const fn session(&self) -> &Arc<Held> {
        &self.held
    }

    /// Whether nobody else holds the session.
    #[must_use]
    pub const fn is_alone(&self) -> bool {
        self.permits == ALONE
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.held.lock.add_permits(self.permits as usize);
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_alone() {
            "Guard(alone)"
        } else {
            "Guard(shared)"
        })
    }
}

impl Held {
    pub(super) fn new(id: &SessionId, body: Body, tenure: Tenure, limits: &Limits) -> Self {
        let held = Self {
            lock: Semaphore::new(ALONE as usize),
            deadline: AtomicU64::new(0),
            named: Named::new(id, tenure),
            body: Mutex::new(body),
        };
        held.set_deadline(&held.body.lock(), limits);
        held
    }

    /// Shares the session, if nobody holds it alone or waits for it.
    #[inline]
    #[must_use]
    pub fn try_share(self: &Arc<Self>) -> Option<Guard> {
        self.try_take(1)
    }

    /// Takes the session alone, if nobody holds it.
    #[must_use]
    pub fn try_alone(self: &Arc<Self>) -> Option<Guard> {
        self.try_take(ALONE)
    }

    #[inline]
    fn try_take(self: &Arc<Self>, permits: u32) -> Option<Guard> {
        self.lock.try_acquire_many(permits).ok()?.forget();
        Some(Guard {
            held: Arc::clone(self),
            permits,
        })
    }

    /// Shares the session; waits in order, at most `wait`. Cancelling it gives the place up.
    pub async fn share(self: &Arc<Self>, wait: Duration) -> Option<Guard> {
        self.take(1, wait).await
    }

    /// Takes the session alone; waits in order, at most `wait`. Cancelling it gives the place up.
    pub async fn alone(self: &Arc<Self>, wait: Duration) -> Option<Guard> {
        self.take(ALONE, wait).await
    }

    async fn take(self: &Arc<Self>, permits: u32, wait: Duration) -> Option<Guard> {
        let acquired = tokio::time::timeout(wait, self.lock.acquire_many(permits)).await;
        acquired.ok()?.ok()?.forget();
        Some(Guard {
            held: Arc::clone(self),
            permits,
        })
    }

    /// Whether requests may use it: it is neither sealed nor ended.
    #[inline]
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.deadline.load(Relaxed) != 0
    }

    /// Whether it came from another node, and no manager has confirmed that it is here. Who uses it
    /// then waits for that before anybody hears of it.
    #[inline]
    #[must_use]
    pub fn is_unconfirmed(&self) -> bool {
        self.deadline.load(Relaxed) & UNCONFIRMED != 0
    }

    /// Whether it is held here: requests may use it, and answer.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        self.is_serving() && !self.is_unconfirmed()
    }

    /// How long until it ends unless somebody asks for it; zero for one that serves nobody.
    pub(crate) fn left(&self, now: Moment) -> Duration {
        Moment::from_nanos(self.deadline.load(Relaxed)).since(now)
    }

    /// Whether nobody shares it, holds it alone or waits for it at this moment.
    pub(super) fn is_free(&self) -> bool {
        self.lock.available_permits() == ALONE as usize
    }

    /// Whether its time ran out. Who finds it so ends it, alone.
    #[inline]
    pub(super) fn is_overdue(&self, now: Moment) -> bool {
        self.deadline.load(Relaxed) <= now.as_nanos()
    }

    #[inline]
    pub(super) fn body(&self) -> MutexGuard<'_, Body> {
        self.body.lock()
    }

    pub(super) fn try_body(&self) -> Option<MutexGuard<'_, Body>> {
        self.body.try_lock()
    }

    /// Its id, which renewing changes.
    #[must_use]
    pub fn id(&self) -> SessionId {
        let _renewed_or_not = self.body();
        self.named.id()
    }

    /// Its id, for whoever has the body's lock.
    #[inline]
    pub(super) fn id_of(&self, _body: &Body) -> SessionId {
        self.named.id()
    }

    /// Its id, if this is the second half of it. Where it is, no operation on the session is waited for.
    /// Where it is not, the one that gives it another id may be under way, which runs no code but ours, and
    /// is waited for: the session may be about to have it.
    #[inline]
    pub(super) fn id_by(&self, half: u64) -> Option<SessionId> {
        self.named.id_by(half).or_else(|| {
            let id = self.id();
            (id.half() == half).then_some(id)
        })
    }

    /// When somebody last asked for it.
    #[must_use]
    pub fn last_used(&self) -> Moment {
        self.body().touched
    }

    /// How many bytes its attributes count for.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.body().attributes.charged()
    }

    /// Its tenure and revision.
    #[must_use]
    pub fn version(&self) -> (Tenure, Revision) {
        let body = self.body();
        (self.tenure(), body.revision)
    }

    /// Its tenure, for whoever has the body's lock.
    pub(super) fn tenure(&self) -> Tenure {
        self.named.tenure()
    }

    /// Its tenure and revision, if this is its present id. It waits for no operation on the session;
    /// while one runs, the revision is the lowest that it can have.
    #[must_use]
    pub fn version_as(&self, id: &SessionId) -> Option<(Tenure, Revision)> {
        let body = match self.try_body() {
            Some(body) => body,
            None => {
                if let Some(tenure) = self.named.tenure_as(id) {
                    return Some((tenure, Revision::ZERO));
                }
                // Its id is being renewed, which runs no code but ours.
                self.body()
            }
        };
        (self.id_of(&body) == *id).then(|| (self.tenure(), body.revision))
    }

    /// Gives it another id.
    pub(super) fn rename(&self, _body: &mut Body, id: SessionId, tenure: Tenure) -> SessionId {
        let old = self.named.id();
        self.named.set(&id, tenure);
        old
    }

    /// Whether its present state is, or will be, another copy's.
    pub(super) fn was_taken(&self) -> bool {
        matches!(self.body().phase, Phase::Arriving | Phase::Sealed)
    }

    pub(super) fn set_deadline(&self, body: &Body, limits: &Limits) {
        let ends = || {
            let idle = body.touched + body.lifetime.idle(limits, body.returned);
            // Zero has a meaning of its own, and a nanosecond has none.
            idle.min(body.lifetime.ends).as_nanos().max(2) & !UNCONFIRMED
        };
        let deadline = match body.phase {
            Phase::Serving => ends(),
            Phase::Arriving => ends() | UNCONFIRMED,
            Phase::Sealed | Phase::Ended => 0,
        };
        self.deadline.store(deadline, Relaxed);
    }

    /// Ends it at once: whoever still shares it gets [`SessionError::Ended`]. `None` when it had
    /// ended before, or is not confirmed.
    pub(super) fn end(&self) -> Option<Remains> {
        self.end_body(self.body())
    }

    /// Ends it for somebody who knows it.
    pub(super) fn end_known(&self, known: &Known) -> Result<Option<Remains>, SessionError> {
        let body = self.body();
        if body.phase != Phase::Ended && !known.is(&self.id_of(&body)) {
            return Err(SessionError::Ended);
        }
        // Only what is held may end: another copy may count.
        match body.phase {
            Phase::Arriving => Err(SessionError::Unconfirmed),
            Phase::Sealed => Err(SessionError::Moved),
            Phase::Serving | Phase::Ended => Ok(self.end_body(body)),
        }
    }

    fn end_body(&self, mut body: MutexGuard<'_, Body>) -> Option<Remains> {
        if matches!(body.phase, Phase::Ended | Phase::Arriving) {
            return None;
        }
        body.phase = Phase::Ended;
        body.revision = body.revision.next();
        self.deadline.store(0, Relaxed);
        Some(Remains {
            id: self.id_of(&body),
            tenure: self.tenure(),
            revision: body.revision,
            _attributes: body.attributes.clear(),
        })
    }

    /// The body, for somebody who knows the session by the id that it has now.
    #[inline]
    pub(super) fn serving(&self, known: &Known) -> Result<Serving<'_>, SessionError> {
        let _mark = nested::enter()?;
        let body = self.body();
        match body.phase {
            Phase::Serving | Phase::Arriving if known.is(&self.id_of(&body)) => {
                Ok(Serving { body, _mark })
            }
            Phase::Serving | Phase::Arriving | Phase::Ended => Err(SessionError::Ended),
            Phase::Sealed => Err(SessionError::Moved),
        }
    }

    /// Whether somebody who knows the session so can use it.
    pub(super) fn admits(&self, known: &Known) -> Result<(), SessionError> {
        self.serving(known).map(drop)
    }

    /// Counts as a use of the session by somebody who knows it.
    pub(super) fn touch(
        &self,
        known: &Known,
        limits: &Limits,
        now: Moment,
    ) -> Result<(), SessionError> {
        let mut body = self.serving(known)?;
        let id = self.id_of(&body);
        body.used(now, known.came_back(&id) == Some(true));
        self.set_deadline(&body, limits);
        Ok(())
    }

    /// As [`Held::touch`], for a handle that outlives its request.
    pub(super) fn attach(
        &self,
        known: &Known,
        limits: &Limits,
        now: Moment,
    ) -> Result<(), SessionError> {
        self.touch(known, limits, now)?;
        self.body().attached = now;
        Ok(())
    }

    /// Whether a handle beyond its request, of a stream or a task, has used it here within that time.
    #[must_use]
    pub fn is_attached(&self, now: Moment, within: Duration) -> bool {
        let attached = self.body().attached;
        attached != Moment::ZERO && now.since(attached) < within
    }

    pub(super) fn get<T: Attribute>(
        &self,
        known: &Known,
        key: &str,
    ) -> Result<Option<T>, SessionError> {
        let found = self.serving(known)?.attributes.get::<T>(key)?;
        // The value's own `clone` runs outside the lock.
        Ok(found.map(|found| match found {
            Found::Shared(value) => value::as_type::<T>(&value).expect("found as a T").clone(),
            Found::Own(value) => value,
        }))
    }

    pub(super) fn read<T: Attribute, R>(
        &self,
        known: &Known,
        key: &str,
        look: impl FnOnce(&T) -> R,
    ) -> Result<Option<R>, SessionError> {
        let found = self.serving(known)?.attributes.get::<T>(key)?;
        Ok(found.map(|found| match found {
            Found::Shared(value) => look(value::as_type::<T>(&value).expect("found as a T")),
            Found::Own(value) => look(&value),
        }))
    }

    pub(super) fn contains(&self, known: &Known, key: &str) -> Result<bool, SessionError> {
        Ok(self.serving(known)?.attributes.contains(key))
    }

    pub(super) fn keys(&self, known: &Known) -> Result<Vec<String>, SessionError> {
        Ok(self.serving(known)?.attributes.keys())
    }

    pub(super) fn len(&self, known: &Known) -> Result<usize, SessionError> {
        Ok(self.serving(known)?.attributes.len())
    }

    pub(super) fn insert<T: Storable>(
        &self,
        known: &Known,
        key: &str,
        prepared: Prepared<T>,
        limits: &Limits,
    ) -> Result<(), SessionError> {
        let mut body = self.serving(known)?;
        let inserted = body.put(key, prepared, limits);
        drop(body);
        inserted.map(drop).map_err(|refused| refused.error)
    }

    pub(super) fn remove<T: Attribute>(
        &self,
        known: &Known,
        key: &str,
    ) -> Result<Option<T>, SessionError> {
        let mut body = self.serving(known)?;
        let Some(found) = body.attributes.get::<T>(key)? else {
            return Ok(None);
        };
        let displaced = body.attributes.discard(key);
        body.commit();
        drop(body);
        drop(displaced);
        Ok(Some(match found {
            Found::Shared(value) => value::as_type::<T>(&value).expect("found as a T").clone(),
            Found::Own(value) => value,
        }))
    }

    pub(super) fn discard(&self, known: &Known, key: &str) -> Result<bool, SessionError> {
        let mut body = self.serving(known)?;
        let Some(displaced) = body.attributes.discard(key) else {
            return Ok(false);
        };
        body.commit();
        drop(body);
        drop(displaced);
        Ok(true)
    }

    pub(super) fn clear(&self, known: &Known) -> Result<(), SessionError> {
        let mut body = self.serving(known)?;
        let emptied = body.attributes.clear();
        body.commit();
        drop(body);
        drop(emptied);
        Ok(())
    }

    pub(super) fn update<T: Attribute + Default, R>(
        &self,
        known: &Known,
        key: &str,
        change: impl FnOnce(&mut T) -> R,
        limits: &Limits,
    ) -> Result<R, SessionError> {
        let mut body = self.serving(known)?;
        let found = body.attributes.get::<T>(key)?;
        // A copy is changed, so that a panic in the closure leaves the value whole; the first is
        // let go at once, so that the new value can take its place.
        let mut value = match found {
            Some(Found::Shared(value)) => {
                value::as_type::<T>(&value).expect("found as a T").clone()
            }
            Some(Found::Own(value)) => value,
            None => T::default(),
        };
        let result = change(&mut value);
        let inserted = Prepared::new(key, value).map(|prepared| body.put(key, prepared, limits));
        drop(body);
        inserted?.map_err(|refused| refused.error)?;
        Ok(result)
    }

    pub(super) fn set_expiry(
        &self,
        known: &Known,
        expiry: Expiry,
        limits: &Limits,
        now: Moment,
    ) -> Result<(), SessionError> {
        let mut body = self.serving(known)?;
        body.lifetime = body
            .lifetime
            .changed(expiry, limits, now)
            .ok_or(SessionError::NoTime(expiry))?;
        body.touched = now;
        // The client's cookie has to follow.
        body.cookie_sent = Moment::ZERO;
        body.revision = body.revision.next();
        self.set_deadline(&body, limits);
        Ok(())
    }

    /// Sets the expiry of a session that is being created, which is no commit of its own.
    pub(super) fn set_first_expiry(
        &self,
        expiry: Expiry,
        limits: &Limits,
        now: Moment,
    ) -> Result<(), SessionError> {
        let mut body = self.body();
        body.lifetime = body
            .lifetime
            .changed(expiry, limits, now)
            .ok_or(SessionError::NoTime(expiry))?;
        self.set_deadline(&body, limits);
        Ok(())
    }
}

impl Body {
    /// A session that begins now.
    pub(super) fn new(limits: &Limits, now: Moment) -> Self {
        Self {
            revision: Revision::ZERO,
            lifetime: Lifetime::new(limits, now),
            touched: now,
            attached: Moment::ZERO,
            cookie_sent: Moment::ZERO,
            attributes: Attributes::new(),
            phase: Phase::Serving,
            returned: false,
            stays_live: false,
        }
    }

    fn commit(&mut self) {
        self.revision = self.revision.next();
        self.stays_live = false;
    }

    fn put<T: Storable>(
        &mut self,
        key: &str,
        prepared: Prepared<T>,
        limits: &Limits,
    ) -> Result<Displaced<T>, Refused<T>> {
        let displaced = self
            .attributes
            .insert(key, prepared, limits.max_session_bytes)?;
        self.commit();
        Ok(displaced)
    }

    /// Somebody asked for it, perhaps with its present cookie.
    pub(super) fn used(&mut self, now: Moment, came_back: bool) {
        self.touched = self.touched.max(now);
        self.returned |= came_back;
    }

    /// Freezes the attributes. When one has no encoding, all stay live and are not tried again
    /// before the next write.
    pub(super) fn freeze(&mut self) -> Result<Emptied, SessionError> {
        let frozen = self.attributes.freeze();
        self.stays_live = frozen.is_err();
        frozen
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field("serving", &self.is_serving())
            .finish_non_exhaustive()
    }
}
