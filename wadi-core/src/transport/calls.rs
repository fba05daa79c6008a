//! Questions between nodes, and their answers: bytes there, bytes back.
//!
//! They go to an address, not to an incarnation, so they serve whoever is no member yet. The
//! authority's own talk goes this way, apart from messages, so that nothing large stands before it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

/// The future of a [`Carrier`].
pub type Carrying<'a> = Pin<Box<dyn Future<Output = Result<Bytes, NotCarried>> + Send + 'a>>;

/// The future of [`Answers`].
pub type Answering<'a> = Pin<Box<dyn Future<Output = Bytes> + Send + 'a>>;

/// Carries questions to other nodes and brings their answers back.
///
/// It may lose questions, and deliver them late or more than once; it must not alter them, and not
/// let in who does not belong to the cluster.
pub trait Carrier: fmt::Debug + Send + Sync + 'static {
    /// Sends `message` to the node at `address` and waits for its answer, `within` at most. Dropping
    /// the future gives up waiting.
    fn carry<'a>(&'a self, address: &'a str, message: Bytes, within: Duration) -> Carrying<'a>;

    /// From now on questions of others are given to `answers`; before, nobody answers them.
    fn serve(&self, answers: Arc<dyn Answers>);
}

/// Who answers the questions of other nodes.
pub trait Answers: fmt::Debug + Send + Sync + 'static {
    /// Answers `message`, which a node of this cluster sent. Safe to drop.
    fn answer(&self, message: Bytes) -> Answering<'_>;
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCarried {
    /// The message was certainly not delivered, and never will be. Nothing changed there.
    #[error("the message did not reach the node")]
    NotDelivered,
    /// It may have been delivered, or may still be.
    #[error("the node did not answer in time")]
    NoAnswer,
}
