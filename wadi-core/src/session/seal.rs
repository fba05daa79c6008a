//! Sealing a session so that it can leave this node, and installing one that arrived.
//!
//! A sealed session serves nobody. Times travel as durations, since no two machines share a clock.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::SessionId;
use super::attributes::Attributes;
use super::error::{DecodeFault, SessionError};
use super::held::{Body, Guard, Held, Phase};
use super::limits::{IdleLimit, Lifetime, nanos};
use super::sessions::Sessions;
use crate::clock::Moment;
use crate::tenure::{Revision, Tenure};

/// A session that serves nobody until it is unsealed or dropped, with its state as it was sealed.
/// Whoever waits for it goes on waiting while this lives, where its lock was had.
#[derive(Debug)]
pub struct Sealed {
    held: Arc<Held>,
    alone: Option<Guard>,
    /// Its tenure here.
    pub tenure: Tenure,
    /// Its revision.
    pub revision: Revision,
    /// Everything that another node needs, but for the id and the two numbers; it leaves by [`leaving`].
    pub state: Bytes,
}

/// A session's state while it goes on being served.
pub struct CopyOut {
    /// Its id at that moment.
    pub id: SessionId,
    /// Its tenure.
    pub tenure: Tenure,
    /// Its revision at that moment.
    pub revision: Revision,
    /// How long until it ends unless somebody asks for it.
    pub left: Duration,
    /// As [`Sealed::state`].
    pub state: Vec<u8>,
}

/// A state begins with two numbers of nanoseconds: for how long it was kept, and when it was sealed by
/// the clock of the node that keeps it, which means nothing to others. Time goes on for a session that
/// nobody serves, too. Then the length of the [`Portable`], the `Portable`, and the attributes.
const KEPT_BYTES: usize = 8;
const SEALED_BYTES: usize = 8;

/// A state that was kept for less leaves as it is, and is not copied.
const SHORT: Duration = Duration::from_secs(1);

/// What travels beside the attributes. Each has its place, one after the other, and a later version may add
/// more behind them.
struct Portable {
    /// How long nobody has asked for it, in nanoseconds.
    idle_for: u64,
    /// Its own idle limit, in nanoseconds.
    idle: Option<IdleLimit>,
    /// How long until its absolute end, in nanoseconds.
    left: u64,
    /// How long until the node's own limit would end it, where that is another time.
    node_left: Option<u64>,
    /// How long since its cookie was sent, in nanoseconds; `None` before.
    cookie_age: Option<u64>,
    returned: bool,
}

/// Stands for a time that there is none of.
const NONE: u64 = u64::MAX;
/// Five numbers, and whether its cookie came back.
const PORTABLE_BYTES: usize = 5 * 8 + 1;

/// What all of it takes beside the attributes.
const AROUND: usize = KEPT_BYTES + SEALED_BYTES + 1 + PORTABLE_BYTES;

impl Portable {
    fn write(&self, bytes: &mut Vec<u8>) {
        let idle = self.idle.map_or(0, IdleLimit::get);
        let (node_left, cookie_age) = (
            self.node_left.unwrap_or(NONE),
            self.cookie_age.unwrap_or(NONE),
        );
        for number in [self.idle_for, idle, self.left, node_left, cookie_age] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.push(u8::from(self.returned));
    }

    /// What lies behind it is a later version's.
    fn read(bytes: &[u8]) -> Result<Self, DecodeFault> {
        let bytes = bytes.first_chunk::<PORTABLE_BYTES>();
        let bytes = bytes.ok_or(DecodeFault::Truncated)?;
        let (numbers, rest) = bytes.as_chunks::<8>();
        let [idle_for, idle, left, node_left, cookie_age] = *numbers else {
            return Err(DecodeFault::Truncated);
        };
        let some = |number: [u8; 8]| Some(u64::from_le_bytes(number)).filter(|it| *it != NONE);
        Ok(Self {
            idle_for: u64::from_le_bytes(idle_for),
            idle: IdleLimit::new(u64::from_le_bytes(idle)),
            left: u64::from_le_bytes(left),
            node_left: some(node_left),
            cookie_age: some(cookie_age),
            returned: rest != [0],
        })
    }
}

