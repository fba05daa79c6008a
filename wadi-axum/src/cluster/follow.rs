//! A session follows its requests: it is fetched after the response, so that the next one finds it.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use wadi_core::node::{Located, Want};
use wadi_core::relocate::Streaks;
use wadi_core::session::SessionId;

use super::Cluster;

/// How many sessions are fetched at once; one that finds no room follows another time.
const AT_ONCE: usize = 64;

/// How many sessions are remembered of which requests came by way of other nodes.
const REMEMBERED: usize = 16 * 1024;

/// What this node knows of sessions that had better be elsewhere.
#[derive(Debug)]
pub(crate) struct Following {
    pub(crate) streaks: Mutex<Streaks>,
    fetching: Arc<Semaphore>,
}

impl Default for Following {
    fn default() -> Self {
        Self {
            streaks: Mutex::new(Streaks::new(REMEMBERED)),
            fetching: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl Cluster {
    /// Fetches a session that this node is asked for again and again.
    pub(crate) fn fetch(&self, id: SessionId) {
        let Ok(room) = Arc::clone(&self.following.fetching).try_acquire_owned() else {
            return;
        };
        let (node, counts) = (self.node.clone(), Arc::clone(&self.counts));
        tokio::spawn(async move {
            if let Located::Came(_) = node.locate(id, Want::Move).await {
                counts.followed.one();
            }
            drop(room);
        });
    }
}
