//! A store below all nodes: sessions go down from any node, and come up where they are asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use wadi_axum::config::Relocate;
use wadi_axum::testing::Cluster;
use wadi_core::session::SessionId;
use wadi_core::store::{
    Claim, Ended, Head, MemoryStore, Page, Put, Row, SessionStore, StoreError, Storing, Took,
};

use crate::app::{app, is_unavailable};
use crate::client::Client;

const DEMOTE_AFTER: Duration = Duration::from_secs(60);

/// A store that can be away.
#[derive(Debug, Default)]
struct Away {
    is_away: AtomicBool,
    store: MemoryStore,
}

impl Away {
    fn answer<'a, T: Send + 'a>(&'a self, ask: impl FnOnce() -> Storing<'a, T>) -> Storing<'a, T> {
        if self.is_away.load(SeqCst) {
            let away = StoreError::Unavailable("it is away".to_owned());
            return Box::pin(std::future::ready(Err(away)));
        }
        ask()
    }
}

impl SessionStore for Away {
    fn put(&self, rows: Vec<Row>) -> Storing<'_, Vec<Put>> {
        self.answer(|| self.store.put(rows))
    }

    fn take(&self, id: SessionId, claim: Claim) -> Storing<'_, Took> {
        self.answer(|| self.store.take(id, claim))
    }

    fn end(&self, ended: Vec<Ended>) -> Storing<'_, ()> {
        self.answer(|| self.store.end(ended))
    }

    fn begin(&self, after: u32) -> Storing<'_, u32> {
        self.answer(|| self.store.begin(after))
    }

    fn page(&self, page: Page) -> Storing<'_, Vec<Head>> {
        self.answer(|| self.store.page(page))
    }

    fn rows(&self) -> Option<u64> {
        self.store.rows()
    }

    fn is_shared(&self) -> bool {
        true
    }
}

async fn over(store: &Arc<Away>, relocate: Relocate) -> Cluster {
    Cluster::builder(2)
        .configure(move |builder| builder.relocate(relocate).demote_after(DEMOTE_AFTER))
        .store(Arc::clone(store))
        .start(app)
        .await
}

/// Waits until no node has a session in memory.
async fn all_go_down(cluster: &Cluster) {
    cluster.advance(DEMOTE_AFTER + Duration::from_secs(1));
    let in_memory = || {
        let nodes = cluster.nodes();
        let each = nodes.iter().map(|node| node.layer().sessions().map().len());
        each.sum::<usize>()
    };
    for _ in 0..1500 {
        if in_memory() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} sessions stay in memory", in_memory());
}

#[tokio::test]
async fn a_session_that_nobody_asks_for_goes_down_and_comes_up_where_it_is_asked_for() {
    for relocate in [Relocate::Adaptive, Relocate::Migrate, Relocate::None] {
        let store = Arc::new(Away::default());
        let cluster = over(&store, relocate).await;
        let nodes = cluster.nodes();
        let client = Client::new();
        assert_eq!(client.post(&nodes[0], "/count", "").await.ok(), "1");
        for (round, asked) in [(2, 1), (3, 0), (4, 1)] {
            all_go_down(&cluster).await;
            let answer = client.post(&nodes[asked], "/count", "").await;
            let how = answer.how().to_owned();
            assert_eq!(answer.ok(), round.to_string(), "{relocate:?}, {how}");
        }
        let stores = nodes.iter().map(|node| node.layer().status().store);
        let stores: Vec<_> = stores.map(|store| store.expect("there is one")).collect();
        assert_eq!(stores.iter().map(|store| store.demoted).sum::<u64>(), 3);
        assert_eq!(stores.iter().map(|store| store.promoted).sum::<u64>(), 3);
        assert!(
            stores
                .iter()
                .all(|store| store.shared && store.away_for.is_none())
        );
    }
}

#[tokio::test]
async fn a_session_that_ended_does_not_come_up_again() {
    let store = Arc::new(Away::default());
    let cluster = over(&store, Relocate::Adaptive).await;
    let nodes = cluster.nodes();
    let client = Client::new();
    client.post(&nodes[0], "/count", "").await.ok();
    let cookie = client.cookie("wadi-plain").unwrap();
    all_go_down(&cluster).await;
    assert_eq!(client.post(&nodes[1], "/logout", "").await.ok(), "goodbye");
    client.set("wadi-plain", &cookie);
    for node in &nodes {
        assert_eq!(client.get(node, "/origin").await.ok(), "Destroyed");
    }
}

#[tokio::test]
async fn while_the_store_is_away_what_is_in_memory_is_served_and_the_rest_is_refused_and_kept() {
    let store = Arc::new(Away::default());
    let cluster = over(&store, Relocate::Adaptive).await;
    let nodes = cluster.nodes();
    let below = Client::new();
    below.post(&nodes[0], "/count", "").await.ok();
    all_go_down(&cluster).await;
    store.is_away.store(true, SeqCst);
    let here = Client::new();
    here.post(&nodes[0], "/count", "").await.ok();
    let refused = below.post(&nodes[0], "/count", "").await;
    assert!(
        is_unavailable(refused.status, &refused.headers),
        "{refused:?}"
    );
    assert!(!refused.sets("wadi-plain"));
    let said = refused.headers["x-wadi"].to_str().unwrap();
    assert!(said.ends_with("why=store"), "{said}");
    let reports = nodes.iter().map(|node| node.layer().status().store);
    let mut reports = reports.map(|store| store.expect("there is one"));
    assert!(reports.any(|store| store.away_for.is_some() && store.failed > 0));
    assert_eq!(here.post(&nodes[1], "/count", "").await.ok(), "2");
    store.is_away.store(false, SeqCst);
    assert_eq!(below.post(&nodes[1], "/count", "").await.ok(), "2");
}

#[tokio::test]
async fn when_all_nodes_leave_every_session_is_in_the_store() {
    let store = Arc::new(Away::default());
    let cluster = over(&store, Relocate::Adaptive).await;
    let nodes = cluster.nodes();
    for number in 0..20 {
        let client = Client::new();
        client.post(&nodes[number % 2], "/count", "").await.ok();
    }
    let leaving: Vec<_> = nodes
        .iter()
        .cloned()
        .map(|node| tokio::spawn(async move { node.leave().await }))
        .collect();
    for node in leaving {
        node.await.unwrap();
    }
    assert_eq!(store.rows(), Some(20));
}
