//! A client is sent to its session, by real listeners: where it finds it, once, and nowhere else.

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use http::header::{COOKIE, LOCATION};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Http;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wadi_axum::config::Relocate;
use wadi_axum::testing::{Cluster, ClusterBuilder, Node};
use wadi_axum::{Session, SessionFailure};
use wadi_core::relocate::Redirect;

use crate::app::{app, is_unavailable};
use crate::client::{Answer, Client};

type Headers = [(&'static str, &'static str)];

fn redirects() -> ClusterBuilder {
    Cluster::builder(3).configure(|builder| builder.relocate(Relocate::Redirect))
}

async fn three() -> (Cluster, [Node; 3]) {
    let cluster = redirects().start(app).await;
    let nodes = cluster.nodes().try_into().unwrap();
    (cluster, nodes)
}

fn at(node: &Node, path: &str) -> String {
    format!("http://{}{path}", node.address())
}

/// One request over TCP, with the client's cookies.
async fn fetch(client: &Client, method: Method, url: &str, headers: &[(&str, &str)]) -> Answer {
    let http = Http::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let mut request = Request::builder().method(method).uri(url);
    if !client.cookies().is_empty() {
        request = request.header(COOKIE, client.cookies());
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = http.request(request.body(Full::default()).unwrap()).await;
    let (head, body) = response.unwrap().into_parts();
    client.keep(&head.headers);
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: head.status,
        headers: head.headers,
        text: String::from_utf8(body.to_vec()).unwrap(),
    }
}

async fn get(client: &Client, url: &str) -> Answer {
    fetch(client, Method::GET, url, &[]).await
}

fn location(answer: &Answer) -> &str {
    assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT, "{answer:?}");
    answer.headers[LOCATION].to_str().unwrap()
}

/// Goes where it is sent; the last answer, and how often it was sent.
async fn follow(client: &Client, method: Method, url: &str) -> (Answer, usize) {
    let mut url = url.to_owned();
    for sent in 0.. {
        let answer = fetch(client, method.clone(), &url, &[]).await;
        if answer.status != StatusCode::TEMPORARY_REDIRECT {
            return (answer, sent);
        }
        assert!(sent < 5, "for ever");
        location(&answer).clone_into(&mut url);
    }
    unreachable!()
}

/// A client whose session is at `node`, and who does not know.
async fn stranger(node: &Node) -> Client {
    let client = Client::new();
    let created = fetch(&client, Method::POST, &at(node, "/count"), &[]).await;
    assert_eq!(created.ok(), "1");
    client.set("wadi-route", "n9");
    client
}

#[tokio::test]
async fn a_client_is_sent_to_its_session_and_finds_it() {
    let (_cluster, [n1, n2, n3]) = three().await;
    let client = stranger(&n1).await;
    let sent = get(&client, &at(&n2, "/count?a=%2f&b")).await;
    assert_eq!(location(&sent), at(&n1, "/count?a=%2f&b"));
    assert_eq!(sent.headers["x-wadi"], "redirected; node=n2; hops=0");
    assert_eq!(sent.headers["cache-control"], "no-store");
    assert_eq!(sent.text, "");
    assert_eq!(client.cookie("wadi-route").as_deref(), Some("n1"));
    let there = get(&client, location(&sent)).await;
    assert_eq!(there.how(), "local; node=n1; hops=0");
    assert_eq!(there.ok(), "1");
    // From wherever it comes, one that follows is served by the session's own node.
    client.set("wadi-route", "n9");
    let (answer, times) = follow(&client, Method::GET, &at(&n3, "/what")).await;
    assert_eq!((answer.how(), times), ("local; node=n1; hops=0", 1));
    let counts = n2.layer().request_counts().unwrap();
    assert_eq!((counts.redirected, counts.proxied_out), (1, 0));
    let head = fetch(&client, Method::HEAD, &at(&n2, "/count"), &[]).await;
    assert!(
        head.status == StatusCode::OK,
        "once within a while: {head:?}"
    );
}

