//! The store below, with an eye on whether it answers: for the status, and for the reason of a 503.
//!
//! It passes everything on as it is, and decides nothing.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use wadi_core::clock::{BootClock, Clock, Moment};
use wadi_core::session::SessionId;
use wadi_core::store::{
    Claim, Ended, Head, Page, Put, Row, SessionStore, StoreError, Storing, Took,
};

/// A store that is looked at while it is used.
#[derive(Debug)]
pub(crate) struct Watched {
    store: Arc<dyn SessionStore>,
    /// Since when no call was answered.
    away_since: Mutex<Option<Moment>>,
}

impl Watched {
    pub(crate) fn new(store: Arc<dyn SessionStore>) -> Arc<Self> {
        Arc::new(Self {
            store,
            away_since: Mutex::new(None),
        })
    }

    /// For how long it has answered nothing; `None` where its last answer was one, or nobody has asked yet.
    pub(crate) fn away_for(&self) -> Option<Duration> {
        let since = *self.away_since.lock();
        since.map(|since| BootClock.now().since(since))
    }

    fn watch<'a, T: 'a>(&'a self, call: Storing<'a, T>) -> Storing<'a, T> {
        Box::pin(async move {
            let answer = call.await;
            let mut away_since = self.away_since.lock();
            match &answer {
                Err(StoreError::Unavailable(_)) => {
                    away_since.get_or_insert_with(|| BootClock.now());
                }
                // What is full, or damaged in one place, is there.
                _ => *away_since = None,
            }
            answer
        })
    }
}

impl SessionStore for Watched {
    fn put(&self, rows: Vec<Row>) -> Storing<'_, Vec<Put>> {
        self.watch(self.store.put(rows))
    }

    fn take(&self, id: SessionId, claim: Claim) -> Storing<'_, Took> {
        self.watch(self.store.take(id, claim))
    }

    fn end(&self, ended: Vec<Ended>) -> Storing<'_, ()> {
        self.watch(self.store.end(ended))
    }

    fn begin(&self, after: u32) -> Storing<'_, u32> {
        self.watch(self.store.begin(after))
    }

    fn page(&self, page: Page) -> Storing<'_, Vec<Head>> {
        self.watch(self.store.page(page))
    }

    fn rows(&self) -> Option<u64> {
        self.store.rows()
    }

    fn is_shared(&self) -> bool {
        self.store.is_shared()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

    use wadi_core::store::MemoryStore;

    use super::*;

    /// Answers or not, as a test says.
    #[derive(Debug, Default)]
    struct Fickle {
        is_away: AtomicBool,
        store: MemoryStore,
    }

    impl SessionStore for Fickle {
        fn put(&self, rows: Vec<Row>) -> Storing<'_, Vec<Put>> {
            self.store.put(rows)
        }

        fn take(&self, id: SessionId, claim: Claim) -> Storing<'_, Took> {
            self.store.take(id, claim)
        }

        fn end(&self, ended: Vec<Ended>) -> Storing<'_, ()> {
            self.store.end(ended)
        }

        fn begin(&self, after: u32) -> Storing<'_, u32> {
            let away = StoreError::Unavailable("it is said so".to_owned());
            if self.is_away.load(SeqCst) {
                return Box::pin(std::future::ready(Err(away)));
            }
            self.store.begin(after)
        }

        fn page(&self, page: Page) -> Storing<'_, Vec<Head>> {
            self.store.page(page)
        }
    }

    #[tokio::test]
    async fn a_store_is_away_from_its_first_silence_to_its_next_answer() {
        let store = Arc::new(Fickle::default());
        let watched = Watched::new(Arc::clone(&store) as Arc<_>);
        assert!(watched.begin(0).await.is_ok() && watched.away_for().is_none());
        store.is_away.store(true, SeqCst);
        assert!(watched.begin(0).await.is_err());
        let first = *watched.away_since.lock();
        assert!(watched.begin(0).await.is_err());
        assert!(first.is_some() && first == *watched.away_since.lock());
        store.is_away.store(false, SeqCst);
        let full = watched.begin(u32::MAX).await;
        assert!(matches!(full, Err(StoreError::Full(_))), "{full:?}");
        assert!(watched.away_for().is_none(), "it has answered");
    }
}
