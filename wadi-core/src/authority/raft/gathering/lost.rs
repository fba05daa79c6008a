//! A cluster that can agree on nothing any more, because most of its voters have started anew: its
//! other members notice, wait until every lease that it granted is over, and start anew themselves.
//!
//! Silence proves nothing. Only who answers at a voter's address, and is somebody else, does: a voter
//! forgets everything when it ends, so its vote is gone for good.

use tokio::time;

use super::{Gathering, MayFound};
use crate::authority::raft::node::RaftAuthority;

impl Gathering {
    /// Until it is certain that nothing is agreed any more, and that no lease of this cluster is left;
    /// as a rule that is never.
    pub(crate) async fn lost(&self, part: &RaftAuthority) {
        let lease = part.lease();
        let mut agreed = part.agreed();
        loop {
            time::sleep(lease).await;
            let before = std::mem::replace(&mut agreed, part.agreed());
            if before != agreed || !self.voters_are_gone(part).await {
                continue;
            }
            // From now on nothing is granted: this node, if it votes, is counted as gone.
            part.close().await;
            time::sleep(lease).await;
            return;
        }
    }

    /// After [`Gathering::lost`]: this node may found the next generation, as its list says.
    pub(crate) async fn renounce(&self, part: &RaftAuthority) {
        self.end(part, MayFound::AsListed).await;
    }

    /// Whether a majority of the voters are out of this cluster, this node counted as such.
    async fn voters_are_gone(&self, part: &RaftAuthority) -> bool {
        let configs = part.voters_and_addresses();
        let addresses = configs.iter().flatten().map(|(_, address)| address.clone());
        let around = self.ask_around(addresses).await;
        let is_gone = |voter: &(_, String)| {
            voter.0 == part.incarnation() || around.is_out(&voter.1, part.cluster_id())
        };
        let is_lost = |voters: &Vec<_>| {
            let gone = voters.iter().filter(|voter| is_gone(voter)).count();
            // This node alone is no reason to give up.
            let others = voters
                .iter()
                .any(|voter| voter.0 != part.incarnation() && is_gone(voter));
            others && gone * 2 > voters.len()
        };
        !configs.is_empty() && configs.iter().all(is_lost)
    }
}
