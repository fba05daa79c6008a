//! A real server: the contract, and what may befall it.

mod away;
mod contract;
mod damage;
mod server;

use std::time::Duration;

use wadi_core::bucket::{BucketId, LayoutVersion};
use wadi_core::session::SessionId;
use wadi_core::store::{Page, Payload, Row};
use wadi_core::tenure::{Revision, Tenure};

use super::{RedisSettings, RedisStore};
use server::Server;

async fn open(server: &Server) -> RedisStore {
    let store = RedisStore::open(&server.address(), "test", RedisSettings::new()).await;
    store.expect("it opens")
}

/// Somebody else on the same server.
async fn beside(server: &Server) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(server.address()).expect("it is an address");
    let connection = client.get_multiplexed_async_connection().await;
    connection.expect("it connects")
}

fn row(number: u32) -> Row {
    let id = SessionId::from_parts([9; 16], number);
    Row {
        id,
        bucket: BucketId::new((number % 7) as u16),
        tenure: tenure(1),
        revision: Revision::new(1),
        left: Duration::from_secs(3600),
        payload: Payload::seal(id, format!("session {number}").as_bytes()),
    }
}

fn tenure(count: u64) -> Tenure {
    Tenure::new(LayoutVersion::founding(1), count)
}

/// The key of a session.
fn key(number: u32) -> Vec<u8> {
    let id = super::value::id(row(number).id);
    [b"wadi:{test}:session:", &id[..]].concat()
}

/// How many entries the lists have: of what is listed, by time, and of what is due.
async fn entries(server: &Server) -> [usize; 3] {
    let mut other = beside(server).await;
    let mut counts = [0; 3];
    for (count, list) in counts.iter_mut().zip(["listed", "ends", "due"]) {
        let mut command = redis::cmd("ZCARD");
        command.arg(format!("wadi:{{test}}:{list}"));
        let counted = command.query_async(&mut other).await;
        *count = counted.expect("it can be read");
    }
    counts
}

fn everything(most: usize) -> Page {
    Page {
        buckets: BucketId::new(0)..=BucketId::new(u16::MAX),
        after: None,
        due: false,
        most,
    }
}

/// Within many times what a call may take.
async fn soon<T>(answer: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), answer)
        .await
        .expect("who waits is told in time")
}
