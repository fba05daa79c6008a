//! A node that is alone, with a store below its memory: nothing is ever in two places, or in none.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::time::Duration;

use parking_lot::Mutex;
use wadi_core::clock::{Clock, ManualClock};
use wadi_core::evict::{AfterIdle, Always, Evicter, MoreThan, Never};
use wadi_core::session::{
    ClusterKey, Keyring, Limits, Look, Origin, PresentedId, SessionError, SessionId, Sessions,
    Visit,
};
use wadi_core::store::{
    Claim, Ended, Head, MemoryStore, Page, Put, Row, SessionStore, StoreError, Storing, Took,
};
use wadi_core::tier::{Copies, Promoted, Recall, Tier, Told};

/// A store that fails, or takes its time, as it is told.
#[derive(Debug)]
struct Moody {
    store: Arc<MemoryStore>,
    mood: AtomicU8,
    gate: tokio::sync::Semaphore,
}

const WELL: u8 = 0;
/// It does nothing, and says so.
const FULL: u8 = 1;
/// It does what it is asked, and says that nobody knows.
const SILENT: u8 = 2;
/// It answers when the gate lets it.
const SLOW: u8 = 3;

impl Moody {
    fn after<'a, T: Send + 'a>(&'a self, answer: Storing<'a, T>) -> Storing<'a, T> {
        let full = || StoreError::Full("as it was told".to_owned());
        match self.mood.load(SeqCst) {
            FULL => Box::pin(async move { Err(full()) }),
            SILENT => Box::pin(async move {
                answer.await?;
                Err(StoreError::Unavailable("as it was told".to_owned()))
            }),
            SLOW => Box::pin(async move {
                self.gate.acquire().await.unwrap().forget();
                answer.await
            }),
            _ => answer,
        }
    }
}

impl SessionStore for Moody {
    fn put(&self, rows: Vec<Row>) -> Storing<'_, Vec<Put>> {
        if self.mood.load(SeqCst) == FULL {
            return self.after(Box::pin(async { Ok(Vec::new()) }));
        }
        self.after(self.store.put(rows))
    }

    fn take(&self, id: SessionId, claim: Claim) -> Storing<'_, Took> {
        match self.mood.load(SeqCst) {
            SLOW => Box::pin(async move {
                self.gate.acquire().await.unwrap().forget();
                self.store.take(id, claim).await
            }),
            FULL => Box::pin(async { Err(StoreError::Unavailable("as it was told".to_owned())) }),
            _ => self.store.take(id, claim),
        }
    }

    fn end(&self, ended: Vec<Ended>) -> Storing<'_, ()> {
        if self.mood.load(SeqCst) == FULL {
            return self.after(Box::pin(async { Ok(()) }));
        }
        self.store.end(ended)
    }

    fn begin(&self, after: u32) -> Storing<'_, u32> {
        self.store.begin(after)
    }

    fn page(&self, page: Page) -> Storing<'_, Vec<Head>> {
        self.store.page(page)
    }
}

struct Node {
    sessions: Arc<Sessions>,
    tier: Arc<Tier>,
    store: Arc<Moody>,
    clock: Arc<ManualClock>,
    told: Arc<Mutex<Vec<Told>>>,
    copies: Copies,
}

const KEY: [u8; 32] = [1; 32];

fn node_on(
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
    evicter: impl Evicter,
    copies: Copies,
) -> Node {
    let sessions = Sessions::builder(Keyring::new(ClusterKey::from_secret(&KEY).unwrap()))
        .clock(Arc::clone(&clock) as Arc<dyn Clock>)
        .limits(Limits {
            lock_wait: Duration::from_millis(200),
            ..Limits::default()
        })
        .build();
    let sessions = Arc::new(sessions);
    let store = Arc::new(Moody {
        store,
        mood: AtomicU8::new(WELL),
        gate: tokio::sync::Semaphore::new(0),
    });
    let told = Arc::new(Mutex::new(Vec::new()));
    let tells = Arc::clone(&told);
    let tier = Arc::new(Tier::new(
        Arc::clone(&sessions),
        Arc::clone(&store) as Arc<dyn SessionStore>,
        Arc::new(evicter),
        copies,
        Box::new(move |what| tells.lock().push(what)),
    ));
    sessions.among(Arc::new(Recall::by(&tier)));
    let (some, ends) = (tier.some_ended(), Arc::downgrade(&tier));
    tokio::spawn(async move {
        loop {
            some.notified().await;
            let Some(tier) = ends.upgrade() else { return };
            tier.end_rows().await;
        }
    });
    Node {
        sessions,
        tier,
        store,
        clock,
        told,
        copies,
    }
}

