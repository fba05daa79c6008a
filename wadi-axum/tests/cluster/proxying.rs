//! What goes with a proxied request, and comes back: everything but what is about one connection.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use axum::body::{Body, Bytes};
use bytes::BytesMut;
use futures_util::stream;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper_util::client::legacy::Client as Http;
use hyper_util::rt::TokioExecutor;
use tokio::sync::mpsc;
use wadi_axum::config::Relocate;
use wadi_axum::testing::{Cluster, Node};

use crate::app::{GIVEN_UP, app, is_unavailable};
use crate::client::Client;

async fn two() -> (Cluster, Node, Node) {
    let cluster = Cluster::builder(2)
        .configure(|builder| builder.relocate(Relocate::Proxy))
        .start(app)
        .await;
    let nodes = cluster.nodes();
    let (n1, n2) = (nodes[0].clone(), nodes[1].clone());
    (cluster, n1, n2)
}

/// A client whose session, of one user, is at `node`.
async fn ann(node: &Node) -> Client {
    let client = Client::new();
    client.post(node, "/login", "").await.ok();
    client
}

#[tokio::test]
async fn the_application_sees_the_request_as_the_client_sent_it() {
    let (_cluster, n1, n2) = two().await;
    let client = ann(&n1).await;
    for method in [Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
        let request = client
            .request(method.clone(), "/nested/deep/a%20b/c?q=1&r=%2f")
            .header("host", "example.com")
            .header("x-mine", "1")
            .body(Body::from("body"))
            .unwrap();
        let seen = client.send(&n2, request).await;
        assert_eq!(seen.how(), "proxied; node=n1; hops=1");
        let seen = seen.ok();
        for part in [
            &format!("method: {method}"),
            "uri: /deep/a%20b/c?q=1&r=%2f",
            "\"/nested/deep/a%20b/c?q=1&r=%2f\"",
            "\"HTTP/1.1\"",
            "\"host\": \"example.com\"",
            "\"x-mine\": \"1\"",
            "\"n2\"",
            "\"ann\"",
            "body: 4",
        ] {
            assert!(seen.contains(part), "{part} in {seen}");
        }
    }
}

#[tokio::test]
async fn the_clients_address_and_version_are_those_of_its_own_connection() {
    let (_cluster, n1, n2) = two().await;
    let client = ann(&n1).await;
    for http2 in [false, true] {
        let http = Http::builder(TokioExecutor::new())
            .http2_only(http2)
            .build_http::<Empty<Bytes>>();
        let request = Request::get(format!("http://{}/what?a=b", n2.address()))
            .header(COOKIE, client.cookies())
            // What an outsider calls so means nothing.
            .header("wadi-hop", "session 9 2")
            .header("wadi-hop-peer", "6.6.6.6:666")
            .header("wadi-hop-uri", "/forged")
            .body(Empty::new())
            .unwrap();
        let response = http.request(request).await.unwrap();
        assert_eq!(response.headers()["x-wadi"], "proxied; node=n1; hops=1");
        assert!(!response.headers().contains_key("wadi-hop-verdict"));
        let seen = response.into_body().collect().await.unwrap().to_bytes();
        let seen = String::from_utf8(seen.to_vec()).unwrap();
        let version = if http2 {
            "\"HTTP/2.0\""
        } else {
            "\"HTTP/1.1\""
        };
        for part in ["127.0.0.1:", version, "/what?a=b", "\"ann\""] {
            assert!(seen.contains(part), "{part} in {seen}");
        }
        for part in ["6.6.6.6", "forged", "wadi-hop"] {
            assert!(!seen.contains(part), "{part} in {seen}");
        }
        let own: SocketAddr = n1.address();
        assert!(!seen.contains(&own.to_string()));
    }
}

#[tokio::test]
async fn headers_from_outside_make_nobody_a_node() {
    let (_cluster, n1, _) = two().await;
    let client = ann(&n1).await;
    let request = client
        .request(Method::GET, "/what")
        .header("wadi-hop", "any 1 1.1")
        .header("wadi-hop-uri", "/logout")
        .header("wadi-hop-peer", "6.6.6.6:666")
        .header("wadi-hop-verdict", "at 2")
        .body(Body::empty())
        .unwrap();
    let seen = client.send(&n1, request).await;
    assert_eq!(seen.how(), "local; node=n1; hops=0");
    let seen = seen.ok();
    assert!(
        seen.contains("proxied_by: None") && seen.contains("uri: /what"),
        "{seen}"
    );
    assert!(seen.contains("peer: None"), "{seen}");
}

