//! A balancer as they all are: it polls readiness, and sends to those that were ready when last asked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use super::ask::Client;

/// How often each node is asked.
pub(crate) const POLL: Duration = Duration::from_millis(500);

#[derive(Debug)]
struct Backend {
    http: SocketAddr,
    ready: AtomicBool,
}

/// Where requests may go.
#[derive(Debug)]
pub(crate) struct Balancer {
    backends: Vec<Backend>,
    turn: AtomicUsize,
}

impl Balancer {
    /// Before the first poll nobody is ready.
    pub(crate) fn new(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        let backend = |http| Backend {
            http,
            ready: AtomicBool::new(false),
        };
        Self {
            backends: addresses.into_iter().map(backend).collect(),
            turn: AtomicUsize::new(0),
        }
    }

    /// Polls one node for as long as it is not dropped.
    async fn poll(&self, index: usize, client: &Client) {
        let backend = &self.backends[index];
        let mut ticks = tokio::time::interval(POLL);
        loop {
            ticks.tick().await;
            let answer = client.get(backend.http, "/readyz", POLL * 2).await;
            let ready = answer.is_ok_and(|answer| answer.status.is_success());
            self.set_ready(index, ready);
        }
    }

    /// Until the next poll: what was polled, or what a refused connection told.
    pub(crate) fn set_ready(&self, index: usize, ready: bool) {
        self.backends[index].ready.store(ready, Ordering::Relaxed);
    }

    /// Polls all nodes until what it gives is dropped.
    pub(crate) fn poll_all(self: &Arc<Self>, client: &Client) -> JoinSet<()> {
        let mut polling = JoinSet::new();
        for index in 0..self.backends.len() {
            let (balancer, client) = (Arc::clone(self), client.clone());
            polling.spawn(async move { balancer.poll(index, &client).await });
        }
        polling
    }

    pub(crate) fn address(&self, index: usize) -> SocketAddr {
        self.backends[index].http
    }

    pub(crate) fn is_ready(&self, index: usize) -> bool {
        self.backends[index].ready.load(Ordering::Relaxed)
    }

    pub(crate) fn ready(&self) -> usize {
        let all = 0..self.backends.len();
        all.filter(|index| self.is_ready(*index)).count()
    }

    /// Any ready node.
    pub(crate) fn random(&self, random: &mut fastrand::Rng) -> Option<usize> {
        let ready = self.ready().checked_sub(1)?;
        let chosen = random.usize(0..=ready);
        let mut all = (0..self.backends.len()).filter(|index| self.is_ready(*index));
        all.nth(chosen)
    }

    /// Each ready node in turn.
    pub(crate) fn next(&self) -> Option<usize> {
        let count = self.backends.len();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut from_here = (0..count).map(|step| (turn + step) % count);
        from_here.find(|index| self.is_ready(*index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ready_nodes_are_chosen() {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let balancer = Balancer::new([address; 3]);
        let mut random = fastrand::Rng::with_seed(1);
        assert_eq!(balancer.random(&mut random), None);
        assert_eq!(balancer.next(), None);
        for index in [0, 2] {
            balancer.set_ready(index, true);
        }
        let mut turns: Vec<_> = (0..6).filter_map(|_| balancer.next()).collect();
        turns.sort_unstable();
        turns.dedup();
        assert_eq!(turns, [0, 2]);
        for _ in 0..20 {
            assert_ne!(balancer.random(&mut random), Some(1));
        }
    }
}
