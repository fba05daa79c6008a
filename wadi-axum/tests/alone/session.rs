//! One session from its first write to its end, and what is refused on the way.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use wadi_axum::{Expiry, Limits, Session, SessionError, WadiLayer, mode};

use crate::browser::{Bench, Browser, bench};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn app(wadi: &WadiLayer) -> Router {
    let count = async |session: Session| {
        let n = session.update("n", |n: &mut u64| {
            *n += 1;
            *n
        });
        format!("{n:?}")
    };
    let nested = async |session: Session| {
        let inner = session.clone();
        let result = session.update("n", |_: &mut u64| inner.get::<u64>("n"));
        format!("{result:?}")
    };
    Router::new()
        .route("/count", get(count))
        .route("/read-only", get(count).layer(mode::read_only()))
        .route(
            "/bypass",
            get(async |s: Option<Session>| s.is_none().to_string()).layer(mode::bypass()),
        )
        .route("/nested", get(nested))
        .route(
            "/read",
            get(async |s: Session| format!("{:?} {:?}", s.origin(), s.get::<u64>("n"))),
        )
        .route(
            "/text",
            get(async |s: Session| format!("{:?}", s.get::<String>("n").is_err())),
        )
        .route("/logout", get(async |s: Session| s.flush().await.unwrap()))
        .route(
            "/renew",
            get(async |s: Session| s.cycle_id().await.unwrap()),
        )
        .route(
            "/short",
            get(async |s: Session| {
                s.set_expiry(Expiry::OnInactivity(Duration::from_secs(5)))
                    .unwrap();
            }),
        )
        .route(
            "/long",
            get(async |s: Session| {
                s.set_expiry(Expiry::OnInactivity(Duration::from_secs(7200)))
                    .unwrap();
            }),
        )
        .route(
            "/remember",
            get(async |s: Session| {
                s.cycle_id().await.unwrap();
                s.set_expiry(Expiry::After(30 * DAY)).unwrap();
            }),
        )
        .route(
            "/default",
            get(async |s: Session| s.set_expiry(Expiry::Default).unwrap()),
        )
        .route(
            "/hang",
            get(async |_: Session| std::future::pending::<()>().await),
        )
        .route(
            "/large",
            get(async |s: Session| format!("{:?}", s.insert("large", "x".repeat(100 * 1024)))),
        )
        .layer(wadi.clone())
}

#[tokio::test]
async fn reading_creates_nothing_and_the_first_write_does() {
    let wadi = WadiLayer::in_memory();
    let mut browser = Browser::new(&app(&wadi));
    assert_eq!(browser.get("/read").await.text, "New Ok(None)");
    assert_eq!(browser.cookie, None);
    assert!(wadi.sessions().map().is_empty());
    assert_eq!(browser.get("/count").await.text, "Ok(1)");
    assert!(browser.cookie.is_some());
    assert_eq!(browser.get("/read").await.text, "Existing Ok(Some(1))");
}

#[tokio::test]
async fn a_cookie_is_sent_again_only_when_due() {
    let Bench { wadi, clock, .. } = bench(Limits::default());
    let mut browser = Browser::new(&app(&wadi));
    let first = browser.get("/count").await;
    let set = first.headers["set-cookie"].to_str().unwrap();
    assert!(
        set.ends_with("; Path=/; HttpOnly; SameSite=Lax; Max-Age=2040"),
        "{set}"
    );
    clock.advance(Duration::from_secs(179));
    assert!(
        !browser
            .get("/count")
            .await
            .headers
            .contains_key("set-cookie")
    );
    clock.advance(Duration::from_secs(1));
    assert!(
        browser
            .get("/read")
            .await
            .headers
            .contains_key("set-cookie")
    );
    assert!(
        !browser
            .get("/read")
            .await
            .headers
            .contains_key("set-cookie")
    );
}

