//! Of which generation a cluster is that this node founds, where somebody outside keeps count of those before.
//!
//! Who founds anew asks and waits for it. Who goes on with a cluster that was there does not depend on it: its
//! generation is above that one's, and it says so afterwards.

use std::collections::BTreeSet;
use std::fmt;
use std::pin::Pin;

use super::Gathering;
use super::around::Around;
use crate::authority::raft::message::Present;

/// The future of an answer; `None`: nobody can say now.
pub(crate) type Saying<'a> = Pin<Box<dyn Future<Output = Option<u32>> + Send + 'a>>;

/// Keeps count of generations.
pub(crate) trait Generations: fmt::Debug + Send + Sync {
    /// One above this one, and above all that were said or reached before.
    fn above(&self, after: u32) -> Saying<'_>;

    /// A cluster is of this generation, and nobody was asked.
    fn reached(&self, generation: u32);
}

impl Gathering {
    /// Before this node founds anew, with these; whether it may.
    pub(super) async fn raise_generation(
        &self,
        around: &Around,
        backers: &BTreeSet<String>,
    ) -> bool {
        let Some(generations) = &self.settings.generations else {
            return true;
        };
        let backed_at = backers.iter().filter_map(|at| match around.0.get(at) {
            Some(Present::Waiting { generation, .. }) => Some(*generation),
            _ => None,
        });
        let own = self.past.lock().generation;
        let at_least = backed_at.fold(own, u32::max);
        let Some(generation) = generations.above(at_least.saturating_sub(1)).await else {
            return false;
        };
        let mut past = self.past.lock();
        past.generation = past.generation.max(generation);
        true
    }

    /// This one was founded, or raised, without asking.
    pub(super) fn has_reached(&self, generation: Option<u32>) {
        if let (Some(generations), Some(generation)) = (&self.settings.generations, generation) {
            generations.reached(generation);
        }
    }
}
