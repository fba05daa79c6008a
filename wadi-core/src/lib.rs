//! Sessions, buckets and the protocol that keeps each session in the memory of one node.
//!
//! This crate knows no HTTP and opens no socket. Its [`protocol`] modules await nothing, lock
//! nothing and read no clock: they take input and `now`, and give outputs.

pub mod authority;
pub mod bucket;
pub mod clock;
pub mod evict;
pub mod lease;
pub mod member;
pub mod message;
pub mod node;
pub mod proof;
pub mod protocol;
pub mod relocate;
pub mod sabotage;
pub mod session;
pub mod stale;
pub mod store;
pub mod tenure;
pub mod tier;
pub mod transport;