#[tokio::test]
async fn sessions_end_when_idle_and_at_last() {
    let limits = Limits {
        absolute: Duration::from_secs(3600),
        ..Limits::default()
    };
    let Bench { wadi, clock, .. } = bench(limits);
    let mut browser = Browser::new(&app(&wadi));
    browser.get("/count").await;
    browser.get("/count").await;
    clock.advance(Duration::from_secs(1799));
    assert_eq!(browser.get("/read").await.text, "Existing Ok(Some(2))");
    clock.advance(Duration::from_secs(1800));
    assert_eq!(browser.get("/read").await.text, "Expired Ok(None)");
    assert!(wadi.sessions().map().is_empty());

    browser.get("/count").await;
    browser.get("/read").await;
    for _ in 0..3 {
        clock.advance(Duration::from_secs(1000));
        assert_eq!(browser.get("/read").await.text, "Existing Ok(Some(1))");
    }
    clock.advance(Duration::from_secs(600));
    assert_eq!(browser.get("/read").await.text, "Expired Ok(None)");
}

#[tokio::test]
async fn a_session_whose_cookie_never_came_back_ends_sooner() {
    let Bench { wadi, clock, .. } = bench(Limits::default());
    let mut crawler = Browser::new(&app(&wadi));
    for _ in 0..3 {
        crawler.get("/count").await;
        crawler.cookie = None;
    }
    let mut browser = Browser::new(&app(&wadi));
    browser.get("/count").await;
    browser.get("/count").await;
    clock.advance(Duration::from_secs(601));
    let swept = wadi.sessions().sweep(wadi.sessions().now(), usize::MAX);
    assert_eq!((swept.expired, swept.frozen), (3, 1), "{swept:?}");
    assert_eq!(browser.get("/count").await.text, "Ok(3)");
}

#[tokio::test]
async fn an_expiry_of_its_own() {
    let Bench { wadi, clock, .. } = bench(Limits::default());
    let mut browser = Browser::new(&app(&wadi));
    browser.get("/count").await;
    let answer = browser.get("/short").await;
    assert!(
        answer.headers["set-cookie"]
            .to_str()
            .unwrap()
            .ends_with("Max-Age=66")
    );
    clock.advance(Duration::from_secs(6));
    assert_eq!(browser.get("/read").await.text, "Expired Ok(None)");
}

#[tokio::test]
async fn an_expiry_that_the_program_set_is_not_shortened() {
    let Bench { wadi, clock, .. } = bench(Limits::default());
    let mut browser = Browser::new(&app(&wadi));
    browser.get("/count").await;
    browser.get("/long").await;
    clock.advance(Duration::from_secs(601));
    assert_eq!(browser.get("/read").await.text, "Existing Ok(Some(1))");
    // Also where the cookie that was sent with it has not come back yet.
    browser.get("/remember").await;
    clock.advance(DAY * 20);
    assert_eq!(browser.get("/read").await.text, "Existing Ok(Some(1))");
    clock.advance(DAY * 10);
    assert_eq!(browser.get("/read").await.text, "Expired Ok(None)");
}

#[tokio::test]
async fn a_cookie_that_comes_back_with_an_expiry_has_come_back() {
    let Bench { wadi, clock, .. } = bench(Limits::default());
    let mut browser = Browser::new(&app(&wadi));
    browser.get("/count").await;
    browser.get("/default").await;
    clock.advance(Duration::from_secs(601));
    assert_eq!(browser.get("/read").await.text, "Existing Ok(Some(1))");
}

#[tokio::test]
async fn the_default_expiry_restores_both_limits_of_the_node() {
    let Bench { wadi, clock, .. } = bench(Limits::default());
    let mut browser = Browser::new(&app(&wadi));
    for path in ["/count", "/remember", "/read", "/default", "/read"] {
        browser.get(path).await;
    }
    for _ in 0..57 {
        clock.advance(Duration::from_secs(1500));
        assert_eq!(browser.get("/read").await.text, "Existing Ok(Some(1))");
    }
    clock.advance(Duration::from_secs(900));
    assert_eq!(browser.get("/read").await.text, "Expired Ok(None)");
}

