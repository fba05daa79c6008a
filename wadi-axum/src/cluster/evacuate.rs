//! Moving everything to the other nodes while requests go on, and saying how far it is.

use std::time::Duration;

use wadi_core::node::Status;

use super::Cluster;

/// How often a long evacuation says how far it is.
const PROGRESS: Duration = Duration::from_secs(1);

impl Cluster {
    /// Moves every session to the other members, or, where all leave, to the store that they share; or learns that
    /// there is nobody to take them. After
    /// `within`, requests lose the sessions that they still use.
    pub(crate) async fn evacuate(&self, within: Duration) {
        let mut evacuation = std::pin::pin!(self.node.evacuate(within));
        loop {
            match tokio::time::timeout(PROGRESS, evacuation.as_mut()).await {
                Ok(true) => {
                    let with_whom = match self.store() {
                        Some(_) => "evacuated: every session is with another node, or in the store",
                        None => "evacuated: every session is with another node",
                    };
                    tracing::info!("{with_whom}");
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
