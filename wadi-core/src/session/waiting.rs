//! Waiting for a session that somebody else holds: to share it, or to have it alone.
//!
//! A request waits once, at most [`Limits::lock_wait`](super::Limits::lock_wait), whatever it waits
//! for.

use std::sync::Arc;

use super::SessionId;
use super::error::SessionError;
use super::held::{Guard, Held};
use super::keyring::PresentedId;
use super::sessions::{Look, Sessions};
use super::visit::Visit;

/// How often a session is looked for that goes down again and again.
const LOOKS: usize = 4;

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
        let began = self.now();
        let shared = self.share(&held).await;
        let waited = self.now().since(began);
        let visit = self.visit_with(shared, presented)?;
        Ok(visit.after(waited))
    }

    /// As [`Sessions::wait`], and then has the session alone.
    ///
    /// # Errors
    ///
    /// As of [`Sessions::wait`].
    ///
    /// # Cancellation
    ///
    /// Gives the place in the queue up.
    pub async fn wait_alone(
        self: Arc<Self>,
        presented: &PresentedId,
        held: Arc<Held>,
    ) -> Result<Visit, SessionError> {
        let alone = self.alone(&held).await;
        let visit = self.visit_with(alone, presented)?;
        // Another session may have taken its place meanwhile; the wait for it is over.
        if visit.try_alone() {
            Ok(visit)
        } else {
            Err(SessionError::Busy)
        }
    }

    fn visit_with(
        self: Arc<Self>,
        guard: Result<Guard, SessionError>,
        presented: &PresentedId,
    ) -> Result<Visit, SessionError> {
        let id = *presented.unverified();
        match guard {
            Ok(guard) if self.is_as_presented(&guard, &id) => {
                return Ok(Visit::holding(self, guard, id));
            }
            // Its own lock would be in the way of its end.
            Ok(guard) => drop(guard),
            Err(SessionError::Ended) => {}
            Err(error) => return Err(error),
        }
        match self.look(presented, self.now()) {
            Look::Here(guard) => Ok(Visit::holding(self, guard, id)),
            Look::Busy(_) => Err(SessionError::Busy),
            Look::NotHere(origin) => Ok(Visit::without(self, origin)),
        }
    }
}

impl Sessions {
    /// Whether it has not been renewed while it was waited for, and its time is not over.
    fn is_as_presented(&self, guard: &Guard, id: &SessionId) -> bool {
        let held = guard.session();
        held.id() == *id && !held.is_overdue(self.now())
    }
}

impl Visit {
    /// Gives up the shared lock and takes the session alone, if that needs no waiting; `false`
    /// when it does, and then only [`Visit::alone`] makes the session usable again.
    #[must_use]
    pub fn try_alone(&self) -> bool {
        let Some(held) = self.give_up() else {
            return true;
        };
        let guard = held.try_alone();
        let guard = guard.filter(|_| held.admits(self.known()).is_ok());
        guard.is_some_and(|guard| self.hold_again(guard))
    }

    /// Waits to have the session alone after [`Visit::try_alone`] said `false`; at most for what is
    /// left of [`Limits::lock_wait`](super::Limits::lock_wait) where it was waited for before.
    ///
    /// # Errors
    ///
    /// [`SessionError::Busy`] after that time; [`SessionError::Ended`] or [`SessionError::Moved`]
    /// when it is not served any more, or has another id; [`SessionError::Detached`] when the
    /// visit has ended. The request is then best answered with 503.
    ///
    /// # Cancellation
    ///
    /// Gives the place in the queue up; the visit holds nothing then.
    pub async fn alone(&self) -> Result<(), SessionError> {
        for _ in 0..LOOKS {
            let Some(held) = self.given_up() else {
                return Ok(());
            };
            match self.alone_on(&held).await {
                // Between its two locks nobody holds it, and it may have gone down.
                Err(SessionError::Moved) => self.follow(&held).await?,
                done => return done,
            }
        }
        Err(SessionError::Moved)
    }

    /// What was given up has gone below: it comes up again, and is what was given up.
    async fn follow(&self, gone: &Arc<Held>) -> Result<(), SessionError> {
        let sessions = self.sessions();
        let below = sessions.others().filter(|others| others.is_below());
        let (Some(below), Some(id)) = (below, self.known().get()) else {
            return Err(SessionError::Moved);
        };
        below.recall(id).await?;
        if let Some(held) = sessions.map().get(&id) {
            self.gave_up_instead(gone, held);
        }
        Ok(())
    }

