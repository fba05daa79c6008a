//! A node, and the store below it.

pub(crate) use std::sync::Arc;
pub(crate) use std::time::Duration;

use parking_lot::Mutex;
pub(crate) use wadi_core::bucket::BucketCount;
pub(crate) use wadi_core::clock::{Clock, ManualClock};
pub(crate) use wadi_core::evict::{AfterIdle, Always, Evicter, MoreThan, Never};
use wadi_core::session::ManagesAll;
pub(crate) use wadi_core::session::{
    ClusterKey, Keyring, Limits, Look, Origin, PresentedId, SessionError, SessionId, Sessions,
    Visit,
};
pub(crate) use wadi_core::store::{Claim, MemoryStore, Page, Row, SessionStore, Took};
pub(crate) use wadi_core::tier::{Copies, Promoted, Recall, Tier, Told};

pub(crate) use super::moody::{Mood, Moody};

pub(crate) struct Node {
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) tier: Arc<Tier>,
    pub(crate) store: Arc<Moody>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) told: Arc<Mutex<Vec<Told>>>,
    pub(crate) copies: Copies,
}

pub(crate) const KEY: [u8; 32] = [1; 32];

pub(crate) fn node_on(
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
    evicter: impl Evicter,
    copies: Copies,
) -> Node {
    node_of(BucketCount::DEFAULT, store, clock, evicter, copies)
}

pub(crate) fn node_of(
    buckets: BucketCount,
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
    evicter: impl Evicter,
    copies: Copies,
) -> Node {
    let sessions = Sessions::builder(Keyring::new(ClusterKey::from_secret(&KEY).unwrap()))
        .clock(Arc::clone(&clock) as Arc<dyn Clock>)
        .managed(buckets, Arc::new(ManagesAll))
        .limits(Limits {
            lock_wait: Duration::from_millis(200),
            ..Limits::default()
        })
        .build();
    let sessions = Arc::new(sessions);
    let store = Arc::new(Moody::new(store));
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

pub(crate) fn node(evicter: impl Evicter) -> Node {
    node_with(evicter, Copies::Never)
}

pub(crate) fn node_with(evicter: impl Evicter, copies: Copies) -> Node {
    let clock = Arc::new(ManualClock::new());
    let store = Arc::new(MemoryStore::new(Arc::clone(&clock) as Arc<dyn Clock>));
    node_on(store, clock, evicter, copies)
}

impl Node {
    /// The same store under a process that starts.
    pub(crate) fn restarted(&self) -> Self {
        node_on(
            Arc::clone(&self.store.store),
            Arc::clone(&self.clock),
            Never,
            self.copies,
        )
    }

    pub(crate) fn create(&self, value: u64) -> SessionId {
        let visit = Visit::without(Arc::clone(&self.sessions), Origin::New);
        visit.insert("n", value).unwrap();
        let id = visit.id().unwrap();
        visit.commit().unwrap();
        id
    }

    pub(crate) fn presented(&self, id: &SessionId) -> PresentedId {
        PresentedId::parse(self.sessions.text(id).expose().as_bytes()).unwrap()
    }

    pub(crate) fn look(&self, id: &SessionId) -> Look {
        self.sessions.look(&self.presented(id), self.clock.now())
    }

    /// As a request does it.
    pub(crate) async fn visit(&self, id: &SessionId) -> Result<Visit, Promoted> {
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

    pub(crate) async fn read(&self, id: &SessionId) -> Result<u64, Promoted> {
        let visit = self.visit(id).await?;
        let value = visit.get("n").unwrap().unwrap();
        visit.commit().unwrap();
        Ok(value)
    }

    pub(crate) async fn everything_goes_down(&self) -> usize {
        let mut demoted = 0;
        loop {
            let round = self.tier.evict(64).await;
            demoted += round.demoted;
            if round.done {
                return demoted;
            }
        }
    }

    pub(crate) async fn rows(&self) -> usize {
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
