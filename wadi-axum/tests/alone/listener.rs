//! Overlapping requests of one session, over a real listener: nothing is lost, nothing comes back.

use std::sync::Arc;

use crate::client::Browser;
use crate::serving::{plain, serve};
use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use http::{HeaderMap, Method, StatusCode};
use tokio::sync::{Barrier, Notify};
use tokio::task::JoinSet;
use wadi_axum::{Session, SessionError, SessionFailure};

const OVERLAPPING: usize = 64;

async fn read(session: Session) -> Result<String, SessionFailure> {
    Ok(session.get::<u64>("counter")?.unwrap_or(0).to_string())
}

async fn begin(session: Session) -> Result<(), SessionFailure> {
    Ok(session.insert("counter", 0_u64)?)
}

async fn logout(session: Session) -> Result<(), SessionFailure> {
    Ok(session.flush().await?)
}

/// Two hundred rounds, or as many as `WADI_TEST_ROUNDS` says.
fn rounds() -> u64 {
    std::env::var("WADI_TEST_ROUNDS").map_or(200, |rounds| {
        rounds.parse().expect("WADI_TEST_ROUNDS is a number")
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overlapping_increments_all_count() {
    // Nobody writes before all are inside the handler, so the requests truly overlap.
    let inside = Arc::new(Barrier::new(OVERLAPPING));
    let increment = move |session: Session| async move {
        inside.wait().await;
        let count = session.update("counter", |count: &mut u64| *count += 1);
        count.map_err(SessionFailure::from)
    };
    let routes = Router::new().route("/counter", get(read).put(begin).post(increment));
    let node = serve(plain(), routes).await;
    let browser = Arc::new(Browser::new(node.address));
    browser.send(Method::PUT, "/counter", "").await;

    for round in 1..=rounds() {
        let mut requests = JoinSet::new();
        for _ in 0..OVERLAPPING {
            let browser = Arc::clone(&browser);
            requests.spawn(async move { browser.post("/counter").await.status });
        }
        while let Some(status) = requests.join_next().await {
            assert_eq!(status.unwrap(), StatusCode::OK);
        }
        let count = browser.get("/counter").await.number();
        assert_eq!(count, round * OVERLAPPING as u64, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overlapping_writes_of_different_keys_all_stay() {
    let inside = Arc::new(Barrier::new(OVERLAPPING));
    let write = move |Path(key): Path<String>, session: Session| async move {
        inside.wait().await;
        let written = session.insert(&key, key.clone());
        written.map_err(SessionFailure::from)
    };
    let read = async |Path(key): Path<String>, session: Session| {
        let value = session.get::<String>(&key).map_err(SessionFailure::from);
        value.map(Option::unwrap_or_default)
    };
    let routes = Router::new()
        .route("/counter", get(read).put(begin))
        .route("/key/{key}", get(read).post(write));
    let node = serve(plain(), routes).await;
    let browser = Arc::new(Browser::new(node.address));
    browser.send(Method::PUT, "/counter", "").await;

    for round in 0..rounds().min(20) {
        let keys: Vec<_> = (0..OVERLAPPING).map(|n| format!("r{round}k{n}")).collect();
        let mut requests = JoinSet::new();
        for key in keys.clone() {
            let browser = Arc::clone(&browser);
            requests.spawn(async move { browser.post(&format!("/key/{key}")).await.status });
        }
        while let Some(status) = requests.join_next().await {
            assert_eq!(status.unwrap(), StatusCode::OK);
        }
        for key in keys {
            let answer = browser.get(&format!("/key/{key}")).await;
            assert_eq!(answer.text(), key, "round {round}");
        }
    }
}

#[tokio::test]
async fn a_request_that_outlives_a_logout_does_not_bring_the_session_back() {
    let (entered, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = {
        let (entered, go_on) = (Arc::clone(&entered), Arc::clone(&go_on));
        move |session: Session| async move {
            session.update("counter", |count: &mut u64| *count += 1)?;
            entered.notify_one();
            go_on.notified().await;
            match session.insert("counter", 100_u64) {
                Err(SessionError::Ended) => Ok("ended"),
                other => other.map(|()| "written").map_err(SessionFailure::from),
            }
        }
    };
    let routes = Router::new()
        .route("/counter", get(read).put(begin))
        .route("/slow", post(slow))
        .route("/logout", post(logout));
    let node = serve(plain(), routes).await;
    let browser = Arc::new(Browser::new(node.address));
    browser.send(Method::PUT, "/counter", "").await;
    let old = browser.cookie().expect("a session");

    let slow = tokio::spawn({
        let browser = Arc::clone(&browser);
        async move {
            let headers = cookie(&browser.cookie().unwrap());
            browser.send_with(Method::POST, "/slow", headers, "").await
        }
    });
    entered.notified().await;
    assert_eq!(browser.post("/logout").await.status, StatusCode::OK);
    go_on.notify_one();
    let slow = slow.await.unwrap();
    assert_eq!(slow.text(), "ended");
    assert_eq!(
        slow.cookie(),
        None,
        "a dead session's cookie is not sent again"
    );

    let again = browser
        .send_with(Method::GET, "/counter", cookie(&old), "")
        .await;
    assert_eq!(again.number(), 0);
    assert_eq!(node.wadi.sessions().map().len(), 0);
}

#[tokio::test]
async fn an_invented_id_is_never_adopted() {
    let routes = Router::new().route("/counter", get(read).put(begin));
    let node = serve(plain(), routes).await;
    let browser = Browser::new(node.address);
    browser.send(Method::PUT, "/counter", "").await;
    let ours = browser.cookie().unwrap();
    let (name, value) = ours.split_once('=').unwrap();

    // Of the right shape: one bit of the random part differs from an id of ours.
    let mut invented = value.to_owned();
    let first = if invented.starts_with('A') { "B" } else { "A" };
    invented.replace_range(..1, first);
    for invented in [invented, "A".repeat(value.len())] {
        let headers = cookie(&format!("{name}={invented}"));
        let read = browser
            .send_with(Method::GET, "/counter", headers.clone(), "")
            .await;
        assert_eq!((read.status, read.number()), (StatusCode::OK, 0));
        let written = browser
            .send_with(Method::PUT, "/counter", headers.clone(), "")
            .await;
        let given = written.cookie().expect("a new id on write");
        assert!(!given.contains(&invented));
        // The invented id still finds nothing after the write.
        let again = browser
            .send_with(Method::PUT, "/counter", headers, "")
            .await;
        assert_ne!(again.cookie().expect("yet another id"), given);
    }
}

fn cookie(pair: &str) -> HeaderMap {
    HeaderMap::from_iter([(http::header::COOKIE, pair.parse().expect("a legal header"))])
}