#[tokio::test]
async fn nobody_is_sent_twice_in_a_row() {
    let (cluster, [n1, n2, n3]) = three().await;
    let client = stranger(&n1).await;
    // The session goes on while its client is on the way.
    let sent = get(&client, &at(&n2, "/count")).await;
    assert!(cluster.migrate(client.id(), &n3).await);
    let there = get(&client, location(&sent)).await;
    assert_eq!(there.how(), "proxied; node=n3; hops=1");
    assert_eq!(client.cookie("wadi-route").as_deref(), Some("n3"));
    // Clients that keep no route are told one, and sent nowhere.
    client.forget("wadi-route");
    let unknown = get(&client, &at(&n1, "/count")).await;
    assert_eq!(unknown.how(), "proxied; node=n3; hops=1");
    assert!(unknown.sets("wadi-route"));
    // Neither does one that never changes its cookies go in circles.
    let stubborn = |url: String| {
        client.set("wadi-route", "n9");
        let client = &client;
        async move { get(client, &url).await.status }
    };
    let first = stubborn(at(&n1, "/count")).await;
    assert_eq!(first, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(stubborn(at(&n1, "/count")).await, StatusCode::OK);
    cluster.advance(Duration::from_secs(6));
    let later = stubborn(at(&n1, "/count")).await;
    assert_eq!(later, StatusCode::TEMPORARY_REDIRECT);
}

#[tokio::test]
async fn a_balancer_that_takes_no_notice_gets_its_requests_proxied() {
    // One URL for all: what changes is the route cookie.
    let cluster = redirects()
        .configure(|builder| builder.public_url("http://127.0.0.1:1".to_owned()))
        .start(app)
        .await;
    let [n1, n2, n3]: [Node; 3] = cluster.nodes().try_into().unwrap();
    let client = stranger(&n1).await;
    let by_balancer = [("host", "127.0.0.1:1")];
    let sent = fetch(&client, Method::GET, &at(&n2, "/count"), &by_balancer).await;
    assert_eq!(location(&sent), "http://127.0.0.1:1/count");
    assert_eq!(client.cookie("wadi-route").as_deref(), Some("n1"));
    let again = fetch(&client, Method::GET, &at(&n3, "/count"), &by_balancer).await;
    assert_eq!(again.how(), "proxied; node=n1; hops=1");
    assert_eq!(again.ok(), "1");
    assert_eq!(get(&client, &at(&n1, "/count")).await.ok(), "1");
}

#[tokio::test]
async fn what_the_request_does_not_allow_is_proxied() {
    let (_cluster, [n1, n2, _]) = three().await;
    let client = stranger(&n1).await;
    let odd: [(Method, &str, &Headers); 8] = [
        (Method::POST, "/count", &[]),
        (Method::OPTIONS, "/what", &[]),
        // Cookies would not come along.
        (Method::GET, "/what", &[("host", "example.com")]),
        (Method::GET, "/what", &[("host", "127.0.0.1.evil.com:80")]),
        // Browsers cut off what a script asks for and goes on to another origin.
        (Method::GET, "/what", &[("sec-fetch-mode", "cors")]),
        (Method::GET, "/what", &[("sec-fetch-mode", "same-origin")]),
        // Over plain http they do not say that it is a script's.
        (
            Method::GET,
            "/what",
            &[("referer", "http://a/"), ("accept", "*/*")],
        ),
        (
            Method::GET,
            "/what",
            &[("connection", "upgrade"), ("upgrade", "websocket")],
        ),
    ];
    for (method, path, headers) in odd {
        client.set("wadi-route", "n9");
        let answer = fetch(&client, method.clone(), &at(&n2, path), headers).await;
        assert_eq!(
            answer.how(),
            "proxied; node=n1; hops=1",
            "{method} {headers:?}"
        );
    }
    client.set("wadi-route", "n9");
    let navigates = [("sec-fetch-mode", "navigate")];
    let sent = fetch(&client, Method::GET, &at(&n2, "/what"), &navigates).await;
    assert_eq!(location(&sent), at(&n1, "/what"));
    let client = stranger(&n1).await;
    let follows_a_link = [("referer", "http://a/"), ("accept", "text/html,*/*;q=0.8")];
    let sent = fetch(&client, Method::GET, &at(&n2, "/what"), &follows_a_link).await;
    assert_eq!(location(&sent), at(&n1, "/what"));
}

#[tokio::test]
async fn every_method_is_redirected_where_the_owner_says_so() {
    let cluster = redirects()
        .relocation(|| Redirect { every_method: true })
        .start(app)
        .await;
    let [n1, n2, _]: [Node; 3] = cluster.nodes().try_into().unwrap();
    let client = stranger(&n1).await;
    let (answer, times) = follow(&client, Method::POST, &at(&n2, "/count")).await;
    assert_eq!((answer.how(), times), ("local; node=n1; hops=0", 1));
    assert_eq!(answer.ok(), "2", "it was executed once");
    client.set("wadi-route", "n9");
    let preflight = fetch(&client, Method::OPTIONS, &at(&n2, "/what"), &[]).await;
    assert_eq!(preflight.how(), "proxied; node=n1; hops=1");
}

#[tokio::test]
async fn a_body_that_is_waited_for_is_not_asked_for() {
    let cluster = redirects()
        .relocation(|| Redirect { every_method: true })
        .start(app)
        .await;
    let [n1, n2, _]: [Node; 3] = cluster.nodes().try_into().unwrap();
    let client = stranger(&n1).await;
    let head = format!(
        "POST /echo HTTP/1.1\r\nhost: {}\r\ncookie: {}\r\ncontent-length: 5000000\r\n\
         expect: 100-continue\r\n\r\n",
        n2.address(),
        client.cookies()
    );
    let mut stream = TcpStream::connect(n2.address()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut seen = [0; 12];
    stream.read_exact(&mut seen).await.unwrap();
    assert_eq!(&seen, b"HTTP/1.1 307");
}

#[tokio::test]
async fn a_node_without_a_public_url_is_proxied_to() {
    let cluster = redirects()
        .configure(|builder| builder.public_url(None))
        .start(app)
        .await;
    let [n1, n2, _]: [Node; 3] = cluster.nodes().try_into().unwrap();
    let client = stranger(&n1).await;
    for _ in 0..2 {
        client.set("wadi-route", "n9");
        let answer = get(&client, &at(&n2, "/count")).await;
        assert_eq!(answer.how(), "proxied; node=n1; hops=1");
        assert_eq!(client.cookie("wadi-route").as_deref(), Some("n1"));
    }
}

async fn count(session: Session) -> Result<String, SessionFailure> {
    let n = session.update("n", |n: &mut u32| {
        *n += 1;
        *n
    })?;
    Ok(n.to_string())
}

/// What a request line leads to, sent as it is.
async fn raw(node: &Node, client: &Client, line: &str, host: &str) -> String {
    let mut stream = TcpStream::connect(node.address()).await.unwrap();
    let cookies = client.cookies();
    let request = format!(
        "{line} HTTP/1.1\r\nhost: {host}\r\ncookie: {cookies}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn no_request_says_where_a_client_is_sent() {
    // Whatever the path is.
    let cluster = redirects()
        .start(|wadi| Router::new().fallback(count).layer(wadi))
        .await;
    let [n1, n2, _]: [Node; 3] = cluster.nodes().try_into().unwrap();
    let client = stranger(&n1).await;
    let here = n2.address().to_string();
    let mut sent = 0;
    for line in [
        "GET //evil.com/a",
        "GET /\\evil.com",
        "GET /\\\\evil.com",
        "GET /@evil.com",
        "GET /.evil.com",
        "GET http://evil.com/a",
        "GET http://127.0.0.1@evil.com/a",
        "GET https://evil.com",
        "GET /%0d%0aset-cookie:%20a=b",
        "GET /a\tb",
        "GET /a\rb",
        "GET evil.com",
        "GET *",
        "GET \\\\evil.com",
        "GET @evil.com",
        "GET .evil.com/",
    ] {
        client.set("wadi-route", "n9");
        cluster.advance(Duration::from_secs(6));
        let answer = raw(&n2, &client, line, &here).await;
        let head = answer.split("\r\n\r\n").next().unwrap();
        assert!(!head.contains("\na=b"), "{line}: {head}");
        for field in head.split("\r\n").filter_map(|line| line.split_once(": ")) {
            if field.0 == "location" {
                sent += 1;
                let prefix = at(&n1, "/");
                assert!(field.1.starts_with(&prefix), "{line}: {field:?}");
                let url: http::Uri = field.1.parse().unwrap();
                assert_eq!(url.host(), Some("127.0.0.1"), "{line}");
                assert_eq!(url.port_u16(), Some(n1.address().port()), "{line}");
            }
        }
    }
    assert!(sent >= 5, "{sent}");
    for host in ["evil.com", "127.0.0.1@evil.com", "evil.com:80", "a b", ""] {
        client.set("wadi-route", "n9");
        cluster.advance(Duration::from_secs(6));
        let answer = raw(&n2, &client, "GET /count", host).await;
        let head = answer.split("\r\n\r\n").next().unwrap();
        assert!(!head.contains("location:"), "{host}: {answer}");
    }
}

#[tokio::test]
async fn a_guest_is_redirected_nowhere() {
    let (_cluster, [n1, n2, n3]) = three().await;
    let client = stranger(&n1).await;
    // By way of another node, and to one that has it no more.
    client.set("wadi-route", "n3");
    let request = client.request(Method::POST, "/count");
    let answer = client
        .send(&n2, request.body(axum::body::Body::empty()).unwrap())
        .await;
    assert_eq!(answer.how(), "proxied; node=n1; hops=2");
    assert_eq!(n3.layer().request_counts().unwrap().redirected, 0);
}

#[tokio::test]
async fn with_none_a_stray_request_is_refused_and_its_client_told() {
    let cluster = Cluster::builder(3)
        .configure(|builder| builder.relocate(Relocate::None))
        .start(app)
        .await;
    let [n1, n2, _]: [Node; 3] = cluster.nodes().try_into().unwrap();
    let client = stranger(&n1).await;
    let refused = fetch(&client, Method::POST, &at(&n2, "/count"), &[]).await;
    assert!(is_unavailable(refused.status, &refused.headers));
    let how = refused.headers["x-wadi"].to_str().unwrap();
    assert_eq!(how, "local; node=n2; hops=0; why=elsewhere");
    assert_eq!(client.cookie("wadi-route").as_deref(), Some("n1"));
    let there = fetch(&client, Method::POST, &at(&n1, "/count"), &[]).await;
    assert_eq!(there.how(), "local; node=n1; hops=0");
    assert_eq!(there.ok(), "2");
}
