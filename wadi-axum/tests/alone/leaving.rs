//! A node that leaves: unready first, still serving, then closed, within its time.

use std::sync::Arc;
use std::time::Duration;

use crate::client::Browser;
use crate::serving::{Serving, plain, serve};
use axum::Router;
use axum::extract::{ConnectInfo, Query};
use axum::routing::{get, post};
use http::StatusCode;
use http::header::{CONNECTION, UPGRADE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use wadi_axum::Phase;
use wadi_core::clock::{BootClock, Clock};

async fn slow(Query(time): Query<Vec<(String, u64)>>) -> &'static str {
    tokio::time::sleep(Duration::from_millis(time[0].1)).await;
    "slept"
}

fn routes() -> Router {
    Router::new().route("/slow", get(slow)).route(
        "/peer",
        get(async |ConnectInfo(peer): ConnectInfo<std::net::SocketAddr>| peer.ip().to_string()),
    )
}

/// A request that says when it has come, and stays until it may go on.
#[derive(Clone, Default)]
struct Gate {
    entered: Arc<Notify>,
    go_on: Arc<Notify>,
}

impl Gate {
    fn routes(&self) -> Router {
        let Self { entered, go_on } = self.clone();
        let pass = async move || {
            entered.notify_one();
            go_on.notified().await;
            "passed"
        };
        Router::new().route("/gate", get(pass))
    }
}

