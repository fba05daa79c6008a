//! A node's own disc: rows that survive `kill -9` when a call returns, in a directory that one process has.
//!
//! Nothing of a row is kept in this process's memory. Reads and writes run on two threads of the store's own,
//! never on those that run async tasks. What is damaged is never deleted.

mod codec;
mod earliest;
mod engine;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod mending;
mod place;
mod queue;
mod reading;
mod round;
mod settings;
mod store;
#[cfg(test)]
mod tests;
mod time;
mod writing;

pub use error::OpenError;
pub use settings::DiscSettings;
pub use store::DiscStore;
