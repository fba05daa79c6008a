//! A request that came by way of another node, as the session layer here sees it.

use std::sync::{Arc, OnceLock};

use wadi_core::member::Incarnation;

use super::hop::{Verdict, Wants};

/// On a request that another node has proxied here: by whom, and what to answer beside the response.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) via: Incarnation,
    pub(crate) hops: u8,
    pub(crate) wants: Wants,
    /// Set by the layer, and read by whoever sends the response back, however many layers it passes.
    verdict: Arc<OnceLock<Verdict>>,
}

impl Arrived {
    pub(crate) fn new(via: Incarnation, hops: u8, wants: Wants) -> Self {
        Self {
            via,
            hops,
            wants,
            verdict: Arc::default(),
        }
    }

    /// The first word counts.
    pub(crate) fn answer(&self, verdict: Verdict) {
        let _ = self.verdict.set(verdict);
    }

    pub(crate) fn verdict(&self) -> Option<Verdict> {
        self.verdict.get().copied()
    }
}
