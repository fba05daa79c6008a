//! Sessions: ids, attributes, the lock, and a node's map of the sessions it holds.

mod id;

pub use id::SessionId;
