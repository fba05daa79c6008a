//! A database that several nodes share: every write carries its comparison in the statement itself.
//!
//! What is the same for all of them is here; each database says in its own file how it is asked. Times are the
//! database's own: no node's clock decides anything. Whatever is not answered in time is unavailable.

mod error;
#[cfg(feature = "postgres")]
mod postgres;
mod rows;
mod settings;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;
#[cfg(test)]
mod tests;

pub use error::ConnectError;
#[cfg(feature = "postgres")]
pub use postgres::PostgresStore;
pub use settings::SqlSettings;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;
