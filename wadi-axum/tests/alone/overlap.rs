//! Requests of one session that overlap, end badly, or outlive it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use http::StatusCode;
use tokio::sync::Barrier;
use wadi_axum::{DetachedSession, Limits, Session, SessionError, WadiLayer, mode};

use crate::browser::{Browser, bench};

async fn count(session: Session) -> String {
    let n = session.update("n", |n: &mut u64| {
        *n += 1;
        *n
    });
    n.unwrap().to_string()
}

async fn put(Path(key): Path<String>, session: Session) {
    tokio::task::yield_now().await;
    session.insert(&key, key.clone()).unwrap();
}

async fn keys(session: Session) -> String {
    session.keys().join(" ")
}

fn base() -> Router<()> {
    Router::new()
        .route("/count", get(count))
        .route("/put/{key}", get(put))
        .route("/keys", get(keys))
        .route(
            "/n",
            get(async |session: Session| format!("{:?}", session.get::<u64>("n"))),
        )
        .route(
            "/logout",
            get(async |session: Session| session.flush().await.unwrap()),
        )
        .route(
            "/origin",
            get(async |session: Session| format!("{:?}", session.origin())),
        )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overlapping_writes_of_different_keys_all_stay() {
    let mut browser = Browser::new(&base().layer(WadiLayer::in_memory()));
    browser.get("/count").await;
    let tasks: Vec<_> = (0..64)
        .map(|n| {
            let browser = browser.clone();
            tokio::spawn(async move { browser.peek(&format!("/put/k{n:02}")).await.status })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), StatusCode::OK);
    }
    assert_eq!(browser.get("/keys").await.text.split(' ').count(), 65);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_overlapping_increments_are_sixty_four() {
    let mut browser = Browser::new(&base().layer(WadiLayer::in_memory()));
    browser.get("/count").await;
    for round in 1..=20 {
        let tasks: Vec<_> = (0..64)
            .map(|_| {
                let browser = browser.clone();
                tokio::spawn(async move { browser.peek("/count").await.status })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), StatusCode::OK);
        }
        let n = 1 + 64 * round;
        assert_eq!(browser.get("/n").await.text, format!("Ok(Some({n}))"));
    }
}

#[tokio::test]
async fn a_request_that_outlives_a_logout_does_not_bring_the_session_back() {
    let barrier = Arc::new(Barrier::new(2));
    let slow = async |State(barrier): State<Arc<Barrier>>, session: Session| {
        barrier.wait().await;
        barrier.wait().await;
        let read = session.get::<u64>("n");
        format!("{read:?} {:?}", session.insert("n", 99_u64))
    };
    let wadi = WadiLayer::in_memory();
    let app = Router::new()
        .route("/slow", get(slow))
        .with_state(Arc::clone(&barrier))
        .merge(base())
        .layer(wadi.clone());
    let mut browser = Browser::new(&app);
    browser.get("/count").await;
    let outliving = browser.clone();
    let outliving = tokio::spawn(async move { outliving.peek("/slow").await });
    barrier.wait().await;
    let old = browser.clone();
    browser.get("/logout").await;
    assert_eq!(browser.cookie, None);
    barrier.wait().await;
    let answer = outliving.await.unwrap();
    assert_eq!(answer.text, "Err(Ended) Err(Ended)");
    assert!(!answer.headers.contains_key("set-cookie"));
    assert!(wadi.sessions().map().is_empty());
    assert_eq!(old.peek("/origin").await.text, "Destroyed");
    assert_eq!(old.peek("/n").await.text, "Ok(None)");
}

#[tokio::test]
async fn whoever_had_the_old_id_never_learns_the_new_one() {
    type Kept = Arc<parking_lot::Mutex<Option<DetachedSession>>>;
    let barrier = Arc::new(Barrier::new(2));
    let kept = Kept::default();
    let slow = async |State((barrier, kept)): State<(Arc<Barrier>, Kept)>, session: Session| {
        *kept.lock() = Some(session.detach());
        barrier.wait().await;
        barrier.wait().await;
    };
    let renewed = Arc::new(Barrier::new(2));
    let login = async |State(renewed): State<Arc<Barrier>>, session: Session| {
        session.cycle_id().await.unwrap();
        renewed.wait().await;
        renewed.wait().await;
    };
    let app = Router::new()
        .route("/slow", get(slow))
        .with_state((Arc::clone(&barrier), Arc::clone(&kept)))
        .merge(
            Router::new()
                .route("/login", get(login))
                .with_state(Arc::clone(&renewed)),
        )
        .merge(base())
        .layer(WadiLayer::in_memory());
    let mut browser = Browser::new(&app);
    browser.get("/count").await;
    let other = browser.clone();
    let other = tokio::spawn(async move { other.peek("/slow").await });
    barrier.wait().await;
    let handle = kept.lock().take().unwrap();
    assert_eq!(handle.get::<u64>("n").await, Ok(Some(1)));
    let logging_in = browser.clone();
    let logging_in = tokio::spawn(async move { logging_in.peek("/login").await });
    renewed.wait().await;
    // The other request's head goes out between the renewal and the renewing request's own head.
    barrier.wait().await;
    assert!(!other.await.unwrap().headers.contains_key("set-cookie"));
    renewed.wait().await;
    let answer = logging_in.await.unwrap();
    assert!(answer.headers.contains_key("set-cookie"));
    assert_eq!(handle.get::<u64>("n").await, Err(SessionError::Ended));
}

