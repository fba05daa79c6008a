//! A node none of whose buckets is open, a manager that answers when it is told to, and who comes between.

use std::sync::Weak;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::Semaphore;

use super::*;
use crate::bucket::{BucketCount, BucketId, LayoutVersion};
use crate::session::{
    ClusterKey, CookieChange, Departures, Keyring, Managed, Origin, Others, Recalling, Registering,
    Visit,
};

fn epoch() -> LayoutVersion {
    LayoutVersion::founding(3)
}

#[derive(Debug, Default)]
struct Door(AtomicBool);

impl Managed for Door {
    fn epoch(&self, _: BucketId) -> Option<LayoutVersion> {
        self.any().then(epoch)
    }

    fn any(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// Registers as often as it was told that it may.
#[derive(Debug)]
struct Manager {
    sessions: Weak<Sessions>,
    may: Arc<Semaphore>,
}

impl Others for Manager {
    fn recall(&self, _: SessionId) -> Recalling<'_> {
        Box::pin(async { Err(SessionError::Moved) })
    }

    fn register(&self, id: SessionId) -> Registering<'_> {
        Box::pin(async move {
            let may = self.may.acquire().await;
            may.map_err(|_| SessionError::Unregistered)?.forget();
            let sessions = self.sessions.upgrade().ok_or(SessionError::NoBucket)?;
            let registered = sessions.put_registered(id, Tenure::new(epoch(), 7));
            registered.take().ok_or(SessionError::Unregistered)
        })
    }
}

struct Stage {
    sessions: Arc<Sessions>,
    departures: Arc<Departures>,
    door: Arc<Door>,
    may: Arc<Semaphore>,
}

/// A node none of whose buckets is open, and a manager that answers so often.
fn stage(answers: usize) -> Stage {
    let key = ClusterKey::from_secret(&[1; 32]).unwrap();
    let door = Arc::new(Door::default());
    let departures = Arc::new(Departures::new(|| ()));
    let sessions = Sessions::builder(Keyring::new(key))
        .managed(
            BucketCount::new(4).unwrap(),
            Arc::clone(&door) as Arc<dyn Managed>,
        )
        .departures(Arc::clone(&departures))
        .build();
    let sessions = Arc::new(sessions);
    let may = Arc::new(Semaphore::new(answers));
    sessions.among(Arc::new(Manager {
        sessions: Arc::downgrade(&sessions),
        may: Arc::clone(&may),
    }));
    Stage {
        sessions,
        departures,
        door,
        may,
    }
}

impl Stage {
    fn new_visit(&self) -> Arc<Visit> {
        Arc::new(Visit::without(Arc::clone(&self.sessions), Origin::New))
    }

    fn written(&self) -> Arc<Visit> {
        let visit = self.new_visit();
        visit.insert("n", 1_u8).unwrap();
        visit
    }

    /// A session that was created when a bucket was open.
    fn at_home(&self) -> (SessionId, Arc<Held>) {
        self.door.0.store(true, Relaxed);
        let visit = self.written();
        let id = visit.id().unwrap();
        visit.commit().unwrap();
        self.door.0.store(false, Relaxed);
        (id, self.sessions.map().get(&id).unwrap())
    }

    fn visit(&self, id: SessionId, held: &Arc<Held>) -> Arc<Visit> {
        let guard = held.try_share().unwrap();
        Arc::new(Visit::holding(Arc::clone(&self.sessions), guard, id))
    }

    /// Of whom the cluster is to be told.
    fn departed(&self) -> Vec<(SessionId, Tenure)> {
        let mut departed = Vec::new();
        while let Some(one) = self.departures.take() {
            departed.push((one.id, one.tenure));
        }
        departed
    }

    fn keeper(&self, not: &[SessionId]) -> (SessionId, Arc<Held>) {
        let buckets = self.sessions.map().buckets().iter();
        let mut all = buckets.flat_map(|bucket| self.sessions.map().bucket(bucket));
        all.find(|(id, _)| !not.contains(id)).unwrap()
    }
}

fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    let waker = std::task::Waker::noop();
    future.poll(&mut std::task::Context::from_waker(waker))
}

