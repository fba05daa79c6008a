//! What other layers of the application do to requests that are proxied.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::post;
use futures_util::{StreamExt, stream};
use http::Method;
use http::header::COOKIE;
use tower::{Layer, Service, ServiceExt};
use wadi_axum::config::Relocate;
use wadi_axum::testing::{Cluster, ClusterBuilder};
use wadi_axum::{Proxied, Session, SessionFailure};
use wadi_core::session::PresentedId;

use crate::app::app;
use crate::client::Client;

fn two() -> ClusterBuilder {
    Cluster::builder(2).configure(|builder| builder.relocate(Relocate::Proxy))
}

async fn count(session: Session) -> Result<String, SessionFailure> {
    let n = session.update("n", |n: &mut u32| {
        *n += 1;
        *n
    })?;
    Ok(n.to_string())
}

#[tokio::test]
async fn two_layers_of_one_application_have_each_its_own_guests() {
    let others = two()
        .configure(|builder| builder.cookie_name("other"))
        .start(app)
        .await;
    let layers: Vec<_> = others
        .nodes()
        .iter()
        .map(|node| (node.name().to_owned(), node.layer().clone()))
        .collect();
    let outer = async |session: Session, request: Request, next: Next| {
        session.insert("outer", true).unwrap();
        next.run(request).await
    };
    let cluster = two()
        .start(move |wadi| {
            let name = wadi.config().name();
            let other = layers.iter().find(|(known, _)| *known == name).unwrap();
            Router::new()
                .route("/both", post(count))
                .layer(other.1.clone())
                .layer(from_fn(outer))
                .layer(wadi)
        })
        .await;
    let nodes = cluster.nodes();
    let client = Client::new();
    assert_eq!(client.post(&nodes[0], "/both", "").await.ok(), "1");
    let other = client.cookie("other-plain").unwrap();
    let other = *PresentedId::parse(other.as_bytes()).unwrap().unverified();
    assert!(others.migrate(other, &others.nodes()[1]).await);
    assert_eq!(client.post(&nodes[1], "/both", "").await.ok(), "2");
    assert!(nodes[0].holds(&client.id()));
}

#[tokio::test]
async fn a_layer_that_hides_the_cookie_from_the_other_node_makes_no_second_session() {
    let cluster = two()
        .start(|wadi| {
            let hides = async |mut request: Request, next: Next| {
                if request.extensions().get::<Proxied>().is_some() {
                    request.headers_mut().remove(COOKIE);
                }
                next.run(request).await
            };
            app(wadi).layer(from_fn(hides))
        })
        .await;
    let nodes = cluster.nodes();
    let client = Client::new();
    assert_eq!(client.post(&nodes[0], "/count", "").await.ok(), "1");
    let answer = client.post(&nodes[1], "/count", "").await;
    assert_eq!(answer.how(), "migrated; node=n2; hops=1");
    assert_eq!(answer.ok(), "2");
}

#[tokio::test]
async fn a_body_comes_back_from_a_node_that_did_nothing_with_it() {
    let cluster = two()
        .start(|wadi| {
            let hides = async |mut request: Request, next: Next| {
                if request.extensions().get::<Proxied>().is_some() {
                    request.headers_mut().remove(COOKIE);
                }
                next.run(request).await
            };
            app(wadi).layer(from_fn(hides))
        })
        .await;
    let nodes = cluster.nodes();
    let client = Client::new();
    assert_eq!(client.post(&nodes[0], "/count", "").await.ok(), "1");
    // Of unknown length, and not at an end for a while.
    let parts = stream::iter(0..4).then(async |part: u8| {
        tokio::time::sleep(Duration::from_millis(u64::from(part) * 20)).await;
        Ok::<_, Infallible>(Bytes::from(vec![b'0' + part; 10_000]))
    });
    let request = client.request(Method::POST, "/echo");
    let request = request.body(Body::from_stream(parts)).unwrap();
    let answer = client.send(&nodes[1], request).await;
    assert_eq!(answer.how(), "migrated; node=n2; hops=1");
    let back = answer.ok();
    assert_eq!(back.len(), 40_000);
    assert!(back.starts_with('0') && back.ends_with('3'));
}

/// A service whose clones take something when they are made ready, and keep it until they go.
struct Limited {
    taken: Arc<AtomicUsize>,
    has_taken: bool,
}

impl Clone for Limited {
    fn clone(&self) -> Self {
        Self {
            taken: Arc::clone(&self.taken),
            has_taken: false,
        }
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        if self.has_taken {
            self.taken.fetch_sub(1, SeqCst);
        }
    }
}

