//! How far a request goes: nowhere when its session is here, one hop when it is at home or the hint is
//! right, two when it is displaced and nobody gave a hint.

use wadi_axum::config::Relocate;
use wadi_axum::testing::{Cluster, Node};

use crate::app::app;
use crate::client::Client;

async fn three(relocate: Relocate) -> (Cluster, [Node; 3]) {
    let cluster = Cluster::builder(3)
        .configure(move |builder| builder.relocate(relocate))
        .start(app)
        .await;
    let nodes = cluster.nodes().try_into().unwrap();
    (cluster, nodes)
}

#[tokio::test]
async fn a_session_that_is_here_goes_nowhere() {
    let (_cluster, [n1, ..]) = three(Relocate::Adaptive).await;
    let client = Client::new();
    let first = client.post(&n1, "/count", "").await;
    assert_eq!(first.how(), "created; node=n1; hops=0");
    assert_eq!(client.cookie("wadi-route").as_deref(), Some("n1"));
    let again = client.post(&n1, "/count", "").await;
    assert_eq!(again.how(), "local; node=n1; hops=0");
    assert_eq!(again.ok(), "2");
    // A client that keeps no such cookie is told with its session's own, and not each time.
    client.forget("wadi-route");
    assert!(!client.get(&n1, "/count").await.sets("wadi-route"));
    client.set("wadi-route", "n3");
    assert!(client.get(&n1, "/count").await.sets("wadi-route"));
    assert!(!client.get(&n1, "/count").await.sets("wadi-route"));
}

#[tokio::test]
async fn a_proxied_request_takes_one_hop_to_a_session_at_home_and_two_to_a_displaced_one() {
    let (cluster, [n1, n2, n3]) = three(Relocate::Proxy).await;
    let client = Client::new();
    client.post(&n1, "/count", "").await.ok();
    let id = client.cookie("wadi-plain");

    // At home, with the right hint and with none.
    let hinted = client.get(&n2, "/count").await;
    assert_eq!(hinted.how(), "proxied; node=n1; hops=1");
    client.forget("wadi-route");
    let home = client.get(&n3, "/count").await;
    assert_eq!(home.how(), "proxied; node=n1; hops=1");
    assert!(
        home.sets("wadi-route"),
        "the client is told where its session is"
    );
    assert_eq!(home.ok(), "1");

    // Displaced: its bucket is n1's, and n2 has it.
    assert!(cluster.migrate(client.id(), &n2).await);
    let hinted = client.get(&n3, "/count").await;
    // The hint says n1, who knows where it is.
    assert_eq!(hinted.how(), "proxied; node=n2; hops=2");
    assert_eq!(client.cookie("wadi-route").as_deref(), Some("n2"));
    let hinted = client.get(&n3, "/count").await;
    assert_eq!(hinted.how(), "proxied; node=n2; hops=1");
    client.forget("wadi-route");
    let displaced = client.get(&n3, "/count").await;
    assert_eq!(displaced.how(), "proxied; node=n2; hops=2");
    // Its bucket's own manager knows.
    client.forget("wadi-route");
    let asked_at_home = client.get(&n1, "/count").await;
    assert_eq!(asked_at_home.how(), "proxied; node=n2; hops=1");
    assert_eq!(
        client.cookie("wadi-plain"),
        id,
        "the id never changes because of routing"
    );
}

#[tokio::test]
async fn a_large_request_is_asked_for_first() {
    let (cluster, [n1, n2, n3]) = three(Relocate::Proxy).await;
    let client = Client::new();
    client.post(&n1, "/count", "").await.ok();
    let large = "x".repeat(1 << 20);
    let home = client.post(&n2, "/echo", large.clone()).await;
    assert_eq!(home.how(), "proxied; node=n1; hops=1");
    assert_eq!(home.ok(), large);
    assert!(cluster.migrate(client.id(), &n2).await);
    let displaced = client.post(&n3, "/echo", large.clone()).await;
    assert_eq!(displaced.how(), "proxied; node=n2; hops=2");
    assert_eq!(displaced.ok(), large);
    assert_eq!(client.get(&n2, "/count").await.ok(), "3");
}

#[tokio::test]
async fn a_session_migrates_in_one_hop_from_home_and_in_two_when_displaced() {
    let (_cluster, [n1, n2, n3]) = three(Relocate::Migrate).await;
    let client = Client::new();
    client.post(&n1, "/count", "").await.ok();
    let from_home = client.post(&n2, "/count", "").await;
    assert_eq!(from_home.how(), "migrated; node=n2; hops=1");
    assert_eq!(from_home.ok(), "2");
    assert!(n2.holds(&client.id()) && !n1.holds(&client.id()));
    assert_eq!(client.cookie("wadi-route").as_deref(), Some("n2"));
    let displaced = client.post(&n3, "/count", "").await;
    assert_eq!(displaced.how(), "migrated; node=n3; hops=2");
    let back = client.post(&n1, "/count", "").await;
    assert_eq!(back.how(), "migrated; node=n1; hops=1");
    assert_eq!(back.ok(), "4");
    let counts = n1.layer().request_counts().unwrap();
    assert_eq!((counts.migrated, counts.proxied_out), (1, 0));
}

#[tokio::test]
async fn a_wrong_hint_costs_a_hop_and_nothing_else() {
    let (_cluster, [n1, n2, _]) = three(Relocate::Proxy).await;
    let client = Client::new();
    client.post(&n1, "/count", "").await.ok();
    for wrong in ["n3", "n9", "", "n2"] {
        client.set("wadi-route", wrong);
        assert_eq!(client.get(&n2, "/count").await.ok(), "1", "{wrong:?}");
    }
    client.set("wadi-route", "n3");
    let misled = client.get(&n2, "/count").await;
    assert_eq!(misled.how(), "proxied; node=n1; hops=2");
}