fn node(evicter: impl Evicter) -> Node {
    node_with(evicter, Copies::Never)
}

fn node_with(evicter: impl Evicter, copies: Copies) -> Node {
    let clock = Arc::new(ManualClock::new());
    let store = Arc::new(MemoryStore::new(Arc::clone(&clock) as Arc<dyn Clock>));
    node_on(store, clock, evicter, copies)
}

impl Node {
    /// The same store under a process that starts.
    fn restarted(&self) -> Self {
        node_on(
            Arc::clone(&self.store.store),
            Arc::clone(&self.clock),
            Never,
            self.copies,
        )
    }

    fn create(&self, value: u64) -> SessionId {
        let visit = Visit::without(Arc::clone(&self.sessions), Origin::New);
        visit.insert("n", value).unwrap();
        let id = visit.id().unwrap();
        visit.commit().unwrap();
        id
    }

    fn presented(&self, id: &SessionId) -> PresentedId {
        PresentedId::parse(self.sessions.text(id).expose().as_bytes()).unwrap()
    }

    fn look(&self, id: &SessionId) -> Look {
        self.sessions.look(&self.presented(id), self.clock.now())
    }

    /// As a request does it.
    async fn visit(&self, id: &SessionId) -> Result<Visit, Promoted> {
        for _ in 0..8 {
            match self.look(id) {
                Look::Here(guard) => {
                    return Ok(Visit::holding(Arc::clone(&self.sessions), guard, *id));
                }
                Look::Busy(held) => match self.sessions.share(&held).await {
                    Ok(guard) => {
                        return Ok(Visit::holding(Arc::clone(&self.sessions), guard, *id));
                    }
                    Err(SessionError::Moved) => {}
                    Err(_) => return Err(Promoted::Unavailable),
                },
                Look::NotHere(_) => match self.tier.promote(*id).await {
                    Promoted::Look => {}
                    other => return Err(other),
                },
            }
        }
        panic!("it was looked for again and again")
    }

    async fn read(&self, id: &SessionId) -> Result<u64, Promoted> {
        let visit = self.visit(id).await?;
        let value = visit.get("n").unwrap().unwrap();
        visit.commit().unwrap();
        Ok(value)
    }

    async fn everything_goes_down(&self) -> usize {
        let mut demoted = 0;
        loop {
            let round = self.tier.evict(64).await;
            demoted += round.demoted;
            if round.done {
                return demoted;
            }
        }
    }

    async fn rows(&self) -> usize {
        let buckets = self.sessions.map().buckets();
        let mut each = buckets.iter();
        let first = each.next().unwrap();
        let page = Page {
            buckets: first..=each.last().unwrap_or(first),
            after: None,
            due: false,
            most: usize::MAX,
        };
        self.store.store.page(page).await.unwrap().len()
    }
}

#[tokio::test]
async fn what_nobody_asks_for_goes_down_and_comes_up_when_somebody_does() {
    let node = node(AfterIdle(Duration::from_secs(60)));
    let (old, young) = (node.create(7), node.create(8));
    node.clock.advance(Duration::from_secs(60));
    assert_eq!(node.read(&young).await, Ok(8));
    assert_eq!(node.everything_goes_down().await, 1);
    assert_eq!((node.sessions.map().len(), node.rows().await), (1, 1));
    node.clock.advance(Duration::from_secs(30));
    assert_eq!(node.read(&old).await, Ok(7));
    assert_eq!((node.sessions.map().len(), node.rows().await), (2, 0));
    assert_eq!(
        (node.tier.counts().demoted(), node.tier.counts().promoted()),
        (1, 1)
    );
    // What it never had costs one look, and is nothing.
    let unknown = SessionId::from_parts([9; 16], 1);
    assert_eq!(node.tier.promote(unknown).await, Promoted::Absent);
}

#[tokio::test]
async fn time_goes_on_below() {
    let node = node(Always);
    let id = node.create(7);
    // Its cookie came back, so it lives for half an hour.
    assert_eq!(node.read(&id).await, Ok(7));
    node.clock.advance(Duration::from_secs(600));
    node.everything_goes_down().await;
    node.clock.advance(Duration::from_secs(1199));
    assert_eq!(node.read(&id).await, Ok(7));
    node.everything_goes_down().await;
    node.clock.advance(Duration::from_secs(1800));
    assert_eq!(node.tier.promote(id).await, Promoted::Look);
    assert!(matches!(node.look(&id), Look::NotHere(Origin::Expired)));
}

