//! Requests without a session.

use std::time::Duration;

use wadi_axum::testing::Cluster;
use wadi_core::bucket::BucketCount;

use crate::app::{app, is_unavailable};
use crate::client::Client;

/// With one bucket only one of the nodes can create sessions.
async fn with_one_bucket() -> Cluster {
    Cluster::builder(3)
        .configure(|builder| builder.buckets(BucketCount::new(1).unwrap()))
        .start(app)
        .await
}

#[tokio::test]
async fn a_node_without_buckets_sends_the_request_to_one_that_has_some() {
    let cluster = with_one_bucket().await;
    let nodes = cluster.nodes();
    let [n1, n2, _] = nodes.as_slice() else {
        panic!("three nodes");
    };
    let client = Client::new();
    let first = client.post(n2, "/count", "").await;
    assert_eq!(first.how(), "created; node=n1; hops=1");
    assert!(first.sets("wadi-plain") && first.sets("wadi-route"));
    assert_eq!(first.ok(), "1");
    assert!(n1.holds(&client.id()));
    let large = "x".repeat(1 << 20);
    assert_eq!(
        Client::new().post(n2, "/echo", large.clone()).await.ok(),
        large
    );
    // Nothing is created for who only looks.
    assert_eq!(Client::new().get(n2, "/count").await.ok(), "0");
}

#[tokio::test]
async fn where_nobody_takes_the_request_the_session_is_registered_before_the_handler_runs() {
    let cluster = with_one_bucket().await;
    let nodes = cluster.nodes();
    let [n1, n2, _] = nodes.as_slice() else {
        panic!("three nodes");
    };
    // A body of another type cannot be sent anywhere.
    use tower::{Layer, ServiceExt};
    let plain = tower::service_fn(async |request: http::Request<()>| {
        let session = request.extensions().get::<wadi_axum::Session>().unwrap();
        session.insert("n", 1_u32).unwrap();
        Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
    });
    let plain = n2.layer().layer(plain);
    let response = plain.oneshot(http::Request::new(())).await.unwrap();
    let how = response.headers()["x-wadi"].to_str().unwrap();
    assert_eq!(how, "created; node=n2; hops=1");
    let set = response.headers()["set-cookie"].to_str().unwrap();
    let client = Client::new();
    client.set("wadi-plain", set.split([';', '=']).nth(1).unwrap());
    assert!(n2.holds(&client.id()));
    assert_eq!(
        client.get(n1, "/count").await.how(),
        "proxied; node=n2; hops=1"
    );
}

#[tokio::test]
async fn a_leaving_node_lets_others_create() {
    let cluster = Cluster::builder(2)
        .configure(|builder| builder.deregister_delay(Duration::from_secs(2)))
        .start(app)
        .await;
    let nodes = cluster.nodes();
    let (n1, n2) = (&nodes[0], &nodes[1]);
    let leaving = n1.clone();
    let leaves = tokio::spawn(async move { leaving.leave().await });
    n1.layer().leaving().await;
    let client = Client::new();
    for n in 1..=20 {
        let answer = client.post(n1, "/count", "").await;
        assert_eq!(answer.ok(), n.to_string());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(n2.holds(&client.id()));
    leaves.await.unwrap();
    assert_eq!(client.post(n2, "/count", "").await.ok(), "21");
}

#[tokio::test]
async fn a_node_that_nobody_else_answers_says_503() {
    let cluster = with_one_bucket().await;
    let nodes = cluster.nodes();
    let (n1, n2) = (&nodes[0], &nodes[1]);
    let client = Client::new();
    client.post(n1, "/count", "").await.ok();
    let cut = wadi_core::transport::memory::Condition {
        cut: true,
        ..Default::default()
    };
    let name = |node: &wadi_axum::testing::Node| wadi_core::member::NodeName::new(node.name());
    for other in [n1, &nodes[2]] {
        cluster.network().set(&name(n2), &name(other), cut);
        cluster.network().set(&name(other), &name(n2), cut);
    }
    for path in ["/count", "/origin"] {
        let answer = client.get(n2, path).await;
        assert!(is_unavailable(answer.status, &answer.headers), "{answer:?}");
        let why = answer.headers["x-wadi"].to_str().unwrap();
        assert_eq!(why, "local; node=n2; hops=0; why=nobody-says");
        assert!(
            !answer.sets("wadi-plain"),
            "no new session in the place of one that exists"
        );
    }
    let new = Client::new().post(n2, "/count", "").await;
    assert!(is_unavailable(new.status, &new.headers), "{new:?}");
    cluster.network().heal();
    assert_eq!(client.post(n2, "/count", "").await.ok(), "2");
}

#[tokio::test]
async fn a_draining_node_keeps_what_it_has_and_creates_nothing_while_others_do() {
    let cluster = Cluster::new(3, app).await;
    let nodes = cluster.nodes();
    let [n1, n2, n3] = nodes.as_slice() else {
        panic!("three nodes");
    };
    let before = Client::new();
    assert_eq!(before.post(n1, "/count", "").await.ok(), "1");
    assert!(n1.layer().drain(true));
    for _ in 0..20 {
        let created = Client::new().post(n1, "/count", "").await;
        assert!(!created.how().contains("node=n1"), "{}", created.how());
        assert_eq!(created.ok(), "1");
    }
    let served = before.post(n1, "/count", "").await;
    assert_eq!(served.how(), "local; node=n1; hops=0");
    // Where all drain, sessions are created all the same.
    assert!(n2.layer().drain(true) && n3.layer().drain(true));
    assert_eq!(Client::new().post(n1, "/count", "").await.ok(), "1");
    assert!(n1.layer().drain(false));
    let created = Client::new().post(n1, "/count", "").await;
    assert_eq!(created.how(), "created; node=n1; hops=0");
}
