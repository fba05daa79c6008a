//! What a node that was fenced still has when it comes back as somebody new. It is offered, never
//! served.

use bytes::Bytes;

use crate::clock::Moment;
use crate::session::SessionId;
use crate::tenure::{Revision, Tenure};

/// A copy with which a node came back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReturnedCopy {
    /// The session.
    pub id: SessionId,
    /// The copy's tenure.
    pub tenure: Tenure,
    /// The copy's revision.
    pub revision: Revision,
    /// Whether it was held, and confirmed, when its node lost its right to act: then it is the newest
    /// but for those that served because the node stayed away; where it did so for long, it is offered
    /// as if it had not been held. One that was sealed or unconfirmed may be older than another that
    /// comes back.
    pub held: bool,
    /// Since when it has served nobody, at least, by this node's clock; `None` where that is since the node
    /// lost its right to act the last time.
    pub away_since: Option<Moment>,
    /// The encoded session.
    pub state: Bytes,
}

impl ReturnedCopy {
    /// Of several copies of one session only the newest is offered.
    pub(super) fn keep_newest(copies: &mut Vec<Self>) {
        copies.sort_by(|a, b| (a.id, b.tenure, b.revision).cmp(&(b.id, a.tenure, a.revision)));
        copies.dedup_by_key(|copy| copy.id);
    }
}
