//! Sessions that are nowhere any more, and what the handler is told of them.

use std::time::Duration;

use wadi_axum::config::Relocate;
use wadi_axum::testing::Cluster;

use crate::app::app;
use crate::client::Client;

const POLICIES: [Relocate; 3] = [Relocate::Adaptive, Relocate::Migrate, Relocate::Proxy];

async fn two(relocate: Relocate) -> Cluster {
    Cluster::builder(2)
        .configure(move |builder| builder.relocate(relocate))
        .start(app)
        .await
}

#[tokio::test]
async fn a_logout_on_another_node_holds_everywhere() {
    for relocate in POLICIES {
        let cluster = two(relocate).await;
        let nodes = cluster.nodes();
        let (n1, n2) = (&nodes[0], &nodes[1]);
        let client = Client::new();
        client.post(n1, "/count", "").await.ok();
        let cookie = client.cookie("wadi-plain").unwrap();
        let out = client.post(n2, "/logout", "").await;
        assert_eq!(out.text, "goodbye");
        assert_eq!(
            client.cookie("wadi-plain"),
            None,
            "the cookie is taken back"
        );
        assert_eq!(client.cookie("wadi-route"), None);
        client.set("wadi-plain", &cookie);
        for node in [n1, n2] {
            assert_eq!(
                client.get(node, "/origin").await.ok(),
                "Destroyed",
                "{node:?}"
            );
            assert_eq!(client.get(node, "/count").await.ok(), "0", "{node:?}");
        }
    }
}

#[tokio::test]
async fn a_dead_id_costs_a_hop_once() {
    for relocate in POLICIES {
        let cluster = two(relocate).await;
        let nodes = cluster.nodes();
        let client = Client::new();
        client.post(&nodes[0], "/count", "").await.ok();
        let cookie = client.cookie("wadi-plain").unwrap();
        client.post(&nodes[0], "/logout", "").await.ok();
        client.set("wadi-plain", &cookie);
        assert_eq!(client.get(&nodes[1], "/origin").await.ok(), "Destroyed");
        let once = nodes[1].layer().request_counts().unwrap();
        let carried = cluster.network().carried();
        for _ in 0..3 {
            assert_eq!(client.get(&nodes[1], "/origin").await.ok(), "Destroyed");
        }
        let counts = nodes[1].layer().request_counts().unwrap();
        assert_eq!(counts.proxied_out, once.proxied_out);
        assert!(relocate != Relocate::Migrate || cluster.network().carried() < carried + 3);
    }
}

#[tokio::test]
async fn a_login_by_way_of_another_node_gives_a_new_id() {
    for relocate in POLICIES {
        let cluster = two(relocate).await;
        let nodes = cluster.nodes();
        let (n1, n2) = (&nodes[0], &nodes[1]);
        let client = Client::new();
        client.post(n1, "/count", "").await.ok();
        let before = client.cookie("wadi-plain").unwrap();
        client.post(n2, "/login", "").await.ok();
        let after = client.cookie("wadi-plain").unwrap();
        assert_ne!(before, after);
        for node in [n1, n2] {
            assert_eq!(client.get(node, "/count").await.ok(), "1", "{relocate:?}");
        }
        client.set("wadi-plain", &before);
        assert_eq!(client.get(n2, "/origin").await.ok(), "Destroyed");
        assert_eq!(client.get(n1, "/origin").await.ok(), "Destroyed");
    }
}

#[tokio::test]
async fn a_session_that_died_with_its_node_is_lost_and_says_so() {
    let cluster = Cluster::new(3, app).await;
    let nodes = cluster.nodes();
    let (n1, n2, n3) = (&nodes[0], &nodes[1], &nodes[2]);
    // Displaced, so that its manager knows of it; else its manager is dead, too.
    let client = Client::new();
    client.post(n1, "/count", "").await.ok();
    assert!(cluster.migrate(client.id(), n2).await);
    n2.kill().await;
    let mut answer = client.get(n3, "/origin").await;
    for _ in 0..100 {
        if answer.status.is_success() {
            break;
        }
        assert!(!answer.sets("wadi-plain"));
        // What nobody can say yet is decided after a time.
        cluster.advance(Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(100)).await;
        answer = client.get(n3, "/origin").await;
    }
    assert_eq!(answer.ok(), "Lost");
    let counts = n3.layer().request_counts().unwrap();
    assert!(counts.lost >= 1 && counts.absent >= counts.lost);
    assert_eq!(client.post(n3, "/count", "").await.ok(), "1");
    assert!(
        n3.holds(&client.id()),
        "the new one is created where the request came to"
    );
}

#[tokio::test]
async fn an_idle_session_ends_by_the_clock_that_the_test_moves() {
    let cluster = two(Relocate::Adaptive).await;
    let nodes = cluster.nodes();
    let client = Client::new();
    client.post(&nodes[0], "/count", "").await.ok();
    cluster.advance(Duration::from_secs(9 * 60));
    assert_eq!(client.post(&nodes[1], "/count", "").await.ok(), "2");
    cluster.advance(Duration::from_secs(29 * 60));
    assert_eq!(client.get(&nodes[1], "/count").await.ok(), "2");
    cluster.advance(Duration::from_secs(31 * 60));
    assert_eq!(client.get(&nodes[1], "/origin").await.ok(), "Expired");
    assert_eq!(client.get(&nodes[0], "/origin").await.ok(), "Expired");
}

#[tokio::test]
async fn a_forged_id_is_refused_here_without_a_message() {
    let cluster = two(Relocate::Adaptive).await;
    let nodes = cluster.nodes();
    let client = Client::new();
    client.post(&nodes[0], "/count", "").await.ok();
    let cookie = client.cookie("wadi-plain").unwrap();
    let last = if cookie.ends_with('A') { "B" } else { "A" };
    let forged = format!("{last}{}", &cookie[1..]);
    assert_eq!(forged.len(), cookie.len());
    client.set("wadi-plain", &forged);
    let before = nodes[1].layer().request_counts().unwrap();
    assert_eq!(client.get(&nodes[1], "/origin").await.ok(), "New");
    assert_eq!(nodes[1].layer().request_counts().unwrap(), before);
}
