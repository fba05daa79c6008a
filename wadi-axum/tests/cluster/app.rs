//! The application of these tests: what a handler can do with a session, and with a request.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::extract::{ConnectInfo, Path, Query, Request};
use axum::response::{IntoResponse, Response, Sse, sse::Event};
use axum::routing::{any, get, post};
use axum::{Extension, Router};
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use wadi_axum::{Proxied, Session, SessionFailure, WadiLayer, mode};

/// How many of [`held`]'s handlers were dropped before their end.
pub(crate) static GIVEN_UP: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn app(wadi: WadiLayer) -> Router {
    let inner = Router::new()
        .route("/deep/{*rest}", any(what))
        .fallback(what);
    Router::new()
        .route("/count", post(count).get(read))
        .route("/alone", post(count).layer(mode::exclusive()))
        .route("/origin", get(origin))
        .route("/login", post(login))
        .route("/late", post(late))
        .route("/late-login", post(late_login))
        .route("/logout", post(logout))
        .route("/big/{bytes}", post(big))
        .route("/echo", post(echo))
        .route("/trailers", post(trailers))
        .route("/held", get(held))
        .route("/events", get(events))
        .route("/ws", any(ws))
        .route("/what", any(what))
        .nest("/nested", inner)
        .layer(wadi.clone())
        .merge(wadi.health())
        .layer(Extension(wadi.config().name()))
}

async fn count(session: Session) -> Result<String, SessionFailure> {
    let n = session.update("n", |n: &mut u32| {
        *n += 1;
        *n
    })?;
    Ok(n.to_string())
}

async fn read(session: Session) -> Result<String, SessionFailure> {
    Ok(session.get::<u32>("n")?.unwrap_or_default().to_string())
}

async fn origin(session: Session) -> String {
    format!("{:?}", session.origin())
}

async fn login(session: Session) -> Result<&'static str, SessionFailure> {
    session.cycle_id().await?;
    session.insert("user", "ann".to_owned())?;
    Ok("hello")
}

/// Thinks for a while before it writes.
async fn late(session: Session, hold: Query<Hold>) -> Result<String, SessionFailure> {
    tokio::time::sleep(Duration::from_millis(hold.ms)).await;
    count(session).await
}

async fn late_login(session: Session, hold: Query<Hold>) -> Result<&'static str, SessionFailure> {
    tokio::time::sleep(Duration::from_millis(hold.ms)).await;
    login(session).await
}

async fn logout(session: Session) -> Result<&'static str, SessionFailure> {
    session.flush().await?;
    Ok("goodbye")
}

async fn big(session: Session, Path(bytes): Path<usize>) -> Result<&'static str, SessionFailure> {
    session.insert("big", "x".repeat(bytes))?;
    Ok("stored")
}

async fn echo(session: Session, body: Body) -> Result<Body, SessionFailure> {
    session.update("n", |n: &mut u32| *n += 1)?;
    Ok(body)
}

/// Answers with the request's body and its trailers.
async fn trailers(session: Session, body: Body) -> Response {
    let user = session.get::<String>("user").unwrap();
    let collected = body.collect().await.unwrap();
    let mut trailers = collected.trailers().cloned().unwrap_or_default();
    trailers.insert(
        "x-seen",
        HeaderValue::from_str(&user.unwrap_or_default()).unwrap(),
    );
    let data = collected.to_bytes();
    let frames = [
        Ok::<_, Infallible>(Frame::data(data)),
        Ok(Frame::trailers(trailers)),
    ];
    Response::new(Body::new(StreamBody::new(stream::iter(frames))))
}

struct GivenUp(bool);

impl Drop for GivenUp {
    fn drop(&mut self) {
        if !self.0 {
            GIVEN_UP.fetch_add(1, SeqCst);
        }
    }
}

#[derive(serde::Deserialize)]
struct Hold {
    ms: u64,
}

/// Holds the session for a while.
async fn held(session: Session, Query(hold): Query<Hold>) -> Result<String, SessionFailure> {
    let mut given_up = GivenUp(false);
    session.update("n", |n: &mut u32| *n += 1)?;
    tokio::time::sleep(Duration::from_millis(hold.ms)).await;
    given_up.0 = true;
    Ok("held".to_owned())
}

/// Three events, each of which counts.
async fn events(session: Session) -> impl IntoResponse {
    let session = session.detach();
    let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        for _ in 0..3 {
            let n = session.update("n", |n: &mut u32| {
                *n += 1;
                *n
            });
            let n = n.await.unwrap();
            let event = Event::default().data(n.to_string());
            if sender.send(Ok::<_, Infallible>(event)).await.is_err() {
                return;
            }
        }
    });
    Sse::new(stream::poll_fn(move |context| receiver.poll_recv(context)))
}

/// Echoes each message with its number in the session and the node's name.
async fn ws(
    session: Session,
    Extension(node): Extension<String>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let session = session.detach();
    upgrade.on_upgrade(async move |mut socket| {
        while let Some(Ok(message)) = socket.recv().await {
            let Message::Text(text) = message else {
                continue;
            };
            let n = session.update("n", |n: &mut u32| {
                *n += 1;
                *n
            });
            let answer = format!("{text} {} {node}", n.await.unwrap());
            if socket.send(Message::text(answer)).await.is_err() {
                return;
            }
        }
    })
}

/// Everything that can be seen of the request.
async fn what(session: Session, request: Request) -> Result<String, SessionFailure> {
    let user = session.get::<String>("user")?;
    let (head, body) = request.into_parts();
    let original = head.extensions.get::<axum::extract::OriginalUri>();
    let proxied = head.extensions.get::<Proxied>();
    let peer = head.extensions.get::<ConnectInfo<SocketAddr>>();
    let body: Bytes = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .unwrap();
    let seen = What {
        method: &head.method,
        uri: &head.uri,
        original: original.map(|uri| uri.0.to_string()),
        version: format!("{:?}", head.version),
        headers: &head.headers,
        proxied_by: proxied.map(Proxied::by),
        peer: peer.map(|peer| peer.0),
        user,
        body: body.len(),
    };
    Ok(format!("{seen:#?}"))
}

#[derive(Debug)]
#[allow(dead_code, reason = "it is printed")]
struct What<'a> {
    method: &'a Method,
    uri: &'a Uri,
    original: Option<String>,
    version: String,
    headers: &'a HeaderMap,
    proxied_by: Option<&'a str>,
    peer: Option<SocketAddr>,
    user: Option<String>,
    body: usize,
}

/// Whether this status says: try again.
pub(crate) fn is_unavailable(status: StatusCode, headers: &HeaderMap) -> bool {
    status == StatusCode::SERVICE_UNAVAILABLE && headers.contains_key("retry-after")
}