#[tokio::test]
async fn a_request_that_hung_up_counts_for_the_idle_time() {
    let Bench { wadi, clock, .. } = bench(Limits::default());
    let mut browser = Browser::new(&app(&wadi));
    browser.get("/count").await;
    browser.get("/read").await;
    clock.advance(Duration::from_secs(1790));
    let hung = tokio::time::timeout(Duration::from_millis(10), browser.peek("/hang")).await;
    assert!(hung.is_err());
    clock.advance(Duration::from_secs(20));
    assert_eq!(browser.get("/read").await.text, "Existing Ok(Some(1))");
}

#[tokio::test]
async fn destroyed_is_destroyed_however_old() {
    let Bench { wadi, clock, .. } = bench(Limits::default());
    let mut browser = Browser::new(&app(&wadi));
    browser.get("/count").await;
    browser.get("/remember").await;
    clock.advance(DAY * 3);
    let old = browser.clone();
    browser.get("/logout").await;
    assert_eq!(old.peek("/read").await.text, "Destroyed Ok(None)");
}

#[tokio::test]
async fn a_cookie_lives_longer_than_its_session_may_be_idle() {
    let Bench { wadi, clock, .. } = bench(Limits::default());
    let mut browser = Browser::new(&app(&wadi));
    let set = browser.get("/count").await.headers["set-cookie"].clone();
    let (_, seconds) = set.to_str().unwrap().rsplit_once("Max-Age=").unwrap();
    clock.advance(Duration::from_secs(179));
    assert!(
        !browser
            .get("/read")
            .await
            .headers
            .contains_key("set-cookie")
    );
    assert!(seconds.parse::<u64>().unwrap() > 179 + 1800);
    // And no longer than the session lives at all.
    let limits = Limits {
        absolute: Duration::from_secs(1800),
        ..Limits::default()
    };
    let answer = Browser::new(&app(&bench(limits).wadi)).get("/count").await;
    let set = answer.headers["set-cookie"].to_str().unwrap().to_owned();
    assert!(set.ends_with("Max-Age=1800"), "{set}");
}

#[tokio::test]
async fn renewing_keeps_the_session_and_kills_the_old_id() {
    let wadi = WadiLayer::in_memory();
    let mut browser = Browser::new(&app(&wadi));
    browser.get("/count").await;
    let old = browser.clone();
    browser.get("/renew").await;
    assert_ne!(browser.cookie, old.cookie);
    assert_eq!(old.peek("/read").await.text, "Destroyed Ok(None)");
    assert_eq!(browser.get("/count").await.text, "Ok(2)");
    assert_eq!(wadi.sessions().map().len(), 1);
}

#[tokio::test]
async fn frozen_sessions_go_on() {
    let Bench { wadi, clock, .. } = bench(Limits::default());
    let mut browser = Browser::new(&app(&wadi));
    browser.get("/count").await;
    clock.advance(Duration::from_secs(61));
    let swept = wadi.sessions().sweep(wadi.sessions().now(), usize::MAX);
    assert_eq!(swept.frozen, 1);
    assert_eq!(browser.get("/count").await.text, "Ok(2)");
}

#[tokio::test]
async fn an_attribute_of_another_type_spoils_nothing() {
    let mut browser = Browser::new(&app(&WadiLayer::in_memory()));
    browser.get("/count").await;
    assert_eq!(browser.get("/text").await.text, "true");
    assert_eq!(browser.get("/count").await.text, "Ok(2)");
}

#[tokio::test]
async fn over_budget_is_a_clear_error_and_creates_nothing() {
    let limits = Limits {
        max_session_bytes: 64 * 1024,
        max_sessions: 1,
        ..Limits::default()
    };
    let wadi = bench(limits).wadi;
    let mut browser = Browser::new(&app(&wadi));
    let answer = browser.get("/large").await;
    assert!(answer.text.starts_with("Err(TooLarge"), "{}", answer.text);
    assert!(wadi.sessions().map().is_empty());
    browser.get("/count").await;
    assert!(browser.get("/large").await.text.starts_with("Err(TooLarge"));
    assert_eq!(browser.get("/count").await.text, "Ok(2)");
    let full = Browser::new(&app(&wadi)).get("/count").await;
    assert_eq!(full.text, "Err(TooManySessions { limit: 1 })");
}