#[tokio::test]
async fn bodies_of_all_sizes_go_both_ways() {
    let (_cluster, n1, n2) = two().await;
    let client = ann(&n1).await;
    for size in [0, 1, 16 * 1024, 16 * 1024 + 1, 300_000, 5_000_000] {
        let body: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        let request = client
            .request(Method::POST, "/echo")
            .body(Body::from(body.clone()));
        let response = client.open(&n2, request.unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK);
        let back = response.into_body().collect().await.unwrap().to_bytes();
        assert!(back == body, "{size} bytes");
    }
}

#[tokio::test]
async fn bodies_stream_both_ways_at_once() {
    let (_cluster, n1, n2) = two().await;
    let client = ann(&n1).await;
    let (sender, mut receiver) = mpsc::channel::<Bytes>(1);
    let body = StreamBody::new(stream::poll_fn(move |context| {
        let next = receiver.poll_recv(context);
        next.map(|part| part.map(|part| Ok::<_, std::io::Error>(Frame::data(part))))
    }));
    let request = client.request(Method::POST, "/echo").body(Body::new(body));
    let response = client.open(&n2, request.unwrap());
    sender.send(Bytes::from_static(b"first")).await.unwrap();
    let mut back = response.await.into_body();
    // Each part comes back before the next is sent.
    for part in ["first", "second", "third"] {
        if part != "first" {
            sender
                .send(Bytes::from_static(part.as_bytes()))
                .await
                .unwrap();
        }
        let mut got = BytesMut::new();
        while got.len() < part.len() {
            let frame = tokio::time::timeout(Duration::from_secs(5), back.frame()).await;
            got.extend_from_slice(&frame.unwrap().unwrap().unwrap().into_data().unwrap());
        }
        assert_eq!(got, part);
    }
    drop(sender);
    let rest = back.collect().await.expect("a good end").to_bytes();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn trailers_go_both_ways() {
    let (_cluster, n1, n2) = two().await;
    let client = ann(&n1).await;
    for size in [10, 100_000] {
        let data = Bytes::from(vec![7; size]);
        let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from(7))]);
        let frames = [
            Ok::<_, std::io::Error>(Frame::data(data)),
            Ok(Frame::trailers(trailers)),
        ];
        let body = StreamBody::new(stream::iter(frames));
        let request = client
            .request(Method::POST, "/trailers")
            .body(Body::new(body));
        let response = client.open(&n2, request.unwrap()).await;
        assert_eq!(response.headers()["x-wadi"], "proxied; node=n1; hops=1");
        let collected = response.into_body().collect().await.unwrap();
        let trailers = collected.trailers().unwrap().clone();
        assert_eq!(
            (&trailers["x-sum"], &trailers["x-seen"]),
            (
                &HeaderValue::from_static("7"),
                &HeaderValue::from_static("ann"),
            )
        );
        assert_eq!(collected.to_bytes().len(), size);
    }
}

#[tokio::test]
async fn a_slow_reader_holds_the_writer_back() {
    let (_cluster, n1, n2) = two().await;
    let client = ann(&n1).await;
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&sent);
    let part = Bytes::from(vec![1; 64 * 1024]);
    let endless = stream::iter(std::iter::repeat_with(move || {
        counted.fetch_add(part.len(), SeqCst);
        Ok::<_, std::io::Error>(Frame::data(part.clone()))
    }));
    let request = client
        .request(Method::POST, "/echo")
        .body(Body::new(StreamBody::new(endless)));
    let response = client.open(&n2, request.unwrap()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let so_far = sent.load(SeqCst);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(
        sent.load(SeqCst),
        so_far,
        "nothing more is taken while nobody reads"
    );
    assert!(so_far < 16 << 20, "{so_far} bytes are on their way");
    drop(response);
}

#[tokio::test]
async fn server_sent_events_come_one_by_one() {
    let (_cluster, n1, n2) = two().await;
    let client = ann(&n1).await;
    let events = client.get(&n2, "/events").await;
    assert_eq!(events.how(), "proxied; node=n1; hops=1");
    assert_eq!(events.headers["content-type"], "text/event-stream");
    assert_eq!(events.ok(), "data: 1\n\ndata: 2\n\ndata: 3\n\n");
}

