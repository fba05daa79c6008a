//! Browsers that click: each increments its counter through the proxy and notices when it starts again.
//!
//! This is for the eye. What is exact is `cluster-test`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::Method;
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::fleet::Client;

const LIMIT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(1500);

/// What the browsers have seen together.
#[derive(Debug, Default)]
pub(super) struct Clicks {
    pub(super) clicks: AtomicU64,
    pub(super) errors: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) moved: AtomicU64,
}

#[derive(Deserialize)]
struct Count {
    count: u64,
    node: String,
}

impl Clicks {
    /// So many browsers, until what it gives is dropped.
    pub(super) fn start(
        self: &Arc<Self>,
        browsers: u32,
        client: &Client,
        proxy: SocketAddr,
    ) -> JoinSet<()> {
        let mut all = JoinSet::new();
        for _ in 0..browsers {
            let (clicks, client) = (Arc::clone(self), client.clone());
            all.spawn(async move { clicks.browse(&client, proxy).await });
        }
        all
    }

    async fn browse(&self, client: &Client, proxy: SocketAddr) {
        let mut jar: BTreeMap<String, String> = BTreeMap::new();
        let mut seen = 0;
        let mut at: Option<String> = None;
        loop {
            tokio::time::sleep(PAUSE.mul_f64(fastrand::f64() * 2.0)).await;
            let pairs = jar.iter().map(|(name, value)| format!("{name}={value}"));
            let cookie = pairs.collect::<Vec<_>>().join("; ");
            let line = (Method::POST, "/counter");
            let answer = client.ask(proxy, line, &cookie, String::new(), LIMIT).await;
            let answer = answer.ok().filter(|answer| answer.status.is_success());
            let count = answer
                .as_ref()
                .and_then(|answer| serde_json::from_slice::<Count>(&answer.body).ok());
            let (Some(answer), Some(Count { count, node })) = (answer, count) else {
                add(&self.errors);
                continue;
            };
            add(&self.clicks);
            if count <= seen {
                add(&self.lost);
            }
            if at.as_ref().is_some_and(|at| *at != node) {
                add(&self.moved);
            }
            (seen, at) = (count, Some(node));
            for (name, value) in answer.cookies() {
                jar.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}
