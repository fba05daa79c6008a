//! What the protocol may ask of a node's own session map.
//!
//! The map is the only record of the sessions that are held in good order; the protocol keeps none
//! of its own, so a million sessions at home cost it nothing. It never writes here: it says what is
//! to be done in its outputs.

use crate::bucket::BucketId;
use crate::session::SessionId;
use crate::tenure::{Revision, Tenure};

/// A copy in the session map: held, or arrived and not confirmed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Copy {
    /// The tenure under which it is here.
    pub tenure: Tenure,
    /// How many commits it has seen.
    pub revision: Revision,
}

/// A node's own session map, as the protocol sees it during one step: after the outputs of every
/// earlier step were performed, before those of this one.
pub trait Holdings {
    /// The copy of `id` that is here and not sealed.
    fn get(&self, id: &SessionId) -> Option<Copy>;

    /// Every copy of `bucket` that is here and not sealed, in any order.
    fn for_each_in(&self, bucket: BucketId, each: &mut dyn FnMut(SessionId, Copy));

    /// Whether no session is here that is not sealed.
    fn is_empty(&self) -> bool;
}
