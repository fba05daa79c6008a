//! A request that came by way of another node, as the session layer here sees it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use wadi_core::member::Incarnation;

use super::hop::{Verdict, Wants};
use crate::layer_id::LayerId;

/// On a request that another node has proxied here: by whom, and what to answer beside the response.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) via: Incarnation,
    /// The layer whose cluster it came through; to any other it says nothing.
    pub(crate) layer: LayerId,
    pub(crate) hops: u8,
    pub(crate) wants: Wants,
    /// Set by the layer, and read by whoever sends the response back, however many layers it passes.
    verdict: Arc<OnceLock<Verdict>>,
    counted: Arc<AtomicBool>,
}

impl Arrived {
    pub(crate) fn new(via: Incarnation, layer: LayerId, hops: u8, wants: Wants) -> Self {
        Self {
            via,
            layer,
            hops,
            wants,
            verdict: Arc::default(),
            counted: Arc::default(),
        }
    }

    /// Whether nobody has asked this before: a layer may stand around itself.
    pub(crate) fn is_new(&self) -> bool {
        !self.counted.swap(true, Relaxed)
    }

    /// The first word counts.
    pub(crate) fn answer(&self, verdict: Verdict) {
        let _ = self.verdict.set(verdict);
    }

    pub(crate) fn verdict(&self) -> Option<Verdict> {
        self.verdict.get().copied()
    }
}
