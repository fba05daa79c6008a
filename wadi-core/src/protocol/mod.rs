//! The pure protocol.

pub mod coordinator;