impl Sessions {
    /// Seals a session that was found as `id`, by its lock or, where `alone` is `None`, whoever uses it:
    /// then their next operation fails, and so does their response. It never waits.
    ///
    /// # Errors
    ///
    /// [`SessionError::Busy`] when an operation is under way at this moment or a value's own code
    /// panicked, [`SessionError::Unencodable`] when something has no encoding (either way it goes on
    /// being served), [`SessionError::Ended`] or [`SessionError::Moved`] when there is nothing left to
    /// seal.
    pub fn seal(
        &self,
        id: &SessionId,
        held: &Arc<Held>,
        alone: Option<Guard>,
        now: Moment,
    ) -> Result<Sealed, SessionError> {
        let held = Arc::clone(held);
        let mut body = held.try_body().ok_or(SessionError::Busy)?;
        match body.phase {
            Phase::Serving if held.id_of(&body) == *id => {}
            // Under its former id it has ended.
            Phase::Serving => return Err(SessionError::Ended),
            Phase::Arriving | Phase::Sealed => return Err(SessionError::Moved),
            Phase::Ended => return Err(SessionError::Ended),
        }
        let state = self
            .desk
            .write(|into| encode_or_panic(into, &body, now))
            .ok_or(SessionError::Busy)??;
        body.phase = Phase::Sealed;
        held.set_deadline(&body, &self.limits);
        let (tenure, revision) = (held.tenure(), body.revision);
        drop(body);
        Ok(Sealed {
            held,
            alone,
            tenure,
            revision,
            state,
        })
    }

    /// How long until a session ends in this state, unless somebody asks for it; `None` where it cannot be
    /// read. It counts from when the state was sealed, or has left.
    #[must_use]
    pub fn left_of(&self, state: &[u8]) -> Option<Duration> {
        let (kept_for, portable, _) = read(state).ok()?;
        let lifetime = Lifetime {
            idle: portable.idle,
            ends: Moment::ZERO,
            node_ends: Moment::ZERO,
        };
        let idle = nanos(lifetime.idle(&self.limits, portable.returned));
        let left = idle.saturating_sub(portable.idle_for).min(portable.left);
        Some(Duration::from_nanos(left.saturating_sub(kept_for)))
    }

    /// A session's state as of now, while it is served.
    ///
    /// # Errors
    ///
    /// As of [`Sessions::seal`], but that an operation that is under way is waited for.
    pub fn copy(&self, held: &Held, now: Moment) -> Result<CopyOut, SessionError> {
        let body = held.body();
        match body.phase {
            Phase::Serving => {}
            Phase::Arriving | Phase::Sealed => return Err(SessionError::Moved),
            Phase::Ended => return Err(SessionError::Ended),
        }
        let state = encode_or_panic(Vec::new(), &body, now).ok_or(SessionError::Busy)??;
        Ok(CopyOut {
            id: held.id_of(&body),
            tenure: held.tenure(),
            revision: body.revision,
            left: held.left(now),
            state,
        })
    }

    /// Takes a sealed session out of the map; whether it was there.
    pub fn take_out(&self, id: &SessionId, sealed: &Sealed) -> bool {
        self.map.remove_exactly(id, &sealed.held)
    }

    /// Puts a sealed session that was taken out back as it was: it is served here, and whoever waited
    /// for it has it.
    pub fn put_back(&self, id: SessionId, sealed: Sealed) {
        let Sealed { held, alone, .. } = sealed;
        let mut body = held.body();
        if body.phase == Phase::Sealed {
            body.phase = Phase::Serving;
            held.set_deadline(&body, &self.limits);
            drop(body);
            if let Some(other) = self.map.insert(id, Arc::clone(&held)) {
                self.supersede(other);
            }
        }
        drop(alone);
    }

    /// Unseals a session that was sealed by its lock and is in the map: it is served as before, and whoever
    /// waited for it has it.
    pub fn unseal(&self, sealed: Sealed) {
        let Sealed { held, alone, .. } = sealed;
        let mut body = held.body();
        if body.phase == Phase::Sealed {
            body.phase = Phase::Serving;
            held.set_deadline(&body, &self.limits);
        }
        drop(body);
        drop(alone);
    }

