//! The rounds over this node's sessions: who is to go to the store below all nodes.
//!
//! It only names them, a batch at a time: whether they go, their managers decide.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::reach::Reach;
use crate::evict::Evicter;
use crate::member::Standing;
use crate::node::given::Given;
use crate::node::status::Status;
use crate::session::Sessions;
use crate::tier::Tour;

/// How many sessions are looked at before somebody else has a turn.
const BATCH: usize = 256;
/// Where so much is on its way to the store and from there, no more is named.
const MOST_UNDER_WAY: usize = 2 * BATCH;
/// How long that is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// See the module.
pub(in crate::node) struct Rounds {
    pub(in crate::node) reach: Arc<Reach>,
    pub(in crate::node) sessions: Arc<Sessions>,
    pub(in crate::node) evicter: Arc<dyn Evicter>,
    pub(in crate::node) status: watch::Receiver<Status>,
    pub(in crate::node) back: mpsc::Sender<Given>,
    pub(in crate::node) every: Duration,
}

impl Rounds {
    /// As long as the node.
    pub(in crate::node) async fn run(self) {
        let mut tour = Tour::default();
        loop {
            tokio::time::sleep(self.every).await;
            loop {
                while self.reach.below().under_way() > MOST_UNDER_WAY {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                if !may_go(&self.status) || !self.reach.takes_more() {
                    break;
                }
                let met = tour.go_on(&self.sessions, &*self.evicter, BATCH, self.sessions.now());
                let mut chosen: Vec<_> = met.chosen.iter().map(|one| one.id).collect();
                // Whether the store is back, one finds out.
                let is_trial = self.reach.below().is_away() && !chosen.is_empty();
                if is_trial {
                    chosen.truncate(1);
                }
                if !chosen.is_empty() && self.back.send(Given::Demote(chosen)).await.is_err() {
                    return;
                }
                if met.done || is_trial {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Whether this node is somebody who may look for what goes down or has run out: not while it joins or leaves.
pub(super) fn may_go(status: &watch::Receiver<Status>) -> bool {
    let status = status.borrow();
    status.evacuation.is_none() && status.standing() == Some(Standing::Ready)
}
