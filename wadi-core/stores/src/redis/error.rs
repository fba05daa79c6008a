//! Why a server could not be opened as a store, and what its answers mean. Never says a password.

use redis::{ErrorKind, RedisError};
use wadi_core::store::StoreError;

/// Why a Redis server could not be opened as a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedisOpenError {
    /// Its address cannot be read; the address itself is not repeated, for it may have a password.
    #[error(
        "the store's address cannot be read ({0}); it looks like redis://user:password@host:6379/0, or rediss:// over TLS"
    )]
    Address(String),
    /// The application's name is not one.
    #[error(
        "the application's name has 1 to 64 of the letters a-z and A-Z, digits, and the signs '-', '_' and '.'"
    )]
    Name,
    /// It cannot be reached, or lets this user not in or not do what is needed.
    #[error(
        "the store cannot be opened: {0}; see that it runs, is reached from here, and that its user may run scripts and write keys that begin with wadi:"
    )]
    Unreachable(String),
    /// It throws keys away when its memory is full, so it would lose sessions, and forget which ones have ended.
    #[error(
        "the store would lose sessions: its maxmemory-policy is {policy}; set it to noeviction, or use a server of its own"
    )]
    Evicts {
        /// What it says.
        policy: String,
    },
    /// It is one of a cluster of Redis.
    #[error(
        "the store is a node of a Redis cluster, which is not supported; use a single server, with replicas if you like"
    )]
    Cluster,
    /// It copies another one, and takes no writes.
    #[error("the store is a replica; give the address of the server that it copies")]
    Replica,
    /// What it has is of a later form: nothing was changed.
    #[error(
        "what the store has is of form {found}, and this program knows {known}; run the version that wrote it, or a later one"
    )]
    Newer {
        /// What it says.
        found: i64,
        /// The highest that is known here.
        known: i64,
    },
}

impl From<RedisError> for RedisOpenError {
    fn from(error: RedisError) -> Self {
        match error.kind() {
            ErrorKind::InvalidClientConfig => Self::Address(error.to_string()),
            _ => Self::Unreachable(error.to_string()),
        }
    }
}

impl From<RedisOpenError> for StoreError {
    /// Once it was opened: it was another server then, or has changed.
    fn from(error: RedisOpenError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// What an answer means to who asked for one step.
pub(super) fn refused(error: &RedisError) -> StoreError {
    let text = error.to_string();
    // Older servers put what a script ran into behind a word of their own.
    if text.contains("OOM command not allowed") || error.code() == Some("OOM") {
        StoreError::Full(text)
    } else {
        StoreError::Unavailable(text)
    }
}

/// An answer that no script of ours gives.
pub(super) fn unreadable() -> StoreError {
    StoreError::Unavailable("the store's answer cannot be read".to_owned())
}
