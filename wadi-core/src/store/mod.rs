//! Where sessions go that nobody asks for: stores below memory, by one contract.
//!
//! A store keeps rows and compares numbers; it decides nothing about who may serve a session. Whoever
//! implements one runs [`conformance`] on it.

#[cfg(feature = "test-util")]
pub mod conformance;
mod contract;
mod error;
mod memory;
mod payload;
mod row;

pub use contract::{FENCED_FOR, SessionStore, Storing};
pub use error::StoreError;
pub use memory::MemoryStore;
pub use payload::{Damaged, Payload};
pub use row::{Claim, Ended, Head, Kept, Page, Put, Row, Took};
