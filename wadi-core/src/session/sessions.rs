//! The sessions that this node serves: finding one for a request, creating, renewing, ending.
//!
//! It knows one node. What it does not find here, a cluster's driver looks for elsewhere.

use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};

use super::SessionId;
use super::arrivals::Arrivals;
use super::departures::{Departures, Parting};
use super::desk::Desk;
use super::endings::{Ending, Endings};
use super::error::SessionError;
use super::held::{Body, Guard, Held, Phase, Remains};
use super::keyring::{IdText, Keyring, PresentedId};
use super::known::Known;
use super::limits::Limits;
use super::map::SessionMap;
#[cfg(feature = "test-util")]
use super::mint::Bits;
use super::mint::{Managed, ManagesAll, Mint};
use super::origin::Origin;
use super::others::Others;
use crate::bucket::BucketCount;
use crate::clock::{BootClock, Clock, Moment};
use crate::lease::LeaseGate;
use crate::tenure::Tenure;

/// How often a session is minted anew because its bucket was just handed to another node.
pub(super) const MINTINGS: usize = 8;

/// A node's sessions and what they share.
#[derive(Debug)]
pub struct Sessions {
    pub(super) map: SessionMap,
    pub(super) limits: Limits,
    pub(super) endings: Endings,
    pub(super) arrivals: Arrivals,
    /// Who tells the cluster, or a store, of sessions that end here; none where there is neither.
    departures: OnceLock<Arc<Departures>>,
    pub(super) desk: Desk,
    /// The bucket at which the next sweep goes on.
    pub(super) swept_to: AtomicUsize,
    /// The frozen sessions that the present round of sweeping has met, and the last one met in all.
    pub(super) frozen_so_far: AtomicUsize,
    pub(super) frozen: AtomicUsize,
    keyring: Keyring,
    clock: Arc<dyn Clock>,
    gate: Arc<LeaseGate>,
    managed: Arc<dyn Managed>,
    mint: Mint,
    /// The other nodes; `None` where there are none.
    others: OnceLock<Arc<dyn Others>>,
}

/// What a node's sessions are made with; the defaults are those of a node that is alone.
#[derive(Debug)]
pub struct SessionsBuilder {
    limits: Limits,
    keyring: Keyring,
    clock: Arc<dyn Clock>,
    gate: Arc<LeaseGate>,
    managed: Arc<dyn Managed>,
    departures: Option<Arc<Departures>>,
    buckets: BucketCount,
    #[cfg(feature = "test-util")]
    bits: Option<Box<dyn Bits>>,
}

impl SessionsBuilder {
    /// Times and budgets.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Where the time comes from; default [`BootClock`].
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The lease that is asked when a request starts and when it commits; default always open.
    #[must_use]
    pub fn gate(mut self, gate: Arc<LeaseGate>) -> Self {
        self.gate = gate;
        self
    }

    /// In which buckets sessions are created, and how many there are; default all of
    /// [`BucketCount::DEFAULT`].
    #[must_use]
    pub fn managed(mut self, buckets: BucketCount, managed: Arc<dyn Managed>) -> Self {
        self.buckets = buckets;
        self.managed = managed;
        self
    }

    /// Who is told of sessions that end here; default nobody.
    #[must_use]
    pub fn departures(mut self, departures: Arc<Departures>) -> Self {
        self.departures = Some(departures);
        self
    }

    /// Where ids' random bits come from, so that a test is the same each time; default the operating
    /// system. Whoever knows where they come from can guess every id.
    #[cfg(feature = "test-util")]
    #[must_use]
    pub fn bits(mut self, bits: Box<dyn Bits>) -> Self {
        self.bits = Some(bits);
        self
    }

    /// The sessions of a node, none yet.
    #[must_use]
    pub fn build(self) -> Sessions {
        let mint = Mint::new();
        #[cfg(feature = "test-util")]
        if let Some(bits) = self.bits {
            mint.draw_from(bits);
        }
        Sessions {
            map: SessionMap::new(self.buckets),
            endings: Endings::new(self.limits.remembered_endings),
            arrivals: Arrivals::default(),
            departures: self.departures.map_or_else(OnceLock::new, OnceLock::from),
            desk: Desk::default(),
            limits: self.limits,
            swept_to: AtomicUsize::new(0),
            frozen_so_far: AtomicUsize::new(0),
            frozen: AtomicUsize::new(0),
            keyring: self.keyring,
            clock: self.clock,
            gate: self.gate,
            managed: self.managed,
            mint,
            others: OnceLock::new(),
        }
    }
}

