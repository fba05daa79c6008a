use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::bucket::LayoutVersion;
use crate::clock::{Clock, ManualClock, Moment};
use crate::lease::LeaseGate;
use crate::session::{
    ClusterKey, CookieChange, Held, Keyring, Limits, Look, Origin, PresentedId, SessionError,
    SessionId, Sessions, Visit, leaving,
};
use crate::tenure::{Revision, Tenure};

const LOCK_WAIT: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(60);

struct Node {
    sessions: Arc<Sessions>,
    clock: Arc<ManualClock>,
    gate: Arc<LeaseGate>,
}

fn node() -> Node {
    let clock = Arc::new(ManualClock::new());
    let gate = Arc::new(LeaseGate::leased(Moment::from_nanos(u64::MAX)));
    let key = ClusterKey::from_secret(&[1; 32]).unwrap();
    let limits = Limits {
        lock_wait: LOCK_WAIT,
        idle: IDLE,
        freeze_after: IDLE / 4,
        ..Limits::default()
    };
    let sessions = Sessions::builder(Keyring::new(key))
        .clock(Arc::clone(&clock) as Arc<dyn Clock>)
        .gate(Arc::clone(&gate))
        .limits(limits)
        .build();
    Node {
        sessions: Arc::new(sessions),
        clock,
        gate,
    }
}

fn tenure(count: u64) -> Tenure {
    Tenure::new(LayoutVersion::founding(1), count)
}

impl Node {
    fn presented(&self, id: &SessionId) -> PresentedId {
        let text = self.sessions.text(id);
        PresentedId::parse(text.expose().as_bytes()).unwrap()
    }

    fn look(&self, id: &SessionId) -> Look {
        self.sessions.look(&self.presented(id), self.clock.now())
    }

    /// A request finds the session, and its handler can run.
    fn visit(&self, id: &SessionId) -> Arc<Visit> {
        let Look::Here(guard) = self.look(id) else {
            panic!("it is here, and nobody has it alone")
        };
        Arc::new(Visit::holding(Arc::clone(&self.sessions), guard, *id))
    }

    fn held(&self, id: &SessionId) -> Arc<Held> {
        self.sessions.map().get(id).unwrap()
    }

    /// A session of another node comes here under the tenure `count`.
    fn receives(&self, count: u64) -> SessionId {
        let sender = node();
        let first = Visit::without(Arc::clone(&sender.sessions), Origin::New);
        first.insert("n", 7_u64).unwrap();
        let id = first.id().unwrap();
        first.commit().unwrap();
        self.receives_again(&sender, id, count);
        id
    }

    fn receives_again(&self, sender: &Node, id: SessionId, count: u64) {
        let (revision, state) = sender.sends(&id, self.clock.now());
        self.sessions
            .install_unconfirmed(id, tenure(count), revision, &state, self.clock.now())
            .unwrap();
    }

    /// What another node is sent of a session, at this moment of that node's clock.
    fn sends(&self, id: &SessionId, now: Moment) -> (Revision, Bytes) {
        let held = self.held(id);
        let alone = held.try_alone();
        let sealed = self.sessions.seal(id, &held, alone, self.clock.now());
        let sealed = sealed.unwrap();
        (sealed.revision, leaving(&sealed.state, now))
    }
}

/// Lets who waits begin to.
async fn later(then: impl FnOnce()) {
    tokio::task::yield_now().await;
    then();
}

#[tokio::test]
async fn a_handler_runs_at_once_and_its_head_waits() {
    let node = node();
    let id = node.receives(3);
    let (one, other) = (node.visit(&id), node.visit(&id));
    assert_eq!(one.get("n"), Ok(Some(7_u64)));
    one.insert("n", 8_u64).unwrap();
    assert_eq!(other.get("n"), Ok(Some(8_u64)));
    // What a new manager is told of it is what is there now.
    let version = node.held(&id).version_as(&id);
    assert_eq!(version, Some((tenure(3), Revision::new(2))));
    for visit in [&one, &other] {
        assert_eq!(visit.commit(), Err(SessionError::Unconfirmed));
    }
    // The visit goes on.
    one.insert("n", 9_u64).unwrap();
    assert!(!node.sessions.confirm(&id, tenure(2)), "of an older tenure");
    let (waited, also, ()) = tokio::join!(
        one.confirmed(),
        other.confirmed(),
        later(|| assert!(node.sessions.confirm(&id, tenure(3))))
    );
    assert_eq!((waited, also), (Ok(()), Ok(())));
    assert!(matches!(one.commit(), Ok(CookieChange::Keep)));
    assert!(matches!(other.commit(), Ok(CookieChange::Keep)));
    assert_eq!(node.visit(&id).get("n"), Ok(Some(9_u64)));
}