#[tokio::test]
async fn as_many_go_as_there_are_too_many_and_those_who_are_idle_for_longest() {
    let node = node(MoreThan(60));
    let ids: Vec<_> = (0..100).map(|n| node.create(n)).collect();
    node.clock.advance(Duration::from_secs(10));
    for id in &ids[50..] {
        node.read(id).await.unwrap();
    }
    // One batch, so they are compared with each other.
    let round = node.tier.evict(1000).await;
    assert_eq!((round.demoted, round.done), (40, true));
    assert!(
        ids[50..]
            .iter()
            .all(|id| matches!(node.look(id), Look::Here(_)))
    );
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(node.read(id).await, Ok(n as u64));
    }
}

#[tokio::test]
async fn who_is_in_use_stays() {
    let node = node(Always);
    let id = node.create(7);
    let Look::Here(guard) = node.look(&id) else {
        panic!("it is here")
    };
    assert_eq!(node.everything_goes_down().await, 0);
    drop(guard);
    assert_eq!(node.everything_goes_down().await, 1);
}

#[tokio::test]
async fn who_asks_while_it_goes_down_has_it_with_all_that_was_written() {
    let node = Arc::new(node(Always));
    let id = node.create(7);
    node.store.mood.store(SLOW, SeqCst);
    let down = tokio::spawn({
        let node = Arc::clone(&node);
        async move { node.everything_goes_down().await }
    });
    while !matches!(node.look(&id), Look::Busy(_)) {
        tokio::task::yield_now().await;
    }
    let asks = tokio::spawn({
        let node = Arc::clone(&node);
        async move { node.read(&id).await }
    });
    tokio::task::yield_now().await;
    node.store.mood.store(WELL, SeqCst);
    node.store.gate.add_permits(10);
    assert_eq!(asks.await.unwrap(), Ok(7));
    assert_eq!(down.await.unwrap(), 1);
}

#[tokio::test]
async fn many_who_ask_at_once_have_one_session() {
    let node = Arc::new(node(Always));
    let id = node.create(0);
    node.everything_goes_down().await;
    let asks: Vec<_> = (0..64)
        .map(|_| {
            let node = Arc::clone(&node);
            tokio::spawn(async move {
                let visit = node.visit(&id).await.unwrap();
                visit.update("n", |n: &mut u64| *n += 1).unwrap();
                visit.commit().unwrap();
            })
        })
        .collect();
    for asked in asks {
        asked.await.unwrap();
    }
    assert_eq!(node.read(&id).await, Ok(64));
    assert_eq!(node.tier.counts().promoted(), 1);
}

