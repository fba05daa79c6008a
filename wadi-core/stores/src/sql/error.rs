//! Why a database could not be opened as a store, and what its answers mean. Never says a password.

use std::time::Duration;

use wadi_core::store::StoreError;

/// Why a database could not be opened as a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Its address cannot be read; the address itself is not repeated, for it may have a password.
    #[error(
        "the store's address cannot be read ({0}); it looks like postgres://user:password@host/database, or is a file's path for SQLite"
    )]
    Address(String),
    /// It cannot be reached, or lets this user not in or not make its tables.
    #[error(
        "the store cannot be opened: {0}; see that it runs, is reached from here, and that its user may make tables"
    )]
    Unreachable(String),
    /// Its tables are those of a later version: nothing was changed.
    #[error(
        "the store's tables have version {found}, and this program knows {known}; run the version that made them, or a later one"
    )]
    Newer {
        /// What the tables say.
        found: i64,
        /// The highest that is known here.
        known: i64,
    },
}

/// What opening came to; where nothing is said in so long, that it is unreachable.
pub(super) async fn in_time<T>(
    within: Duration,
    opened: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    tokio::time::timeout(within, opened)
        .await
        .unwrap_or_else(|_| {
            Err(ConnectError::Unreachable(format!(
                "it said nothing for {within:?}"
            )))
        })
}

impl From<sqlx::Error> for ConnectError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Configuration(why) => Self::Address(why.to_string()),
            error => Self::Unreachable(error.to_string()),
        }
    }
}

/// What an answer means to who asked.
pub(super) fn refused(error: &sqlx::Error) -> StoreError {
    let code = match error {
        sqlx::Error::Database(error) => error.code(),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            return StoreError::Damaged(error.to_string());
        }
        _ => None,
    };
    match code.as_deref() {
        // PostgreSQL's disk_full, and SQLite's FULL.
        Some("53100" | "13") => StoreError::Full(error.to_string()),
        // PostgreSQL's data_corrupted and index_corrupted; SQLite's CORRUPT and NOTADB.
        Some("XX001" | "XX002" | "11" | "26") => StoreError::Damaged(error.to_string()),
        _ => StoreError::Unavailable(error.to_string()),
    }
}
