//! What a request is told of a session that is not in this node's map.

use crate::member::Incarnation;

/// Where a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Located {
    /// In this node's map: look there.
    Here,
    /// As [`Located::Here`]: it came from that member just now, or, where that is [`Incarnation::STORE`], out of
    /// the store below all nodes.
    Came(Incarnation),
    /// That member holds it.
    At(Incarnation),
    /// Nowhere (any more).
    Absent {
        /// Whether it may have died with a node, rather than have ended.
        lost: bool,
    },
    /// Nobody could say in time. It may exist: answer 503, and never create another in its place.
    Unavailable,
}