/// What looking for a presented id came to.
pub enum Look {
    /// The session is here, and shared with this request.
    Here(Guard),
    /// It is here, and somebody holds it alone or waits to.
    Busy(Arc<Held>),
    /// It is not here; how the session that a request may now create is to be called.
    NotHere(Origin),
}

impl fmt::Debug for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here(_) => f.write_str("Here"),
            Self::Busy(_) => f.write_str("Busy"),
            Self::NotHere(origin) => write!(f, "NotHere({origin:?})"),
        }
    }
}

impl Sessions {
    /// Begins to build the sessions of a node whose ids are tagged with `keyring`.
    #[must_use]
    pub fn builder(keyring: Keyring) -> SessionsBuilder {
        SessionsBuilder {
            limits: Limits::default(),
            keyring,
            clock: Arc::new(BootClock),
            gate: Arc::new(LeaseGate::solo()),
            managed: Arc::new(ManagesAll),
            departures: None,
            buckets: BucketCount::DEFAULT,
            #[cfg(feature = "test-util")]
            bits: None,
        }
    }

    /// Says how the other nodes of its cluster are asked. Once; later calls do nothing.
    pub fn among(&self, others: Arc<dyn Others>) {
        let _ = self.others.set(others);
    }

    /// Says who is told of sessions that end here. Once; later calls do nothing.
    pub fn tell_of_ends(&self, departures: Arc<Departures>) {
        let _ = self.departures.set(departures);
    }

    pub(super) fn departures(&self) -> Option<&Arc<Departures>> {
        self.departures.get()
    }

    pub(super) fn others(&self) -> Option<&dyn Others> {
        self.others.get().map(|others| &**others)
    }

    /// The map of the sessions held here.
    #[must_use]
    pub const fn map(&self) -> &SessionMap {
        &self.map
    }

    /// Times and budgets.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The present, by this node's clock.
    #[inline]
    #[must_use]
    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// The present on the wall, as ids are stamped with.
    #[must_use]
    pub fn unix_seconds(&self) -> u32 {
        self.clock.unix_seconds()
    }

    /// The gate through which this node's right to act reaches its sessions.
    #[must_use]
    pub const fn gate(&self) -> &Arc<LeaseGate> {
        &self.gate
    }

    /// Whether this node may act.
    #[inline]
    #[must_use]
    pub fn may_act(&self) -> bool {
        self.gate.is_open(&*self.clock)
    }

