//! What an endpoint tells of its connections, for logs, metrics and tests.
//!
//! Nothing here may be decided upon: notices are told, not agreed.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::farewell::Farewell;
use crate::handshake::Refusal;
use crate::peer::Peer;

/// Something that happened to a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Notice {
    /// Somebody's connection ended before its handshake did: a stranger, a wrong key, a slow one.
    Unfinished {
        /// Whence it came.
        from: SocketAddr,
        /// What was wrong.
        why: String,
    },
    /// Whoever opened a connection closed it before its handshake was done: it gave its attempt up, or was
    /// stopped. Nothing is wrong here.
    GivenUp {
        /// Whence it came.
        from: SocketAddr,
        /// How it ended.
        why: String,
    },
    /// A node that has the key was refused, and told why.
    Refused {
        /// Whence it came.
        from: SocketAddr,
        /// Who it says it is.
        peer: Arc<Peer>,
        /// Why.
        why: Refusal,
    },
    /// A node's connection was accepted.
    Accepted {
        /// Who it is.
        peer: Arc<Peer>,
    },
    /// An accepted connection for messages ended.
    Ended {
        /// Who it was with.
        peer: Arc<Peer>,
        /// Why it ended.
        why: Ended,
    },
    /// No connection can be accepted just now, for instance because there are too many open files.
    CannotAccept {
        /// The system's word for it.
        why: String,
    },
    /// Certificates were read anew; connections that are made from now on use them.
    Renewed,
    /// A certificate's file has changed, and what is there now cannot be used: the former ones still are.
    NotRenewed {
        /// What is wrong, and how to mend it.
        why: String,
    },
}

/// Why a connection for messages ended. What was queued for it is lost; a link dials again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The other side closed it.
    #[error("the other side closed the connection")]
    Closed,
    /// The other side closed it, and said why.
    #[error("the other side closed the connection: {0}")]
    Farewell(Farewell),
    /// This side closed it: a link was dropped, or the endpoint shuts down.
    #[error("this side closed the connection")]
    Closing,
    /// The node's membership changed, so it introduces itself anew.
    #[error("this node's membership changed, so it introduces itself anew")]
    Reintroduced,
    /// Nothing came for as long as silence may last.
    #[error("the other side was silent for too long")]
    Silent,
    /// The other side took nothing for as long as a write may last.
    #[error("the other side took nothing for too long")]
    Stuck,
    /// What came is no message, or is too long: the other side is broken, hostile or misconfigured.
    #[error("what came is no message: {0}")]
    Malformed(String),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
}

/// Hears notices.
///
/// It is called on the tasks that carry messages, so it must not block, and must not panic.
pub trait Observe: Send + Sync {
    /// This happened.
    fn observe(&self, notice: &Notice);
}

/// Hears nothing.
impl Observe for () {
    fn observe(&self, _: &Notice) {}
}

impl<F: Fn(&Notice) + Send + Sync> Observe for F {
    fn observe(&self, notice: &Notice) {
        self(notice);
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unfinished { from, why } => write!(f, "{from} came to nothing: {why}"),
            Self::GivenUp { from, why } => write!(f, "{from} gave its connection up: {why}"),
            Self::Refused { from, peer, why } => write!(f, "{peer} from {from} was refused: {why}"),
            Self::Accepted { peer } => write!(f, "{peer} was accepted"),
            Self::Ended { peer, why } => write!(f, "the connection of {peer} ended: {why}"),
            Self::CannotAccept { why } => write!(f, "no connection can be accepted: {why}"),
            Self::Renewed => f.write_str("the certificates were read anew, for new connections"),
            Self::NotRenewed { why } => {
                write!(f, "the former certificates are still used: {why}")
            }
        }
    }
}
