//! The layer over a plain tower service with a body of its own: nothing here is axum's.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{COOKIE, SET_COOKIE};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn};
use wadi_axum::cookie::Cookie;
use wadi_axum::{Session, Settings, WadiLayer, mode};
use wadi_core::session::{ClusterKey, Keyring, Sessions};

async fn count(request: Request<()>) -> Result<Response<Full<Bytes>>, Infallible> {
    let session = request.extensions().get::<Session>().unwrap();
    let n = session.update("n", |n: &mut u32| {
        *n += 1;
        *n
    });
    Ok(Response::new(n.unwrap().to_string().into()))
}

async fn text(response: Response<Full<Bytes>>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn a_plain_service_has_sessions() {
    let wadi = WadiLayer::in_memory();
    let service = wadi.layer(mode::exclusive().layer(service_fn(count)));
    let response = service.clone().oneshot(Request::new(())).await.unwrap();
    let cookie = response.headers()[SET_COOKIE].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    assert_eq!(text(response).await, "1");
    let again = Request::builder().header(COOKIE, cookie).body(()).unwrap();
    assert_eq!(text(service.oneshot(again).await.unwrap()).await, "2");
}

/// It has no future yet that could be dropped.
#[tokio::test]
async fn what_a_service_creates_that_panics_as_it_is_called_is_discarded() {
    let wadi = WadiLayer::in_memory();
    let service = wadi.layer(service_fn(|request: Request<()>| {
        let session = request.extensions().get::<Session>().unwrap();
        session.insert("n", 1_u8).unwrap();
        assert!(request.uri().path() != "/", "on purpose");
        count(request)
    }));
    let panicked = tokio::spawn(service.oneshot(Request::new(()))).await;
    assert!(panicked.is_err());
    assert!(wadi.sessions().map().is_empty());
}

#[tokio::test]
async fn a_layer_that_was_not_started_answers_503_but_where_it_is_bypassed() {
    let sessions = Sessions::builder(Keyring::new(ClusterKey::random())).build();
    let wadi = WadiLayer::new(Settings::new(sessions, Cookie::default()));
    let probe = async |_: Request<()>| Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()));
    let service = wadi.layer(service_fn(probe));
    let refused = service.clone().oneshot(Request::new(())).await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    let passed = mode::bypass()
        .layer(service)
        .oneshot(Request::new(()))
        .await;
    assert_eq!(passed.unwrap().status(), StatusCode::OK);
}
