//! A session follows a client that keeps coming, and nobody else.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tower::{Layer, ServiceExt};
use wadi_axum::testing::{Cluster, Node};
use wadi_axum::{DetachedSession, Session, SessionError, Settings, WadiLayer};
use wadi_core::member::NodeName;
use wadi_core::relocate::{Choice, Relocation, Stray};

use crate::app::app;
use crate::client::Client;

async fn comes_to(client: &Client, node: &Node) -> bool {
    let id = client.id();
    for _ in 0..100 {
        if node.holds(&id) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test]
async fn a_session_follows_a_client_that_keeps_coming_to_another_node() {
    let cluster = Cluster::new(3, app).await;
    let nodes = cluster.nodes();
    let client = Client::new();
    client.post(&nodes[0], "/count", "").await.ok();
    for _ in 0..4 {
        let answer = client.post(&nodes[1], "/count", "").await;
        assert_eq!(answer.how(), "proxied; node=n1; hops=1");
    }
    assert!(comes_to(&client, &nodes[1]).await);
    let answer = client.post(&nodes[1], "/count", "").await;
    assert_eq!(answer.how(), "local; node=n2; hops=0");
    assert_eq!(client.cookie("wadi-route").as_deref(), Some("n2"));
    assert_eq!(answer.ok(), "6");
    assert_eq!(nodes[1].layer().request_counts().unwrap().followed, 1);
}

#[tokio::test]
async fn nothing_moves_when_requests_are_dealt_out_in_turn() {
    for size in [2, 3] {
        let cluster = Cluster::new(size, app).await;
        let nodes = cluster.nodes();
        let client = Client::new();
        client.post(&nodes[0], "/count", "").await.ok();
        for turn in 1..60 {
            client.post(&nodes[turn % size], "/count", "").await.ok();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(nodes[0].holds(&client.id()), "of {size} nodes");
    }
}

#[tokio::test]
async fn a_large_session_takes_more_persuasion() {
    let cluster = Cluster::new(2, app).await;
    let nodes = cluster.nodes();
    let client = Client::new();
    client.post(&nodes[0], "/big/500000", "").await.ok();
    for _ in 0..10 {
        client.get(&nodes[1], "/count").await.ok();
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(nodes[0].holds(&client.id()));
    for _ in 0..10 {
        client.get(&nodes[1], "/count").await.ok();
    }
    assert!(comes_to(&client, &nodes[1]).await);
}

/// Sessions come to whoever writes, and readers go to them.
#[derive(Debug)]
struct WritersHave;

impl Relocation for WritersHave {
    fn choose(&self, stray: &Stray) -> Choice {
        if stray.is_safe {
            Choice::Proxy
        } else {
            Choice::Migrate
        }
    }
}

#[tokio::test]
async fn a_policy_of_ones_own_sees_the_request() {
    let cluster = Cluster::builder(2)
        .relocation(|| WritersHave)
        .start(app)
        .await;
    let nodes = cluster.nodes();
    let client = Client::new();
    client.post(&nodes[0], "/count", "").await.ok();
    let read = client.get(&nodes[1], "/count").await;
    assert_eq!(read.how(), "proxied; node=n1; hops=1");
    let written = client.post(&nodes[1], "/count", "").await;
    assert_eq!(written.how(), "migrated; node=n2; hops=1");
    // As a program says it.
    let network = wadi_core::transport::memory::Network::new();
    let config = wadi_axum::WadiConfig::default();
    let _ = WadiLayer::new(Settings::with_network(config, network).relocation(WritersHave));
}

/// Sessions follow nobody away from home.
#[derive(Debug)]
struct StayAtHome(Arc<Mutex<Vec<Stray>>>);

impl Relocation for StayAtHome {
    fn choose(&self, stray: &Stray) -> Choice {
        self.0.lock().unwrap().push(stray.clone());
        if stray.streak > 0 && stray.manager == stray.asked {
            Choice::Migrate
        } else {
            Choice::Proxy
        }
    }
}

#[tokio::test]
async fn a_policy_of_ones_own_sees_where_the_session_lives_and_would_live() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let policy = Arc::clone(&seen);
    let cluster = Cluster::builder(3)
        .relocation(move || StayAtHome(Arc::clone(&policy)))
        .start(app)
        .await;
    let nodes = cluster.nodes();
    let client = Client::new();
    client.post(&nodes[0], "/count", "").await.ok();
    client.get(&nodes[1], "/count").await.ok();
    let name = |name: &str| Some(NodeName::new(name));
    {
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        let [first, second] = seen.as_slice() else {
            panic!("{seen:?}");
        };
        assert_eq!((first.streak, &first.holder), (0, &None));
        assert_eq!((second.streak, &second.holder), (1, &name("n1")));
        for stray in [first, second] {
            assert_eq!((&stray.asked, &stray.manager), (&name("n2"), &name("n1")));
        }
    }
    for _ in 0..10 {
        client.get(&nodes[1], "/count").await.ok();
    }
    assert!(nodes[0].holds(&client.id()), "it is at home");
    assert!(cluster.migrate(client.id(), &nodes[1]).await);
    client.get(&nodes[0], "/count").await.ok();
    assert!(comes_to(&client, &nodes[0]).await, "it comes home");
}

/// A handle on the client's session, as a stream on that node has one.
async fn handle(client: &Client, node: &Node) -> DetachedSession {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
    let detach = tower::service_fn(move |request: http::Request<()>| {
        let sender = sender.clone();
        async move {
            let session = request.extensions().get::<Session>().unwrap();
            sender.send(session.detach()).await.unwrap();
            Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
        }
    });
    let request = http::Request::builder().header("cookie", client.cookies());
    let service = node.layer().layer(detach);
    service.oneshot(request.body(()).unwrap()).await.unwrap();
    receiver.recv().await.unwrap()
}

async fn counted(handle: &DetachedSession) -> Result<u32, SessionError> {
    let counted = handle.update("n", |n: &mut u32| {
        *n += 1;
        *n
    });
    counted.await
}

#[tokio::test]
async fn a_handle_goes_on_wherever_the_session_then_lives() {
    let cluster = Cluster::new(3, app).await;
    let nodes = cluster.nodes();
    let client = Client::new();
    client.post(&nodes[0], "/count", "").await.ok();
    let here = handle(&client, &nodes[0]).await;
    assert_eq!(counted(&here).await, Ok(2));
    for to in [1, 2, 1] {
        assert!(cluster.migrate(client.id(), &nodes[to]).await);
        let n = counted(&here).await.unwrap();
        assert!(nodes[0].holds(&client.id()));
        assert_eq!(counted(&here).await, Ok(n + 1));
    }
    assert_eq!(client.get(&nodes[2], "/count").await.ok(), "8");
    client.post(&nodes[1], "/logout", "").await;
    assert_eq!(counted(&here).await, Err(SessionError::Ended));
}

#[tokio::test]
async fn nothing_follows_while_a_handle_uses_the_session() {
    let cluster = Cluster::new(2, app).await;
    let nodes = cluster.nodes();
    let client = Client::new();
    client.post(&nodes[0], "/count", "").await.ok();
    let here = handle(&client, &nodes[0]).await;
    for _ in 0..10 {
        counted(&here).await.unwrap();
        client.post(&nodes[1], "/count", "").await.ok();
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(nodes[0].holds(&client.id()));
    assert_eq!(nodes[1].layer().request_counts().unwrap().followed, 0);
}

#[tokio::test]
async fn handles_on_two_nodes_spend_their_time_on_other_things_than_moves() {
    let cluster = Cluster::new(2, app).await;
    let nodes = cluster.nodes();
    let client = Client::new();
    client.post(&nodes[0], "/count", "").await.ok();
    let one = handle(&client, &nodes[0]).await;
    assert!(cluster.migrate(client.id(), &nodes[1]).await);
    let two = handle(&client, &nodes[1]).await;
    let done = AtomicBool::new(false);
    let uses = async |handle: &DetachedSession| {
        let mut used = 0;
        while !done.load(Relaxed) {
            match counted(handle).await {
                Ok(_) => used += 1,
                Err(SessionError::Moved) => {}
                Err(error) => panic!("{error}"),
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        used
    };
    let ends = async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        done.store(true, Relaxed);
    };
    let (first, second, ()) = tokio::join!(uses(&one), uses(&two), ends);
    let arrived = |node: &Node| node.layer().status().migrations.arrived;
    let moves = arrived(&nodes[0]) + arrived(&nodes[1]);
    assert!(moves < 30, "{moves} moves for {first} and {second} uses");
    assert!(first > 0 && second > 0);
    let seen = client.get(&nodes[0], "/count").await.ok();
    assert_eq!(seen, (1 + first + second).to_string());
}

#[tokio::test]
async fn a_handle_on_a_leaving_node_pulls_nothing_back() {
    let cluster = Cluster::builder(2)
        .configure(|builder| builder.deregister_delay(Duration::from_secs(2)))
        .start(app)
        .await;
    let nodes = cluster.nodes();
    let client = Client::new();
    client.post(&nodes[0], "/count", "").await.ok();
    let here = handle(&client, &nodes[0]).await;
    let leaving = nodes[0].clone();
    let leaves = tokio::spawn(async move { leaving.leave().await });
    assert!(comes_to(&client, &nodes[1]).await, "it is evacuated");
    assert_eq!(counted(&here).await, Err(SessionError::Moved));
    assert!(nodes[1].holds(&client.id()));
    leaves.await.unwrap();
    assert_eq!(client.get(&nodes[1], "/count").await.ok(), "1");
}

#[tokio::test]
async fn sessions_come_to_and_from_a_node_that_takes_no_proxied_requests() {
    let cluster = Cluster::builder(3).start(app).await;
    let nodes = cluster.nodes();
    nodes[0].take_no_guests();
    let client = Client::new();
    client.post(&nodes[0], "/count", "").await.ok();
    let read = client.get(&nodes[1], "/count").await;
    assert_eq!(read.how(), "migrated; node=n2; hops=1");
    let read = client.get(&nodes[0], "/count").await;
    assert_eq!(read.how(), "proxied; node=n2; hops=1");
}
