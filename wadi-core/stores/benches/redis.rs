//! What a store in Redis costs beside its client alone: rows of about 1 KiB are put in batches by several at once, listed, and
//! taken one by one; and the same bytes are set and got by bare commands, on the same server.
//!
//! `cargo bench -p wadi-stores --features redis --bench redis -- ROWS BATCH`. Without arguments a few rows. It starts a server of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo};
use wadi_core::bucket::{BucketCount, BucketId, LayoutVersion};
use wadi_core::session::SessionId;
use wadi_core::store::{Claim, Page, Payload, Put, Row, SessionStore, Took};
use wadi_core::tenure::{Revision, Tenure};
use wadi_stores::{RedisSettings, RedisStore};

#[allow(dead_code, reason = "a bench reads no directory")]
mod measure;
#[allow(dead_code, reason = "nothing befalls the server here")]
#[path = "../src/redis/tests/server.rs"]
mod server;
use measure::now;
use server::Server;

const BYTES: usize = 1117;
/// How many ask at once.
const CALLERS: u64 = 16;
const ROUNDS: usize = 3;

fn id(number: u64) -> SessionId {
    let mut random = [0; 16];
    fastrand::Rng::with_seed(number).fill(&mut random);
    SessionId::from_parts(random, 1)
}

fn row(number: u64) -> Row {
    let mut state = vec![0; BYTES];
    fastrand::Rng::with_seed(!number).fill(&mut state);
    Row {
        id: id(number),
        bucket: id(number).bucket(BucketCount::DEFAULT),
        tenure: Tenure::new(LayoutVersion::founding(1), 0),
        revision: Revision::new(1),
        left: Duration::from_secs(3600),
        payload: Payload::seal(id(number), &state),
    }
}

fn key(number: u64) -> Vec<u8> {
    [&b"bare:"[..], id(number).random()].concat()
}