#[tokio::test]
async fn it_is_unready_first_and_still_serves() {
    let delay = Duration::from_millis(600);
    let node = serve(plain().deregister_delay(delay), routes()).await;
    let browser = Browser::new(node.address);
    let ready = browser.get("/readyz").await;
    assert_eq!(ready.status, StatusCode::OK);
    assert!(!ready.headers.contains_key(CONNECTION));
    assert_eq!(browser.get("/peer").await.text(), "127.0.0.1");

    let asked = BootClock.now();
    node.wadi.leave();
    let unready = browser.get("/readyz").await;
    assert_eq!(unready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(unready.headers[CONNECTION], "close");
    assert_eq!(browser.get("/healthz").await.status, StatusCode::OK);
    let fresh = Browser::new(node.address).get("/peer").await;
    assert_eq!(fresh.text(), "127.0.0.1", "it still accepts");

    let mut node = node;
    (&mut node.served).await.unwrap().unwrap();
    assert!(
        BootClock.now().since(asked) >= delay,
        "{:?}",
        BootClock.now().since(asked)
    );
    assert!(
        TcpStream::connect(node.address).await.is_err(),
        "the listener is closed"
    );
}

#[tokio::test]
async fn requests_in_flight_are_finished() {
    let gate = Gate::default();
    let mut node = serve(plain(), gate.routes()).await;
    let browser = Browser::new(node.address);
    let flying = tokio::spawn(async move { browser.get("/gate").await });
    gate.entered.notified().await;
    node.wadi.leave();
    while node.wadi.phase() < Phase::Closing {
        tokio::task::yield_now().await;
    }
    gate.go_on.notify_one();
    (&mut node.served).await.unwrap().unwrap();
    assert_eq!(flying.await.unwrap().text(), "passed");
}

#[tokio::test]
async fn what_takes_too_long_is_cut_off() {
    let gate = Gate::default();
    let config = plain().leave_timeout(Duration::from_millis(300));
    let mut node = serve(config, gate.routes()).await;
    let mut flying = TcpStream::connect(node.address).await.unwrap();
    let request = b"GET /gate HTTP/1.1\r\nHost: x\r\n\r\n";
    flying.write_all(request).await.unwrap();
    gate.entered.notified().await;
    let asked = BootClock.now();
    node.wadi.leave();
    (&mut node.served).await.unwrap().unwrap();
    assert!(
        BootClock.now().since(asked) < Duration::from_secs(5),
        "{:?}",
        BootClock.now().since(asked)
    );
    let mut rest = Vec::new();
    let read = flying.read_to_end(&mut rest);
    let read = tokio::time::timeout(Duration::from_secs(5), read).await;
    read.expect("the connection was closed").ok();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_it_up() {
    let mut node = serve(plain(), routes()).await;
    let idle = TcpStream::connect(node.address).await.unwrap();
    let browser = Browser::new(node.address);
    browser.get("/healthz").await;
    let asked = BootClock.now();
    node.wadi.leave();
    (&mut node.served).await.unwrap().unwrap();
    assert!(
        BootClock.now().since(asked) < Duration::from_secs(5),
        "{:?}",
        BootClock.now().since(asked)
    );
    drop(idle);
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed() {
    let config = plain().keep_alive(Duration::from_millis(200));
    let node = serve(config, routes()).await;
    for sent in [&b""[..], b"GET /healthz HT"] {
        let mut silent = TcpStream::connect(node.address).await.unwrap();
        silent.write_all(sent).await.unwrap();
        let mut rest = Vec::new();
        let read = silent.read_to_end(&mut rest);
        let read = tokio::time::timeout(Duration::from_secs(5), read).await;
        read.expect("the node closed it").ok();
    }
}

#[tokio::test]
async fn over_http2_requests_are_finished_and_the_connection_is_given_up_early() {
    let gate = Gate::default();
    // Long enough that nobody mistakes the end of it for an early goodbye.
    let delay = Duration::from_secs(60);
    let config = plain().deregister_delay(delay).leave_timeout(2 * delay);
    let node = serve(config, gate.routes()).await;
    let stream = TcpStream::connect(node.address).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get(format!("http://{}/gate", node.address))
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .unwrap();
    let flying = tokio::spawn(sender.send_request(request));
    gate.entered.notified().await;

    node.wadi.leave();
    gate.go_on.notify_one();
    let answer = flying.await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(!answer.headers().contains_key(CONNECTION));
    let gone = tokio::time::timeout(Duration::from_secs(20), connection).await;
    gone.expect("it said goodbye early").unwrap().unwrap();
    assert_eq!(node.wadi.phase(), Phase::Leaving);
}

#[tokio::test]
async fn an_http2_connection_without_a_request_in_flight_is_closed() {
    let config = plain().keep_alive(Duration::from_millis(200));
    let node = serve(config, routes()).await;
    let stream = TcpStream::connect(node.address).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get(format!("http://{}/slow?ms=600", node.address))
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .unwrap();
    // A request that takes longer than that keeps it.
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    drop(answer);
    let closed = tokio::time::timeout(Duration::from_secs(10), connection).await;
    closed.expect("the node closed it").unwrap().ok();
}

#[tokio::test]
async fn a_body_that_never_comes_does_not_hold_its_connection() {
    let routes = Router::new().route("/body", post(async |_: bytes::Bytes| "read"));
    let config = plain().keep_alive(Duration::from_millis(200));
    let node = serve(config, routes).await;
    let mut stalled = TcpStream::connect(node.address).await.unwrap();
    let request = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\na";
    stalled.write_all(request).await.unwrap();
    let mut rest = Vec::new();
    let read = stalled.read_to_end(&mut rest);
    let read = tokio::time::timeout(Duration::from_secs(10), read).await;
    read.expect("the node closed it").ok();
    assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
}

const LARGE: usize = 20_000_000;

fn large() -> Router {
    Router::new().route("/large", get(async || vec![7_u8; LARGE]))
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_everything() {
    let node = serve(plain().keep_alive(Duration::from_millis(100)), large()).await;
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let request = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request).await.unwrap();
    tokio::time::sleep(Duration::from_millis(800)).await;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let read = tokio::time::timeout(Duration::from_secs(20), read).await;
    read.expect("the node closed it").unwrap();
    assert!(answer.len() > LARGE, "{}", answer.len());
}

#[tokio::test]
async fn a_client_that_reads_slowly_over_http2_gets_everything() {
    let node = serve(plain().keep_alive(Duration::from_millis(100)), large()).await;
    let stream = TcpStream::connect(node.address).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io)
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = http::Request::get(format!("http://{}/large", node.address))
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    tokio::time::sleep(Duration::from_millis(800)).await;
    let whole = http_body_util::BodyExt::collect(answer.into_body()).await;
    assert_eq!(whole.unwrap().to_bytes().len(), LARGE);
}

/// Switches protocols, and says goodbye when the node leaves and the test lets it.
fn switching(let_go: Arc<Notify>) -> Router {
    let switch = async move |mut request: axum::extract::Request| {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut io = hyper_util::rt::TokioIo::new(upgrade.await.unwrap());
            let_go.notified().await;
            io.write_all(b"goodbye").await.unwrap();
        });
        let headers = [(CONNECTION, "upgrade"), (UPGRADE, "test")];
        (StatusCode::SWITCHING_PROTOCOLS, headers)
    };
    Router::new().route("/switch", get(switch))
}