#[tokio::test]
async fn an_invented_id_is_refused() {
    let wadi = WadiLayer::in_memory();
    let mut browser = Browser::new(&base().layer(wadi.clone()));
    let invented = format!("wadi-plain={}", "A".repeat(43));
    browser.cookie = Some(invented.clone());
    assert_eq!(browser.get("/origin").await.text, "New");
    browser.get("/count").await;
    assert_ne!(browser.cookie, Some(invented));
    assert_eq!(wadi.sessions().map().len(), 1);
}

#[tokio::test]
async fn the_duplicate_that_is_known_is_taken() {
    let mut browser = Browser::new(&base().layer(WadiLayer::in_memory()));
    browser.get("/count").await;
    let real = browser.cookie.clone().unwrap();
    browser.cookie = Some(format!(
        "wadi-plain={}; wadi-plain=x; {real}",
        "B".repeat(43)
    ));
    assert_eq!(browser.get("/count").await.text, "2");
}

#[tokio::test]
async fn a_write_stands_after_a_panic_and_after_a_hang_up() {
    let panicking = async |session: Session| {
        session.insert("before the panic", 1_u8).unwrap();
        if session.contains("n") {
            panic!("on purpose");
        }
    };
    let hanging = async |session: Session| {
        session.insert("before the hang-up", 1_u8).unwrap();
        std::future::pending::<()>().await;
    };
    let wadi = WadiLayer::in_memory();
    let app = base()
        .route("/panic", get(panicking))
        .route("/hang", get(hanging))
        .layer(wadi.clone());
    let mut browser = Browser::new(&app);
    browser.get("/count").await;
    let other = browser.clone();
    let panicked = tokio::spawn(async move { other.peek("/panic").await.status }).await;
    assert!(panicked.is_err());
    let hung = tokio::time::timeout(Duration::from_millis(20), browser.peek("/hang")).await;
    assert!(hung.is_err());
    assert_eq!(
        browser.get("/keys").await.text,
        "before the hang-up before the panic n"
    );
    // Both requests gave the session back.
    let id = browser.get("/count").await;
    assert_eq!(id.text, "2");
}

#[tokio::test]
async fn a_new_session_whose_head_never_went_out_is_discarded() {
    let hanging = async |session: Session| {
        session.insert("n", 1_u64).unwrap();
        std::future::pending::<()>().await;
    };
    let wadi = WadiLayer::in_memory();
    let browser = Browser::new(&base().route("/hang", get(hanging)).layer(wadi.clone()));
    let hung = tokio::time::timeout(Duration::from_millis(20), browser.peek("/hang")).await;
    assert!(hung.is_err());
    assert!(wadi.sessions().map().is_empty());
}

#[tokio::test]
async fn after_the_head_only_a_detached_handle_works() {
    type Kept = Arc<parking_lot::Mutex<Option<(Session, DetachedSession)>>>;
    let keep = async |State(kept): State<Kept>, session: Session| {
        *kept.lock() = Some((session.clone(), session.detach()));
        session.insert("n", 1_u64).unwrap();
    };
    let wadi = WadiLayer::in_memory();
    let kept = Kept::default();
    let app = Router::new()
        .route("/keep", get(keep))
        .with_state(Arc::clone(&kept))
        .merge(base())
        .layer(wadi.clone());
    let mut browser = Browser::new(&app);
    browser.get("/keep").await;
    let (session, detached) = kept.lock().take().unwrap();
    let refused = session.insert("n", 2_u64).unwrap_err();
    assert_eq!(refused, SessionError::Detached);
    assert!(refused.to_string().contains("session.detach()"));
    assert_eq!(session.get::<u64>("n"), Err(SessionError::Detached));
    let n = detached.update("n", |n: &mut u64| {
        *n += 10;
        *n
    });
    assert_eq!(n.await, Ok(11));
    assert_eq!(browser.get("/n").await.text, "Ok(Some(11))");
    browser.get("/logout").await;
    assert_eq!(detached.insert("n", 1_u64).await, Err(SessionError::Ended));
    assert!(wadi.sessions().map().is_empty());
}

