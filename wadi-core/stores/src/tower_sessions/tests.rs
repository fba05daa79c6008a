//! The contract, on tower-sessions' own store in memory; and stores that fail, forget, or wait.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use tower_sessions_core::SessionStore as _;
use tower_sessions_core::session::{Id, Record};
use tower_sessions_core::session_store::{Error, Result};
use tower_sessions_memory_store::MemoryStore;
use wadi_core::bucket::{BucketId, LayoutVersion};
use wadi_core::session::SessionId;
use wadi_core::store::{
    Claim, Ended, Page, Payload, Put, Row, SessionStore, StoreError, Took, conformance,
};
use wadi_core::tenure::{Revision, Tenure};

use super::record::{self, Entry};
use super::*;

fn row(number: u32) -> Row {
    let id = SessionId::from_parts([9; 16], number);
    Row {
        id,
        bucket: BucketId::new((number % 7) as u16),
        tenure: Tenure::new(LayoutVersion::founding(1), 1),
        revision: Revision::new(1),
        left: std::time::Duration::from_secs(3600),
        payload: Payload::seal(id, format!("session {number}").as_bytes()),
    }
}

fn granted(count: u64) -> Claim {
    Claim::Granted(Tenure::new(LayoutVersion::founding(2), count))
}

fn listing(due: bool) -> Page {
    Page {
        buckets: BucketId::new(0)..=BucketId::new(u16::MAX),
        after: None,
        due,
        most: 10,
    }
}

/// A store that behaves as others do.
#[derive(Debug, Default)]
struct Strange {
    inner: MemoryStore,
    /// It saves only what it has.
    saves_what_is_there: bool,
    /// It fails where it has an id already.
    refuses_ids: bool,
    is_away: AtomicBool,
    waits: AtomicBool,
    /// Another process is told 50 while this one creates its first number.
    overtakes: AtomicBool,
    created: Mutex<Vec<Id>>,
}

