//! What a store on disc below a node's memory costs: demotion and promotion beside the raw engine's own writes
//! and reads of the same bytes in the same run, and the memory of a demoted session.
//!
//! `cargo run --release -p wadi-bench --bin disc -- <sessions> <MiB of cache> [directory]`; without arguments a
//! few, in a directory that goes with the run.

use std::alloc::System;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use wadi_core::clock::{BootClock, Clock, Moment};
use wadi_core::evict::Always;
use wadi_core::session::{ClusterKey, Keyring, Limits, Origin, SessionId, Sessions, Visit};
use wadi_core::tier::{Copies, Promoted, Tier};
use wadi_stores::{DiscSettings, DiscStore};

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Created before they go down together.
const AT_ONCE: usize = 20_000;
/// Sessions that requests ask for at once.
const ASKED_AT_ONCE: usize = 16;

fn live() -> usize {
    let stats = COUNTING.stats();
    // A reallocation counts on the side on which it fell.
    stats.bytes_allocated - stats.bytes_deallocated
}

/// In bytes, where the system says it.
fn resident() -> Option<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4096)
}

fn seconds_since(began: Moment) -> f64 {
    BootClock.now().since(began).as_secs_f64()
}

/// Text that does not compress, so that the disc has what it seems to have.
fn text(random: &mut fastrand::Rng) -> String {
    // With its key and lengths, 1,060 bytes encoded.
    (0..1046).map(|_| random.alphanumeric()).collect()
}

fn create(sessions: &Arc<Sessions>, random: &mut fastrand::Rng) -> SessionId {
    let visit = Visit::without(Arc::clone(sessions), Origin::New);
    visit
        .insert("profile", text(random))
        .expect("within budget");
    let id = visit.id().expect("it was created");
    visit.commit().expect("a node that is alone");
    id
}

async fn through_the_tier(count: usize, cache: u64, directory: &Path) {
    let limits = Limits {
        max_sessions: usize::MAX,
        ..Limits::default()
    };
    let sessions = Sessions::builder(Keyring::new(ClusterKey::random()))
        .limits(limits)
        .build();
    let sessions = Arc::new(sessions);
    let settings = DiscSettings::default().cache_bytes(cache << 20);
    let store = DiscStore::open(directory, settings).expect("a fresh directory");
    let told = Box::new(|what| println!("the tier says {what:?}"));
    let tier = Tier::new(
        Arc::clone(&sessions),
        Arc::new(store),
        Arc::new(Always),
        Copies::Never,
        told,
    );
    let tier = Arc::new(tier);
    let mut random = fastrand::Rng::with_seed(1);
    let mut some = Vec::new();
    let mut demoting = 0.0;
    let (heap_before, resident_before) = (live(), resident());
    for from in (0..count).step_by(AT_ONCE) {
        for n in from..count.min(from + AT_ONCE) {
            let id = create(&sessions, &mut random);
            if n % 20 == 0 {
                some.push(id);
            }
        }
        let began = BootClock.now();
        while !sessions.map().is_empty() {
            tier.evict(4096).await;
        }
        demoting += seconds_since(began);
    }
    // What was written last is still being sorted.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let heap = live().saturating_sub(heap_before + some.capacity() * size_of::<SessionId>());
    println!(
        "demoted: {count} sessions, {:.0} a second",
        count as f64 / demoting
    );
    println!(
        "a demoted session: {:.1} bytes of live heap, of which the engine's cache is {:.1}",
        heap as f64 / count as f64,
        (cache << 20) as f64 / count as f64
    );
    if let (Some(before), Some(after)) = (resident_before, resident()) {
        let mebibytes = |bytes: usize| bytes / (1 << 20);
        println!(
            "resident: {} MiB before, {} MiB with all of them on disc (the system's allocator)",
            mebibytes(before),
            mebibytes(after)
        );
    }
    random.shuffle(&mut some);
    let began = BootClock.now();
    let mut waits = Vec::with_capacity(some.len());
    for ids in some.chunks(ASKED_AT_ONCE) {
        let asked: Vec<_> = ids
            .iter()
            .map(|id| {
                let (tier, id) = (Arc::clone(&tier), *id);
                tokio::spawn(async move {
                    let began = BootClock.now();
                    assert_eq!(tier.promote(id).await, Promoted::Look);
                    BootClock.now().since(began)
                })
            })
            .collect();
        for asked in asked {
            waits.push(asked.await.expect("it is there"));
        }
    }
    let promoting = seconds_since(began);
    waits.sort_unstable();
    let at = |part: usize| {
        let index = (waits.len() * part / 1000).min(waits.len() - 1);
        waits.get(index).copied().unwrap_or(Duration::ZERO)
    };
    println!(
        "promoted: {} sessions at random, {ASKED_AT_ONCE} at once, {:.0} a second; each waited {:?} (p50), {:?} (p99)",
        some.len(),
        some.len() as f64 / promoting,
        at(500),
        at(990)
    );
}

/// The same bytes by the engine alone: one map, in batches, without an index or a question.
fn through_the_engine(count: usize, directory: &Path) {
    let database = fjall::Database::builder(directory)
        .open()
        .expect("a fresh directory");
    let map = database
        .keyspace("rows", fjall::KeyspaceCreateOptions::default)
        .expect("it is new");
    let mut random = fastrand::Rng::with_seed(1);
    let mut keys = Vec::new();
    let mut writing = 0.0;
    for from in (0..count).step_by(256) {
        let rows: Vec<([u8; 20], Vec<u8>)> = (from..count.min(from + 256))
            .map(|_| {
                let mut key = [0; 20];
                random.fill(&mut key);
                let mut value = text(&mut random).into_bytes();
                value.extend_from_slice(&[0; 100]);
                (key, value)
            })
            .collect();
        let began = BootClock.now();
        let mut batch = database.batch();
        for (key, value) in &rows {
            batch.insert(&map, key, value);
        }
        batch.commit().expect("there is room");
        writing += seconds_since(began);
        keys.extend(rows.iter().step_by(20).map(|(key, _)| *key));
    }
    random.shuffle(&mut keys);
    let began = BootClock.now();
    for key in &keys {
        assert!(map.get(key).expect("it can be read").is_some());
        map.remove(*key).expect("it can be written");
    }
    let reading = seconds_since(began);
    println!(
        "the engine alone: {:.0} written a second, {:.0} read and removed a second, one by one",
        count as f64 / writing,
        keys.len() as f64 / reading
    );
}

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    let count = arguments.next().map_or(2_000, |count| {
        count
            .parse()
            .expect("the first argument is a number of sessions")
    });
    let cache = arguments.next().map_or(64, |cache| {
        let cache = cache.parse();
        cache.expect("the second argument is the engine's cache, in MiB")
    });
    let directory = arguments.next().map_or_else(
        || std::env::temp_dir().join(format!("wadi-disc-{}", std::process::id())),
        PathBuf::from,
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(through_the_tier(count, cache, &directory.join("tier")));
    through_the_engine(count, &directory.join("engine"));
    std::fs::remove_dir_all(&directory).expect("it is this run's own");
}
