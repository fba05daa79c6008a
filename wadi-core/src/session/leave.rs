//! How a request lets go of its session: with its response's head, or without one.
//!
//! It renews the session's time, and says what becomes of the cookie.

use std::sync::Arc;
use std::time::Duration;

use super::error::SessionError;
use super::held::{Held, Phase};
use super::keyring::IdText;
use super::limits::nanos;
use super::visit::{Hold, State, Visit};
use crate::clock::Moment;
use crate::sabotage::{self, Rule};
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

impl Visit {
    /// The response head is about to go out: ends the visit, and says what becomes of the cookie.
    ///
    /// # Errors
    ///
    /// [`SessionError::Lapsed`] when this node's lease has run out meanwhile, and
    /// [`SessionError::Moved`] when the session was taken from under the request: the response must
    /// not go out, since another node may own the session. [`SessionError::Unregistered`] when
    /// [`Visit::register`] has to be awaited first, and [`SessionError::Unconfirmed`] when
    /// [`Visit::confirmed`] has to be; the visit goes on until then.
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
        if state.unregistered && state.is_written() {
            return Err(SessionError::Unregistered);
        }
        if state.unconfirmed().is_some()
            && self.sessions().may_act()
            && !sabotage::is_off(Rule::HeadWaits)
        {
            return Err(SessionError::Unconfirmed);
        }
        let kept = match &state.hold {
            Hold::Holding(guard) => Some(Arc::clone(guard.session())),
            Hold::Changing(held) => Some(Arc::clone(held)),
            Hold::Bypassed(None) => return Ok(CookieChange::Keep),
            Hold::Bypassed(Some(held)) => return self.let_go_before(held),
            Hold::Nothing | Hold::Gone(_) => None,
        };
        let hold = std::mem::replace(&mut state.hold, Hold::Gone(kept));
        let (fresh, flushed) = (state.fresh, state.flushed);
        drop(state);
        if !self.sessions().may_act() {
            self.discard_fresh(fresh, &hold);
            return Err(SessionError::Lapsed);
        }
        let held = match &hold {
            Hold::Holding(guard) => guard.session(),
            Hold::Changing(held) => held,
            _ if flushed => return Ok(CookieChange::Clear),
            _ => return Ok(CookieChange::Keep),
        };
        let change = self.leave(held, fresh, may_prolong)?;
        Ok(match change {
            CookieChange::Keep if flushed => CookieChange::Clear,
            change => change,
        })
    }

    /// Waits, at most [`Limits::lock_wait`](super::Limits::lock_wait), for the manager's word that the
    /// session is here, where it came from another node and nobody has said so yet. Does nothing where
    /// there is no such session. It is awaited once, when the handler is done; then the visit commits,
    /// which says what became of it, or is abandoned.
    ///
    /// # Errors
    ///
    /// [`SessionError::Unconfirmed`] when nobody said so in time. Whether what the request wrote stands
    /// is unknown then.
    ///
    /// # Cancellation
    ///
    /// Nothing has changed.
    pub async fn confirmed(&self) -> Result<(), SessionError> {
        let held = self.state.lock().unconfirmed().cloned();
        match held {
            Some(held) => self.sessions().confirmed(&held).await,
            None => Ok(()),
        }
    }

    /// The route let go of a session that was not confirmed then: whatever was read of it counts only if
    /// no other copy is current.
    fn let_go_before(&self, held: &Held) -> Result<CookieChange, SessionError> {
        if !self.sessions().may_act() {
            return Err(SessionError::Lapsed);
        }
        match held.body().phase {
            phase if may_answer(phase) => Ok(CookieChange::Keep),
            phase => taken(phase),
        }
    }

    /// Renews the session's time, and says whether its cookie is due.
    fn leave(
        &self,
        held: &Arc<Held>,
        fresh: bool,
        may_prolong: impl FnOnce() -> bool,
    ) -> Result<CookieChange, SessionError> {
        let now = self.sessions().now();
        let limits = self.sessions().limits();
        let mut body = held.body();
        if !may_answer(body.phase) {
            return taken(body.phase);
        }
        if fresh && body.revision == Revision::ZERO {
            // Its first write failed, so it never came to be.
            drop(body);
            self.sessions().unmake(held);
            return Ok(CookieChange::Keep);
        }
        // Whoever knows it by an older id neither uses it nor learns the new one.
        let Some(came_back) = self.known().came_back(&held.id_of(&body)) else {
            return Ok(CookieChange::Keep);
        };
        body.used(now, came_back);
        held.set_deadline(&body, limits);
        let idle = body.lifetime.idle(limits, true);
        let age = now.as_nanos().saturating_sub(body.cookie_sent.as_nanos());
        if body.cookie_sent != Moment::ZERO {
            if age.saturating_mul(10) < nanos(idle) {
                return Ok(CookieChange::Keep);
            }
            // The caller's own code runs with no lock held.
            drop(body);
            if !may_prolong() {
                return Ok(CookieChange::Keep);
            }
            body = held.body();
            if !may_answer(body.phase) {
                return taken(body.phase);
            }
            if !self.known().is(&held.id_of(&body)) {
                return Ok(CookieChange::Keep);
            }
        }
        body.cookie_sent = now;
        let (id, left) = (held.id_of(&body), body.lifetime.ends.since(now));
        drop(body);
        Ok(CookieChange::Set {
            text: self.sessions().text(&id),
            max_age: idle
                .saturating_add(idle / 10)
                .saturating_add(COOKIE_GRACE)
                .min(left),
            created: fresh,
        })
    }

    /// Has a session registered that this request created while no bucket was open here, so that others
    /// find it when its cookie goes out. Does nothing where there is none. It is awaited once, when the
    /// handler is done.
    ///
    /// # Errors
    ///
    /// [`SessionError::Unregistered`] when no manager did so in time, and any error of a session that
    /// was taken from under the request. The visit is then abandoned, and nothing is left of it.
    ///
    /// # Cancellation
    ///
    /// As an error.
    pub async fn register(&self) -> Result<(), SessionError> {
        let held = {
            let state = self.state.lock();
            state.apart().filter(|_| state.unregistered).cloned()
        };
        if let Some(held) = held {
            self.sessions().register(&held, self.known()).await?;
            self.state.lock().unregistered = false;
        }
        Ok(())
    }

    /// The request ends without a response head: what it wrote stands, and it counts as a request
    /// for the idle time. But a session that it created is nobody's, since nobody has its id.
    pub fn abandon(&self) {
        let mut state = self.state.lock();
        let fresh = state.fresh;
        let kept = match &state.hold {
            Hold::Holding(guard) if !fresh => Some(Arc::clone(guard.session())),
            Hold::Changing(held) | Hold::Gone(Some(held)) if !fresh => Some(Arc::clone(held)),
            Hold::Bypassed(_) => return,
            _ => None,
        };
        let hold = std::mem::replace(&mut state.hold, Hold::Gone(kept.clone()));
        drop(state);
        self.discard_fresh(fresh, &hold);
        if let Some(held) = kept {
            // Where it has ended, or is known by an older id, there is nothing to count.
            let (limits, now) = (self.sessions().limits(), self.sessions().now());
            held.touch(self.known(), limits, now).ok();
        }
    }

    fn discard_fresh(&self, fresh: bool, hold: &Hold) {
        match hold {
            Hold::Holding(guard) if fresh => self.sessions().unmake(guard.session()),
            Hold::Changing(held) if fresh => self.sessions().unmake(held),
            _ => {}
        }
    }
}

