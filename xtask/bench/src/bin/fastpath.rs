//! What a session costs a request: drives an axum router in process, one case per run.
//!
//! `cargo run --release -p wadi-bench --bin fastpath -- <case> <requests>` prints allocations per request
//! and, for orientation, time. Instructions are counted from outside: run the binary under
//! `valgrind --tool=cachegrind --cache-sim=no` with two request counts and divide the difference.
//! Without arguments every case runs a few requests, which shows that it still works.

use std::alloc::System;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::get;
use http::header::{COOKIE, SET_COOKIE};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tower::Service;
use wadi_axum::cookie::{Cookie, SameSite};
use wadi_axum::{Limits, Session, Settings, WadiLayer, mode};
use wadi_core::clock::{Clock, Moment};
use wadi_core::session::{ClusterKey, Keyring, Sessions};

const CASES: &[&str] = &[
    "bare",
    "wadi-untouched",
    "wadi-read-write",
    "wadi-exclusive",
    "wadi-resent",
    "tower-memory-untouched",
    "tower-memory-read-write",
    "tower-moka-untouched",
    "tower-moka-read-write",
    "hand-untouched",
    "hand-read-write",
];

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn allocations() -> usize {
    let stats = COUNTING.stats();
    stats.allocations + stats.reallocations
}

/// The rest of a session of 1 KiB, beside the counter.
fn ballast() -> String {
    "x".repeat(1024)
}

async fn bare() -> &'static str {
    "ok"
}

async fn wadi_write(session: Session) -> &'static str {
    let n: u64 = session.get("n").expect("a number").unwrap_or(0);
    session.insert("n", n + 1).expect("a small number");
    "ok"
}

async fn wadi_fill(session: Session) -> &'static str {
    session.insert("ballast", ballast()).expect("within budget");
    session.insert("n", 0_u64).expect("a small number");
    "ok"
}

async fn tower_write(session: tower_sessions::Session) -> &'static str {
    let n: u64 = session.get("n").await.expect("a number").unwrap_or(0);
    session.insert("n", n + 1).await.expect("a small number");
    "ok"
}

async fn tower_fill(session: tower_sessions::Session) -> &'static str {
    session.insert("ballast", ballast()).await.expect("encodes");
    session.insert("n", 0_u64).await.expect("encodes");
    "ok"
}

/// What a careful author writes in an afternoon: typed, live, one process.
#[derive(Clone, Default)]
struct ByHand {
    sessions: Arc<RwLock<HashMap<String, Arc<RwLock<Account>>>>>,
}

#[derive(Default)]
struct Account {
    n: u64,
    #[allow(dead_code, reason = "it makes the session as large as the others")]
    ballast: String,
}

#[derive(Clone)]
struct HandSession(Arc<RwLock<Account>>);

async fn by_hand(
    State(state): State<ByHand>,
    mut request: Request,
    next: axum::middleware::Next,
) -> Response {
    let id = request
        .headers()
        .get(COOKIE)
        .and_then(|header| header.to_str().ok())
        .and_then(|header| {
            header.split(';').find_map(|pair| {
                let (name, value) = pair.trim().split_once('=')?;
                (name == "hand").then(|| value.to_owned())
            })
        });
    let known = id.and_then(|id| state.sessions.read().expect("no panic").get(&id).cloned());
    let fresh = known.is_none();
    let session = known.unwrap_or_else(|| {
        let account = Account {
            n: 0,
            ballast: ballast(),
        };
        let session = Arc::new(RwLock::new(account));
        let mut sessions = state.sessions.write().expect("no panic");
        sessions.insert("a".repeat(43), Arc::clone(&session));
        session
    });
    request.extensions_mut().insert(HandSession(session));
    let mut response = next.run(request).await;
    if fresh {
        let header = format!("hand={}", "a".repeat(43));
        let header = header.try_into().expect("ASCII");
        response.headers_mut().append(SET_COOKIE, header);
    }
    response
}

async fn hand_write(session: axum::Extension<HandSession>) -> &'static str {
    let mut account = session.0.0.write().expect("no panic");
    account.n += 1;
    "ok"
}

#[derive(Debug, Default)]
struct Leaping(AtomicU64);

