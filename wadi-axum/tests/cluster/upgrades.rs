//! WebSockets go to the session's node, over HTTP/1.1 and over HTTP/2.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::header::{COOKIE, HeaderValue};
use http::{Method, Request, Version};
use hyper::ext::Protocol;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::Role;
use wadi_axum::testing::{Cluster, Node};

use crate::app::app;
use crate::client::Client;

async fn open(client: &Client, node: &Node) -> WebSocketStream<TcpStream> {
    let address = node.address();
    let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
    let cookies = HeaderValue::from_str(&client.cookies()).unwrap();
    request.headers_mut().insert(COOKIE, cookies);
    let stream = TcpStream::connect(address).await.unwrap();
    let (socket, response) = tokio_tungstenite::client_async(request, stream)
        .await
        .unwrap();
    assert_eq!(response.headers()["x-wadi"], "proxied; node=n1; hops=1");
    socket
}

async fn says<S>(socket: &mut WebSocketStream<S>, text: &str) -> String
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    socket.send(Message::text(text)).await.unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(5), socket.next()).await;
    answer
        .unwrap()
        .unwrap()
        .unwrap()
        .into_text()
        .unwrap()
        .to_string()
}

#[tokio::test]
async fn a_websocket_goes_to_its_session() {
    let cluster = Cluster::new(2, app).await;
    let nodes = cluster.nodes();
    let client = Client::new();
    client.post(&nodes[0], "/count", "").await.ok();
    let mut socket = open(&client, &nodes[1]).await;
    assert_eq!(says(&mut socket, "a").await, "a 2 n1");
    assert_eq!(client.post(&nodes[1], "/count", "").await.ok(), "3");
    assert_eq!(says(&mut socket, "b").await, "b 4 n1");
    let large = "x".repeat(1 << 20);
    assert_eq!(says(&mut socket, &large).await, format!("{large} 5 n1"));
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
    assert_eq!(client.get(&nodes[1], "/count").await.ok(), "5");
}

#[tokio::test]
async fn so_does_one_over_http2() {
    let cluster = Cluster::new(2, app).await;
    let nodes = cluster.nodes();
    let client = Client::new();
    client.post(&nodes[0], "/count", "").await.ok();
    let stream = TcpStream::connect(nodes[1].address()).await.unwrap();
    let handshake =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    // Whether the server takes such requests is known after its settings came.
    let probe = Request::get("http://node/readyz").body(axum::body::Body::empty());
    sender.send_request(probe.unwrap()).await.unwrap();
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri("http://node/ws")
        .version(Version::HTTP_2)
        .header("sec-websocket-version", "13")
        .header(COOKIE, client.cookies())
        .body(axum::body::Body::empty())
        .unwrap();
    let protocol = Protocol::from_static("websocket");
    request.extensions_mut().insert(protocol);
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.headers()["x-wadi"], "proxied; node=n1; hops=1");
    let upgraded = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    let mut socket = WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await;
    assert_eq!(says(&mut socket, "a").await, "a 2 n1");
    assert_eq!(says(&mut socket, "b").await, "b 3 n1");
}

#[tokio::test]
async fn a_websocket_ends_with_its_node() {
    let cluster = Cluster::new(2, app).await;
    let nodes = cluster.nodes();
    let client = Client::new();
    client.post(&nodes[0], "/count", "").await.ok();
    let mut socket = open(&client, &nodes[1]).await;
    assert_eq!(says(&mut socket, "a").await, "a 2 n1");
    nodes[0].kill().await;
    let end = tokio::time::timeout(Duration::from_secs(10), socket.next()).await;
    assert!(!matches!(end.expect("it ends"), Some(Ok(_))));
}

#[tokio::test]
async fn what_is_no_websocket_is_refused_as_by_its_own_node() {
    let cluster = Cluster::new(2, app).await;
    let nodes = cluster.nodes();
    let client = Client::new();
    client.post(&nodes[0], "/count", "").await.ok();
    let mut stream = TcpStream::connect(nodes[1].address()).await.unwrap();
    let request = format!(
        "GET /count HTTP/1.1\r\nhost: n\r\ncookie: {}\r\nconnection: upgrade\r\n\
         upgrade: something\r\n\r\n",
        client.cookies()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n1") {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        answer.contains("x-wadi: proxied; node=n1; hops=1"),
        "{answer}"
    );
}