    /// Takes every session out of the map, whoever uses it: what this node may still offer after it
    /// lost its right to act. Whoever uses one can neither read nor write it any more. It encodes none
    /// and waits at most for the operations of this moment.
    ///
    /// The caller has seen to it that no session comes into the map meanwhile.
    pub fn drain(&self) -> Vec<Drained> {
        let mut drained = Vec::with_capacity(self.map.len());
        for bucket in self.map.buckets().iter() {
            for (id, held) in self.map.take(bucket) {
                let mut body = held.body();
                let served = body.phase == Phase::Serving;
                // One whose id is being renewed is there under both.
                let this = id.filter(|id| {
                    held.id_of(&body) == *id
                        && matches!(body.phase, Phase::Serving | Phase::Arriving)
                });
                if this.is_some() {
                    body.phase = Phase::Sealed;
                    held.set_deadline(&body, &self.limits);
                }
                drop(body);
                if let Some(id) = id {
                    self.arrivals.settled(&id);
                }
                match this {
                    Some(id) => drained.push(Drained { served, id, held }),
                    None => let_go(held),
                }
            }
        }
        drained
    }

    /// Takes a copy out of the map that is not current any more; whoever waits for it looks again,
    /// and whoever uses it can neither read nor write it.
    pub fn discard(&self, id: &SessionId) {
        if let Some(held) = self.map.remove(id) {
            self.supersede(held);
        }
        self.arrivals.settled(id);
    }

    fn supersede(&self, held: Arc<Held>) {
        let mut body = held.body();
        if body.phase != Phase::Ended {
            body.phase = Phase::Sealed;
            held.set_deadline(&body, &self.limits);
        }
        drop(body);
        let_go(held);
    }

    /// Installs a session that arrived, and serves it; it stays frozen until somebody reads an
    /// attribute. Another copy that is here goes.
    ///
    /// # Errors
    ///
    /// What is wrong with `state`; nothing was installed then.
    pub fn install(
        &self,
        id: SessionId,
        tenure: Tenure,
        revision: Revision,
        state: &[u8],
        now: Moment,
    ) -> Result<Arc<Held>, DecodeFault> {
        self.install_in(Phase::Serving, id, tenure, revision, state, now)
    }

    /// Installs a session that arrived: requests use it at once, and none of their answers goes out before
    /// [`Sessions::confirm`]. Another copy that is here goes.
    ///
    /// # Errors
    ///
    /// What is wrong with `state`; nothing was installed then.
    pub fn install_unconfirmed(
        &self,
        id: SessionId,
        tenure: Tenure,
        revision: Revision,
        state: &[u8],
        now: Moment,
    ) -> Result<Arc<Held>, DecodeFault> {
        self.install_in(Phase::Arriving, id, tenure, revision, state, now)
    }

    /// The session that arrived under `tenure` is held here: what waited for that goes out. Whether it is
    /// here, and was unconfirmed.
    pub fn confirm(&self, id: &SessionId, tenure: Tenure) -> bool {
        let Some(held) = self.map.get(id) else {
            return false;
        };
        let mut body = held.body();
        if held.tenure() != tenure || body.phase != Phase::Arriving {
            return false;
        }
        body.phase = Phase::Serving;
        held.set_deadline(&body, &self.limits);
        drop(body);
        self.arrivals.settled(id);
        true
    }

