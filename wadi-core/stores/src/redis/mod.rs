//! A Redis or Valkey server that several nodes share: each step is one script there, with its comparison in it.
//!
//! Times are the server's own: no node's clock decides anything. Whatever is not answered in time is unavailable. A server
//! that would throw sessions away to make room is refused, and so is a cluster of Redis.

mod connection;
mod error;
mod names;
mod page;
mod scripts;
mod settings;
mod store;
#[cfg(test)]
mod tests;
mod value;

pub use error::RedisOpenError;
pub use settings::RedisSettings;
pub use store::RedisStore;
