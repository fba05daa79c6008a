//! What a node that was fenced still has when it comes back as somebody new. It is offered, never
//! served.

use bytes::Bytes;

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