    /// Whether there are as many sessions as this node is to have. It creates none then and asks others
    /// for none; those that others bring it takes, for else they would be lost.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.map.len() >= self.limits.max_sessions
    }

    /// An id's text for a cookie.
    #[must_use]
    pub fn text(&self, id: &SessionId) -> IdText {
        self.keyring.text(id)
    }

    /// Looks for one presented id. On a hit its tag is not read: the hit proves it.
    pub fn look(&self, presented: &PresentedId, now: Moment) -> Look {
        let id = presented.unverified();
        let Some(held) = self.map.get(id) else {
            return Look::NotHere(self.missing(presented));
        };
        self.enter(&held, id, now)
    }

    /// Shares `held`, unless its time ran out; it was found as `id`.
    pub(super) fn enter(&self, held: &Arc<Held>, id: &SessionId, now: Moment) -> Look {
        if held.is_overdue(now) {
            if !held.is_serving() {
                return self.not_serving(held, id);
            }
            if held.is_unconfirmed() {
                // It ends when it is confirmed.
                return Look::Busy(Arc::clone(held));
            }
            // Somebody who uses it keeps it from being idle, though not from its absolute end.
            if let Some(alone) = held.try_alone() {
                if held.is_overdue(now) && held.is_serving() {
                    self.end(held, Ending::Expired);
                }
                drop(alone);
                if !held.is_serving() {
                    return self.not_serving(held, id);
                }
            } else if held.body().lifetime.ends <= now {
                self.end(held, Ending::Expired);
                return Look::NotHere(Origin::Expired);
            }
        }
        match held.try_share() {
            // Between the look at the deadline and the lock it may have been sealed or ended.
            Some(_) if !held.is_serving() => self.not_serving(held, id),
            Some(guard) => Look::Here(guard),
            None => Look::Busy(Arc::clone(held)),
        }
    }

    fn not_serving(&self, held: &Arc<Held>, id: &SessionId) -> Look {
        match held.body().phase {
            Phase::Sealed | Phase::Arriving => Look::Busy(Arc::clone(held)),
            Phase::Serving | Phase::Ended => Look::NotHere(self.ended(id)),
        }
    }

    /// Others say how this session ended, which has never been here or is here no more: whoever
    /// shows its id again is told so without their being asked. Nothing that is here ends by it.
    pub fn has_ended(&self, id: SessionId, ending: Ending) {
        self.endings.remember(id, ending);
    }

    fn ended(&self, id: &SessionId) -> Origin {
        match self.endings.of(id) {
            Some(Ending::Expired) => Origin::Expired,
            Some(Ending::Destroyed) => Origin::Destroyed,
            None => Origin::Lost,
        }
    }

    /// What an id that is not here was: never ours, or over, or lost.
    fn missing(&self, presented: &PresentedId) -> Origin {
        let Some(id) = self.keyring.verify(presented) else {
            return Origin::New;
        };
        match self.ended(&id) {
            // Without a memory of it, its age has the word; but not where others may hold it. Their clocks
            // are not this one, and they may have let it live for longer.
            Origin::Lost if self.is_alone() && self.is_outdated(&id) => Origin::Expired,
            origin => origin,
        }
    }

    /// Whether what is not in the map is nowhere: not with another node, nor in a store.
    fn is_alone(&self) -> bool {
        self.departures.get().is_none() && self.others.get().is_none()
    }

    fn is_outdated(&self, id: &SessionId) -> bool {
        let age = self.clock.unix_seconds().saturating_sub(id.issued());
        u64::from(age) > self.limits.absolute.as_secs()
    }

    /// Waits, at most [`Limits::lock_wait`], until a session that came here is confirmed, or another copy
    /// is current.
    pub(super) async fn confirmed(&self, held: &Held) -> Result<(), SessionError> {
        self.arrivals.confirmed(held, self.limits.lock_wait).await
    }

    /// Before `held` is waited for: one whose time is over ends, but not before it is confirmed.
    async fn may_end(&self, held: &Held) -> Result<(), SessionError> {
        if held.is_overdue(self.now()) {
            self.confirmed(held).await?;
        }
        Ok(())
    }

    /// Waits for a session that was busy, at most [`Limits::lock_wait`].
    ///
    /// # Errors
    ///
    /// [`SessionError::Busy`] after that time, [`SessionError::Ended`] or [`SessionError::Moved`]
    /// when it is not served any more. Cancelling it gives the place up.
    pub async fn share(&self, held: &Arc<Held>) -> Result<Guard, SessionError> {
        self.may_end(held).await?;
        let guard = held.share(self.limits.lock_wait).await;
        self.served(guard)
    }

    /// Takes a session alone, like [`Sessions::share`].
    ///
    /// # Errors
    ///
    /// As of [`Sessions::share`].
    pub async fn alone(&self, held: &Arc<Held>) -> Result<Guard, SessionError> {
        self.may_end(held).await?;
        let guard = held.alone(self.limits.lock_wait).await;
        self.served(guard)
    }

    pub(super) fn served(&self, guard: Option<Guard>) -> Result<Guard, SessionError> {
        let guard = guard.ok_or(SessionError::Busy)?;
        let phase = guard.session().body().phase;
        match phase {
            Phase::Serving | Phase::Arriving => Ok(guard),
            Phase::Sealed => Err(SessionError::Moved),
            Phase::Ended => Err(SessionError::Ended),
        }
    }

    /// Creates a session and shares it; `None` where no bucket is open for it.
    pub(super) fn create(&self, now: Moment) -> Result<Option<Guard>, SessionError> {
        if !self.may_act() {
            return Err(SessionError::Lapsed);
        }
        // Overlapping creations may overshoot by as many as there are; a limit of millions bears it.
        let limit = self.limits.max_sessions;
        if self.is_full() {
            return Err(SessionError::TooManySessions { limit });
        }
        for _ in 0..MINTINGS {
            let Some((id, tenure)) = self.mint() else {
                break;
            };
            let (held, guard) = self.new_held(id, tenure, now);
            if self.put_new(id, tenure, &held) {
                return Ok(Some(guard));
            }
        }
        Ok(None)
    }

    /// Creates a session that nobody finds before it is registered.
    pub(super) fn create_apart(&self, now: Moment) -> Result<Guard, SessionError> {
        self.others().ok_or(SessionError::NoBucket)?;
        let (_, guard) = self.new_held(self.mint_anywhere(), Tenure::NONE, now);
        Ok(guard)
    }

    fn new_held(&self, id: SessionId, tenure: Tenure, now: Moment) -> (Arc<Held>, Guard) {
        let body = Body::new(&self.limits, now);
        let held = Arc::new(Held::new(&id, body, tenure, &self.limits));
        let guard = held.try_share().expect("nobody else knows it yet");
        (held, guard)
    }

    /// Puts a session with a minted id into the map, unless its bucket was closed since it was minted:
    /// then this node's directory of the bucket is on its way to another node, without this session.
    pub(super) fn put_new(&self, id: SessionId, tenure: Tenure, held: &Arc<Held>) -> bool {
        let bucket = id.bucket(self.map.buckets());
        self.map.insert_new(id, held, || {
            self.managed.epoch(bucket) == Some(tenure.epoch())
        })
    }

    /// An id in any bucket, to be registered with that bucket's manager.
    #[must_use]
    pub fn mint_anywhere(&self) -> SessionId {
        self.mint.draw_id(self.clock.unix_seconds())
    }

    pub(super) fn mint(&self) -> Option<(SessionId, Tenure)> {
        let (seconds, buckets) = (self.clock.unix_seconds(), self.map.buckets());
        let minted = self.mint.mint(seconds, buckets, &*self.managed);
        minted.map(|(id, epoch)| (id, Tenure::new(epoch, 0)))
    }

    /// Ends a session here and now. Whoever shares it can neither read nor write it any more.
    pub fn end(&self, held: &Arc<Held>, ending: Ending) {
        if let Some(remains) = held.end() {
            self.bury(held, remains, Some(ending));
        }
    }

    /// Destroys a session for somebody who knows it; also where it has ended already.
    pub(super) fn destroy(
        &self,
        held: &Arc<Held>,
        known: &Known,
    ) -> Result<Option<Parting>, SessionError> {
        let remains = held.end_known(known)?;
        Ok(remains.and_then(|remains| self.bury(held, remains, Some(Ending::Destroyed))))
    }

    /// Waits, at most [`Limits::lock_wait`], until it is certain that nothing brings an ended session
    /// back. Where there is no cluster that is so at once.
    pub(super) async fn settled(&self, parting: Option<Parting>) -> Result<(), SessionError> {
        match parting {
            Some(parting) => parting.settled(self.limits.lock_wait).await,
            None => Ok(()),
        }
    }

    /// Takes a session back that no client ever heard of.
    pub fn unmake(&self, held: &Arc<Held>) {
        if let Some(remains) = held.end() {
            self.bury(held, remains, None);
        }
    }

    /// The values are dropped last: their own code may panic, and may use a session.
    fn bury(&self, held: &Arc<Held>, remains: Remains, ending: Option<Ending>) -> Option<Parting> {
        let was_registered = remains.tenure != Tenure::NONE;
        let departures = self.departures().filter(|_| was_registered);
        let parting = departures.map(|departures| {
            // Nobody ever knew of one that is unmade, so its marker need outlive no copies.
            let tenure = ending.map_or(Tenure::NONE, |_| remains.tenure);
            // Before it goes from the map, so that the node has it there or here.
            departures.depart(remains.id, tenure, remains.revision, None)
        });
        self.map.remove_exactly(&remains.id, held);
        if let Some(ending) = ending {
            self.endings.remember(remains.id, ending);
        }
        drop(remains);
        parting
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::bucket::{BucketId, LayoutVersion};
    use crate::session::ClusterKey;

    /// Every bucket is open until it was asked about once.
    #[derive(Debug, Default)]
    struct ClosesMeanwhile(AtomicBool);

    impl Managed for ClosesMeanwhile {
        fn epoch(&self, _: BucketId) -> Option<LayoutVersion> {
            use std::sync::atomic::Ordering::Relaxed;
            (!self.0.swap(true, Relaxed)).then(|| LayoutVersion::founding(1))
        }
    }

    #[test]
    fn a_session_is_not_created_in_a_bucket_that_was_closed_since_its_id_was_minted() {
        let key = ClusterKey::from_secret(&[1; 32]).unwrap();
        let buckets = BucketCount::new(4).unwrap();
        let sessions = Sessions::builder(Keyring::new(key))
            .managed(buckets, Arc::new(ClosesMeanwhile::default()))
            .build();
        let created = sessions.create(sessions.now());
        assert!(matches!(created, Ok(None)), "{created:?}");
        let apart = sessions.create_apart(sessions.now());
        assert_eq!(apart.map(drop), Err(SessionError::NoBucket));
        assert!(sessions.map().is_empty());
    }
}