#[tokio::test]
async fn a_value_counts_with_what_its_encoding_takes() {
    const LONG: &str = include_str!("session.rs");
    let limits = Limits {
        max_session_bytes: 1000,
        ..Limits::default()
    };
    let wadi = bench(limits).wadi;
    let app = Router::new()
        .route(
            "/static",
            get(async |s: Session| format!("{:?}", s.insert("s", LONG))),
        )
        .route(
            "/copy",
            get(async |s: Session| format!("{:?}", s.insert("c", [("name", LONG)]))),
        )
        .layer(wadi.clone());
    for path in ["/static", "/copy"] {
        let answer = Browser::new(&app).get(path).await;
        assert!(answer.text.starts_with("Err(TooLarge"), "{}", answer.text);
    }
    assert!(wadi.sessions().map().is_empty());
}

#[tokio::test]
async fn modes() {
    let Bench { wadi, clock, .. } = bench(Limits::default());
    let mut browser = Browser::new(&app(&wadi));
    assert_eq!(browser.get("/read-only").await.text, "Err(ReadOnly)");
    assert!(wadi.sessions().map().is_empty());
    browser.get("/count").await;
    assert_eq!(browser.get("/read-only").await.text, "Err(ReadOnly)");
    browser.get("/read").await;
    clock.advance(Duration::from_secs(1700));
    let answer = browser.get("/bypass").await;
    assert_eq!(answer.text, "true");
    assert!(!answer.headers.contains_key("set-cookie"));
    clock.advance(Duration::from_secs(101));
    assert_eq!(browser.get("/read").await.text, "Expired Ok(None)");
}

#[tokio::test]
async fn modes_outside_the_session_layer_hold_too() {
    let write = async |s: Session| format!("{:?}", s.insert("n", 1_u8));
    let wadi = WadiLayer::in_memory();
    let app = Router::new()
        .route("/write", get(write))
        .layer(wadi.clone())
        .layer(mode::exclusive())
        .layer(mode::read_only());
    assert_eq!(Browser::new(&app).get("/write").await.text, "Err(ReadOnly)");
    assert!(wadi.sessions().map().is_empty());
}

#[tokio::test]
async fn a_session_inside_an_update_is_an_error_and_not_a_dead_lock() {
    let mut browser = Browser::new(&app(&WadiLayer::in_memory()));
    browser.get("/count").await;
    assert_eq!(
        browser.get("/nested").await.text,
        format!("Ok(Err({:?}))", SessionError::Nested)
    );
    assert_eq!(browser.get("/count").await.text, "Ok(2)");
}

#[tokio::test]
async fn without_a_lease_nothing_is_served() {
    let Bench { wadi, gate, .. } = bench(Limits::default());
    let lapse = {
        let gate = std::sync::Arc::clone(&gate);
        async move |s: Session| {
            s.insert("n", 1_u8).unwrap();
            gate.revoke();
        }
    };
    let app = Router::new()
        .route("/lapse", get(lapse))
        .layer(wadi.clone());
    let mut browser = Browser::new(&app);
    let answer = browser.get("/lapse").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(browser.cookie, None);
    assert!(wadi.sessions().map().is_empty());
    assert_eq!(
        browser.get("/lapse").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[tokio::test]
async fn a_closed_layer_answers_503_and_a_missing_one_500() {
    let wadi = WadiLayer::in_memory();
    wadi.close();
    let answer = Browser::new(&app(&wadi)).get("/read").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers["retry-after"], "1");
    let bare = Router::new().route("/", get(async |_: Session| ()));
    let answer = Browser::new(&bare).get("/").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
}
