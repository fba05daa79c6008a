//! What the other nodes of a cluster do for the sessions of this one.
//!
//! Requests look for their sessions themselves; this is for handles that outlive their request, and
//! for sessions that need an id while no bucket is open here.

use std::fmt;
use std::pin::Pin;

use super::SessionId;
use super::error::SessionError;
use super::held::Guard;

/// The future of [`Others::recall`].
pub type Recalling<'a> = Pin<Box<dyn Future<Output = Result<(), SessionError>> + Send + 'a>>;

/// The future of [`Others::register`].
pub type Registering<'a> = Pin<Box<dyn Future<Output = Result<Guard, SessionError>> + Send + 'a>>;

/// The way to the other nodes.
pub trait Others: fmt::Debug + Send + Sync + 'static {
    /// Whether there are none, and what is not in the map is below it, on this very node: then it comes up for
    /// whoever asks.
    fn is_below(&self) -> bool {
        false
    }

    /// Brings the session into this node's map, for a bounded time. Dropping the future gives up
    /// waiting; the session may come all the same.
    ///
    /// # Errors
    ///
    /// [`SessionError::Ended`] when it is nowhere any more, [`SessionError::Moved`] when it stays
    /// elsewhere, or nobody can say.
    fn recall(&self, id: SessionId) -> Recalling<'_>;

    /// Has the manager of its bucket, wherever that is, register a new id as held here, for a bounded
    /// time; gives the empty session that is in the map under it, for the caller to replace or to
    /// unmake. Dropping the future is as an error.
    ///
    /// # Errors
    ///
    /// [`SessionError::Unregistered`] when nobody did so in time, or nobody can say: nothing stays
    /// behind, here or elsewhere. [`SessionError::NoBucket`] when this node is no member.
    fn register(&self, id: SessionId) -> Registering<'_>;
}