impl Clock for Leaping {
    fn now(&self) -> Moment {
        let leap = Duration::from_secs(240).as_nanos() as u64;
        Moment::from_nanos(self.0.fetch_add(leap, Relaxed) + leap)
    }

    fn unix_seconds(&self) -> u32 {
        1_780_000_000
    }
}

fn app(case: &str) -> Router {
    let wadi = || {
        let layer = if case == "wadi-resent" {
            // Every reading of this clock is four minutes after the last.
            let key = ClusterKey::random();
            let limits = Limits {
                absolute: Duration::MAX,
                ..Limits::default()
            };
            let sessions = Sessions::builder(Keyring::new(key))
                .limits(limits)
                .clock(Arc::new(Leaping::default()))
                .build();
            let cookie = Cookie::plain("wadi", SameSite::Lax).expect("a good name");
            let layer = WadiLayer::new(Settings::new(sessions, cookie));
            layer.open();
            layer
        } else {
            WadiLayer::in_memory()
        };
        Router::new()
            .route("/fill", get(wadi_fill))
            .route("/untouched", get(bare))
            .route("/write", get(wadi_write))
            .route("/exclusive", get(wadi_write).layer(mode::exclusive()))
            .layer(layer)
    };
    let tower = || {
        Router::new()
            .route("/fill", get(tower_fill))
            .route("/untouched", get(bare))
            .route("/write", get(tower_write))
    };
    let manager = tower_sessions::SessionManagerLayer::<tower_sessions::MemoryStore>::new;
    match case {
        "bare" => Router::new()
            .route("/fill", get(bare))
            .route("/write", get(bare)),
        _ if case.starts_with("wadi-") => wadi(),
        _ if case.starts_with("tower-memory-") => {
            tower().layer(manager(tower_sessions::MemoryStore::default()).with_secure(false))
        }
        _ if case.starts_with("tower-moka-") => {
            let store = tower_sessions_moka_store::MokaStore::new(Some(1000));
            tower().layer(tower_sessions::SessionManagerLayer::new(store).with_secure(false))
        }
        _ if case.starts_with("hand-") => {
            let state = ByHand::default();
            Router::new()
                .route("/fill", get(bare))
                .route("/untouched", get(bare))
                .route("/write", get(hand_write))
                .layer(axum::middleware::from_fn_with_state(state, by_hand))
        }
        _ => panic!("no case {case:?}; there are {CASES:?}"),
    }
}

fn path(case: &str) -> &'static str {
    match case {
        _ if case.ends_with("untouched") => "/untouched",
        "wadi-exclusive" => "/exclusive",
        _ => "/write",
    }
}

async fn call(
    app: &mut Router,
    path: &'static str,
    cookie: Option<&http::HeaderValue>,
) -> Response {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = http::Uri::from_static(path);
    if let Some(cookie) = cookie {
        request.headers_mut().insert(COOKIE, cookie.clone());
    }
    app.call(request).await.expect("a router does not fail")
}

async fn run(case: &str, requests: usize) -> usize {
    let mut app = app(case);
    let first = call(&mut app, "/fill", None).await;
    let cookie = first
        .headers()
        .get(SET_COOKIE)
        .map_or("none=none", |header| {
            let header = header.to_str().expect("ASCII");
            header.split(';').next().expect("a first part")
        });
    let cookie = http::HeaderValue::try_from(cookie).expect("it came as one");
    let path = path(case);
    let before = allocations();
    for _ in 0..requests {
        let response = call(&mut app, path, Some(&cookie)).await;
        assert!(response.status().is_success());
        let resent = response.headers().contains_key(SET_COOKIE);
        assert!(!case.starts_with("wadi") || resent == (case == "wadi-resent"));
    }
    allocations() - before
}

#[allow(clippy::disallowed_methods, reason = "a bench measures time itself")]
fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    let case = arguments.next();
    let requests = arguments.next().map_or(100, |count| {
        count
            .parse()
            .expect("the second argument is a number of requests")
    });
    let cases = case.as_deref().map_or(CASES.to_vec(), |case| vec![case]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    for case in cases {
        let start = std::time::Instant::now();
        let allocations = runtime.block_on(run(case, requests));
        println!(
            "{case}: {:.2} allocations per request, {:.0} ns",
            allocations as f64 / requests as f64,
            start.elapsed().as_nanos() as f64 / requests as f64,
        );
    }
}