impl Strange {
    async fn pass(&self) -> Result<()> {
        if self.waits.load(SeqCst) {
            std::future::pending::<()>().await;
        }
        // Others come between any two calls.
        tokio::task::yield_now().await;
        if self.is_away.load(SeqCst) {
            return Err(Error::Backend("it is away".to_owned()));
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl tower_sessions_core::SessionStore for Strange {
    async fn create(&self, record: &mut Record) -> Result<()> {
        self.pass().await?;
        if self.refuses_ids && self.inner.load(&record.id).await?.is_some() {
            return Err(Error::Backend("there is one".to_owned()));
        }
        if self.overtakes.load(SeqCst) && record.id == record::id_of_number(1) {
            let last = record::record(record::id_of_last(), &Entry::Number(50), u64::MAX);
            self.inner.save(&last).await?;
        }
        self.inner.create(record).await?;
        self.created.lock().unwrap().push(record.id);
        Ok(())
    }

    async fn save(&self, record: &Record) -> Result<()> {
        self.pass().await?;
        if self.saves_what_is_there && self.inner.load(&record.id).await?.is_none() {
            return Ok(());
        }
        self.inner.save(record).await
    }

    async fn load(&self, id: &Id) -> Result<Option<Record>> {
        self.pass().await?;
        self.inner.load(id).await
    }

    async fn delete(&self, id: &Id) -> Result<()> {
        self.pass().await?;
        self.inner.delete(id).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_tower_sessions_conforms_but_for_lists() {
    let store = TowerSessionsStore::new(MemoryStore::default());
    conformance::check_without_lists(store).await;
    let strange = Strange {
        saves_what_is_there: true,
        refuses_ids: true,
        ..Strange::default()
    };
    let store: std::sync::Arc<dyn tower_sessions_core::SessionStore> = std::sync::Arc::new(strange);
    conformance::check_without_lists(TowerSessionsStore::shared(store)).await;
}

#[tokio::test]
async fn lists_are_empty_and_no_failure() {
    let store = TowerSessionsStore::new(MemoryStore::default());
    let mut over = row(1);
    over.left = std::time::Duration::ZERO;
    assert_eq!(store.put(vec![over]).await, Ok(vec![Put::Stored]));
    for due in [true, false] {
        assert_eq!(store.page(listing(due)).await, Ok(vec![]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_number_is_said_twice_by_several_processes() {
    let shared = MemoryStore::default();
    let stores = (0..8).map(|_| TowerSessionsStore::new(shared.clone()));
    let asking = stores.map(|store| {
        tokio::spawn(async move {
            let mut said = Vec::new();
            for _ in 0..20 {
                said.push(store.begin(0).await.expect("there is one"));
            }
            said
        })
    });
    let mut all = Vec::new();
    for said in asking.collect::<Vec<_>>() {
        let said = said.await.expect("it does not panic");
        assert!(said.is_sorted());
        all.extend(said);
    }
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 160);
    let store = TowerSessionsStore::new(shared);
    let next = store.begin(0).await.expect("there is one");
    assert!(Some(&next) > all.last());
}

#[tokio::test]
async fn who_was_overtaken_takes_a_higher_number() {
    let strange = Strange::default();
    strange.overtakes.store(true, SeqCst);
    let store = TowerSessionsStore::new(strange);
    assert_eq!(store.begin(0).await, Ok(51));
}

#[tokio::test]
async fn what_was_remembered_for_longer_stays_so() {
    let shared = MemoryStore::default();
    let store = TowerSessionsStore::new(shared.clone());
    let until = async || {
        let found = shared.load(&record::id(row(1).id)).await.expect("it loads");
        found.map(|record| record.expiry_date)
    };
    let end = async |seconds: u64| {
        let ended = Ended {
            id: row(1).id,
            bucket: row(1).bucket,
            remember_for: std::time::Duration::from_secs(seconds),
        };
        assert_eq!(store.end(vec![ended]).await, Ok(()));
    };
    assert_eq!(store.take(row(1).id, granted(1)).await, Ok(Took::Nothing));
    let fenced = until().await;
    assert!(fenced.is_some());
    for seconds in [0, 10] {
        end(seconds).await;
        assert_eq!(until().await, fenced);
    }
    end(7000).await;
    let ended = until().await;
    assert!(ended > fenced);
    end(10).await;
    assert_eq!(until().await, ended);
}

#[tokio::test]
async fn a_damaged_record_costs_that_one_only() {
    let shared = MemoryStore::default();
    let store = TowerSessionsStore::new(shared.clone());
    let rows = vec![row(1), row(2), row(3), row(4)];
    assert_eq!(store.put(rows).await, Ok(vec![Put::Stored; 4]));
    // What nobody can read, a payload that broke, and another session's.
    let mut strange = record::record(record::id(row(1).id), &Entry::Ended, u64::MAX);
    strange.data.insert("wadi".to_owned(), "?".into());
    shared.save(&strange).await.expect("it saves");
    let broken = shared.load(&record::id(row(2).id)).await;
    let mut broken = broken.expect("it loads").expect("it is there");
    let Ok(Entry::Row(mut kept)) = record::read(&broken) else {
        panic!("it is a row");
    };
    *kept.payload.last_mut().expect("there is one") ^= 1;
    broken.data = record::record(broken.id, &Entry::Row(kept), 0).data;
    shared.save(&broken).await.expect("it saves");
    let others = shared.load(&record::id(row(3).id)).await;
    let mut others = others.expect("it loads").expect("it is there");
    others.id = record::id(row(4).id);
    shared.save(&others).await.expect("it saves");
    for number in [1, 2, 4] {
        for claim in [Claim::Own, granted(1), Claim::Own] {
            let took = store.take(row(number).id, claim).await;
            assert!(matches!(took, Err(StoreError::Damaged(_))), "{took:?}");
        }
    }
    assert_eq!(
        store.put(vec![row(1), row(3)]).await,
        Ok(vec![Put::Refused, Put::Stored])
    );
    let as_it_was = shared.load(&strange.id).await.expect("it loads");
    assert_eq!(as_it_was, Some(strange), "it stays as it was");
    assert!(matches!(
        store.take(row(3).id, Claim::Own).await,
        Ok(Took::Row(_))
    ));
    let ended = [1, 2].map(|number| Ended {
        id: row(number).id,
        bucket: row(number).bucket,
        remember_for: std::time::Duration::from_secs(60),
    });
    assert_eq!(store.end(ended.to_vec()).await, Ok(()));
    for number in [1, 2] {
        assert_eq!(
            store.take(row(number).id, granted(2)).await,
            Ok(Took::Ended)
        );
    }
}

#[tokio::test]
async fn a_store_that_is_away_or_does_not_answer_is_said_in_time() {
    let shared = std::sync::Arc::new(Strange::default());
    let patient = TowerSessionsStore::shared(std::sync::Arc::clone(&shared));
    assert_eq!(patient.put(vec![row(1)]).await, Ok(vec![Put::Stored]));
    let store = TowerSessionsStore::shared(std::sync::Arc::clone(&shared))
        .timeout(std::time::Duration::from_millis(50));
    for what in [&shared.is_away, &shared.waits] {
        what.store(true, SeqCst);
        let ended = Ended {
            id: row(1).id,
            bucket: row(1).bucket,
            remember_for: std::time::Duration::from_secs(60),
        };
        let answers = [
            store.put(vec![row(1)]).await.err(),
            store.take(row(1).id, Claim::Own).await.err(),
            store.end(vec![ended]).await.err(),
            store.begin(0).await.err(),
        ];
        for answer in answers {
            assert!(
                matches!(answer, Some(StoreError::Unavailable(_))),
                "{answer:?}"
            );
        }
        what.store(false, SeqCst);
    }
    assert!(matches!(
        patient.take(row(1).id, Claim::Own).await,
        Ok(Took::Row(_))
    ));
}

#[tokio::test]
async fn what_the_store_does_not_show_any_more_is_written_over() {
    let shared = std::sync::Arc::new(Strange::default());
    let store = TowerSessionsStore::shared(std::sync::Arc::clone(&shared));
    // It has run out, and is still there.
    let over = record::record(record::id(row(1).id), &Entry::Ended, 1);
    shared.inner.save(&over).await.expect("it saves");
    assert_eq!(store.put(vec![row(1)]).await, Ok(vec![Put::Stored]));
    assert!(matches!(
        store.take(row(1).id, Claim::Own).await,
        Ok(Took::Row(_))
    ));
    let created = std::mem::take(&mut *shared.created.lock().unwrap());
    for created in created {
        let left = shared.inner.load(&created).await;
        assert_eq!(left.expect("it loads"), None, "nothing is left behind");
    }
}