#[tokio::test]
async fn a_detached_handle_outlives_a_request_that_hung_up() {
    type Kept = Arc<parking_lot::Mutex<Option<DetachedSession>>>;
    let hang = async |State(kept): State<Kept>, session: Session| {
        session.insert("written", 1_u8).unwrap();
        *kept.lock() = Some(session.detach());
        std::future::pending::<()>().await;
    };
    let kept = Kept::default();
    let app = Router::new()
        .route("/hang", get(hang))
        .with_state(Arc::clone(&kept))
        .merge(base())
        .layer(WadiLayer::in_memory());
    let hang_up = async |browser: &Browser| {
        let hung = tokio::time::timeout(Duration::from_millis(10), browser.peek("/hang")).await;
        assert!(hung.is_err());
        kept.lock().take().unwrap()
    };
    let mut browser = Browser::new(&app);
    browser.get("/count").await;
    let detached = hang_up(&browser).await;
    assert_eq!(detached.get::<u64>("n").await, Ok(Some(1)));
    // A session that the request created is nobody's.
    let detached = hang_up(&Browser::new(&app)).await;
    let read = detached.get::<u64>("n").await;
    assert_eq!(read, Err(SessionError::Absent));
}

#[tokio::test]
async fn a_first_write_after_the_head_is_an_error() {
    type Kept = Arc<parking_lot::Mutex<Option<DetachedSession>>>;
    let keep = async |State(kept): State<Kept>, session: Session| {
        *kept.lock() = Some(session.detach());
    };
    let kept = Kept::default();
    let wadi = WadiLayer::in_memory();
    let app = Router::new()
        .route("/keep", get(keep))
        .with_state(Arc::clone(&kept))
        .layer(wadi.clone());
    Browser::new(&app).get("/keep").await;
    let detached = kept.lock().take().unwrap();
    assert_eq!(detached.insert("n", 1_u64).await, Err(SessionError::Absent));
    assert!(wadi.sessions().map().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exclusive_requests_come_one_at_a_time() {
    type Inside = Arc<(AtomicUsize, AtomicUsize)>;
    let alone = async |State(inside): State<Inside>, session: Session| {
        let now = inside.0.fetch_add(1, SeqCst) + 1;
        inside.1.fetch_max(now, SeqCst);
        let n = session.get::<u64>("n").unwrap().unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(2)).await;
        session.insert("n", n + 1).unwrap();
        inside.0.fetch_sub(1, SeqCst);
    };
    let inside = Inside::default();
    let app = Router::new()
        .route("/alone", get(alone).layer(mode::exclusive()))
        .with_state(Arc::clone(&inside))
        .merge(base())
        .layer(WadiLayer::in_memory());
    let mut browser = Browser::new(&app);
    browser.get("/count").await;
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let browser = browser.clone();
            tokio::spawn(async move { browser.peek("/alone").await.status })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), StatusCode::OK);
    }
    assert_eq!(inside.1.load(SeqCst), 1);
    assert_eq!(browser.get("/n").await.text, "Ok(Some(33))");
}

#[tokio::test]
async fn a_handle_waits_for_its_own_exclusive_request_as_for_any_other() {
    let limits = Limits {
        lock_wait: Duration::from_millis(30),
        ..Limits::default()
    };
    let waiting = async |session: Session| {
        let detached = session.detach();
        let waited = detached.get::<u64>("n").await;
        format!("{waited:?} {:?}", session.get::<u64>("n"))
    };
    let app = base()
        .route("/waiting", get(waiting).layer(mode::exclusive()))
        .layer(bench(limits).wadi);
    let mut browser = Browser::new(&app);
    browser.get("/count").await;
    let answer = browser.get("/waiting").await;
    assert_eq!(answer.text, "Err(Busy) Ok(Some(1))");
}

#[tokio::test]
async fn exclusive_mode_waits_only_so_long() {
    let limits = Limits {
        lock_wait: Duration::from_millis(30),
        ..Limits::default()
    };
    let hold = async |_: Session| std::future::pending::<()>().await;
    let app = base()
        .route("/hold", get(hold))
        .route("/alone", get(count).layer(mode::exclusive()))
        .layer(bench(limits).wadi);
    let mut browser = Browser::new(&app);
    browser.get("/count").await;
    let holding = browser.clone();
    let holding = tokio::spawn(async move { holding.peek("/hold").await.status });
    tokio::task::yield_now().await;
    let answer = browser.get("/alone").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(browser.get("/count").await.text, "2");
    holding.abort();
    assert!(holding.await.is_err());
    assert_eq!(browser.get("/alone").await.text, "3");
}
