//! A store in memory that does what a test wants: it answers, or does not, and does what it is asked, or does
//! not, or later.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use wadi_core::bucket::BucketId;
use wadi_core::clock::Clock;
use wadi_core::session::SessionId;
use wadi_core::store::{
    Claim, Ended, Head, MemoryStore, Page, Put, Row, SessionStore, StoreError, Storing, Took,
};
use wadi_core::tenure::Tenure;

use crate::world::millis;

/// How the store behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Well,
    /// It does nothing, and says nothing.
    Silent,
    /// It does what it is asked, and says nothing.
    Mute,
    /// It says nothing, and does what it was asked so much later.
    Late(Duration),
    /// It says at once that it cannot be reached.
    Gone,
    /// It takes no rows.
    Full,
    /// Its own code panics.
    Broken,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Shelf {
    store: Arc<MemoryStore>,
    way: Mutex<Way>,
    /// How many sessions it was told have ended.
    ends: AtomicUsize,
    /// The most rows that it was given in one call.
    most: AtomicUsize,
    /// What is being taken, under which tenure; and whether the same was asked twice at once.
    taking: Arc<Mutex<BTreeSet<(SessionId, Tenure)>>>,
    twice: AtomicBool,
}

/// Somebody waits for it.
struct Taking(
    Arc<Mutex<BTreeSet<(SessionId, Tenure)>>>,
    (SessionId, Tenure),
);

impl Drop for Taking {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
    }
}

impl Shelf {
    pub(crate) fn new(clock: &Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            store: Arc::new(MemoryStore::new(Arc::clone(clock))),
            way: Mutex::new(Way::Well),
            ends: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            taking: Arc::default(),
            twice: AtomicBool::new(false),
        })
    }

    pub(crate) fn is(&self, way: Way) {
        *self.way.lock() = way;
    }

    pub(crate) fn ends(&self) -> usize {
        self.ends.load(Relaxed)
    }

    pub(crate) fn asked_twice_at_once(&self) -> bool {
        self.twice.load(Relaxed)
    }

    pub(crate) fn most(&self) -> usize {
        self.most.load(Relaxed)
    }

    /// What it has, and nobody was given.
    pub(crate) async fn kept(&self) -> Vec<Head> {
        let page = Page {
            buckets: BucketId::new(0)..=BucketId::new(u16::MAX),
            after: None,
            due: false,
            most: usize::MAX,
        };
        let heads = self.store.page(page).await.expect("it is in memory");
        let kept = heads.into_iter().filter(|head| head.given_out.is_none());
        kept.collect()
    }

    pub(crate) async fn keeps(&self, id: &SessionId) -> bool {
        self.kept().await.iter().any(|head| head.id == *id)
    }

    async fn go<T: Send + 'static>(
        &self,
        is_put: bool,
        call: impl AsyncCall<T>,
    ) -> Result<T, StoreError> {
        let way = *self.way.lock();
        let store = Arc::clone(&self.store);
        tokio::time::sleep(millis(2)).await;
        match way {
            Way::Full if is_put => Err(StoreError::Full("as the test wants it".to_owned())),
            Way::Well | Way::Full => {
                let done = call.on(store).await;
                tokio::time::sleep(millis(2)).await;
                done
            }
            Way::Silent => std::future::pending().await,
            Way::Mute => {
                drop(call.on(store).await);
                std::future::pending().await
            }
            Way::Late(by) => {
                tokio::spawn(async move {
                    tokio::time::sleep(by).await;
                    drop(call.on(store).await);
                });
                std::future::pending().await
            }
            Way::Gone => Err(StoreError::Unavailable("as the test wants it".to_owned())),
            Way::Broken => panic!("as the test wants it"),
        }
    }
}

/// A call of a store that may be made later.
trait AsyncCall<T>: Send + 'static {
    fn on(self, store: Arc<MemoryStore>) -> impl Future<Output = Result<T, StoreError>> + Send;
}

macro_rules! call {
    ($name:ident($($field:ident: $of:ty),*) -> $answer:ty, $call:ident) => {
        struct $name { $($field: $of),* }

        impl AsyncCall<$answer> for $name {
            async fn on(self, store: Arc<MemoryStore>) -> Result<$answer, StoreError> {
                store.$call($(self.$field),*).await
            }
        }
    };
}

call!(Puts(rows: Vec<Row>) -> Vec<Put>, put);
call!(Takes(id: SessionId, claim: Claim) -> Took, take);
call!(Ends(ended: Vec<Ended>) -> (), end);
call!(Begins(after: u32) -> u32, begin);
call!(Pages(page: Page) -> Vec<Head>, page);

impl SessionStore for Shelf {
    fn put(&self, rows: Vec<Row>) -> Storing<'_, Vec<Put>> {
        self.most.fetch_max(rows.len(), Relaxed);
        Box::pin(self.go(true, Puts { rows }))
    }

    fn take(&self, id: SessionId, claim: Claim) -> Storing<'_, Took> {
        let Claim::Granted(tenure) = claim else {
            return self.store.take(id, claim);
        };
        let is_new = self.taking.lock().insert((id, tenure));
        self.twice.fetch_or(!is_new, Relaxed);
        let taking = Taking(Arc::clone(&self.taking), (id, tenure));
        Box::pin(async move {
            let took = self.go(false, Takes { id, claim }).await;
            drop(taking);
            took
        })
    }

    fn end(&self, ended: Vec<Ended>) -> Storing<'_, ()> {
        self.ends.fetch_add(ended.len(), Relaxed);
        Box::pin(self.go(false, Ends { ended }))
    }

    fn begin(&self, after: u32) -> Storing<'_, u32> {
        Box::pin(self.go(false, Begins { after }))
    }

    fn page(&self, page: Page) -> Storing<'_, Vec<Head>> {
        Box::pin(self.go(false, Pages { page }))
    }
}
