//! Stores below memory for WADI's sessions: where those go that nobody asks for.
//!
//! Each keeps the contract of [`wadi_core::store::SessionStore`] and decides nothing about who may serve a
//! session. Each has a feature of its own, and none is there by default:
//!
//! * `disc`: `DiscStore`, a node's own disc.
//! * `sqlite`: `SqliteStore`, a file that the nodes of one host share.
//! * `postgres`: `PostgresStore`, a database that all nodes share.

#[cfg(feature = "disc")]
pub mod disc;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub mod sql;

#[cfg(feature = "disc")]
pub use disc::{DiscSettings, DiscStore, OpenError};
#[cfg(feature = "postgres")]
pub use sql::PostgresStore;
#[cfg(feature = "sqlite")]
pub use sql::SqliteStore;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use sql::{ConnectError, SqlSettings};