    async fn alone_on(&self, held: &Arc<Held>) -> Result<(), SessionError> {
        let sessions = self.sessions();
        let left = sessions.limits().lock_wait.saturating_sub(self.waited());
        let guard = sessions.served(held.alone(left).await)?;
        held.admits(self.known())?;
        if self.hold_again(guard) {
            Ok(())
        } else {
            Err(SessionError::Detached)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::{Clock, ManualClock};
    use crate::session::{ClusterKey, CookieChange, Keyring, Limits, Origin};

    fn sessions(lock_wait: Duration, clock: &Arc<ManualClock>) -> Arc<Sessions> {
        let sessions = Sessions::builder(Keyring::new(ClusterKey::random()));
        let limits = Limits {
            lock_wait,
            ..Limits::default()
        };
        let clock = Arc::clone(clock) as Arc<dyn Clock>;
        Arc::new(sessions.limits(limits).clock(clock).build())
    }

    fn fresh(sessions: &Arc<Sessions>) -> Arc<Visit> {
        let visit = Visit::without(Arc::clone(sessions), Origin::New);
        visit.insert("n", 1_u8).unwrap();
        Arc::new(visit)
    }

    fn presented(sessions: &Sessions, visit: &Visit) -> PresentedId {
        let text = sessions.text(&visit.id().unwrap());
        PresentedId::parse(text.expose().as_bytes()).unwrap()
    }

    #[tokio::test]
    async fn a_request_waits_once_for_a_session_that_it_wants_alone() {
        let clock = Arc::new(ManualClock::new());
        let lock_wait = Duration::from_secs(60);
        let sessions = sessions(lock_wait, &clock);
        let visit = fresh(&sessions);
        let presented = presented(&sessions, &visit);
        let held = visit.target().unwrap();
        visit.commit().unwrap();
        let alone = held.try_alone().unwrap();
        let release = async {
            clock.advance(lock_wait);
            drop(alone);
        };
        let waits = Arc::clone(&sessions).wait(&presented, Arc::clone(&held));
        let (visit, ()) = tokio::join!(waits, release);
        let visit = visit.unwrap();
        let _shared = held.try_share().unwrap();
        assert!(!visit.try_alone());
        let alone = tokio::time::timeout(lock_wait / 4, visit.alone()).await;
        assert_eq!(
            alone.expect("it does not wait again"),
            Err(SessionError::Busy)
        );
    }

    #[tokio::test]
    async fn who_waits_to_have_a_session_alone_has_it_alone() {
        let sessions = sessions(Duration::from_secs(60), &Arc::default());
        let visit = fresh(&sessions);
        let presented = presented(&sessions, &visit);
        let held = visit.target().unwrap();
        visit.commit().unwrap();
        let shared = held.try_share().unwrap();
        let release = async { drop(shared) };
        let waits = Arc::clone(&sessions).wait_alone(&presented, Arc::clone(&held));
        let (visit, ()) = tokio::join!(waits, release);
        assert!(held.try_share().is_none());
        visit.unwrap().commit().unwrap();
        assert!(held.try_share().is_some());
    }

    #[tokio::test]
    async fn a_new_session_that_could_not_be_had_alone_gets_its_cookie() {
        let sessions = sessions(Duration::from_millis(50), &Arc::default());
        let visit = fresh(&sessions);
        let attached = visit.detach().attach().await.unwrap();
        assert!(!visit.try_alone());
        assert_eq!(visit.alone().await, Err(SessionError::Busy));
        let change = visit.commit().unwrap();
        assert!(matches!(change, CookieChange::Set { created: true, .. }));
        drop(attached);
        assert_eq!(visit.detach().get("n").await, Ok(Some(1_u8)));
    }

    #[tokio::test]
    async fn a_new_session_that_could_not_be_had_alone_goes_with_its_request() {
        let sessions = sessions(Duration::from_millis(50), &Arc::default());
        let visit = fresh(&sessions);
        let attached = visit.detach().attach().await.unwrap();
        assert!(!visit.try_alone());
        visit.abandon();
        assert_eq!(attached.get::<u8>("n"), Err(SessionError::Ended));
        assert!(sessions.map().is_empty());
    }
}
