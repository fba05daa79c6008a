//! Whatever a client or a handler gets wrong is a clear error or a quiet refusal, never a panic.

use std::collections::HashMap;
use std::time::Duration;

use crate::client::{Answer, Browser};
use crate::serving::{Serving, plain, serve};
use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use bytes::Bytes;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use wadi_axum::config::{CookieMode, WadiConfigBuilder};
use wadi_axum::{Session, SessionError, SessionFailure};
use wadi_core::clock::{BootClock, Clock};
use wadi_core::session::{ClusterKey, Keyring};

async fn read(session: Session) -> Result<String, SessionFailure> {
    Ok(session.get::<u64>("counter")?.unwrap_or(0).to_string())
}

async fn increment(session: Session) -> Result<String, SessionFailure> {
    let count = session.update("counter", |count: &mut u64| {
        *count += 1;
        *count
    })?;
    Ok(count.to_string())
}

async fn node(config: WadiConfigBuilder) -> Serving {
    let routes = Router::new().route("/counter", get(read).post(increment));
    serve(config, routes).await
}

/// A node, a browser with a session whose counter is 1, and the cookie's name and value.
async fn begun(config: WadiConfigBuilder) -> (Serving, Browser, String, String) {
    let node = node(config).await;
    let browser = Browser::new(node.address);
    assert_eq!(browser.post("/counter").await.number(), 1);
    let cookie = browser.cookie().expect("a session");
    let (name, value) = cookie.split_once('=').expect("a pair");
    let (name, value) = (name.to_owned(), value.to_owned());
    (node, browser, name, value)
}

fn cookies(lines: &[&[u8]]) -> HeaderMap {
    let line = |line: &&[u8]| (COOKIE, HeaderValue::from_bytes(line).expect("legal bytes"));
    HeaderMap::from_iter(lines.iter().map(line))
}

async fn count_with(browser: &Browser, lines: &[&[u8]]) -> u64 {
    let answer = browser
        .send_with(Method::GET, "/counter", cookies(lines), "")
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{lines:?}");
    answer.number()
}