impl State {
    /// The session, whoever else has it or waits for it.
    fn apart(&self) -> Option<&Arc<Held>> {
        match &self.hold {
            Hold::Holding(guard) => Some(guard.session()),
            Hold::Changing(held) => Some(held),
            Hold::Nothing | Hold::Bypassed(_) | Hold::Gone(_) => None,
        }
    }

    /// Whether there is a session that somebody has written to and nobody has ended.
    fn is_written(&self) -> bool {
        self.apart().is_some_and(|held| {
            let body = held.body();
            body.phase == Phase::Serving && body.revision != Revision::ZERO
        })
    }
}

/// Whether a head may go out that says something of a session in this phase.
fn may_answer(phase: Phase) -> bool {
    match phase {
        Phase::Serving => true,
        Phase::Arriving => sabotage::is_off(Rule::HeadWaits),
        Phase::Sealed | Phase::Ended => false,
    }
}

/// What becomes of the cookie of a session that does not serve any more.
fn taken(phase: Phase) -> Result<CookieChange, SessionError> {
    match phase {
        Phase::Serving | Phase::Ended => Ok(CookieChange::Keep),
        // It was taken from under this request, and what it wrote may not be what counts.
        Phase::Arriving | Phase::Sealed => Err(SessionError::Moved),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};
    use crate::session::{ClusterKey, Keyring, Look, Origin, PresentedId, SessionId, Sessions};

    fn sessions(clock: &Arc<ManualClock>) -> Arc<Sessions> {
        let sessions = Sessions::builder(Keyring::new(ClusterKey::random()));
        let clock = Arc::clone(clock) as Arc<dyn Clock>;
        Arc::new(sessions.clock(clock).build())
    }

    fn visit(sessions: &Arc<Sessions>, id: SessionId) -> Option<Visit> {
        let text = sessions.text(&id);
        let presented = PresentedId::parse(text.expose().as_bytes())?;
        match sessions.look(&presented, sessions.now()) {
            Look::Here(guard) => Some(Visit::holding(Arc::clone(sessions), guard, id)),
            _ => None,
        }
    }

    fn begun(sessions: &Arc<Sessions>) -> SessionId {
        let first = Visit::without(Arc::clone(sessions), Origin::New);
        first.insert("n", 1_u8).unwrap();
        let id = first.id().unwrap();
        first.commit().unwrap();
        id
    }

    #[tokio::test]
    async fn a_client_that_keeps_cookies_keeps_its_idle_time_when_its_id_is_renewed() {
        let clock = Arc::new(ManualClock::new());
        let sessions = sessions(&clock);
        let id = begun(&sessions);
        visit(&sessions, id).unwrap().commit().unwrap();
        let most = sessions.limits().idle / 3 * 2;
        assert!(most > sessions.limits().idle_unreturned);
        clock.advance(most);
        let login = visit(&sessions, id).expect("its cookie came back once");
        login.cycle_id().await.unwrap();
        let id = login.id().unwrap();
        login.commit().unwrap();
        clock.advance(most);
        assert!(visit(&sessions, id).is_some());
    }

    #[test]
    fn who_is_asked_whether_a_cookie_may_be_prolonged_may_use_the_session() {
        let clock = Arc::new(ManualClock::new());
        let sessions = sessions(&clock);
        let id = begun(&sessions);
        clock.advance(sessions.limits().idle_unreturned / 2);
        let (leaving, other) = (visit(&sessions, id), visit(&sessions, id));
        let (leaving, other) = (leaving.unwrap(), other.unwrap());
        let mut seen = None;
        let change = leaving.commit_where(|| {
            seen = Some(other.get::<u8>("n"));
            other.insert("n", 2_u8).unwrap();
            true
        });
        assert!(matches!(change, Ok(CookieChange::Set { .. })), "{change:?}");
        assert_eq!(seen, Some(Ok(Some(1))));
        assert_eq!(other.get("n"), Ok(Some(2_u8)));
    }
}
