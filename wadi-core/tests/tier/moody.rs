//! A store that fails, or takes its time, as it is told.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use wadi_core::session::SessionId;
use wadi_core::store::{
    Claim, Ended, Head, MemoryStore, Page, Put, Row, SessionStore, StoreError, Storing, Took,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// It does nothing, and says so.
    Full,
    /// It takes no rows, and does everything else.
    Closed,
    /// It puts what it is given, and says that nobody knows.
    Silent,
    /// It gives rows out, and says that nobody knows.
    Mute,
    /// It answers when the gate lets it.
    Slow,
    /// It says that nobody knows, and puts what it was given when the test says so.
    Late,
    /// It never answers, and does nothing.
    Hangs,
    Panics,
    /// It gives out whatever it has.
    Mixed,
}

#[derive(Debug)]
pub(crate) struct Moody {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) gate: tokio::sync::Semaphore,
    mood: Mutex<Mood>,
    late: Mutex<Vec<Row>>,
    /// It takes no call with one of these, and says of these that they are damaged.
    pub(crate) poison: Mutex<BTreeSet<SessionId>>,
}

fn away<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("as it was told".to_owned()))
}

fn full<T>() -> Result<T, StoreError> {
    Err(StoreError::Full("as it was told".to_owned()))
}

impl Moody {
    pub(crate) fn new(store: Arc<MemoryStore>) -> Self {
        Self {
            store,
            gate: tokio::sync::Semaphore::new(0),
            mood: Mutex::new(Mood::Well),
            late: Mutex::default(),
            poison: Mutex::default(),
        }
    }

    pub(crate) fn is(&self, mood: Mood) {
        *self.mood.lock() = mood;
    }

    /// What was put late is done now.
    pub(crate) async fn does_it_now(&self) {
        let rows = std::mem::take(&mut *self.late.lock());
        self.store.put(rows).await.unwrap();
    }

    /// Whether it goes on.
    async fn answers(&self) -> Mood {
        let mood = *self.mood.lock();
        match mood {
            Mood::Slow => self.gate.acquire().await.unwrap().forget(),
            Mood::Hangs => std::future::pending().await,
            Mood::Panics => panic!("as it was told"),
            _ => {}
        }
        mood
    }
}

impl SessionStore for Moody {
    fn put(&self, rows: Vec<Row>) -> Storing<'_, Vec<Put>> {
        Box::pin(async move {
            let mood = self.answers().await;
            let is_poison = |row: &Row| self.poison.lock().contains(&row.id);
            if matches!(mood, Mood::Full | Mood::Closed) || rows.iter().any(is_poison) {
                return full();
            }
            if mood == Mood::Late {
                self.late.lock().extend(rows);
                return away();
            }
            let put = self.store.put(rows).await;
            if mood == Mood::Silent { away() } else { put }
        })
    }

    fn take(&self, id: SessionId, claim: Claim) -> Storing<'_, Took> {
        Box::pin(async move {
            let mood = self.answers().await;
            if self.poison.lock().contains(&id) {
                return Err(StoreError::Damaged("as it was told".to_owned()));
            }
            match mood {
                Mood::Full => away(),
                Mood::Mute => {
                    self.store.take(id, claim).await?;
                    away()
                }
                Mood::Mixed => {
                    let page = Page {
                        buckets: wadi_core::bucket::BucketId::new(0)
                            ..=wadi_core::bucket::BucketId::new(u16::MAX),
                        after: None,
                        due: false,
                        most: 100,
                    };
                    let heads = self.store.page(page).await?;
                    let other = heads.iter().find(|head| head.id != id).unwrap();
                    self.store.take(other.id, claim).await
                }
                _ => self.store.take(id, claim).await,
            }
        })
    }

    fn end(&self, ended: Vec<Ended>) -> Storing<'_, ()> {
        Box::pin(async move {
            if self.answers().await == Mood::Full {
                return full();
            }
            self.store.end(ended).await
        })
    }

    fn begin(&self, after: u32) -> Storing<'_, u32> {
        self.store.begin(after)
    }

    fn page(&self, page: Page) -> Storing<'_, Vec<Head>> {
        Box::pin(async move {
            if *self.mood.lock() == Mood::Hangs {
                std::future::pending::<()>().await;
            }
            self.store.page(page).await
        })
    }
}
