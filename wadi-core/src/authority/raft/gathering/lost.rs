//! A cluster that can agree on nothing any more, because most of its voters have started anew: its
//! other members notice, wait until every lease that it granted is over, and start anew themselves.
//!
//! Silence proves nothing. Only a proof of death does, or who answers at a voter's address and is somebody
//! else: a voter forgets everything when it ends, so its vote is gone for good.

use tokio::time;

use super::{Gathering, MayFound, Over};
use crate::authority::raft::message::Part;
use crate::authority::raft::node::RaftAuthority;
use crate::member::Incarnation;

impl Gathering {
    /// Until it is certain that nothing can be agreed any more once this node is out of it, too, or that
    /// nobody tells this node anything; as a rule that is never. Then call [`Gathering::renounce`] with
    /// what it says.
    pub(super) async fn lost(&self, part: &RaftAuthority) -> Over {
        let lease = part.lease();
        let mut agreed = part.agreed();
        loop {
            // Long enough for two elections, and for the last renewal to be over.
            time::sleep(2 * lease).await;
            let before = std::mem::replace(&mut agreed, part.agreed());
            if before != agreed {
                continue;
            }
            // Whom nobody tells anything, though it has joined, joins again. That is no reason to found
            // beside the cluster.
            if !part.was_told() {
                return Over::Untold(match self.past.lock().may_found {
                    MayFound::Never => MayFound::Never,
                    MayFound::AsListed | MayFound::Alone => MayFound::AsListed,
                });
            }
            if self.voters_are_gone(part).await {
                return Over::Lost(MayFound::AsListed);
            }
        }
    }

    /// Is out of a lost cluster, and waits until no lease that it granted is left. Then this node may
    /// found the next generation with others, where [`Gathering::lost`] said so.
    pub(crate) async fn renounce(&self, part: &RaftAuthority, may_found: MayFound) {
        part.close().await;
        // Only from now on it is certain that nothing more is granted.
        time::sleep(part.lease()).await;
        self.end(part, may_found).await;
    }

    /// Whether a majority of the voters are out of this cluster, this node counted as such where they have
    /// started anew: those come back. Who is only proven dead perhaps does not, so without them the others
    /// may be needed yet. And then a voter of which nothing is heard may be founding the next generation
    /// by those very proofs, which this node must not do beside it.
    async fn voters_are_gone(&self, part: &RaftAuthority) -> bool {
        let configs = part.voters_and_addresses();
        let addresses = configs.iter().flatten().map(|(_, address)| address.clone());
        let around = self.ask_around(addresses).await;
        let dead = self.counting_deaths(part);
        let own = &self.settings.raft.address;
        let has_restarted = |voter: &(Incarnation, String)| {
            let theirs = Part {
                incarnation: voter.0,
                ..part.part()
            };
            around.is_gone(&voter.1, theirs)
        };
        let is_me = |voter: &(Incarnation, String)| voter.0 == part.incarnation();
        // A former one of this address, whose vote nobody else could say is gone.
        let was_me = |voter: &(Incarnation, String)| voter.1 == *own && !is_me(voter);
        let is_silent = |voter: &(Incarnation, String)| {
            voter.1 != *own && !dead.contains(&voter.0) && !around.0.contains_key(&voter.1)
        };
        let is_lost = |voters: &Vec<(Incarnation, String)>| {
            let most = |gone: usize| gone * 2 > voters.len();
            let count = |is: &dyn Fn(&(Incarnation, String)) -> bool| {
                voters.iter().filter(|voter| is(voter)).count()
            };
            let gone = count(&|voter| was_me(voter) || has_restarted(voter));
            let gone_or_dead =
                count(&|voter| was_me(voter) || has_restarted(voter) || dead.contains(&voter.0));
            // This node alone is no reason to give up.
            gone > 0 && most(gone + count(&is_me)) || most(gone_or_dead) && count(&is_silent) == 0
        };
        !configs.is_empty() && configs.iter().all(is_lost)
    }
}
