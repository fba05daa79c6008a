//! Leaving: be unready for a while, and still serve; where there is a cluster, move the sessions there.
//!
//! It moves the node's life from serving to leaving to closing. It closes nothing itself.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::lifecycle::{Lifecycle, Phase};

use super::signal::Signals;

/// What leaving may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// How long the node is unready and still accepts.
    pub(crate) deregister_delay: Duration,
    /// How long all of it may take, counted from the signal.
    pub(crate) in_all: Duration,
    /// How much of that is kept for the last step, after the connections: telling the cluster.
    pub(crate) farewell: Duration,
}

impl Times {
    /// When requests lose the sessions that they still use.
    fn revocation(self) -> Duration {
        (self.in_all * 7 / 10).max(self.deregister_delay)
    }

    /// How long sessions may take to leave.
    fn evacuation(self) -> Duration {
        (self.in_all * 8 / 10).max(self.deregister_delay)
    }

    /// When connections are cut that are still open, counted from the signal.
    pub(crate) fn connections(self) -> Duration {
        self.in_all.saturating_sub(self.farewell)
    }
}

/// How the time between *leaving* and *closing* ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    /// Balancers had the whole delay.
    InGoodOrder,
    /// Another signal cut it short: stop at once.
    AtOnce,
}

/// Waits for a signal or for somebody to call `leave`; then turns readiness, waits
/// `deregister_delay`, and moves on to [`Phase::Closing`]. The first signal asks, also where the
/// application asked before it; the next one insists. Closing waits for the sessions to leave, too.
pub(crate) async fn leave_when_asked(
    lifecycle: &Lifecycle,
    signals: &mut Signals,
    cluster: Option<&Cluster>,
    times: Times,
) -> Departure {
    let asked_by = tokio::select! {
        name = signals.next() => name,
        () = lifecycle.reached(Phase::Leaving) => "the application",
    };
    lifecycle.advance(Phase::Leaving);
    tracing::info!(
        asked_by,
        deregister_delay = ?times.deregister_delay,
        "leaving: not ready any more, still accepting; a second signal stops at once",
    );
    let evacuation = async {
        if let Some(cluster) = cluster {
            let evacuation = cluster.evacuate(times.revocation());
            if tokio::time::timeout(times.evacuation(), evacuation)
                .await
                .is_err()
            {
                tracing::warn!(
                    "evacuation took too long; the rest goes while connections are closed"
                );
            }
        }
    };
    let unready = tokio::time::sleep(times.deregister_delay);
    let departure = tokio::select! {
        ((), ()) = async { tokio::join!(unready, evacuation) } => Departure::InGoodOrder,
        () = lifecycle.reached(Phase::Closing) => Departure::InGoodOrder,
        () = signals.again() => Departure::AtOnce,
    };
    lifecycle.advance(Phase::Closing);
    departure
}
