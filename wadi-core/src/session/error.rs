//! Why an operation on a session did not happen.
//!
//! No variant carries a session's id or a value; keys and type names are the program's own words.

use super::limits::Expiry;

/// Why an operation on a session failed. Whatever the variant but [`SessionError::Unsettled`], the
/// operation changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The response head has gone out, and with it the request's hold on its session.
    #[error(
        "this session was used after its response head went out, when it no longer belongs to the \
         request; call `session.detach()` in the handler and use the handle that it gives"
    )]
    Detached,
    /// The route bypasses sessions.
    #[error("this route bypasses sessions, so it has none to use; take the mode off the route")]
    Bypassed,
    /// A route that is read-only wrote.
    #[error("this route is read-only, so its session takes no writes; take the mode off the route")]
    ReadOnly,
    /// The session was destroyed, ran out, or had its id renewed by another request while this one
    /// held it; writing cannot bring it back. The same request, sent again, finds no session, or
    /// the one that its client has a newer cookie for.
    #[error("the session has ended, or its id was renewed, while this request was using it")]
    Ended,
    /// There is no session: nothing was written before the response head.
    #[error(
        "there is no session to use: write to it in the handler, before the response head, so \
         that the client gets its cookie"
    )]
    Absent,
    /// The session is leaving this node; the request should be answered with 503 and tried again.
    #[error("the session is being moved away from this node; try the request again")]
    Moved,
    /// Others held the session for longer than the configured wait.
    #[error("the session was in use for longer than `lock_wait` allows; try again")]
    Busy,
    /// This node's right to act ran out; another node may own the session.
    #[error("this node's lease has run out, so it may not use the session; try the request again")]
    Lapsed,
    /// The session ended here, or got its new id, and nobody could say in time that the old one can
    /// never come back. Here, what was asked for has happened; elsewhere it may still be under way.
    #[error(
        "the session has ended here, but it is not yet certain that no other node brings it back; \
         answer the client with 503"
    )]
    Unsettled,
    /// The session has come from another node, and its manager has not confirmed that it is here.
    #[error(
        "the session has just come to this node, and its manager has not confirmed that in time; try \
         the request again"
    )]
    Unconfirmed,
    /// The session would grow over its budget.
    #[error(
        "the session would take {wanted} bytes, over its budget of {limit}; store less, or raise \
         `max_session_bytes`"
    )]
    TooLarge {
        /// What it would take, in bytes.
        wanted: usize,
        /// What it may take, in bytes.
        limit: usize,
    },
    /// This node holds as many sessions as it may.
    #[error(
        "this node already holds {limit} sessions, its limit; raise `max_sessions` or add a node"
    )]
    TooManySessions {
        /// How many it may hold.
        limit: usize,
    },
    /// This node is no member of a cluster that could give a session its id.
    #[error(
        "this node is no member of its cluster, so it gives no session an id; try the request again"
    )]
    NoBucket,
    /// The session needs an id of a bucket that another node manages, and nobody has registered it in
    /// time.
    #[error("no manager has registered the session in time; try the request again")]
    Unregistered,
    /// The value cannot be encoded.
    #[error("attribute {key:?} of type {type_name} cannot be encoded: {reason}")]
    Unencodable {
        /// The attribute's key.
        key: Box<str>,
        /// The Rust type of the value.
        type_name: &'static str,
        /// What the encoder says, without the value.
        reason: &'static str,
    },
    /// The attribute is there, and is not of the type asked for. Its bytes are kept.
    #[error(
        "attribute {key:?} cannot be read as {type_name}; it is kept as it is: read it as the type \
         that it was written as, overwrite it, or `discard` it"
    )]
    Undecodable {
        /// The attribute's key.
        key: Box<str>,
        /// The Rust type asked for.
        type_name: &'static str,
    },
    /// A closure given to `update`, or a value's own code that runs under the session's lock, used a
    /// session.
    #[error(
        "a session was used inside a closure that a session runs under its lock; read what the \
         closure needs before it"
    )]
    Nested,
    /// An expiry of no time at all.
    #[error("{0:?} would end the session at once; use `flush` to destroy it")]
    NoTime(Expiry),
}

impl SessionError {
    /// Whether the same request may well succeed when it is tried again a little later, so that
    /// 503 with Retry-After is the right answer.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Ended
                | Self::Moved
                | Self::Busy
                | Self::Lapsed
                | Self::Unsettled
                | Self::Unconfirmed
                | Self::TooManySessions { .. }
                | Self::NoBucket
                | Self::Unregistered
        )
    }
}

/// A stored state that is not one of ours, or was damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeFault {
    /// It ends in the middle of something.
    #[error("the encoded session ends early")]
    Truncated,
    /// It was written in a format that this version does not know.
    #[error("the encoded session has an unknown format")]
    UnknownFormat,
    /// It holds something that its encoder never writes.
    #[error("the encoded session is malformed")]
    Malformed,
    /// It is longer than any session may be.
    #[error("the encoded session is too long")]
    TooLong,
}