    fn install_in(
        &self,
        phase: Phase,
        id: SessionId,
        tenure: Tenure,
        revision: Revision,
        state: &[u8],
        now: Moment,
    ) -> Result<Arc<Held>, DecodeFault> {
        let (kept_for, portable, attributes) = read(state)?;
        let after = |nanos: u64| now + Duration::from_nanos(nanos.saturating_sub(kept_for));
        let ago = |nanos: u64| {
            let nanos = nanos.saturating_add(kept_for);
            Moment::from_nanos(now.as_nanos().saturating_sub(nanos).max(1))
        };
        let body = Body {
            revision,
            lifetime: Lifetime {
                idle: portable.idle,
                ends: after(portable.left),
                node_ends: after(portable.node_left.unwrap_or(portable.left)),
            },
            touched: ago(portable.idle_for),
            attached: Moment::ZERO,
            cookie_sent: portable.cookie_age.map_or(Moment::ZERO, ago),
            attributes: Attributes::from_frozen(Arc::from(attributes))?,
            phase,
            returned: portable.returned,
            stays_live: false,
        };
        let held = Arc::new(Held::new(&id, body, tenure, &self.limits));
        if phase == Phase::Arriving {
            self.arrivals.expect(id);
        }
        if let Some(older) = self.map.insert(id, Arc::clone(&held)) {
            self.supersede(older);
            match phase {
                Phase::Arriving => self.arrivals.superseded(&id),
                // Nothing is waited for any more.
                _ => self.arrivals.settled(&id),
            }
        }
        Ok(held)
    }
}

/// A session that was taken out of the map with all others, and serves nobody.
#[derive(Debug)]
pub struct Drained {
    /// Whether it was served; else it had arrived and was not confirmed.
    pub served: bool,
    id: SessionId,
    held: Arc<Held>,
}

impl Drained {
    /// The session, its tenure and revision, and its state as of now; `None` when it has no encoding.
    pub fn encode(self, now: Moment) -> Option<(SessionId, Tenure, Revision, Bytes)> {
        let Self { id, held, .. } = self;
        let body = held.body();
        let state = encode_or_panic(Vec::new(), &body, now);
        let (tenure, revision) = (held.tenure(), body.revision);
        drop(body);
        let_go(held);
        Some((id, tenure, revision, state?.ok()?.into()))
    }
}

impl Sealed {
    /// Lets the live values go, and whoever waits look elsewhere.
    pub fn let_go(self) {
        let Self { held, alone, .. } = self;
        // Its guard holds the session, too.
        drop(alone);
        let_go(held);
    }
}

/// `None` when a value's own code panicked, on the task of whoever serves everybody.
fn encode_or_panic(
    into: Vec<u8>,
    body: &Body,
    now: Moment,
) -> Option<Result<Vec<u8>, SessionError>> {
    catch_unwind(AssertUnwindSafe(|| encode(into, body, now))).ok()
}

/// The values' own code may run, on the task of whoever serves everybody: a panic in it ends here.
fn let_go(held: Arc<Held>) {
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(held)));
    drop(dropped);
}

fn encode(mut state: Vec<u8>, body: &Body, now: Moment) -> Result<Vec<u8>, SessionError> {
    let portable = Portable {
        idle_for: nanos(now.since(body.touched)),
        idle: body.lifetime.idle,
        left: nanos(body.lifetime.ends.since(now)),
        node_left: (body.lifetime.node_ends != body.lifetime.ends)
            .then(|| nanos(body.lifetime.node_ends.since(now))),
        cookie_age: (body.cookie_sent != Moment::ZERO).then(|| nanos(now.since(body.cookie_sent))),
        returned: body.returned,
    };
    state.reserve(AROUND + body.attributes.expected_bytes());
    state.extend_from_slice(&[0; KEPT_BYTES]);
    state.extend_from_slice(&now.as_nanos().to_le_bytes());
    state.push(PORTABLE_BYTES as u8);
    portable.write(&mut state);
    body.attributes.encode_after(state)
}

/// A state that was sealed here, or is kept for another node, as it leaves now for another one.
#[must_use]
pub fn leaving(state: &Bytes, now: Moment) -> Bytes {
    let number = |at: usize| {
        let bytes = state.get(at..).and_then(<[u8]>::first_chunk);
        bytes.map(|bytes| u64::from_le_bytes(*bytes))
    };
    let (Some(before), Some(sealed_at)) = (number(0), number(KEPT_BYTES)) else {
        return state.clone();
    };
    let kept_for = now.since(Moment::from_nanos(sealed_at));
    if kept_for < SHORT {
        return state.clone();
    }
    let kept_for = nanos(kept_for).saturating_add(before);
    let mut leaving = Vec::with_capacity(state.len());
    leaving.extend_from_slice(&kept_for.to_le_bytes());
    leaving.extend_from_slice(&state[KEPT_BYTES..]);
    leaving.into()
}

