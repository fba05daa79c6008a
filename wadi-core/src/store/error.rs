//! Why a store did not do what it was asked.

/// Why a store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It is not to be reached, or gave no answer in time: what was asked may have been done, in full, in
    /// part or not at all. Asking again does no harm.
    #[error("the store cannot be reached: {0}")]
    Unavailable(String),
    /// There is no room for more, or no number: nothing changed. What is in the store can be read.
    #[error("the store is full: {0}; make room, or give it more")]
    Full(String),
    /// The store, or what it says of this one session, is not what was put into it: nothing changed.
    #[error("what the store has is damaged: {0}")]
    Damaged(String),
}
