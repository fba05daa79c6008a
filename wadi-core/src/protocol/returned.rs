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