#[tokio::test]
async fn a_client_that_hangs_up_stops_the_handler_on_the_other_node() {
    let (_cluster, n1, n2) = two().await;
    let client = ann(&n1).await;
    let before = GIVEN_UP.load(SeqCst);
    let request = client.request(Method::GET, "/held?ms=60000");
    let request = n2.request(request.body(Body::empty()).unwrap());
    assert!(
        tokio::time::timeout(Duration::from_millis(300), request)
            .await
            .is_err()
    );
    for _ in 0..100 {
        if GIVEN_UP.load(SeqCst) > before {
            // What it wrote stands.
            assert_eq!(client.get(&n2, "/count").await.ok(), "1");
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the handler goes on for a client that is gone");
}

#[tokio::test]
async fn a_holder_that_dies_during_a_request_is_a_503_and_nothing_is_sent_twice() {
    let cluster = Cluster::builder(3)
        .configure(|builder| builder.relocate(Relocate::Proxy))
        .start(app)
        .await;
    let nodes = cluster.nodes();
    let client = ann(&nodes[0]).await;
    let request = client.request(Method::GET, "/held?ms=60000");
    let request = request.body(Body::empty()).unwrap();
    let (answer, ()) = tokio::join!(client.send(&nodes[1], request), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        nodes[0].kill().await;
    });
    assert!(is_unavailable(answer.status, &answer.headers), "{answer:?}");
    assert!(!answer.sets("wadi-plain"));
    assert_eq!(nodes[1].layer().request_counts().unwrap().proxied_out, 1);
}

#[tokio::test]
async fn a_body_that_breaks_off_with_its_node_is_an_error_and_no_end() {
    let (_cluster, n1, n2) = two().await;
    let client = ann(&n1).await;
    let (sender, mut receiver) = mpsc::channel::<Bytes>(1);
    let body = StreamBody::new(stream::poll_fn(move |context| {
        let next = receiver.poll_recv(context);
        next.map(|part| part.map(|part| Ok::<_, std::io::Error>(Frame::data(part))))
    }));
    let request = client.request(Method::POST, "/echo").body(Body::new(body));
    let response = client.open(&n2, request.unwrap());
    sender.send(Bytes::from_static(b"first")).await.unwrap();
    let mut back = response.await.into_body();
    back.frame().await.unwrap().unwrap();
    n1.kill().await;
    let end = tokio::time::timeout(Duration::from_secs(10), back.frame()).await;
    assert!(end.unwrap().expect("not the end").is_err());
}

#[tokio::test]
async fn a_session_in_use_for_long_is_gone_to_where_it_is() {
    let cluster = Cluster::builder(2)
        .configure(|builder| builder.relocate(Relocate::Migrate))
        .start(app)
        .await;
    let nodes = cluster.nodes();
    let client = ann(&nodes[0]).await;
    let long = client.get(&nodes[0], "/held?ms=2000");
    let other = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        client.get(&nodes[1], "/count").await
    };
    let (long, other) = tokio::join!(long, other);
    assert_eq!(long.ok(), "held");
    assert_eq!(other.how(), "proxied; node=n1; hops=1");
    assert_eq!(other.ok(), "1");
}

#[tokio::test]
async fn a_session_in_use_for_long_is_waited_for_where_nobody_takes_the_request() {
    let cluster = Cluster::builder(2)
        .configure(|builder| builder.relocate(Relocate::Migrate))
        .start(app)
        .await;
    let nodes = cluster.nodes();
    nodes[0].take_no_guests();
    let client = ann(&nodes[0]).await;
    let long = client.get(&nodes[0], "/held?ms=2000");
    let other = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        client.get(&nodes[1], "/count").await
    };
    let (long, other) = tokio::join!(long, other);
    assert_eq!(long.ok(), "held");
    assert_eq!(other.how(), "migrated; node=n2; hops=1");
    assert_eq!(other.ok(), "1");
}

#[tokio::test]
async fn a_head_of_any_size_goes_through_and_none_has_a_body() {
    let (_cluster, n1, n2) = two().await;
    let client = ann(&n1).await;
    let mut request = client.request(Method::HEAD, "/what");
    for number in 0..60 {
        request = request.header(format!("x-large-{number}"), "y".repeat(5_000));
    }
    let response = client.open(&n2, request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["x-wadi"], "proxied; node=n1; hops=1");
    let length = response.headers()["content-length"].to_str().unwrap();
    assert!(length.parse::<usize>().unwrap() > 60 * 5_000);
    let body = response.into_body().collect().await.unwrap();
    assert!(body.to_bytes().is_empty());
}
