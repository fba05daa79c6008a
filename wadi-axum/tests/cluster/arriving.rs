//! A handler runs on a session that has just come, and its response head waits until the session's
//! manager has confirmed that: whatever kind of response it is, and however the request came.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::{any, get, post};
use futures_util::{StreamExt, stream};
use http::StatusCode;
use http::header::{COOKIE, HeaderValue};
use http_body_util::BodyExt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use wadi_axum::config::Relocate;
use wadi_axum::testing::{Cluster, Node};
use wadi_axum::{Session, SessionFailure, WadiLayer, mode};
use wadi_core::member::NodeName;
use wadi_core::transport::memory::Condition;

use crate::app::is_unavailable;
use crate::client::{Answer, Client};

/// How often a handler has written to its session.
#[derive(Clone, Default)]
struct Ran(Arc<AtomicUsize>);

impl Ran {
    fn count(&self, session: &Session) -> Result<String, SessionFailure> {
        let n = session.update("n", |n: &mut u32| {
            *n += 1;
            *n
        })?;
        self.0.fetch_add(1, SeqCst);
        Ok(n.to_string())
    }

    /// Waits until that was so often.
    async fn times(&self, times: usize) {
        let ran = async {
            while self.0.load(SeqCst) < times {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let ran = tokio::time::timeout(Duration::from_secs(20), ran).await;
        ran.expect("the handler runs before the confirmation");
    }
}

fn app(wadi: WadiLayer, ran: Ran) -> Router {
    Router::new()
        .route("/count", post(count))
        .route("/alone", post(count).layer(mode::exclusive()))
        .route("/read", get(read))
        .route("/stream", get(streaming))
        .route("/ws", any(ws))
        .route("/panic", post(panicking))
        .route("/login", post(login))
        .route("/logout", post(logout))
        .layer(wadi)
        .with_state(ran)
}

async fn count(State(ran): State<Ran>, session: Session) -> Result<String, SessionFailure> {
    ran.count(&session)
}

async fn read(session: Session) -> Result<String, SessionFailure> {
    Ok(session.get::<u32>("n")?.unwrap_or_default().to_string())
}

/// The first bytes are there before the head.
async fn streaming(State(ran): State<Ran>, session: Session) -> Result<Body, SessionFailure> {
    let n = ran.count(&session)?;
    Ok(Body::from_stream(stream::iter([Ok::<_, Infallible>(n)])))
}

async fn ws(State(ran): State<Ran>, session: Session, upgrade: WebSocketUpgrade) -> Response {
    let n = ran.count(&session).unwrap();
    upgrade.on_upgrade(async move |mut socket| {
        let _ = socket.send(Message::text(n)).await;
    })
}

async fn panicking(State(ran): State<Ran>, session: Session) -> String {
    ran.count(&session).unwrap();
    panic!("as the test wants it")
}

async fn login(State(ran): State<Ran>, session: Session) -> Result<String, SessionFailure> {
    let n = ran.count(&session)?;
    session.cycle_id().await?;
    Ok(n)
}

async fn logout(State(ran): State<Ran>, session: Session) -> Result<&'static str, SessionFailure> {
    ran.count(&session)?;
    session.flush().await?;
    Ok("goodbye")
}

/// A session at 1, which n1 manages and n3 held, has just come to n2; nothing that n1 says comes there.
struct Arriving {
    cluster: Cluster,
    nodes: [Node; 3],
    client: Arc<Client>,
    ran: Ran,
}

async fn arriving() -> Arriving {
    arriving_with(Duration::from_secs(20)).await
}

async fn arriving_with(lock_wait: Duration) -> Arriving {
    let ran = Ran::default();
    let in_app = ran.clone();
    let cluster = Cluster::builder(3)
        .configure(move |builder| builder.relocate(Relocate::Proxy).lock_wait(lock_wait))
        .start(move |wadi| app(wadi, in_app.clone()))
        .await;
    let nodes: [Node; 3] = cluster.nodes().try_into().unwrap();
    let client = Arc::new(Client::new());
    assert_eq!(client.post(&nodes[0], "/count", "").await.ok(), "1");
    assert!(cluster.migrate(client.id(), &nodes[2]).await);
    let cut = Condition {
        cut: true,
        ..Condition::default()
    };
    let (n1, n2) = (NodeName::new("n1"), NodeName::new("n2"));
    cluster.network().set(&n1, &n2, cut);
    let held = cluster.migrate(client.id(), &nodes[1]).await;
    assert!(!held, "it came, and nobody has confirmed it");
    Arriving {
        cluster,
        nodes,
        client,
        ran,
    }
}

impl Arriving {
    /// The request's handler has run, and its answer is waited for.
    async fn begun(&self, node: usize, path: &'static str) -> JoinHandle<Answer> {
        let before = self.ran.0.load(SeqCst);
        let (client, node) = (Arc::clone(&self.client), self.nodes[node].clone());
        let request = tokio::spawn(async move { client.post(&node, path, "").await });
        self.ran.times(before + 1).await;
        self.is_held_back(&request).await;
        request
    }

    /// A head that goes out too early has its chance.
    async fn is_held_back<T>(&self, request: &JoinHandle<T>) {
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert!(!request.is_finished(), "nobody has confirmed it");
    }

    fn confirm(&self) {
        self.cluster.network().heal();
    }

