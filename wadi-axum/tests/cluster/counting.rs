//! Nothing is lost or counted twice, while requests come to every node and the session is made to move.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use wadi_axum::Phase;
use wadi_axum::config::Relocate;
use wadi_axum::testing::Cluster;

use crate::app::{app, is_unavailable};
use crate::client::Client;

/// Overlapping increments.
const AT_ONCE: usize = 64;

/// Two hundred rounds, or as many as `WADI_TEST_ROUNDS` says.
fn rounds() -> usize {
    std::env::var("WADI_TEST_ROUNDS").map_or(200, |rounds| {
        rounds.parse().expect("WADI_TEST_ROUNDS is a number")
    })
}

async fn overlapping(relocate: Relocate, rounds: usize) {
    let cluster = Cluster::builder(3)
        .configure(move |builder| builder.relocate(relocate))
        .start(app)
        .await;
    let cluster = Arc::new(cluster);
    let nodes = cluster.nodes();
    for round in 0..rounds {
        let client = Arc::new(Client::new());
        client.post(&nodes[round % 3], "/count", "").await.ok();
        let done = Arc::new(AtomicBool::new(false));
        let moves = {
            let (cluster, nodes, done) = (Arc::clone(&cluster), nodes.clone(), Arc::clone(&done));
            let id = client.id();
            tokio::spawn(async move {
                for turn in 0.. {
                    if done.load(Relaxed) {
                        return;
                    }
                    cluster.migrate(id, &nodes[turn % 3]).await;
                    tokio::task::yield_now().await;
                }
            })
        };
        let requests: Vec<_> = (0..AT_ONCE)
            .map(|number| {
                let (client, node) = (Arc::clone(&client), nodes[number % 3].clone());
                tokio::spawn(async move {
                    loop {
                        let answer = client.post(&node, "/count", "").await;
                        // Refused before its handler ran, so it may be sent again.
                        if !is_unavailable(answer.status, &answer.headers) {
                            return answer.ok();
                        }
                    }
                })
            })
            .collect();
        let mut seen = Vec::new();
        for request in requests {
            seen.push(request.await.unwrap().parse::<usize>().unwrap());
        }
        done.store(true, Relaxed);
        moves.await.unwrap();
        seen.sort_unstable();
        let all: Vec<usize> = (2..=AT_ONCE + 1).collect();
        assert_eq!(seen, all, "round {round}: each number once");
        for node in &nodes {
            assert_eq!(
                client.get(node, "/count").await.ok(),
                (AT_ONCE + 1).to_string()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overlapping_increments_count_once_each_while_requests_are_proxied() {
    overlapping(Relocate::Adaptive, rounds()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overlapping_increments_count_once_each_while_every_node_wants_the_session() {
    overlapping(Relocate::Migrate, rounds().div_ceil(4)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_and_no_count_is_lost_while_nodes_leave_and_come() {
    let cluster = Cluster::new(3, app).await;
    let clients: Vec<_> = (0..24).map(|_| Arc::new(Client::new())).collect();
    for (number, client) in clients.iter().enumerate() {
        let nodes = cluster.nodes();
        client.post(&nodes[number % 3], "/count", "").await.ok();
    }
    let cluster = Arc::new(cluster);
    let done = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = clients
        .iter()
        .map(|client| {
            let (cluster, client, done) =
                (Arc::clone(&cluster), Arc::clone(client), Arc::clone(&done));
            tokio::spawn(async move {
                let mut counted = 1;
                for turn in 0.. {
                    if done.load(Relaxed) {
                        break;
                    }
                    let nodes = cluster.nodes();
                    let node = &nodes[turn % nodes.len()];
                    let answer = client.post(node, "/count", "").await;
                    // Only a node that has closed meanwhile refuses; a balancer then goes elsewhere.
                    if is_unavailable(answer.status, &answer.headers) {
                        let phase = node.layer().phase();
                        assert!(phase >= Phase::Closing, "{node:?} {phase:?} {answer:?}");
                        continue;
                    }
                    counted += 1;
                    assert_eq!(answer.ok(), counted.to_string());
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                }
                counted
            })
        })
        .collect();
    for round in 0..3 {
        cluster.nodes()[0].leave().await;
        cluster.start(&format!("m{round}")).await;
        cluster.settled().await;
    }
    done.store(true, Relaxed);
    for (client, load) in clients.iter().zip(load) {
        let counted = load.await.unwrap();
        for node in cluster.nodes() {
            assert_eq!(client.get(&node, "/count").await.ok(), counted.to_string());
        }
    }
}
