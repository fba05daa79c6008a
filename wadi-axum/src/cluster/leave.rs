//! The last step of leaving a cluster: the others are told that this node is gone.

use std::time::Duration;

use wadi_core::node::Left;

use super::Cluster;

impl Cluster {
    /// Is gone, `within` at most, with whatever is left.
    pub(crate) async fn depart(&self, within: Duration) -> Left {
        #[cfg(feature = "cluster")]
        let until = self.clock.now() + within;
        let left = self.node.leave(within).await;
        #[cfg(feature = "cluster")]
        if let Some(agreement) = self.agreement.get() {
            // The node acts no more; its vote is given to another.
            agreement.leave(until.since(self.clock.now())).await;
        }
        if left.in_good_order {
            tracing::info!("left the cluster");
        } else {
            let lost = left.left_behind;
            tracing::warn!(
                lost,
                "left the cluster; these sessions found no other place"
            );
        }
        left
    }
}