    async fn read(&self) -> String {
        self.client.get(&self.nodes[1], "/read").await.ok()
    }
}

#[tokio::test]
async fn a_handler_runs_at_once_and_its_head_waits() {
    let arriving = arriving().await;
    let first = arriving.begun(1, "/count").await;
    let second = arriving.begun(1, "/count").await;
    arriving.confirm();
    assert_eq!(second.await.unwrap().ok(), "3");
    assert_eq!(first.await.unwrap().how(), "local; node=n2; hops=0");
    assert_eq!(arriving.read().await, "3");
}

#[tokio::test]
async fn so_does_that_of_a_request_that_has_the_session_alone() {
    let arriving = arriving().await;
    let first = arriving.begun(1, "/alone").await;
    let (client, node) = (Arc::clone(&arriving.client), arriving.nodes[1].clone());
    let second = tokio::spawn(async move { client.post(&node, "/alone", "").await });
    arriving.is_held_back(&second).await;
    arriving.confirm();
    assert_eq!(first.await.unwrap().ok(), "2");
    assert_eq!(second.await.unwrap().ok(), "3");
}

#[tokio::test]
async fn so_does_that_of_a_stream() {
    let arriving = arriving().await;
    let (client, node) = (Arc::clone(&arriving.client), arriving.nodes[1].clone());
    let request = client.request(http::Method::GET, "/stream");
    let request = request.body(Body::empty()).unwrap();
    let head = tokio::spawn(async move { client.open(&node, request).await });
    arriving.ran.times(2).await;
    arriving.is_held_back(&head).await;
    arriving.confirm();
    let body = head.await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "2");
}

#[tokio::test]
async fn so_does_that_of_an_upgrade() {
    let arriving = arriving().await;
    let address = arriving.nodes[1].address();
    let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
    let cookies = HeaderValue::from_str(&arriving.client.cookies()).unwrap();
    request.headers_mut().insert(COOKIE, cookies);
    let stream = TcpStream::connect(address).await.unwrap();
    let upgrade = tokio::spawn(tokio_tungstenite::client_async(request, stream));
    arriving.ran.times(2).await;
    arriving.is_held_back(&upgrade).await;
    arriving.confirm();
    let (mut socket, response) = upgrade.await.unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let said = socket.next().await.unwrap().unwrap();
    assert_eq!(said.into_text().unwrap().as_str(), "2");
}

#[tokio::test]
async fn so_does_that_of_a_proxied_request() {
    let arriving = arriving().await;
    arriving.client.set("wadi-route", "n2");
    let request = arriving.begun(2, "/count").await;
    arriving.confirm();
    let answer = request.await.unwrap();
    assert_eq!(answer.how(), "proxied; node=n2; hops=1");
    assert_eq!(answer.ok(), "2");
}

#[tokio::test]
async fn what_nobody_confirms_in_time_is_unknown_and_not_lost() {
    let arriving = arriving_with(Duration::from_millis(100)).await;
    let (client, node) = (&arriving.client, &arriving.nodes[1]);
    let answer = client.post(node, "/count", "").await;
    assert!(is_unavailable(answer.status, &answer.headers), "{answer:?}");
    let why = answer.headers["x-wadi"].to_str().unwrap();
    assert!(why.ends_with("why=unconfirmed"), "{why}");
    assert!(!answer.headers.contains_key("set-cookie"));
    assert_eq!(answer.text, "");
    // The same where a handler waits for the confirmation itself.
    for path in ["/login", "/logout"] {
        let answer = client.post(node, path, "").await;
        assert!(is_unavailable(answer.status, &answer.headers), "{answer:?}");
        assert!(!answer.headers.contains_key("set-cookie"));
    }
    arriving.confirm();
    let read = async {
        loop {
            let answer = client.get(node, "/read").await;
            if answer.status == StatusCode::OK {
                return answer.text;
            }
        }
    };
    let read = tokio::time::timeout(Duration::from_secs(20), read).await;
    assert_eq!(read.unwrap(), "4", "it is the same session");
}

#[tokio::test]
async fn who_hangs_up_or_panics_leaves_the_session_as_it_is() {
    let arriving = arriving().await;
    let hangs_up = arriving.begun(1, "/count").await;
    hangs_up.abort();
    assert!(hangs_up.await.unwrap_err().is_cancelled());
    let (client, node) = (Arc::clone(&arriving.client), arriving.nodes[1].clone());
    let panics = tokio::spawn(async move { client.post(&node, "/panic", "").await });
    assert!(panics.await.unwrap_err().is_panic());
    arriving.confirm();
    assert_eq!(arriving.read().await, "3");
}

#[tokio::test]
async fn logins_and_logouts_wait_for_the_confirmation() {
    let arriving = arriving().await;
    let before = arriving.client.id();
    let login = arriving.begun(1, "/login").await;
    arriving.confirm();
    assert_eq!(login.await.unwrap().ok(), "2");
    assert_ne!(arriving.client.id(), before);

    let arriving = self::arriving().await;
    let logout = arriving.begun(1, "/logout").await;
    arriving.confirm();
    assert_eq!(logout.await.unwrap().ok(), "goodbye");
    assert_eq!(arriving.client.cookie("wadi-plain"), None);
}

#[tokio::test]
async fn the_next_manager_confirms_it() {
    let arriving = arriving().await;
    let request = arriving.begun(1, "/count").await;
    arriving.nodes[0].kill().await;
    assert_eq!(request.await.unwrap().ok(), "2");
    assert_eq!(arriving.read().await, "2");
}
