//! Stores below memory for WADI's sessions: where those go that nobody asks for.
//!
//! Each keeps the contract of [`wadi_core::store::SessionStore`], the last one as far as it can, and decides nothing about
//! who may serve a session. Each has a feature of its own, and none is there by default:
//!
//! * `disc`: `DiscStore`, a node's own disc.
//! * `sqlite`: `SqliteStore`, a file that the nodes of one host share.
//! * `postgres`: `PostgresStore`, a database that all nodes share.
//! * `redis`: `RedisStore`, a Redis or Valkey server that all nodes share.
//! * `tower-sessions`: `TowerSessionsStore`, any store of tower-sessions, with what such a store cannot promise.

#[cfg(feature = "disc")]
pub mod disc;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub mod sql;
#[cfg(feature = "tower-sessions")]
pub mod tower_sessions;

#[cfg(feature = "redis")]
pub use self::redis::{RedisOpenError, RedisSettings, RedisStore};
#[cfg(feature = "tower-sessions")]
pub use self::tower_sessions::TowerSessionsStore;
#[cfg(feature = "disc")]
pub use disc::{DiscSettings, DiscStore, OpenError};
#[cfg(feature = "postgres")]
pub use sql::PostgresStore;
#[cfg(feature = "sqlite")]
pub use sql::SqliteStore;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use sql::{ConnectError, SqlSettings};
