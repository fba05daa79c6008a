//! Stores below memory for WADI's sessions: where those go that nobody asks for.
//!
//! Each keeps the contract of [`wadi_core::store::SessionStore`] and decides nothing about who may serve a
//! session. Each has a feature of its own, and none is there by default:
//!
//! * `disc`: `DiscStore`, a node's own disc.

#[cfg(feature = "disc")]
pub mod disc;

#[cfg(feature = "disc")]
pub use disc::{DiscSettings, DiscStore, OpenError};