/// Each of several callers does its part of so many pieces; how long all of it took.
async fn shared<F: Future<Output = ()> + Send>(
    pieces: u64,
    piece: impl Fn(u64) -> F + Clone + Send + Sync + 'static,
) -> Duration {
    let next = Arc::new(AtomicU64::new(0));
    let began = now();
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (next, piece) = (Arc::clone(&next), piece.clone());
            tokio::spawn(async move {
                loop {
                    let mine = next.fetch_add(1, Relaxed);
                    if mine >= pieces {
                        return;
                    }
                    piece(mine).await;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("it does not panic");
    }
    began.elapsed()
}

async fn bare(server: &Server) -> MultiplexedConnection {
    let tcp = TcpSettings::default().set_nodelay(true);
    let address = server.address().into_connection_info();
    let address = address.expect("it is an address").set_tcp_settings(tcp);
    let client = Client::open(address).expect("it is an address");
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let connecting = client.get_multiplexed_async_connection_with_config(&config);
    connecting.await.expect("it connects")
}

async fn memory(connection: &MultiplexedConnection) -> u64 {
    let info: String = redis::cmd("INFO")
        .arg("memory")
        .query_async(&mut connection.clone())
        .await
        .expect("it says");
    let mut lines = info.lines();
    let used = lines.find_map(|line| line.strip_prefix("used_memory:"));
    used.and_then(|used| used.trim().parse().ok()).unwrap_or(0)
}

/// Takes each row once, so; how long that took.
async fn taken(store: &Arc<RedisStore>, rows: u64, claim: Claim) -> Duration {
    let store = Arc::clone(store);
    shared(rows, move |number| {
        let store = Arc::clone(&store);
        async move {
            let took = store.take(id(number), claim).await;
            assert!(matches!(took, Ok(Took::Row(_))), "{took:?}");
        }
    })
    .await
}

async fn put(store: &Arc<RedisStore>, rows: u64, batch: u64) -> Duration {
    let store = Arc::clone(store);
    shared(rows.div_ceil(batch), move |piece| {
        let store = Arc::clone(&store);
        async move {
            let part: Vec<Row> = (piece * batch..rows.min((piece + 1) * batch))
                .map(row)
                .collect();
            let put = store.put(part).await.expect("there is room");
            assert!(put.iter().all(|put| *put == Put::Stored));
        }
    })
    .await
}

async fn listed(store: &Arc<RedisStore>) -> (u64, Duration) {
    let began = now();
    let (mut after, mut found) = (None, 0);
    loop {
        let page = Page {
            buckets: BucketId::new(0)..=BucketId::new(u16::MAX),
            after,
            due: false,
            most: 1000,
        };
        let heads = store.page(page).await.expect("it is listed");
        found += heads.len() as u64;
        after = heads.last().map(|head| (head.bucket, head.id));
        if heads.len() < 1000 {
            return (found, began.elapsed());
        }
    }
}

async fn set(bare: &MultiplexedConnection, rows: u64, batch: u64) -> Duration {
    let bare = bare.clone();
    shared(rows.div_ceil(batch), move |piece| {
        let mut bare = bare.clone();
        async move {
            let mut pipeline = redis::pipe();
            for number in piece * batch..rows.min((piece + 1) * batch) {
                let row = row(number);
                let payload = row.payload.as_bytes();
                pipeline.cmd("SET").arg(key(number)).arg(payload);
            }
            pipeline.exec_async(&mut bare).await.expect("there is room");
        }
    })
    .await
}

async fn got(bare: &MultiplexedConnection, rows: u64) -> Duration {
    let bare = bare.clone();
    shared(rows, move |number| {
        let mut bare = bare.clone();
        async move {
            let mut command = redis::cmd("GETDEL");
            command.arg(key(number));
            let got: redis::RedisResult<Vec<u8>> = command.query_async(&mut bare).await;
            let payload = Payload::read(got.expect("it is there"));
            assert!(payload.is_ok(), "it is whole");
        }
    })
    .await
}

/// One round, as rows a second of each kind.
async fn round(
    store: &Arc<RedisStore>,
    bare: &MultiplexedConnection,
    rows: u64,
    batch: u64,
) -> [f64; 6] {
    let empty = memory(bare).await;
    let bare_set = set(bare, rows, batch).await;
    let bare_memory = memory(bare).await - empty;
    let bare_got = got(bare, rows).await;
    let empty = memory(bare).await;
    let stored = put(store, rows, batch).await;
    let store_memory = memory(bare).await - empty;
    let (found, paged) = listed(store).await;
    assert_eq!(found, rows);
    let under = Tenure::new(LayoutVersion::founding(2), 0);
    let granted = taken(store, rows, Claim::Granted(under)).await;
    let owned = taken(store, rows, Claim::Own).await;
    println!(
        "  in memory: {} bytes a row, {} by bare commands",
        store_memory / rows,
        bare_memory / rows
    );
    [bare_set, stored, bare_got, granted, owned, paged].map(|took| rows as f64 / took.as_secs_f64())
}

async fn run(rows: u64, batch: u64) {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let settings = RedisSettings::new().timeout(Duration::from_secs(60));
    let store = RedisStore::open(&server.address(), "bench", settings).await;
    let store = Arc::new(store.expect("it opens"));
    let bare = bare(&server).await;
    println!("{rows} rows of about {BYTES} bytes, {batch} a batch, {CALLERS} at once");
    for number in 1..=ROUNDS {
        let [set, put, got, granted, owned, paged] = round(&store, &bare, rows, batch).await;
        println!(
            "  round {number}: put {put:.0} rows/s, {:.2} of SET's {set:.0}; taken {owned:.0}, {:.2} of GETDEL's {got:.0}; \
             given out {granted:.0}, {:.2}; listed {paged:.0}",
            put / set,
            owned / got,
            granted / got
        );
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|it| it != "--bench")
        .collect();
    let number = |at: usize, or: u64| {
        arguments
            .get(at)
            .map_or(or, |it| it.parse().expect("a number"))
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("it starts");
    runtime.block_on(run(number(0, 2000), number(1, 64)));
}
