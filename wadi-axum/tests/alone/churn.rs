//! Everything at once, in any order: nothing hangs, no lock is kept, no dead session stays.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;
use wadi_axum::{Expiry, Limits, Session, WadiLayer, mode};

use crate::browser::{Bench, Browser, bench};

const CLIENTS: u64 = 16;
const REQUESTS: usize = 250;
const PATHS: [&str; 15] = [
    "/update",
    "/insert",
    "/remove",
    "/flush",
    "/cycle",
    "/alone",
    "/alone-flush",
    "/read-only",
    "/bypass",
    "/detach",
    "/idle",
    "/after",
    "/panic",
    "/clear",
    "/update",
];

async fn give_way() {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
}

async fn update(session: Session) {
    let _ = session.update("n", |n: &mut u64| *n += 1);
    give_way().await;
}

async fn flush(session: Session) {
    give_way().await;
    let _ = session.flush().await;
    give_way().await;
    let _ = session.insert("a", 1_u8);
}

async fn cycle(session: Session) {
    let _ = session.cycle_id().await;
    give_way().await;
    let _ = session.cycle_id().await;
}

/// What outlives its request.
static DETACHED: LazyLock<TaskTracker> = LazyLock::new(TaskTracker::new);

async fn detach(session: Session) {
    let detached = session.detach();
    let _ = detached.insert("d", 1_u32).await;
    DETACHED.spawn(async move {
        for _ in 0..5 {
            let _ = detached.update("n", |n: &mut u64| *n += 1).await;
            tokio::task::yield_now().await;
        }
    });
}

async fn panic(session: Session) {
    let _ = session.update("n", |n: &mut u64| assert!(*n % 2 == 1, "on purpose"));
    assert!(session.len() > 1000, "on purpose");
}

fn app(wadi: &WadiLayer) -> Router {
    let seconds = Duration::from_secs;
    Router::new()
        .route("/update", get(update))
        .route(
            "/insert",
            get(async |session: Session| {
                let _ = session.insert("s", "x".repeat(1000));
                give_way().await;
                let _ = session.get::<String>("s");
            }),
        )
        .route(
            "/remove",
            get(async |session: Session| {
                let _ = session.remove::<String>("s");
                let _ = session.get::<u8>("s");
            }),
        )
        .route("/flush", get(flush))
        .route("/cycle", get(cycle))
        .route("/alone", get(update).layer(mode::exclusive()))
        .route("/alone-flush", get(flush).layer(mode::exclusive()))
        .route("/read-only", get(update).layer(mode::read_only()))
        .route("/bypass", get(give_way).layer(mode::bypass()))
        .route("/detach", get(detach))
        .route(
            "/idle",
            get(async move |session: Session| {
                let _ = session.set_expiry(Expiry::OnInactivity(seconds(3)));
            }),
        )
        .route(
            "/after",
            get(async move |session: Session| {
                let _ = session.set_expiry(Expiry::After(seconds(5)));
            }),
        )
        .route("/panic", get(panic))
        .route(
            "/clear",
            get(async |session: Session| {
                give_way().await;
                let _ = session.clear();
            }),
        )
        .layer(wadi.clone())
}

/// Xorshift: any order will do, and it is the same each time but for the threads.
fn next(seed: &mut u64) -> usize {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed as usize
}

type Hook = dyn Fn(&std::panic::PanicHookInfo<'_>) + Send + Sync;

/// Keeps panics on purpose from being told: hundreds of them would hide what matters.
struct QuietOnPurpose(Arc<Hook>);

impl QuietOnPurpose {
    fn begin() -> Self {
        let told: Arc<Hook> = std::panic::take_hook().into();
        let quiet = Self(Arc::clone(&told));
        std::panic::set_hook(Box::new(move |panic| {
            if panic.payload().downcast_ref::<&str>() != Some(&"on purpose") {
                told(panic);
            }
        }));
        quiet
    }
}

impl Drop for QuietOnPurpose {
    fn drop(&mut self) {
        // A panicking thread may not change the hook.
        if !std::thread::panicking() {
            let told = Arc::clone(&self.0);
            std::panic::set_hook(Box::new(move |panic| told(panic)));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_hangs_no_lock_is_kept_and_no_dead_session_stays() {
    let limits = Limits {
        idle: Duration::from_secs(30),
        idle_unreturned: Duration::from_secs(20),
        absolute: Duration::from_secs(120),
        freeze_after: Duration::from_secs(2),
        lock_wait: Duration::from_millis(50),
        max_session_bytes: 4096,
        max_sessions: 50,
        remembered_endings: 100,
    };
    let Bench { wadi, clock, .. } = bench(limits);
    let app = app(&wadi);
    let _quiet = QuietOnPurpose::begin();
    let cookies = Arc::new(Mutex::new(vec![None::<String>; 6]));
    let mut clients = Vec::new();
    for client in 1..=CLIENTS {
        let (app, cookies) = (app.clone(), Arc::clone(&cookies));
        clients.push(tokio::spawn(async move {
            let mut seed = 0x9E37_79B9_7F4A_7C15 ^ (client * 7919);
            for _ in 0..REQUESTS {
                let slot = next(&mut seed) % 6;
                let mut browser = Browser::new(&app);
                browser.cookie.clone_from(&cookies.lock()[slot]);
                let path = PATHS[next(&mut seed) % PATHS.len()];
                let hangs_up = next(&mut seed).is_multiple_of(8);
                let request = tokio::spawn(async move {
                    if hangs_up {
                        let soon = Duration::from_micros(200);
                        let _ = tokio::time::timeout(soon, browser.get(path)).await;
                    } else {
                        browser.get(path).await;
                    }
                    browser.cookie
                });
                if let Ok(cookie) = request.await {
                    cookies.lock()[slot] = cookie;
                }
            }
        }));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let sweeping = tokio::spawn({
        let (wadi, clock, stop) = (wadi.clone(), Arc::clone(&clock), Arc::clone(&stop));
        async move {
            while !stop.load(Relaxed) {
                clock.advance(Duration::from_millis(300));
                wadi.sessions().sweep(wadi.sessions().now(), 256);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
    for client in clients {
        let done = tokio::time::timeout(Duration::from_secs(60), client).await;
        done.expect("nothing hangs").unwrap();
    }
    stop.store(true, Relaxed);
    sweeping.await.unwrap();
    DETACHED.close();
    let done = tokio::time::timeout(Duration::from_secs(60), DETACHED.wait()).await;
    done.expect("what was detached ends by itself");
    let map = wadi.sessions().map();
    let mut sessions = 0;
    for bucket in map.buckets().iter() {
        for (id, held) in map.bucket(bucket) {
            sessions += 1;
            assert!(held.id() == id, "it stands under its present id");
            assert!(held.is_serving(), "it is alive");
            assert!(held.try_alone().is_some(), "nobody holds it");
        }
    }
    assert_eq!(sessions, map.len());
    clock.advance(Duration::from_secs(1000));
    wadi.sessions().sweep(wadi.sessions().now(), usize::MAX);
    assert!(map.is_empty());
}
