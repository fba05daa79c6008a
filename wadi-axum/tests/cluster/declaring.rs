//! An operator's word that a node has ended.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use http::{Request, StatusCode};
use tower::ServiceExt;
use wadi_axum::testing::{Cluster, Node};

use crate::app::app;
use crate::client::Client;

/// What `node` answers to this, asked by address or by name.
async fn delete(node: &Node, path: &str, host: &str) -> (StatusCode, String) {
    let request = Request::delete(path).header("host", host);
    let request = request.body(Body::empty()).unwrap();
    let response = node.layer().admin().oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 16).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

const HERE: &str = "127.0.0.1:8081";

#[tokio::test]
async fn an_operator_declares_a_member_dead_by_name_or_number() {
    let cluster = Cluster::new(3, app).await;
    let nodes = cluster.nodes();
    let [n1, n2, n3] = nodes.as_slice() else {
        panic!("three nodes");
    };
    let lost = Client::new();
    assert_eq!(lost.post(n3, "/count", "").await.ok(), "1");
    for (path, status) in [
        ("/wadi/members/n9", StatusCode::NOT_FOUND),
        ("/wadi/members/99?force", StatusCode::NOT_FOUND),
        // It seems to run.
        ("/wadi/members/n3", StatusCode::CONFLICT),
        ("/wadi/members/n3?forced", StatusCode::CONFLICT),
        // It runs.
        ("/wadi/members/n1?force", StatusCode::CONFLICT),
    ] {
        let (answered, told) = delete(n1, path, HERE).await;
        assert_eq!(answered, status, "{path}: {told}");
    }
    let (answered, _) = delete(n1, "/wadi/members/n3?force", "evil.example").await;
    assert_eq!(answered, StatusCode::MISDIRECTED_REQUEST);
    let members = |node: &Node| node.layer().status().members.len();
    assert_eq!(members(n1), 3);
    let number = n3.layer().status().incarnation.unwrap();
    let path = format!("/wadi/members/{number}?force");
    let (answered, told) = delete(n1, &path, HERE).await;
    assert_eq!(answered, StatusCode::ACCEPTED, "{told}");
    // It did run, and comes back as somebody new.
    let is_new = || {
        n3.layer()
            .status()
            .incarnation
            .is_some_and(|now| now > number)
    };
    while !(is_new() && members(n2) == 3) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