#[tokio::test]
async fn a_session_created_apart_is_found_when_it_is_registered() {
    let stage = stage(1);
    let visit = stage.written();
    let id = visit.id().unwrap();
    assert!(stage.sessions.map().is_empty());
    // A handle on it works all the same, before and after.
    let handle = visit.detach();
    assert_eq!(handle.get("n").await, Ok(Some(1_u8)));
    assert_eq!(visit.commit(), Err(SessionError::Unregistered));
    visit.register().await.unwrap();
    let change = visit.commit().unwrap();
    assert!(matches!(change, CookieChange::Set { created: true, .. }));
    let held = stage.sessions.map().get(&id).unwrap();
    let tenure = Tenure::new(epoch(), 7);
    assert_eq!(held.version_as(&id).map(|version| version.0), Some(tenure));
    assert_eq!((stage.sessions.map().len(), stage.departed()), (1, vec![]));
    assert_eq!(handle.insert("n", 2_u8).await, Ok(()));
    assert_eq!(held.bytes(), visit.target().unwrap().bytes());
    // Nobody holds it, neither as itself nor as what kept its place.
    assert!(held.try_alone().is_some());
    stage.sessions.end(&held, Ending::Destroyed);
    assert_eq!(stage.departed(), [(id, tenure)]);
}

#[tokio::test]
async fn nobody_is_told_of_one_that_is_never_registered() {
    let stage = stage(0);
    let given_up = stage.written();
    let handle = given_up.detach();
    given_up.abandon();
    assert_eq!(handle.get::<u8>("n").await, Err(SessionError::Absent));
    let flushed = stage.written();
    flushed.flush().await.unwrap();
    assert_eq!(flushed.commit(), Ok(CookieChange::Clear));
    let unwritten = stage.new_visit();
    let too_large = unwritten.insert("n", "x".repeat(10 << 20));
    assert!(matches!(too_large, Err(SessionError::TooLarge { .. })));
    let failed = unwritten.update("n", |n: &mut String| n.push_str(&"x".repeat(10 << 20)));
    assert!(matches!(failed, Err(SessionError::TooLarge { .. })));
    assert_eq!(unwritten.commit(), Ok(CookieChange::Keep));
    stage.may.close();
    let refused = stage.written();
    assert_eq!(refused.register().await, Err(SessionError::Unregistered));
    assert_eq!(refused.commit(), Err(SessionError::Unregistered));
    refused.abandon();
    assert!(stage.sessions.map().is_empty());
    assert_eq!(stage.departed(), []);
}

#[tokio::test]
async fn a_session_created_apart_may_be_renewed_before_it_is_registered() {
    let stage = stage(1);
    let visit = stage.written();
    let first = visit.id().unwrap();
    // Elsewhere, and that registers it.
    visit.cycle_id().await.unwrap();
    let second = visit.id().unwrap();
    assert_ne!(first, second);
    assert!(visit.commit().is_ok());
    assert!(stage.sessions.map().get(&second).is_some());
    // At home, where a bucket has opened.
    let visit = stage.written();
    stage.door.0.store(true, Relaxed);
    visit.cycle_id().await.unwrap();
    assert!(visit.commit().is_ok());
    assert_eq!((stage.sessions.map().len(), stage.departed()), (2, vec![]));
}

#[tokio::test]
async fn a_login_gets_an_id_that_another_bucket_registers() {
    let stage = stage(1);
    let (old, held) = stage.at_home();
    let visit = stage.visit(old, &held);
    visit.known().given(old);
    let mut login = std::pin::pin!(stage.sessions.renew(&held, visit.known()));
    assert!(poll_once(login.as_mut()).is_ready());
    let new = visit.id().unwrap();
    assert_ne!(new, old);
    let map = stage.sessions.map();
    assert!(map.get(&old).is_none() && Arc::ptr_eq(&map.get(&new).unwrap(), &held));
    assert_eq!(map.len(), 1);
    assert_eq!(held.tenure(), Tenure::new(epoch(), 7));
    assert_eq!(stage.departed(), [(old, Tenure::new(epoch(), 0))]);
    assert!(matches!(visit.commit(), Ok(CookieChange::Set { .. })));
}

#[tokio::test]
async fn of_two_logins_the_second_finds_the_id_gone_and_leaves_nothing() {
    let stage = stage(0);
    let (old, held) = stage.at_home();
    let (one, two) = (stage.visit(old, &held), stage.visit(old, &held));
    let mut first = std::pin::pin!(stage.sessions.renew(&held, one.known()));
    let mut second = std::pin::pin!(stage.sessions.renew(&held, two.known()));
    assert!(poll_once(first.as_mut()).is_pending());
    assert!(poll_once(second.as_mut()).is_pending());
    stage.may.add_permits(2);
    assert!(first.await.unwrap().is_some());
    let new = one.id().unwrap();
    assert_eq!(second.await.map(drop), Err(SessionError::Ended));
    assert_eq!(stage.sessions.map().len(), 1);
    let departed = stage.departed();
    assert_eq!(departed.len(), 2);
    assert!(departed.contains(&(old, Tenure::new(epoch(), 0))));
    // That of the second never was.
    assert!(departed.iter().any(|(_, tenure)| *tenure == Tenure::NONE));
    // Two of one request come one after the other.
    stage.may.add_permits(2);
    let mut first = std::pin::pin!(stage.sessions.renew(&held, one.known()));
    let mut second = std::pin::pin!(stage.sessions.renew(&held, one.known()));
    assert!(poll_once(first.as_mut()).is_ready());
    let between = one.id().unwrap();
    assert!(poll_once(second.as_mut()).is_ready());
    assert_eq!(stage.sessions.map().len(), 1);
    let gone: Vec<_> = stage.departed().into_iter().map(|one| one.0).collect();
    assert!(gone.contains(&new) && gone.contains(&between) && gone.len() == 2);
}

