//! The network of a node: what `wadi-core` needs of one, over one [`crate::Endpoint`].
//!
//! Messages have a connection of their own to each member, so have questions, and each raw stream. It
//! carries, and decides nothing.

mod answering;
mod messages;
mod names;
mod open;
mod pool;
mod questions;
mod streams;
mod tcp;

#[cfg(any(test, fuzzing))]
pub(crate) use answering::read_frame;
pub use tcp::Tcp;