async fn switched(node: &Serving) -> TcpStream {
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let request =
        b"GET /switch HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: test\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    stream
}

#[tokio::test]
async fn leaving_waits_for_upgraded_connections() {
    let let_go = Arc::new(Notify::new());
    let mut node = serve(plain(), switching(Arc::clone(&let_go))).await;
    let mut stream = switched(&node).await;
    node.wadi.leave();
    let waited = tokio::time::timeout(Duration::from_millis(300), &mut node.served).await;
    assert!(waited.is_err(), "it left while a connection was open");
    let_go.notify_one();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"goodbye");
    (&mut node.served).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_upgraded_connection_holds_leaving_up_only_so_long() {
    let config = plain().leave_timeout(Duration::from_millis(300));
    let mut node = serve(config, switching(Arc::default())).await;
    let _stream = switched(&node).await;
    node.wadi.leave();
    let left = tokio::time::timeout(Duration::from_secs(10), &mut node.served).await;
    left.expect("it left").unwrap().unwrap();
}

/// Switches protocols, and echoes for as long as it can.
fn echoing() -> Router {
    let switch = async move |mut request: axum::extract::Request| {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let io = hyper_util::rt::TokioIo::new(upgrade.await.unwrap());
            let (mut from, mut to) = tokio::io::split(io);
            tokio::io::copy(&mut from, &mut to).await.ok();
        });
        let headers = [(CONNECTION, "upgrade"), (UPGRADE, "test")];
        (StatusCode::SWITCHING_PROTOCOLS, headers)
    };
    Router::new().route("/switch", get(switch))
}

async fn echoes(stream: &mut TcpStream) {
    stream.write_all(b"hi").await.unwrap();
    let mut echo = [0; 2];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"hi");
}

async fn is_closed(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let read = stream.read_to_end(&mut rest);
    let read = tokio::time::timeout(Duration::from_secs(10), read).await;
    read.expect("the connection was closed").ok();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn an_upgraded_connection_ends_when_the_node_has_left() {
    let config = plain().leave_timeout(Duration::from_millis(300));
    let mut node = serve(config, echoing()).await;
    let mut stream = switched(&node).await;
    echoes(&mut stream).await;
    node.wadi.leave();
    (&mut node.served).await.unwrap().unwrap();
    is_closed(stream).await;
}

#[tokio::test]
async fn an_upgraded_connection_ends_when_serving_is_dropped() {
    let node = serve(plain(), echoing()).await;
    let mut stream = switched(&node).await;
    echoes(&mut stream).await;
    node.served.abort();
    is_closed(stream).await;
}

#[tokio::test]
async fn a_quiet_request_body_may_stay_while_its_response_is_on_its_way() {
    let patience = Duration::from_millis(200);
    let routes = Router::new().route("/chat", post(async |body: axum::body::Body| body));
    let node = serve(plain().keep_alive(patience), routes).await;
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let head = b"POST /chat HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n";
    stream.write_all(head).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"hi\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    tokio::time::sleep(patience * 3).await;
    stream.write_all(b"2\r\nho\r\n0\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    while !rest.ends_with(b"\r\n0\r\n\r\n") {
        rest.push(stream.read_u8().await.unwrap());
    }
    assert_eq!(rest, b"2\r\nho\r\n0\r\n\r\n");
}

#[tokio::test]
async fn a_request_body_that_outlives_its_response_does_not_hold_its_connection() {
    let (told, mut tells) = tokio::sync::mpsc::channel(1);
    let patience = Duration::from_millis(200);
    let take = async move |body: axum::body::Body| {
        tokio::spawn(async move {
            let failed = axum::body::to_bytes(body, 100).await.is_err();
            told.send(failed).await.unwrap();
        });
    };
    let routes = Router::new().route("/take", post(take));
    let node = serve(plain().keep_alive(patience), routes).await;
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let request = b"POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\na";
    stream.write_all(request).await.unwrap();
    let failed = tokio::time::timeout(Duration::from_secs(10), tells.recv()).await;
    assert_eq!(failed.expect("the body ended"), Some(true));
}
