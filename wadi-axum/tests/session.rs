//! The session as a handler sees it, through the layer.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use http::header::{COOKIE, SET_COOKIE};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tower::{Service, ServiceExt};
use wadi_axum::{Origin, Session, SessionError, WadiLayer};

async fn send(app: &Router, method: &str, path: &str, cookie: Option<&str>) -> Response<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(cookie) = cookie {
        request = request.header(COOKIE, cookie);
    }
    app.clone()
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap()
}

async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn cookie(response: &Response<Body>) -> Option<String> {
    let header = response.headers().get(SET_COOKIE)?.to_str().unwrap();
    Some(header.split(';').next().unwrap().to_owned())
}

async fn count(session: Session) -> Result<String, String> {
    session
        .update("n", |n: &mut u64| {
            *n += 1;
            *n
        })
        .map(|n| n.to_string())
        .map_err(|error| error.to_string())
}

async fn read(session: Session) -> String {
    format!("{:?} {:?}", session.origin(), session.get::<u64>("n"))
}

async fn logout(session: Session) -> StatusCode {
    session.flush().await.unwrap();
    StatusCode::NO_CONTENT
}

fn app(wadi: &WadiLayer) -> Router {
    Router::new()
        .route("/count", post(count))
        .route("/read", get(read))
        .route("/logout", post(logout))
        .layer(wadi.clone())
}

#[tokio::test]
async fn a_session_lives_from_its_first_write_to_its_end() {
    let wadi = WadiLayer::in_memory();
    let app = app(&wadi);
    let response = send(&app, "GET", "/read", None).await;
    assert_eq!(cookie(&response), None);
    assert_eq!(text(response).await, "New Ok(None)");
    assert!(wadi.sessions().map().is_empty());

    let response = send(&app, "POST", "/count", None).await;
    let jar = cookie(&response).unwrap();
    assert_eq!(text(response).await, "1");
    let response = send(&app, "POST", "/count", Some(&jar)).await;
    assert_eq!(cookie(&response), None);
    assert_eq!(text(response).await, "2");

    let response = send(&app, "POST", "/logout", Some(&jar)).await;
    let cleared = response.headers()[SET_COOKIE].to_str().unwrap();
    assert!(cleared.contains("Max-Age=0"), "{cleared}");
    assert!(wadi.sessions().map().is_empty());
    let response = send(&app, "GET", "/read", Some(&jar)).await;
    assert_eq!(text(response).await, "Destroyed Ok(None)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn overlapping_updates_lose_nothing() {
    let app = app(&WadiLayer::in_memory());
    let jar = cookie(&send(&app, "POST", "/count", None).await).unwrap();
    for _ in 0..20 {
        let requests: Vec<_> = (0..64)
            .map(|_| {
                let (app, jar) = (app.clone(), jar.clone());
                tokio::spawn(async move { send(&app, "POST", "/count", Some(&jar)).await.status() })
            })
            .collect();
        for request in requests {
            assert_eq!(request.await.unwrap(), StatusCode::OK);
        }
    }
    let response = send(&app, "GET", "/read", Some(&jar)).await;
    assert_eq!(
        text(response).await,
        format!("Existing Ok(Some({}))", 20 * 64 + 1)
    );
}
