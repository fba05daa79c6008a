//! Shared databases, real ones.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod server;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::time::Duration;

use wadi_core::bucket::{BucketId, LayoutVersion};
use wadi_core::session::SessionId;
use wadi_core::store::{Claim, Page, Payload, Put, Row, SessionStore, StoreError, Took};
use wadi_core::tenure::{Revision, Tenure};

fn id(number: u32) -> SessionId {
    SessionId::from_parts([9; 16], number)
}

fn row(number: u32) -> Row {
    Row {
        id: id(number),
        bucket: BucketId::new((number % 7) as u16),
        tenure: Tenure::new(LayoutVersion::founding(1), 1),
        revision: Revision::new(1),
        left: Duration::from_secs(3600),
        payload: Payload::seal(id(number), format!("session {number}").as_bytes()),
    }
}

fn everything(most: usize) -> Page {
    Page {
        buckets: BucketId::new(0)..=BucketId::new(u16::MAX),
        after: None,
        due: false,
        most,
    }
}

/// More rows than one statement has, in one call.
async fn takes_many_rows_at_once(store: &impl SessionStore) {
    let rows: Vec<Row> = (0..1000).map(row).collect();
    assert_eq!(store.put(rows).await, Ok(vec![Put::Stored; 1000]));
    let listed = store.page(everything(2000)).await.map(|heads| heads.len());
    assert_eq!(listed, Ok(1000));
}

/// What somebody else wrote in place of session 1.
async fn says_what_is_damaged_and_leaves_it(store: &impl SessionStore) {
    let granted = Claim::Granted(Tenure::new(LayoutVersion::founding(2), 1));
    for claim in [Claim::Own, granted, Claim::Own] {
        let took = store.take(row(1).id, claim).await;
        assert!(matches!(took, Err(StoreError::Damaged(_))), "{took:?}");
    }
    let heads = store.page(everything(2000)).await.expect("it is listed");
    let head = heads.iter().find(|head| head.id == row(1).id);
    assert_eq!(
        head.map(|head| head.given_out),
        Some(None),
        "it stays as it was"
    );
    let other = store.take(row(2).id, Claim::Own).await;
    assert!(matches!(other, Ok(Took::Row(_))), "{other:?}");
}

/// Asks for these sessions, of which there is none, under a tenure.
async fn asks_for(store: &impl SessionStore, numbers: std::ops::Range<u32>) {
    let granted = Claim::Granted(Tenure::new(LayoutVersion::founding(2), 1));
    for number in numbers {
        let took = store.take(row(number).id, granted).await;
        assert_eq!(took, Ok(Took::Nothing));
    }
}

/// In tables of the first version rows 1 and 4 lie, of which 4 was given out, and session 2 has ended.
async fn has_what_the_first_version_left(store: &impl SessionStore) {
    let puts = store.put(vec![row(2), row(3)]).await;
    assert_eq!(puts, Ok(vec![Put::Refused, Put::Stored]));
    assert_eq!(store.take(row(2).id, Claim::Own).await, Ok(Took::Ended));
    let took = store.take(row(1).id, Claim::Own).await;
    let Ok(Took::Row(kept)) = took else {
        panic!("{took:?}");
    };
    assert_eq!((kept.payload, kept.given_out), (row(1).payload, None));
    asks_for(store, 1..2).await;
    assert_eq!(store.put(vec![row(1)]).await, Ok(vec![Put::Refused]));
    assert_eq!(store.begin(0).await, Ok(1));
    for count in [1, 2] {
        let granted = Claim::Granted(Tenure::new(LayoutVersion::founding(2), count));
        let took = store.take(row(4).id, granted).await;
        let Ok(Took::Row(kept)) = took else {
            panic!("{took:?}");
        };
        assert_eq!(kept.given_out, Some(row(4).tenure));
    }
}

/// What one has been told, another one is not.
async fn say_no_number_twice(a: &impl SessionStore, b: &impl SessionStore) {
    let mut last = 0;
    for _ in 0..20 {
        let (one, other) = tokio::join!(a.begin(0), b.begin(0));
        let mut said = [one.expect("it is said"), other.expect("it is said")];
        said.sort_unstable();
        assert!(last < said[0] && said[0] < said[1], "{said:?} after {last}");
        last = said[1];
    }
}
