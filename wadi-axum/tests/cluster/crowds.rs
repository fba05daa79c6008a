//! Many clients whose requests go to the same other node: those who do not read, or hang up, hold
//! nobody else back.

use std::time::Duration;

use axum::body::Body;
use axum::routing::get;
use http::Method;
use http_body_util::BodyExt;
use wadi_axum::config::Relocate;
use wadi_axum::testing::Cluster;
use wadi_axum::{Session, SessionFailure};

use crate::app::app;
use crate::client::Client;

const LARGE: usize = 8 << 20;

async fn large(session: Session) -> Result<Vec<u8>, SessionFailure> {
    session.update("n", |n: &mut u32| *n += 1)?;
    Ok(vec![7; LARGE])
}

async fn two() -> Cluster {
    Cluster::builder(2)
        .configure(|builder| builder.relocate(Relocate::Proxy))
        .start(|wadi| {
            let large = axum::Router::new().route("/large", get(large));
            large.layer(wadi.clone()).merge(app(wadi))
        })
        .await
}

#[tokio::test]
async fn clients_that_do_not_read_hold_nobody_else_back() {
    let cluster = two().await;
    let nodes = cluster.nodes();
    let mut unread = Vec::new();
    for _ in 0..6 {
        let client = Client::new();
        client.post(&nodes[0], "/count", "").await.ok();
        let request = client.request(Method::GET, "/large").body(Body::empty());
        let response = client.open(&nodes[1], request.unwrap()).await;
        assert_eq!(response.headers()["x-wadi"], "proxied; node=n1; hops=1");
        unread.push(response);
    }
    // So that they fill what there is to fill.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let client = Client::new();
    client.post(&nodes[0], "/count", "").await.ok();
    let small = client.post(&nodes[1], "/echo", "small");
    let small = tokio::time::timeout(Duration::from_secs(5), small).await;
    assert_eq!(small.expect("it is answered").ok(), "small");
    for response in unread {
        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes().len(), LARGE);
    }
}

#[tokio::test]
async fn clients_that_hang_up_at_once_harm_nobody_else() {
    let cluster = two().await;
    let nodes = cluster.nodes();
    let client = Client::new();
    client.post(&nodes[0], "/count", "").await.ok();
    let other = client.request(Method::GET, "/held?ms=2000");
    let other = client.open(&nodes[1], other.body(Body::empty()).unwrap());
    let hang_up = async {
        tokio::time::sleep(Duration::from_millis(100)).await;

        for late in [0, 1, 5] {
            let requests = (0..150).map(|_| {
                let request = client.request(Method::GET, "/held?ms=60000");
                let request = nodes[1].request(request.body(Body::empty()).unwrap());
                tokio::time::timeout(Duration::from_millis(late), request)
            });
            for given_up in futures_util::future::join_all(requests).await {
                assert!(given_up.is_err());
            }
        }
    };
    let (other, ()) = tokio::join!(other, hang_up);
    let body = other.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "held");
    assert!(
        client
            .get(&nodes[1], "/count")
            .await
            .how()
            .starts_with("proxied")
    );
}