/// A state that was kept somewhere for so long since it was written, by whatever clock.
#[must_use]
pub fn aged(state: &[u8], age: Duration) -> Vec<u8> {
    let mut aged = state.to_vec();
    if let Some(kept_for) = aged.first_chunk_mut::<KEPT_BYTES>() {
        let before = u64::from_le_bytes(*kept_for);
        *kept_for = before.saturating_add(nanos(age)).to_le_bytes();
    }
    aged
}

/// A state that came from another node, and is kept here sealed from now on: a copy of its own, for it
/// may be a part of a whole frame.
#[must_use]
pub fn kept(state: &[u8], now: Moment) -> Bytes {
    let mut kept = state.to_vec();
    if let Some(sealed_at) = kept.get_mut(KEPT_BYTES..KEPT_BYTES + SEALED_BYTES) {
        sealed_at.copy_from_slice(&now.as_nanos().to_le_bytes());
    }
    kept.into()
}

/// For how long it was kept, what travels beside the attributes, and the attributes.
fn read(state: &[u8]) -> Result<(u64, Portable, &[u8]), DecodeFault> {
    let (kept_for, rest) = state
        .split_first_chunk::<KEPT_BYTES>()
        .ok_or(DecodeFault::Truncated)?;
    let (len, rest) = rest
        .get(SEALED_BYTES..)
        .and_then(<[u8]>::split_first)
        .ok_or(DecodeFault::Truncated)?;
    let (portable, attributes) = rest
        .split_at_checked(usize::from(*len))
        .ok_or(DecodeFault::Truncated)?;
    Ok((
        u64::from_le_bytes(*kept_for),
        Portable::read(portable)?,
        attributes,
    ))
}

