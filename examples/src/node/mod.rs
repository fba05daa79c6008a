//! The reference node: an application that shows, and lets tests reach, everything a node can do.

pub mod admin;
pub mod app;
mod attributes;
mod counter;
mod events;
mod hold;
mod list;
mod login;
pub mod metrics;
pub mod options;
mod run;
mod shared_store;
mod socket;
mod spans;

pub use options::Options;
pub use run::{Addresses, Node, RunError};
pub use shared_store::{NotShared, SharedStore};
pub use spans::SpanTimes;
