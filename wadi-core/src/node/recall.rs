//! A handle that outlives its request means a session that has gone: the node has it come back, while
//! it may hold sessions.

use std::fmt;
use std::sync::Weak;

use super::handle::{Inner, Node};
use super::locate::Located;
use crate::message::Want;
use crate::session::{Recall, Recalling, SessionError, SessionId};

/// A node, as its own sessions know it.
pub(super) struct Recaller(pub(super) Weak<Inner>);

impl Recall for Recaller {
    fn recall(&self, id: SessionId) -> Recalling<'_> {
        Box::pin(async move {
            let node = self.0.upgrade().map(Node).ok_or(SessionError::Moved)?;
            // The manager lets nothing move to a node that is leaving.
            match node.locate(id, Want::Move).await {
                Located::Here | Located::Came(_) => Ok(()),
                Located::At(_) | Located::Unavailable => Err(SessionError::Moved),
                Located::Absent { .. } => Err(SessionError::Ended),
            }
        })
    }
}

impl fmt::Debug for Recaller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recaller")
    }
}
