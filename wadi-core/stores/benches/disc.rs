//! What a store on disc costs, by its own calls: rows of about 1 KiB are put in batches by several at once, the process
//! is killed, another one opens the store, lists it in pages, and takes each row by itself.
//!
//! `cargo bench -p wadi-stores --features disc --bench disc -- ROWS BATCH [DIRECTORY]`. Without arguments a few rows.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use wadi_core::bucket::{BucketCount, BucketId, LayoutVersion};
use wadi_core::session::SessionId;
use wadi_core::store::{Claim, Page, Payload, Put, Row, SessionStore, Took};
use wadi_core::tenure::{Revision, Tenure};
use wadi_stores::{DiscSettings, DiscStore};

mod measure;
use measure::{Part, now, on_disc, report, resident};

const BYTES: usize = 1117;
/// How many ask at once.
const CALLERS: u64 = 16;

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

/// Each of several callers does its part of so many pieces; how long each piece took.
async fn shared<F: Future<Output = ()> + Send>(
    pieces: u64,
    piece: impl Fn(u64) -> F + Copy + Send + 'static,
) -> Vec<Duration> {
    let next = Arc::new(AtomicU64::new(0));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let next = Arc::clone(&next);
            tokio::spawn(async move {
                let mut took = Vec::new();
                loop {
                    let mine = next.fetch_add(1, Relaxed);
                    if mine >= pieces {
                        return took;
                    }
                    let began = now();
                    piece(mine).await;
                    took.push(began.elapsed());
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for caller in callers {
        all.extend(caller.await.expect("it does not panic"));
    }
    all
}

fn open(directory: &Path) -> &'static DiscStore {
    let store = DiscStore::open(directory, DiscSettings::new()).expect("it opens");
    // For as long as the process.
    Box::leak(Box::new(store))
}

async fn writes(directory: &Path, rows: u64, batch: u64) {
    let store = open(directory);
    let began = now();
    let each = shared(rows.div_ceil(batch), move |piece| async move {
        let part: Vec<Row> = (piece * batch..rows.min((piece + 1) * batch))
            .map(row)
            .collect();
        let put = store.put(part).await.expect("there is room");
        assert!(put.iter().all(|put| *put == Put::Stored));
    })
    .await;
    report("put", rows, began.elapsed(), each, directory);
    println!("done");
    // Killed here, by who started it.
    std::thread::sleep(Duration::from_secs(60));
}

async fn reads(directory: &Path, rows: u64) {
    let began = now();
    let store = open(directory);
    println!(
        "  opened after kill -9: {:.2?}, {}",
        began.elapsed(),
        resident()
    );
    assert_eq!(store.len(), rows);
    for due in [true, false] {
        let began = now();
        let (mut after, mut found) = (None, 0);
        loop {
            let buckets = BucketId::new(0)..=BucketId::new(u16::MAX);
            let page = Page {
                buckets,
                after,
                due,
                most: 1000,
            };
            let heads = store.page(page).await.expect("it is listed");
            found += heads.len();
            after = heads.last().map(|head| (head.bucket, head.id));
            if heads.len() < 1000 {
                break;
            }
        }
        println!(
            "  listed, due only {due}: {found} in {:.2?}",
            began.elapsed()
        );
    }
    std::thread::sleep(Duration::from_secs(5));
    println!("  at rest: {}", resident());
    let began = now();
    // In an order that is not that of writing.
    let step = (0..)
        .map(|n| rows * 61 / 100 + n)
        .find(|step| gcd(*step, rows) == 1)
        .unwrap_or(1);
    let each = shared(rows, move |piece| async move {
        let took = store.take(id(piece * step % rows), Claim::Own).await;
        assert!(matches!(took, Ok(Took::Row(_))), "{took:?}");
    })
    .await;
    report("taken", rows, began.elapsed(), each, directory);
    store.close().await;
    println!(
        "  empty and closed: {} MiB on disc",
        on_disc(directory) >> 20
    );
    println!("done");
}

const fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn run(part: &str, directory: &Path, rows: u64, batch: u64) {
    let child = Command::new(std::env::current_exe().expect("it runs"))
        .args([part, &rows.to_string(), &batch.to_string()])
        .arg(directory)
        .stdout(Stdio::piped())
        .spawn();
    let mut child = Part(child.expect("it starts"));
    let out = child.0.stdout.take().expect("it is piped");
    let mut done = false;
    for line in BufReader::new(out).lines().map_while(Result::ok) {
        if line == "done" {
            done = true;
            break;
        }
        println!("{line}");
    }
    assert!(done, "it stopped in the middle");
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
    if let [part, _, _, directory] = arguments.as_slice() {
        let (rows, batch) = (number(1, 0), number(2, 1));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build();
        let runtime = runtime.expect("it starts");
        match part.as_str() {
            "write" => runtime.block_on(writes(Path::new(directory), rows, batch)),
            _ => runtime.block_on(reads(Path::new(directory), rows)),
        }
        return;
    }
    let (rows, batch) = (number(0, 2000), number(1, 64));
    let parent = arguments
        .get(2)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = parent.join(format!("wadi-disc-{}", std::process::id()));
    println!("{rows} rows of about {BYTES} bytes, {batch} a batch, {CALLERS} at once");
    run("write", &directory, rows, batch);
    run("read", &directory, rows, batch);
    let _ = std::fs::remove_dir_all(&directory);
}