#[tokio::test(start_paused = true)]
async fn a_confirmation_is_not_waited_for_for_ever() {
    let node = node();
    let id = node.receives(3);
    let visit = node.visit(&id);
    assert_eq!(visit.commit(), Err(SessionError::Unconfirmed));
    assert_eq!(visit.confirmed().await, Err(SessionError::Unconfirmed));
    assert_eq!(visit.commit(), Err(SessionError::Unconfirmed));
    visit.abandon();
    assert!(node.held(&id).try_alone().is_some(), "nothing keeps it");
}

#[tokio::test]
async fn what_another_copy_has_overtaken_is_not_answered() {
    // The manager gave it elsewhere; or a newer one came here; or the node was fenced.
    for case in 0..3 {
        let node = node();
        let id = node.receives(3);
        let visit = node.visit(&id);
        visit.insert("n", 8_u64).unwrap();
        assert_eq!(visit.commit(), Err(SessionError::Unconfirmed));
        let overtake = || match case {
            0 => node.sessions.discard(&id),
            1 => {
                let sender = self::node();
                let first = Visit::without(Arc::clone(&sender.sessions), Origin::New);
                first.insert("n", 1_u64).unwrap();
                let other = sender.held(&first.id().unwrap());
                first.commit().unwrap();
                let now = sender.clock.now();
                let sealed = sender.sessions.seal(&other.id(), &other, None, now);
                let state = sealed.unwrap().state;
                let revision = Revision::new(1);
                let install = &node.sessions;
                install
                    .install_unconfirmed(id, tenure(4), revision, &state, node.clock.now())
                    .unwrap();
            }
            _ => assert_eq!(node.sessions.drain().len(), 1),
        };
        let (waited, ()) = tokio::join!(visit.confirmed(), later(overtake));
        assert_eq!(waited, Ok(()), "nothing is left to wait for");
        assert_eq!(visit.insert("n", 9_u64), Err(SessionError::Moved));
        assert_eq!(visit.commit(), Err(SessionError::Moved), "case {case}");
        if case == 1 {
            // The newer copy has its own life.
            assert!(node.sessions.confirm(&id, tenure(4)));
            assert_eq!(node.visit(&id).get("n"), Ok(Some(1_u64)));
        }
    }
}

/// What was sealed here is put back in the place of one that has come again.
#[tokio::test]
async fn nothing_is_waited_for_where_a_copy_that_serves_is_put_in_its_place() {
    let (here, sender) = (node(), node());
    let first = Visit::without(Arc::clone(&sender.sessions), Origin::New);
    first.insert("n", 1_u64).unwrap();
    let id = first.id().unwrap();
    first.commit().unwrap();
    drop(first);
    let now = here.clock.now();
    let (revision, state) = sender.sends(&id, now);
    let sessions = &here.sessions;
    sessions
        .install_unconfirmed(id, tenure(3), revision, &state, now)
        .unwrap();
    assert_eq!(format!("{:?}", sessions.arrivals), "Arrivals(1)");
    sessions
        .install(id, tenure(4), revision, &state, now)
        .unwrap();
    assert_eq!(format!("{:?}", sessions.arrivals), "Arrivals(0)");
}

#[tokio::test]
async fn a_head_does_not_wait_where_nobody_may_act() {
    let node = node();
    let id = node.receives(3);
    let visit = node.visit(&id);
    node.gate.close();
    assert_eq!(visit.commit(), Err(SessionError::Lapsed));
}

#[tokio::test]
async fn a_session_ends_and_changes_its_id_only_once_it_is_confirmed() {
    let node = node();
    let id = node.receives(3);
    let visit = node.visit(&id);
    let (flushed, ()) = tokio::join!(
        visit.flush(),
        later(|| {
            assert!(node.held(&id).is_unconfirmed(), "it has not ended");
            node.sessions.confirm(&id, tenure(3));
        })
    );
    assert_eq!(flushed, Ok(()));
    assert_eq!(visit.commit(), Ok(CookieChange::Clear));
    assert!(node.sessions.map().is_empty());

    let id = node.receives(4);
    let visit = node.visit(&id);
    let (renewed, ()) = tokio::join!(
        visit.cycle_id(),
        later(|| {
            assert_eq!(visit.id(), Some(id));
            node.sessions.confirm(&id, tenure(4));
        })
    );
    assert_eq!(renewed, Ok(()));
    assert_ne!(visit.id(), Some(id));
    assert!(matches!(visit.commit(), Ok(CookieChange::Set { .. })));

    // Another copy is current: it is not this one's to end.
    let id = node.receives(5);
    let visit = node.visit(&id);
    let (flushed, renewed, ()) = tokio::join!(
        visit.flush(),
        visit.cycle_id(),
        later(|| node.sessions.discard(&id))
    );
    let moved = Err(SessionError::Moved);
    assert_eq!((&flushed, &renewed), (&moved, &moved));
    assert_eq!(visit.commit(), Err(SessionError::Moved));
}