impl Service<Request> for Limited {
    type Response = Response;
    type Error = Infallible;
    type Future = Ready<Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if !std::mem::replace(&mut self.has_taken, true) {
            self.taken.fetch_add(1, SeqCst);
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request) -> Self::Future {
        assert!(self.has_taken, "it was made ready");
        ready(Ok(Response::new(Body::from("served"))))
    }
}

#[tokio::test]
async fn a_request_that_is_elsewhere_takes_nothing_of_the_service_here() {
    let cluster = two().start(app).await;
    let nodes = cluster.nodes();
    let client = Client::new();
    client.post(&nodes[0], "/count", "").await.ok();
    let taken = Arc::new(AtomicUsize::new(0));
    let limited = nodes[1].layer().layer(Limited {
        taken: Arc::clone(&taken),
        has_taken: false,
    });
    let request = client.request(Method::GET, "/held?ms=500");
    let request = limited
        .clone()
        .oneshot(request.body(Body::empty()).unwrap());
    let looks = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        taken.load(SeqCst)
    };
    let (answered, seen) = tokio::join!(request, looks);
    assert_eq!(
        answered.unwrap().headers()["x-wadi"],
        "proxied; node=n1; hops=1"
    );
    assert_eq!(seen, 0);
}

#[tokio::test]
async fn where_the_session_comes_the_service_is_made_ready_again() {
    let cluster = two().start(app).await;
    let nodes = cluster.nodes();
    nodes[0].take_no_guests();
    let client = Client::new();
    client.post(&nodes[0], "/count", "").await.ok();
    let taken = Arc::new(AtomicUsize::new(0));
    let limited = nodes[1].layer().layer(Limited {
        taken: Arc::clone(&taken),
        has_taken: false,
    });
    let request = client.request(Method::GET, "/").body(Body::empty());
    let served = limited.oneshot(request.unwrap()).await.unwrap();
    assert_eq!(served.headers()["x-wadi"], "migrated; node=n2; hops=1");
    assert_eq!(taken.load(SeqCst), 0);
}

#[tokio::test]
async fn no_client_takes_headers_off_that_others_have_put_there() {
    let cluster = two().start(app).await;
    let nodes = cluster.nodes();
    let client = Client::new();
    client.post(&nodes[0], "/login", "").await.ok();
    let request = client
        .request(Method::GET, "/what")
        .header("connection", "close, cookie, x-forwarded-for")
        .header("x-forwarded-for", "10.1.2.3")
        .body(Body::empty());
    let seen = client.send(&nodes[1], request.unwrap()).await;
    assert_eq!(seen.how(), "proxied; node=n1; hops=1");
    let seen = seen.ok();
    assert!(
        seen.contains("\"ann\"") && seen.contains("10.1.2.3"),
        "{seen}"
    );
    assert!(!seen.contains("\"connection\""), "{seen}");
}

/// A service whose clones are never ready.
struct OnceReady {
    is_clone: bool,
}

impl Clone for OnceReady {
    fn clone(&self) -> Self {
        Self { is_clone: true }
    }
}

impl Service<Request> for OnceReady {
    type Response = Response;
    type Error = Infallible;
    type Future = Ready<Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if self.is_clone {
            Poll::Pending
        } else {
            Poll::Ready(Ok(()))
        }
    }

    fn call(&mut self, _: Request) -> Self::Future {
        ready(Ok(Response::new(Body::from("served"))))
    }
}

#[tokio::test]
async fn a_service_that_gets_not_ready_in_time_keeps_no_session() {
    let cluster = two()
        .configure(|builder| builder.lock_wait(Duration::from_millis(300)))
        .start(app)
        .await;
    let nodes = cluster.nodes();
    nodes[0].take_no_guests();
    let client = Client::new();
    client.post(&nodes[0], "/count", "").await.ok();
    let mut service = nodes[1].layer().layer(OnceReady { is_clone: false });
    std::future::poll_fn(|context| service.poll_ready(context))
        .await
        .unwrap();
    let request = client.request(Method::GET, "/").body(Body::empty());
    let served = tokio::time::timeout(Duration::from_secs(5), service.call(request.unwrap()));
    let served = served.await.expect("it is bounded").unwrap();
    assert_eq!(served.status(), http::StatusCode::SERVICE_UNAVAILABLE);
    let how = served.headers()["x-wadi"].to_str().unwrap();
    assert!(how.ends_with("why=not-ready"), "{how}");
    assert_eq!(client.get(&nodes[1], "/count").await.ok(), "1");
}
