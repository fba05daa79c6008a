//! The values' own code: where it panics, or uses a session, nobody else's session suffers.

use std::sync::mpsc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize, Serializer};
use wadi_axum::{Limits, Session, WadiLayer};

use crate::browser::{Bench, Browser, bench};

/// Panics when it is encoded for freezing, and when it is dropped after that.
#[derive(Clone, Deserialize)]
struct Moody {
    frozen_at: u8,
    #[serde(skip)]
    encoded: std::sync::Arc<std::sync::atomic::AtomicU8>,
}

impl Serialize for Moody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let before = self
            .encoded
            .fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        assert!(before != self.frozen_at, "on purpose");
        serializer.serialize_u8(self.frozen_at)
    }
}

/// Panics when it is dropped.
#[derive(Serialize)]
struct Brittle;

impl Drop for Brittle {
    fn drop(&mut self) {
        panic!("on purpose");
    }
}

fn app(wadi: &WadiLayer) -> Router {
    let moody = async |session: Session| {
        let value = Moody {
            frozen_at: 1,
            encoded: std::sync::Arc::default(),
        };
        session.insert("moody", value).unwrap();
    };
    Router::new()
        .route("/moody", get(moody))
        .route(
            "/brittle",
            get(async |session: Session| {
                session.insert("brittle", Brittle).unwrap();
                session.insert("fragile", Brittle).unwrap();
            }),
        )
        .route(
            "/count",
            get(async |session: Session| session.insert("n", 1_u8).unwrap()),
        )
        .layer(wadi.clone())
}

#[tokio::test]
async fn a_panic_in_a_value_does_not_keep_others_from_being_swept() {
    let Bench { wadi, clock, .. } = bench(Limits::default());
    let app = app(&wadi);
    for _ in 0..5 {
        for path in ["/moody", "/brittle", "/count"] {
            Browser::new(&app).get(path).await;
        }
    }
    clock.advance(Duration::from_secs(61));
    let sessions = wadi.sessions();
    let swept = sessions.sweep(sessions.now(), usize::MAX);
    assert_eq!((swept.unencodable, swept.panicked), (5, 5), "{swept:?}");
    assert_eq!(swept.frozen, 10, "{swept:?}");
    let (type_name, reason) = swept.last_unencodable.unwrap();
    assert!(type_name.ends_with("Moody") && reason.contains("panicked"));
    assert_eq!((sessions.census().live, sessions.census().frozen), (5, 10));
    // What stayed live is not tried again before it is written.
    let swept = sessions.sweep(sessions.now(), usize::MAX);
    assert_eq!((swept.unencodable, swept.frozen), (0, 0), "{swept:?}");

    for _ in 0..5 {
        Browser::new(&app).get("/brittle").await;
    }
    clock.advance(Duration::from_secs(601));
    let swept = sessions.sweep(sessions.now(), usize::MAX);
    assert_eq!((swept.expired, swept.panicked), (20, 5), "{swept:?}");
    assert!(sessions.map().is_empty());
    assert_eq!(sessions.census().live, 0);
}

#[tokio::test]
async fn values_that_panic_when_they_are_dropped_do_not_end_the_process() {
    let Bench { wadi, .. } = bench(Limits::default());
    let clear = async |session: Session| {
        session.insert("one", Brittle).unwrap();
        session.insert("other", Brittle).unwrap();
        let cleared = std::panic::AssertUnwindSafe(|| session.clear());
        let told = std::panic::catch_unwind(cleared).is_err();
        format!("{told} {}", session.len())
    };
    let app = app(&wadi).route("/clear", get(clear).layer(wadi.clone()));
    let mut browser = Browser::new(&app);
    assert_eq!(browser.get("/clear").await.text, "true 0");
    // Also where all sessions go at once.
    for _ in 0..3 {
        Browser::new(&app).get("/brittle").await;
    }
    drop((browser, app));
    let dropped = std::panic::AssertUnwindSafe(|| drop(wadi));
    assert!(std::panic::catch_unwind(dropped).is_err());
}

static LEFT_BEHIND: Mutex<Option<Session>> = Mutex::new(None);

/// Uses a session when it is dropped.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Touchy(String);

impl Drop for Touchy {
    fn drop(&mut self) {
        let session = LEFT_BEHIND.lock().clone();
        if let Some(session) = session {
            let _ = session.get::<u64>("n");
        }
    }
}

#[test]
fn a_value_that_uses_the_session_when_it_is_dropped_does_not_dead_lock() {
    let (done, is_done) = mpsc::sync_channel(1);
    let use_it = async |session: Session| {
        *LEFT_BEHIND.lock() = Some(session.clone());
        let large = || Touchy("x".repeat(2000));
        let small = || Touchy("x".to_owned());
        session.insert("t", small()).unwrap();
        session.insert("t", small()).unwrap();
        session.insert("t", 1_u8).unwrap();
        session.insert("t", small()).unwrap();
        session.insert("t", large()).unwrap_err();
        session
            .update("t", |value: &mut Touchy| *value = large())
            .unwrap_err();
        session.update("t", |_: &mut Touchy| small()).unwrap();
        session.remove::<Touchy>("t").unwrap();
        session.insert("t", small()).unwrap();
        session.discard("t").unwrap();
        session.insert("t", small()).unwrap();
        session.clear().unwrap();
        session.insert("t", small()).unwrap();
        session.flush().await.unwrap();
        *LEFT_BEHIND.lock() = None;
    };
    std::thread::spawn(move || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().unwrap();
        let limits = Limits {
            max_session_bytes: 1000,
            ..Limits::default()
        };
        let app = Router::new()
            .route("/touchy", get(use_it))
            .layer(bench(limits).wadi);
        runtime.block_on(async { Browser::new(&app).get("/touchy").await });
        done.send(()).unwrap();
    });
    let done = is_done.recv_timeout(Duration::from_secs(10));
    assert!(done.is_ok(), "dead-locked");
}