#[tokio::test]
async fn a_handle_beyond_its_request_waits_for_the_confirmation() {
    let node = node();
    let id = node.receives(3);
    let handle = node.visit(&id).detach();
    let (seen, ()) = tokio::join!(
        handle.get::<u64>("n"),
        later(|| {
            // It does not keep the session meanwhile.
            assert_eq!(node.held(&id).version().1, Revision::new(1));
            node.sessions.confirm(&id, tenure(3));
        })
    );
    assert_eq!(seen, Ok(Some(7)));

    let id = node.receives(4);
    let handle = node.visit(&id).detach();
    let (seen, ()) = tokio::join!(
        handle.insert("n", 8_u64),
        later(|| node.sessions.discard(&id))
    );
    assert_eq!(seen, Err(SessionError::Moved));
}

#[tokio::test]
async fn it_can_be_had_alone_before_it_is_confirmed() {
    let node = node();
    let id = node.receives(3);
    let visit = node.visit(&id);
    assert!(visit.try_alone());
    assert!(matches!(node.look(&id), Look::Busy(_)));
    visit.insert("n", 8_u64).unwrap();
    assert_eq!(visit.commit(), Err(SessionError::Unconfirmed));
    // Who waits for the first waits for the lock alone.
    let presented = node.presented(&id);
    let second = Arc::clone(&node.sessions).wait_alone(&presented, node.held(&id));
    let (second, ()) = tokio::join!(second, later(|| visit.abandon()));
    let second = second.unwrap();
    assert_eq!(second.get("n"), Ok(Some(8_u64)));
    assert_eq!(second.commit(), Err(SessionError::Unconfirmed));
    assert!(node.sessions.confirm(&id, tenure(3)));
    assert!(second.commit().is_ok());
}

#[tokio::test]
async fn who_gives_up_leaves_what_was_written() {
    let node = node();
    let id = node.receives(3);
    let visit = node.visit(&id);
    visit.insert("n", 8_u64).unwrap();
    visit.abandon();
    assert!(node.sessions.confirm(&id, tenure(3)));
    assert_eq!(node.visit(&id).get("n"), Ok(Some(8_u64)));
}

#[tokio::test]
async fn what_a_route_lets_go_of_is_waited_for() {
    let node = node();
    let id = node.receives(3);
    let (confirmed, discarded) = (node.visit(&id), node.visit(&id));
    for visit in [&confirmed, &discarded] {
        assert_eq!(visit.get("n"), Ok(Some(7_u64)));
        visit.bypass();
        assert_eq!(visit.commit(), Err(SessionError::Unconfirmed));
    }
    assert!(node.held(&id).try_alone().is_some(), "it was let go of");
    assert!(node.sessions.confirm(&id, tenure(3)));
    assert_eq!(confirmed.commit(), Ok(CookieChange::Keep));
    node.sessions.discard(&id);
    assert_eq!(discarded.commit(), Err(SessionError::Moved));
}

#[tokio::test]
async fn it_is_neither_ended_nor_frozen_before_it_is_confirmed() {
    let node = node();
    let id = node.receives(3);
    let held = node.held(&id);
    assert_eq!(node.visit(&id).get("n"), Ok(Some(7_u64)));
    node.clock.advance(IDLE / 2);
    assert_eq!(node.sessions.sweep(node.clock.now(), 1 << 20).frozen, 0);
    node.clock.advance(IDLE);
    assert_eq!(node.sessions.sweep(node.clock.now(), 1 << 20).expired, 0);
    assert!(held.is_unconfirmed());
    // Its time is over, so nobody uses it any more; it ends when it is held here.
    let Look::Busy(_) = node.look(&id) else {
        panic!("nobody has it")
    };
    let presented = node.presented(&id);
    let waits = Arc::clone(&node.sessions).wait(&presented, Arc::clone(&held));
    let (visit, ()) = tokio::join!(
        waits,
        later(|| {
            assert!(node.sessions.confirm(&id, tenure(3)));
        })
    );
    assert_eq!(visit.unwrap().origin(), Origin::Expired);
    assert!(node.sessions.map().is_empty());
}
