//! What has run out in the store below all nodes, in the buckets that this node manages: each comes up, as for
//! a request, and ends here as every session ends.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::reach::{Does, Reach};
use super::rounds::may_go;
use crate::bucket::BucketId;
use crate::clock::Moment;
use crate::message::Want;
use crate::node::given::Given;
use crate::node::lanes::Entrance;
use crate::node::locate::Located;
use crate::node::status::Status;
use crate::session::{SessionId, Sessions};
use crate::store::{Head, Page};

/// How many rows one list has at most, and how many of them come up at once.
const PAGE: usize = 256;
const AT_ONCE: usize = 32;
/// The pause between two lists.
const GIVE_WAY: Duration = Duration::from_millis(50);
/// For how long, and how many, those are passed over that did not come up: they would be asked for each time.
const PASSED_OVER_FOR: Duration = Duration::from_secs(600);
const PASSED_OVER: usize = 4096;

/// See the module.
pub(in crate::node) struct Sweep {
    pub(in crate::node) reach: Arc<Reach>,
    pub(in crate::node) sessions: Arc<Sessions>,
    pub(in crate::node) status: watch::Receiver<Status>,
    pub(in crate::node) queue: Entrance,
    pub(in crate::node) every: Duration,
    /// How long one is waited for.
    pub(in crate::node) within: Duration,
}

/// Those that did not come up lately.
#[derive(Default)]
struct PassedOver {
    ids: BTreeSet<SessionId>,
    since: Moment,
}

impl Sweep {
    /// As long as the node.
    pub(in crate::node) async fn run(self) {
        let mut passed_over = PassedOver::default();
        loop {
            tokio::time::sleep(self.every).await;
            passed_over.forget(self.reach.now());
            let mut after = None;
            while may_go(&self.status) {
                let until = self.reach.now() + self.reach.wait();
                let last = BucketId::new(self.sessions.map().buckets().get() - 1);
                let page = Page {
                    buckets: BucketId::new(0)..=last,
                    after,
                    due: true,
                    most: PAGE,
                };
                let due = self.reach.call(Does::Read, until, |store| store.page(page));
                let Ok(due) = due.await else { break };
                let own: Vec<_> = self.own(&due);
                for some in own.chunks(AT_ONCE) {
                    self.bring_to_their_end(some, &mut passed_over).await;
                }
                after = due.last().map(|head| (head.bucket, head.id));
                if due.len() < PAGE {
                    break;
                }
                tokio::time::sleep(GIVE_WAY).await;
            }
        }
    }

    /// Those of them whose buckets this node manages.
    fn own(&self, due: &[Head]) -> Vec<SessionId> {
        let status = self.status.borrow();
        let (Some(me), Some(layout)) = (status.incarnation, &status.layout) else {
            return Vec::new();
        };
        let is_own = |head: &&Head| {
            let is_known = head.bucket.get() < layout.buckets().get();
            is_known && layout.placement(head.bucket).manager == me
        };
        due.iter().filter(is_own).map(|head| head.id).collect()
    }

    async fn bring_to_their_end(&self, some: &[SessionId], passed_over: &mut PassedOver) {
        let mut waits = Vec::new();
        for id in some.iter().filter(|id| !passed_over.ids.contains(id)) {
            let (id, want) = (*id, Want::Move);
            let (reply, located) = oneshot::channel();
            if self.queue.send(Given::Find { id, want, reply }).await {
                waits.push((id, located));
            }
        }
        let until = self.reach.now() + self.within;
        for (id, located) in waits {
            let within = until.since(self.reach.now());
            let located = tokio::time::timeout(within, located).await;
            if !matches!(located, Ok(Ok(Located::Here | Located::Came(_)))) {
                passed_over.add(id);
                continue;
            }
            if let Some(held) = self.sessions.map().get(&id) {
                // Where its time is not over by this node's clock it ends here like any other, a moment later.
                self.sessions.expire(&held, self.sessions.now());
            }
        }
    }
}

impl PassedOver {
    fn add(&mut self, id: SessionId) {
        if self.ids.len() < PASSED_OVER {
            self.ids.insert(id);
        }
    }

    fn forget(&mut self, now: Moment) {
        if now.since(self.since) >= PASSED_OVER_FOR {
            self.ids.clear();
            self.since = now;
        }
    }
}
