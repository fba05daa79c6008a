//! Leaving, as far as one node alone can: be unready for a while, and still serve.
//!
//! It moves the node's life from serving to leaving to closing. It closes nothing itself.

use std::time::Duration;

use crate::lifecycle::{Lifecycle, Phase};

use super::signal::Signals;

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
/// application asked before it; the next one insists.
pub(crate) async fn leave_when_asked(
    lifecycle: &Lifecycle,
    signals: &mut Signals,
    deregister_delay: Duration,
) -> Departure {
    let asked_by = tokio::select! {
        name = signals.next() => name,
        () = lifecycle.reached(Phase::Leaving) => "the application",
    };
    lifecycle.advance(Phase::Leaving);
    tracing::info!(
        asked_by,
        deregister_delay = ?deregister_delay,
        "leaving: not ready any more, still accepting; a second signal stops at once",
    );
    let departure = tokio::select! {
        () = tokio::time::sleep(deregister_delay) => Departure::InGoodOrder,
        () = lifecycle.reached(Phase::Closing) => Departure::InGoodOrder,
        () = signals.again() => Departure::AtOnce,
    };
    lifecycle.advance(Phase::Closing);
    departure
}
