//! Moving everything to the other nodes while requests go on, and saying how far it is.

use std::time::Duration;

use wadi_core::node::Status;

use super::Cluster;

/// How often a long evacuation says how far it is.
const PROGRESS: Duration = Duration::from_secs(1);

impl Cluster {
    /// Moves every session to the other members, or learns that there is nobody to take them. After
    /// `within`, requests lose the sessions that they still use.
    pub(crate) async fn evacuate(&self, within: Duration) {
        let mut evacuation = std::pin::pin!(self.node.evacuate(within));
        loop {
            match tokio::time::timeout(PROGRESS, evacuation.as_mut()).await {
                Ok(true) => {
                    tracing::info!("evacuated: every session is with another node");
                    return;
                }
                Ok(false) => {
                    let sessions = self.node.sessions().map().len();
                    tracing::warn!(sessions, "no other node is there to take these sessions");
                    return;
                }
                Err(_) => tell_progress(&self.node.status()),
            }
        }
    }
}

fn tell_progress(status: &Status) {
    if let Some(evacuation) = status.evacuation {
        let (left, of) = (evacuation.left, evacuation.began_with);
        tracing::info!(left, of, "evacuating");
    }
}