#[tokio::test]
async fn malformed_cookies_are_no_session_and_no_error() {
    let (_node, browser, name, value) = begun(plain()).await;
    let malformed: Vec<Vec<u8>> = [
        "",
        ";",
        "=",
        ";;;=;=",
        "  ",
        ",",
        "\"",
        &name,
        &format!("{name}="),
        &format!("{name}=;"),
        &format!("={value}"),
        &format!("{name} {value}"),
        &format!("{name}==={value}"),
        &format!("{name}={value}="),
        &format!("{name}=%{value}"),
        &format!("{name}={value}{value}"),
        &format!("{name}={}", &value[1..]),
        &format!("{name}={}", &value[..value.len() - 1]),
        &format!("x{name}={value}"),
        &format!("{name}x={value}"),
        &format!("{name}={}", value.replace(|_: char| true, "-")),
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    for line in &malformed {
        let shown = String::from_utf8_lossy(line);
        assert_eq!(count_with(&browser, &[line]).await, 0, "{shown:?}");
    }
    let raw = [name.as_bytes(), b"=\xff\xfe\x80", value.as_bytes()].concat();
    assert_eq!(count_with(&browser, &[&raw]).await, 0);
    // Rubbish beside it does not hide the real one.
    let beside = format!("a=b; ;;=; {name}={value}; \"; z");
    assert_eq!(count_with(&browser, &[beside.as_bytes()]).await, 1);
}

#[tokio::test]
async fn oversized_cookies_are_refused_quietly() {
    let (_node, browser, name, value) = begun(plain()).await;
    let long = format!("{name}={}", "A".repeat(60_000));
    assert_eq!(count_with(&browser, &[long.as_bytes()]).await, 0);
    let many = format!("{}{name}={value}", "a=b; ".repeat(10_000));
    let answer = browser
        .send_with(Method::GET, "/counter", cookies(&[many.as_bytes()]), "")
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    // The node lives on.
    assert_eq!(browser.get("/counter").await.number(), 1);
}

#[tokio::test]
async fn among_duplicates_the_one_that_is_ours_is_taken() {
    let (_node, browser, name, value) = begun(plain()).await;
    let forged = format!("{name}={}", "A".repeat(value.len()));
    let ours = format!("{name}={value}");
    let (forged, ours) = (forged.as_bytes(), ours.as_bytes());
    let rubbish = format!("{name}=rubbish");
    let joined = |parts: &[&[u8]]| parts.join(&b"; "[..]);
    for lines in [
        vec![ours.to_vec(), ours.to_vec()],
        vec![joined(&[ours, ours])],
        vec![rubbish.as_bytes().to_vec(), ours.to_vec()],
        vec![joined(&[rubbish.as_bytes(), ours])],
        vec![joined(&[forged, ours])],
        vec![forged.to_vec(), ours.to_vec()],
    ] {
        let lines: Vec<_> = lines.iter().map(Vec::as_slice).collect();
        assert_eq!(count_with(&browser, &lines).await, 1);
    }
}

#[tokio::test]
async fn forged_and_truncated_ids_are_refused() {
    let (_node, browser, name, value) = begun(plain()).await;
    for length in 0..value.len() {
        let line = format!("{name}={}", &value[..length]);
        assert_eq!(count_with(&browser, &[line.as_bytes()]).await, 0);
    }
    for at in 0..20 {
        let mut forged = value.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        let line = [name.as_bytes(), b"=", &forged].concat();
        assert_eq!(count_with(&browser, &[&line]).await, 0, "character {at}");
    }
}

#[tokio::test]
async fn an_id_of_another_cluster_is_refused() {
    let keyed = |byte| {
        let key = ClusterKey::from_secret(&[byte; 32]).expect("32 bytes");
        plain().cluster_key(Keyring::new(key))
    };
    let (_theirs, _, name, value) = begun(keyed(1)).await;
    let (_ours, browser, _, _) = begun(keyed(2)).await;
    let line = format!("{name}={value}");
    assert_eq!(count_with(&browser, &[line.as_bytes()]).await, 0);
    let written = browser
        .send_with(Method::POST, "/counter", cookies(&[line.as_bytes()]), "")
        .await;
    assert_eq!(written.number(), 1);
    assert!(!written.cookie().expect("a new id").contains(&value));
}

#[tokio::test]
async fn a_new_key_keeps_the_ids_of_the_old_one_when_both_are_accepted() {
    let key = |byte| ClusterKey::from_secret(&[byte; 32]).expect("32 bytes");
    let (_old, _, name, value) = begun(plain().cluster_key(Keyring::new(key(1)))).await;
    let line = format!("{name}={value}");
    // The session itself stayed with its node; whether its id is believed shows in its origin.
    for (ring, origin) in [
        (Keyring::new(key(2)).accepting(key(1)), "Lost"),
        (Keyring::new(key(2)), "New"),
    ] {
        let origin_of = async |session: Session| format!("{:?}", session.origin());
        let routes = Router::new().route("/origin", get(origin_of));
        let node = serve(plain().cluster_key(ring), routes).await;
        let answer = Browser::new(node.address)
            .send_with(Method::GET, "/origin", cookies(&[line.as_bytes()]), "")
            .await;
        assert_eq!(answer.text(), origin);
    }
}

#[tokio::test]
async fn an_expired_id_finds_nothing() {
    let second = Duration::from_secs(1);
    let (node, browser, name, value) = begun(plain().idle_timeout(second)).await;
    let line = format!("{name}={value}");
    tokio::time::sleep(second + Duration::from_millis(200)).await;
    assert_eq!(count_with(&browser, &[line.as_bytes()]).await, 0);
    let written = browser
        .send_with(Method::POST, "/counter", cookies(&[line.as_bytes()]), "")
        .await;
    assert_eq!(written.number(), 1, "a new session");
    assert!(!written.cookie().expect("a new id").contains(&value));
    // Nobody asks for it any more, and the background driver ends it.
    let begun = BootClock.now();
    while !node.wadi.sessions().map().is_empty() {
        assert!(
            BootClock.now().since(begun) < Duration::from_secs(10),
            "never swept"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Answers with the error's own words, as a handler would log them.
fn told<T>(result: Result<T, SessionError>) -> Response {
    match result {
        Ok(_) => "done".into_response(),
        Err(error) => (StatusCode::IM_A_TEAPOT, error.to_string()).into_response(),
    }
}

fn assert_told(answer: &Answer, words: &[&str]) {
    assert_eq!(answer.status, StatusCode::IM_A_TEAPOT, "{answer:?}");
    for word in words {
        assert!(answer.text().contains(word), "{word}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_handlers_mistakes_are_told_and_change_nothing() {
    let routes = Router::new()
        .route("/counter", get(read).post(increment))
        .route(
            "/other-type",
            get(async |session: Session| told(session.get::<Vec<String>>("counter"))),
        )
        .route(
            "/other-update",
            post(async |session: Session| {
                told(session.update("counter", |names: &mut Vec<String>| names.clear()))
            }),
        )
        .route(
            "/unencodable",
            post(async |session: Session| told(session.insert("counter", Refusing))),
        )
        .route(
            "/large",
            put(async |session: Session, body: Bytes| told(session.insert("large", body.to_vec()))),
        );
    let budget: usize = 64 * 1024;
    let node = serve(plain().max_session_bytes(budget), routes).await;
    let browser = Browser::new(node.address);
    assert_eq!(browser.post("/counter").await.number(), 1);

    assert_told(&browser.get("/other-type").await, &["counter", "Vec<"]);
    assert_told(&browser.post("/other-update").await, &["counter", "Vec<"]);
    let unencodable = browser.post("/unencodable").await;
    assert_told(&unencodable, &["counter", "cannot be encoded"]);
    let over = vec![7; budget + 100 * 1024];
    let large = browser.send(Method::PUT, "/large", over).await;
    assert_told(&large, &["65536", "max_session_bytes"]);
    assert_eq!(browser.get("/counter").await.number(), 1);
    assert_eq!(browser.post("/counter").await.number(), 2);
    let fits = browser.send(Method::PUT, "/large", vec![7; 1024]).await;
    assert_eq!(fits.text(), "done");
}

#[derive(Clone, Debug, serde::Deserialize)]
struct Refusing;

impl serde::Serialize for Refusing {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("not this one"))
    }
}

#[tokio::test]
async fn too_many_sessions_is_a_clear_refusal() {
    let node = node(plain().max_sessions(2_usize)).await;
    for _ in 0..2 {
        assert_eq!(
            Browser::new(node.address).post("/counter").await.number(),
            1
        );
    }
    let refused = Browser::new(node.address).post("/counter").await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers.contains_key("retry-after"), "{refused:?}");
    assert!(!refused.headers.contains_key(SET_COOKIE), "{refused:?}");
    let reader = Browser::new(node.address).get("/counter").await;
    assert_eq!(reader.number(), 0, "reading needs no session");
}

#[tokio::test]
async fn a_session_over_its_budget_is_413_and_was_never_created() {
    let grow = async |session: Session, body: String| -> Result<(), SessionFailure> {
        session.update("text", |text: &mut String| text.push_str(&body))?;
        Ok(())
    };
    let routes = Router::new().route("/text", post(grow));
    let node = serve(plain().max_session_bytes(300_usize).x_wadi(true), routes).await;
    let browser = Browser::new(node.address);
    let refused = browser.send(Method::POST, "/text", "x".repeat(400)).await;
    assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(refused.headers["x-wadi"], "local; node=node; hops=0");
    assert!(node.wadi.sessions().map().is_empty());
    let taken = browser.send(Method::POST, "/text", "x".repeat(200)).await;
    assert_eq!(taken.headers["x-wadi"], "created; node=node; hops=0");
    let refused = browser.send(Method::POST, "/text", "x".repeat(200)).await;
    assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn every_response_says_how_it_was_served_where_that_is_on() {
    let node = node(plain().x_wadi(true)).await;
    let browser = Browser::new(node.address);
    for path in ["/counter", "/healthz", "/nowhere"] {
        let answer = browser.get(path).await;
        assert_eq!(
            answer.headers["x-wadi"], "local; node=node; hops=0",
            "{path}"
        );
    }
    node.wadi.close();
    let refused = browser.get("/counter").await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers["x-wadi"], "local; node=node; hops=0");
}

#[tokio::test]
async fn the_cookie_is_safe_by_default() {
    let routes = Router::new().route("/counter", post(increment));
    let node = serve(plain().cookie(CookieMode::Secure), routes).await;
    let answer = Browser::new(node.address).post("/counter").await;
    let set = answer.headers[SET_COOKIE].to_str().unwrap().to_owned();
    assert!(set.starts_with("__Host-wadi="), "{set}");
    let parts: HashMap<_, _> = set
        .split("; ")
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .collect();
    assert!(
        parts.contains_key("Secure") && parts.contains_key("HttpOnly"),
        "{set}"
    );
    assert_eq!((parts["Path"], parts["SameSite"]), ("/", "Lax"), "{set}");
    assert!(!parts.contains_key("Domain"), "{set}");
}

#[tokio::test]
async fn a_layer_that_was_not_started_says_so() {
    let wadi = wadi_axum::WadiLayer::new(plain().build().unwrap());
    let app = Router::new()
        .route("/counter", post(increment))
        .layer(wadi.clone())
        .merge(wadi.health());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let browser = Browser::new(listener.local_addr().unwrap());
    let served = tokio::spawn(async move { axum::serve(listener, app).await });
    let refused = browser.post("/counter").await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    let ready = browser.get("/readyz").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(browser.get("/healthz").await.status, StatusCode::OK);
    wadi.start().await.unwrap();
    assert_eq!(browser.get("/readyz").await.status, StatusCode::OK);
    assert_eq!(browser.post("/counter").await.number(), 1);
    assert!(wadi.start().await.unwrap_err().to_string().contains("once"));
    served.abort();
}