#[tokio::test]
async fn a_session_that_went_meanwhile_is_not_renewed() {
    for ends in [true, false] {
        let stage = stage(0);
        let (old, held) = stage.at_home();
        let visit = stage.visit(old, &held);
        let mut login = std::pin::pin!(stage.sessions.renew(&held, visit.known()));
        assert!(poll_once(login.as_mut()).is_pending());
        let now = stage.sessions.now();
        let why = if ends {
            stage.sessions.end(&held, Ending::Destroyed);
            SessionError::Ended
        } else {
            let sealed = stage.sessions.seal(&old, &held, None, now).unwrap();
            assert!(stage.sessions.take_out(&old, &sealed));
            SessionError::Moved
        };
        stage.may.add_permits(1);
        assert_eq!(login.await.map(drop), Err(why));
        assert!(stage.sessions.map().is_empty());
        let unmade = stage.departed();
        assert!(unmade.iter().any(|(_, tenure)| *tenure == Tenure::NONE));
    }
}

#[tokio::test]
async fn where_the_place_was_taken_the_session_keeps_its_id() {
    type Take = fn(&Stage, SessionId, &Arc<Held>);
    let takes: [Take; 3] = [
        |stage, id, keeper| {
            let now = stage.sessions.now();
            let sealed = stage.sessions.seal(&id, keeper, None, now).unwrap();
            assert!(stage.sessions.take_out(&id, &sealed));
            sealed.let_go();
        },
        // Sealed, and not taken out yet.
        |stage, id, keeper| {
            let now = stage.sessions.now();
            drop(stage.sessions.seal(&id, keeper, None, now).unwrap());
        },
        |stage, id, _| stage.sessions.discard(&id),
    ];
    for take in takes {
        let stage = stage(0);
        let (old, held) = stage.at_home();
        let registered = stage
            .sessions
            .put_registered(stage.sessions.mint_anywhere(), Tenure::new(epoch(), 7));
        let (id, keeper) = stage.keeper(&[old]);
        take(&stage, id, &keeper);
        assert_eq!(registered.make_way(&held), Err(SessionError::Moved));
        assert_eq!(stage.departed(), [(id, Tenure::NONE)]);
        assert_eq!(stage.sessions.map().len(), 1);
        assert_eq!(stage.visit(old, &held).get("n"), Ok(Some(1_u8)));
    }
}

#[tokio::test]
async fn who_waits_for_what_kept_the_place_finds_it_ended() {
    let stage = stage(0);
    let (_, held) = stage.at_home();
    let id = stage.sessions.mint_anywhere();
    let registered = stage.sessions.put_registered(id, Tenure::new(epoch(), 7));
    let keeper = stage.sessions.map().get(&id).unwrap();
    assert!(keeper.try_alone().is_none());
    let tenure = registered.tenure();
    registered.make_way(&held).unwrap();
    held.rename(&mut held.body(), id, tenure);
    let alone = keeper.try_alone();
    assert!(alone.is_some());
    let now = stage.sessions.now();
    let sealed = stage.sessions.seal(&id, &keeper, alone, now);
    assert_eq!(sealed.map(drop), Err(SessionError::Ended));
    assert!(Arc::ptr_eq(&stage.sessions.map().get(&id).unwrap(), &held));
    assert_eq!(stage.departed(), []);
}

#[test]
fn a_registered_id_that_nobody_takes_never_was() {
    let stage = stage(0);
    let id = stage.sessions.mint_anywhere();
    let registered = stage.sessions.put_registered(id, Tenure::new(epoch(), 7));
    assert_eq!(stage.sessions.map().len(), 1);
    drop(registered);
    assert!(stage.sessions.map().is_empty());
    assert_eq!(stage.departed(), [(id, Tenure::NONE)]);
}