/// Whether `state` is what another node sent, as by [`leaving`].
///
/// # Errors
///
/// What is wrong with it.
pub fn check_sealed(state: &[u8]) -> Result<(), DecodeFault> {
    let (_, _, attributes) = read(state)?;
    super::frozen::check_frozen(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::LayoutVersion;
    use crate::clock::{Clock, ManualClock};
    use crate::session::{ClusterKey, Keyring, Look, Origin, PresentedId, Visit};

    struct Node {
        sessions: Arc<Sessions>,
        clock: Arc<ManualClock>,
    }

    fn node() -> Node {
        let clock = Arc::new(ManualClock::new());
        let key = ClusterKey::from_secret(&[1; 32]).unwrap();
        let sessions = Sessions::builder(Keyring::new(key))
            .clock(Arc::clone(&clock) as Arc<dyn Clock>)
            .build();
        Node {
            sessions: Arc::new(sessions),
            clock,
        }
    }

    impl Node {
        fn create(&self) -> SessionId {
            let visit = Visit::without(Arc::clone(&self.sessions), Origin::New);
            visit.insert("n", 7_u64).unwrap();
            let id = visit.id().unwrap();
            visit.commit().unwrap();
            id
        }

        fn look(&self, id: &SessionId) -> Look {
            let text = self.sessions.text(id);
            let presented = PresentedId::parse(text.expose().as_bytes()).unwrap();
            self.sessions.look(&presented, self.clock.now())
        }

        async fn seal(&self, id: &SessionId) -> Result<Sealed, SessionError> {
            let held = self.sessions.map().get(id).unwrap();
            let alone = held.alone(Duration::from_millis(20)).await;
            let alone = alone.ok_or(SessionError::Busy)?;
            let now = self.clock.now();
            self.sessions.seal(id, &held, Some(alone), now)
        }
    }

    #[tokio::test]
    async fn a_session_moves_to_another_node() {
        let (one, other) = (node(), node());
        other.clock.advance(Duration::from_secs(1000));
        let id = one.create();
        one.clock.advance(Duration::from_secs(100));
        let sealed = one.seal(&id).await.unwrap();
        assert_eq!(sealed.revision, Revision::new(1));
        assert!(matches!(one.look(&id), Look::Busy(_)));
        assert_eq!(check_sealed(&sealed.state), Ok(()));

        let tenure = Tenure::new(LayoutVersion::founding(1), 0);
        let now = other.clock.now();
        let revision = sealed.revision;
        // It was kept here for a while, until somebody asked for it again.
        one.clock.advance(Duration::from_secs(50));
        let state = leaving(&sealed.state, one.clock.now());
        // A third node kept it, sealed, and its clock is another one.
        let keeper = node();
        keeper.clock.advance(Duration::from_secs(7777));
        let state = kept(&state, keeper.clock.now());
        keeper.clock.advance(Duration::from_secs(30));
        let state = leaving(&state, keeper.clock.now());
        other
            .sessions
            .install(id, tenure, revision, &state, now)
            .unwrap();
        assert!(one.sessions.take_out(&id, &sealed));
        sealed.let_go();
        assert!(matches!(one.look(&id), Look::NotHere(Origin::Lost)));

        let Look::Here(guard) = other.look(&id) else {
            panic!("it was installed")
        };
        assert_eq!(guard.session().version(), (tenure, revision));
        let visit = Visit::holding(Arc::clone(&other.sessions), guard, id);
        assert_eq!(visit.get::<u64>("n"), Ok(Some(7)));
        visit.bypass();
        // Its cookie never came back: 600 seconds without a request, of which 180 elsewhere.
        other.clock.advance(Duration::from_secs(419));
        assert!(matches!(other.look(&id), Look::Here(_)));
        other.clock.advance(Duration::from_secs(1));
        assert!(matches!(other.look(&id), Look::NotHere(Origin::Expired)));
    }

    #[tokio::test]
    async fn sealing_waits_for_requests_and_not_for_ever() {
        let node = node();
        let id = node.create();
        let Look::Here(guard) = node.look(&id) else {
            panic!("it is here")
        };
        assert_eq!(node.seal(&id).await.map(drop), Err(SessionError::Busy));
        drop(guard);
        let sealed = node.seal(&id).await.unwrap();
        let held = node.sessions.map().get(&id).unwrap();
        let now = node.clock.now();
        let again = node.sessions.seal(&id, &held, None, now);
        assert_eq!(again.map(drop), Err(SessionError::Moved));
        assert!(node.sessions.take_out(&id, &sealed));
        let (waited, ()) = tokio::join!(node.sessions.share(&held), async {
            node.sessions.put_back(id, sealed);
        });
        assert!(waited.is_ok(), "who waited for it has it");
        drop(waited);
        let Look::Here(guard) = node.look(&id) else {
            panic!("it was put back")
        };
        assert_eq!(guard.session().version().1, Revision::new(1));
    }

    #[tokio::test]
    async fn what_is_taken_from_under_a_request_is_not_acknowledged() {
        let node = node();
        let id = node.create();
        let Look::Here(guard) = node.look(&id) else {
            panic!("it is here")
        };
        let visit = Visit::holding(Arc::clone(&node.sessions), guard, id);
        visit.insert("n", 8_u64).unwrap();
        // It is being renewed, and is there under both of its ids.
        let held = node.sessions.map().get(&id).unwrap();
        let other = SessionId::from_parts([9; 16], 1);
        node.sessions.map().insert(other, held);
        let mut drained = node.sessions.drain();
        let (Some(one), None) = (drained.pop(), drained.pop()) else {
            panic!("there was one session")
        };
        let (drained_id, _, revision, state) = one.encode(node.clock.now()).unwrap();
        assert_eq!((drained_id, revision), (id, Revision::new(2)));
        assert_eq!(check_sealed(&state), Ok(()));
        assert!(node.sessions.map().is_empty());
        assert_eq!(visit.insert("n", 9_u64), Err(SessionError::Moved));
        assert_eq!(visit.commit(), Err(SessionError::Moved));
    }

    #[tokio::test]
    async fn damaged_states_are_refused() {
        let node = node();
        let id = node.create();
        let sealed = node.seal(&id).await.unwrap();
        for len in 0..sealed.state.len() {
            assert!(check_sealed(&sealed.state[..len]).is_err(), "{len}");
        }
    }
}