#[tokio::test]
async fn a_request_that_hangs_up_loses_nothing() {
    let node = Arc::new(node(Always));
    let id = node.create(7);
    node.everything_goes_down().await;
    node.store.mood.store(SLOW, SeqCst);
    let asks = tokio::spawn({
        let node = Arc::clone(&node);
        async move { node.tier.promote(id).await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    asks.abort();
    node.store.gate.add_permits(10);
    node.store.mood.store(WELL, SeqCst);
    assert_eq!(node.read(&id).await, Ok(7));
}

#[tokio::test]
async fn a_store_that_is_full_loses_nothing_and_is_left_alone_for_a_while() {
    let node = node(Always);
    let id = node.create(7);
    node.store.mood.store(FULL, SeqCst);
    assert_eq!(node.everything_goes_down().await, 0);
    assert_eq!(node.everything_goes_down().await, 0);
    assert_eq!(
        node.told.lock().len(),
        1,
        "it is not asked again before its time"
    );
    assert!(matches!(node.told.lock()[0], Told::NotDemoted(_)));
    assert_eq!(node.read(&id).await, Ok(7));
    node.store.mood.store(WELL, SeqCst);
    node.clock.advance(Duration::from_secs(1));
    assert_eq!(node.everything_goes_down().await, 1);
    node.store.mood.store(FULL, SeqCst);
    assert_eq!(node.read(&id).await, Err(Promoted::Unavailable));
    node.store.mood.store(WELL, SeqCst);
    assert_eq!(node.read(&id).await, Ok(7));
}

#[tokio::test]
async fn what_the_store_did_without_saying_so_brings_nothing_back() {
    let node = node(Always);
    let (changes, ends) = (node.create(7), node.create(9));
    node.store.mood.store(SILENT, SeqCst);
    assert_eq!(node.everything_goes_down().await, 0);
    assert_eq!(node.rows().await, 2, "it has them all the same");
    node.store.mood.store(WELL, SeqCst);
    let visit = node.visit(&changes).await.unwrap();
    visit.insert("n", 8_u64).unwrap();
    visit.commit().unwrap();
    let visit = node.visit(&ends).await.unwrap();
    visit.flush().await.unwrap();
    drop(visit);
    assert_eq!(node.tier.promote(ends).await, Promoted::Absent);
    node.clock.advance(Duration::from_secs(1));
    node.tier.sweep().await;
    assert_eq!(node.rows().await, 0);
    assert_eq!(node.everything_goes_down().await, 1);
    assert_eq!(node.read(&changes).await, Ok(8));
    assert_eq!(node.tier.promote(ends).await, Promoted::Absent);
}

#[tokio::test]
async fn what_runs_out_below_ends_as_every_session_does() {
    let node = node(Always);
    let ids: Vec<_> = (0..600).map(|n| node.create(n)).collect();
    node.everything_goes_down().await;
    node.clock.advance(Duration::from_secs(599));
    assert!(!node.tier.sweep().await);
    let late = node.create(1);
    node.everything_goes_down().await;
    assert_eq!(node.rows().await, 601);
    node.clock.advance(Duration::from_secs(1));
    let mut batches = 1;
    while node.tier.sweep().await {
        assert!(node.sessions.map().is_empty(), "each batch ends");
        batches += 1;
    }
    assert!(batches > 2, "it is done in batches: {batches}");
    assert_eq!((node.rows().await, node.sessions.map().len()), (1, 0));
    for id in &ids {
        assert!(matches!(node.look(id), Look::NotHere(Origin::Expired)));
    }
    assert_eq!(node.read(&late).await, Ok(1));
}

#[tokio::test]
async fn a_node_that_stops_and_starts_has_its_sessions() {
    let first = node(Never);
    let ids: Vec<_> = (0..1000).map(|n| first.create(n)).collect();
    let Look::Here(in_use) = first.look(&ids[3]) else {
        panic!("it is here")
    };
    let visit = Visit::holding(Arc::clone(&first.sessions), in_use, ids[3]);
    visit.insert("n", 3333_u64).unwrap();
    let revoke_at = first.clock.now();
    assert_eq!(first.tier.close(revoke_at).await, 0);
    assert_eq!(
        visit.commit(),
        Err(SessionError::Moved),
        "what it says is not certain to be kept"
    );
    assert_eq!(first.tier.promote(ids[0]).await, Promoted::Unavailable);
    assert_eq!(first.rows().await, 1000);

    let second = first.restarted();
    first.clock.advance(Duration::from_secs(10));
    for (n, id) in ids.iter().enumerate() {
        let expected = if n == 3 { 3333 } else { n as u64 };
        assert_eq!(second.read(id).await, Ok(expected));
    }
}

#[tokio::test]
async fn a_handle_beyond_its_request_finds_its_session_again() {
    let node = node(Always);
    let visit = Arc::new(Visit::without(Arc::clone(&node.sessions), Origin::New));
    visit.insert("n", 7_u64).unwrap();
    visit.commit().unwrap();
    let handle = visit.detach();
    drop(visit);
    assert_eq!(node.everything_goes_down().await, 1);
    assert_eq!(handle.get("n").await, Ok(Some(7_u64)));
}

/// As a request that writes: its response waits for the copy.
async fn write(node: &Node, id: &SessionId, value: u64) {
    let visit = node.visit(id).await.unwrap();
    visit.insert("n", value).unwrap();
    let held = visit.session().unwrap();
    assert!(node.tier.lacks_copy(&held));
    node.tier.copy(&held).await;
    assert!(!node.tier.lacks_copy(&held), "it waits once");
    visit.commit().unwrap();
}

#[tokio::test]
async fn what_was_answered_outlives_a_process_that_is_killed() {
    let first = node_with(Never, Copies::AtOnce);
    let (kept, unchanged, destroyed, renewed) = (
        first.create(1),
        first.create(2),
        first.create(3),
        first.create(4),
    );
    for id in [&kept, &unchanged, &destroyed, &renewed] {
        write(&first, id, 10).await;
    }
    write(&first, &kept, 11).await;
    first
        .visit(&destroyed)
        .await
        .unwrap()
        .flush()
        .await
        .unwrap();
    let visit = first.visit(&renewed).await.unwrap();
    visit.cycle_id().await.unwrap();
    let new = visit.id().unwrap();
    first.tier.copy(&visit.session().unwrap()).await;
    visit.commit().unwrap();

    // Nothing is closed: it is killed.
    let second = first.restarted();
    assert_eq!(second.read(&kept).await, Ok(11));
    assert_eq!(second.read(&unchanged).await, Ok(10));
    assert_eq!(second.read(&new).await, Ok(10));
    for gone in [&destroyed, &renewed] {
        assert_eq!(second.tier.promote(*gone).await, Promoted::Absent);
    }
    // And killed again, when nothing but this was written since.
    write(&second, &kept, 12).await;
    let third = second.restarted();
    assert_eq!(third.read(&kept).await, Ok(12));
    assert_eq!(third.read(&unchanged).await, Ok(10));
}

#[tokio::test]
async fn overlapping_requests_share_a_copy() {
    let node = Arc::new(node_with(Never, Copies::AtOnce));
    let id = node.create(0);
    node.store.mood.store(SLOW, SeqCst);
    let asks: Vec<_> = (0..64)
        .map(|_| {
            let node = Arc::clone(&node);
            tokio::spawn(async move {
                let visit = node.visit(&id).await.unwrap();
                visit.update("n", |n: &mut u64| *n += 1).unwrap();
                node.tier.copy(&visit.session().unwrap()).await;
                visit.commit().unwrap();
            })
        })
        .collect();
    tokio::task::yield_now().await;
    // Two are enough for all of them.
    node.store.gate.add_permits(2);
    for asked in asks {
        asked.await.unwrap();
    }
    node.store.mood.store(WELL, SeqCst);
    assert_eq!(node.restarted().read(&id).await, Ok(64));
}

#[tokio::test]
async fn an_end_is_certain_only_when_the_store_knows_it() {
    let node = node_with(Never, Copies::AtOnce);
    let id = node.create(7);
    write(&node, &id, 8).await;
    node.store.mood.store(FULL, SeqCst);
    let flushed = node.visit(&id).await.unwrap().flush().await;
    assert_eq!(flushed, Err(SessionError::Unsettled));
    assert!(
        node.told
            .lock()
            .iter()
            .any(|told| matches!(told, Told::NotEnded(_)))
    );
    node.store.mood.store(WELL, SeqCst);
    assert!(node.tier.end_rows().await, "it is told again");
    assert_eq!(node.restarted().tier.promote(id).await, Promoted::Absent);
}

#[tokio::test]
async fn a_store_that_fails_holds_up_no_session_in_memory_and_has_its_copy_later() {
    let node = node_with(Never, Copies::AtOnce);
    let id = node.create(7);
    node.store.mood.store(FULL, SeqCst);
    let visit = node.visit(&id).await.unwrap();
    visit.insert("n", 9_u64).unwrap();
    node.tier.copy(&visit.session().unwrap()).await;
    visit.commit().unwrap();
    drop(visit);
    node.store.mood.store(WELL, SeqCst);
    node.everything_goes_down().await;
    assert_eq!(
        node.restarted().read(&id).await,
        Ok(9),
        "the next round wrote it"
    );
}

#[tokio::test]
async fn copies_may_come_some_time_later() {
    let node = node_with(Never, Copies::After(Duration::from_secs(10)));
    let id = node.create(7);
    let visit = node.visit(&id).await.unwrap();
    assert!(
        !node.tier.lacks_copy(&visit.session().unwrap()),
        "no response waits"
    );
    drop(visit);
    node.everything_goes_down().await;
    assert_eq!(node.rows().await, 1, "there was none yet");
    let visit = node.visit(&id).await.unwrap();
    visit.insert("n", 8_u64).unwrap();
    visit.commit().unwrap();
    drop(visit);
    node.clock.advance(Duration::from_secs(9));
    node.everything_goes_down().await;
    node.clock.advance(Duration::from_secs(1));
    let before = node.store.store.take(id, Claim::Own).await.unwrap();
    assert!(matches!(before, Took::Row(kept) if kept.revision.get() == 1));
    node.everything_goes_down().await;
    assert_eq!(node.restarted().read(&id).await, Ok(8));
}

#[tokio::test]
async fn a_session_in_use_is_not_ended_for_its_copy() {
    let node = node_with(Never, Copies::AtOnce);
    let (used, idle) = (node.create(7), node.create(8));
    for id in [&used, &idle] {
        write(&node, id, 9).await;
    }
    for _ in 0..10 {
        node.clock.advance(Duration::from_secs(300));
        assert_eq!(node.read(&used).await, Ok(9));
        node.tier.sweep().await;
        node.everything_goes_down().await;
    }
    assert!(matches!(node.look(&idle), Look::NotHere(Origin::Expired)));
    assert_eq!(node.rows().await, 1);
    // Killed, it has been idle for as long as it was.
    let second = node.restarted();
    assert_eq!(second.read(&used).await, Ok(9));
    assert_eq!(second.tier.promote(idle).await, Promoted::Absent);
}
