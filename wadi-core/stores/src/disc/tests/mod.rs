//! The store, opened as a program opens it, and what may befall it.

mod contract;
mod damage;
mod full;
mod killed;
mod place;
mod time;

use std::path::Path;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use wadi_core::bucket::{BucketId, LayoutVersion};
use wadi_core::session::SessionId;
use wadi_core::store::{
    Claim, Ended, Head, Page, Payload, Put, Row, SessionStore, StoreError, Took,
};
use wadi_core::tenure::{Revision, Tenure};

use super::{DiscSettings, DiscStore};

const HOUR: Duration = Duration::from_secs(3600);

fn open(directory: &Path) -> DiscStore {
    // So that nothing depends on how full this machine's disc is.
    let settings = DiscSettings::new().keep_free_bytes(0);
    DiscStore::open(directory, settings).expect("it opens")
}

fn id(number: u32) -> SessionId {
    let mut random = [7; 16];
    random[..4].copy_from_slice(&number.to_be_bytes());
    SessionId::from_parts(random, number)
}

fn bucket(number: u32) -> BucketId {
    BucketId::new((number % 16) as u16)
}

fn row(number: u32, revision: u64, state: &[u8]) -> Row {
    Row {
        id: id(number),
        bucket: bucket(number),
        tenure: Tenure::new(LayoutVersion::founding(1), 1),
        revision: Revision::new(revision),
        left: HOUR,
        payload: Payload::seal(id(number), state),
    }
}

/// The store's calls, one after the other.
struct Asked {
    runtime: Runtime,
}

impl Asked {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_time().build();
        Self {
            runtime: runtime.expect("it starts"),
        }
    }

    /// Within a time that is long beside everything that is asked here.
    fn wait<T>(&self, until: impl Future<Output = T>) -> T {
        let bounded = async { tokio::time::timeout(Duration::from_secs(60), until).await };
        self.runtime
            .block_on(bounded)
            .expect("it is answered in time")
    }

    fn put(&self, store: &DiscStore, rows: Vec<Row>) -> Result<Vec<Put>, StoreError> {
        self.wait(store.put(rows))
    }

    fn take(&self, store: &DiscStore, number: u32) -> Result<Took, StoreError> {
        self.wait(store.take(id(number), Claim::Own))
    }

    fn end(&self, store: &DiscStore, number: u32, remember_for: Duration) {
        let ended = Ended {
            id: id(number),
            bucket: bucket(number),
            remember_for,
        };
        self.wait(store.end(vec![ended])).expect("it is written");
    }

    fn list(&self, store: &DiscStore, due: bool) -> Result<Vec<Head>, StoreError> {
        let page = Page {
            buckets: BucketId::new(0)..=BucketId::new(u16::MAX),
            after: None,
            due,
            most: 100_000,
        };
        self.wait(store.page(page))
    }
}

fn is_row(took: &Result<Took, StoreError>, row: &Row) -> bool {
    matches!(took, Ok(Took::Row(kept)) if (kept.tenure, kept.revision) == (row.tenure, row.revision)
        && kept.payload == row.payload)
}
