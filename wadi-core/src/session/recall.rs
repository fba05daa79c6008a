//! Bringing back a session that has gone to another node, for who still means it.
//!
//! Requests look for their sessions themselves; this is for handles that outlive their request.

use std::fmt;
use std::pin::Pin;

use super::SessionId;
use super::error::SessionError;

/// The future of a [`Recall`].
pub type Recalling<'a> = Pin<Box<dyn Future<Output = Result<(), SessionError>> + Send + 'a>>;

/// Who can bring a session here.
pub trait Recall: fmt::Debug + Send + Sync + 'static {
    /// Brings the session into this node's map, for a bounded time. Dropping the future gives up
    /// waiting; the session may come all the same.
    ///
    /// # Errors
    ///
    /// [`SessionError::Ended`] when it is nowhere any more, [`SessionError::Moved`] when it stays
    /// elsewhere, or nobody can say.
    fn recall(&self, id: SessionId) -> Recalling<'_>;
}
