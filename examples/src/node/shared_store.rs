//! The store that all nodes share, by its URL, which may hold a password: so it is never shown, also not where
//! it is wrong.

use std::fmt;
use std::path::PathBuf;

use wadi_axum::Settings;
use wadi_stores::{
    ConnectError, PostgresStore, RedisOpenError, RedisSettings, RedisStore, SqlSettings,
    SqliteStore,
};

/// Where the shared store is, as it was given.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedStore(String);

/// Why there is no shared store.
#[derive(Debug)]
pub enum NotShared {
    /// The URL is of no store that this program knows.
    Url,
    /// It could not be opened.
    Connect(ConnectError),
    /// A Redis server could not be opened.
    Redis(RedisOpenError),
}

/// What kind of store it is.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// A file, for the nodes of one host.
    Sqlite(PathBuf),
    /// A database, by its whole URL.
    Postgres,
    /// A Redis or Valkey server, by its whole URL.
    Redis,
}

impl SharedStore {
    /// Opens it, and puts it below the nodes of these settings. Where a store may be that of several clusters, this one's is
    /// known by the cluster's name.
    ///
    /// # Errors
    ///
    /// [`NotShared`], which says what mends it.
    pub async fn below(&self, settings: Settings, cluster: &str) -> Result<Settings, NotShared> {
        let options = SqlSettings::default();
        Ok(match self.kind().ok_or(NotShared::Url)? {
            Kind::Sqlite(file) => settings.store(SqliteStore::open(file, options).await?),
            Kind::Postgres => settings.store(PostgresStore::open(&self.0, options).await?),
            Kind::Redis => {
                let opened = RedisStore::open(&self.0, cluster, RedisSettings::default());
                settings.store(opened.await?)
            }
        })
    }

    fn kind(&self) -> Option<Kind> {
        match self.0.split_once(':')? {
            ("sqlite", file) => {
                let file = file.strip_prefix("//").unwrap_or(file);
                (!file.is_empty()).then(|| Kind::Sqlite(PathBuf::from(file)))
            }
            ("postgres" | "postgresql", rest) if rest.starts_with("//") => Some(Kind::Postgres),
            ("redis" | "rediss", rest) if rest.starts_with("//") => Some(Kind::Redis),
            _ => None,
        }
    }
}

impl From<String> for SharedStore {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl fmt::Debug for SharedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedStore")
    }
}

impl From<ConnectError> for NotShared {
    fn from(error: ConnectError) -> Self {
        Self::Connect(error)
    }
}

impl From<RedisOpenError> for NotShared {
    fn from(error: RedisOpenError) -> Self {
        Self::Redis(error)
    }
}

impl fmt::Display for NotShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url => f.write_str(
                "the URL in --shared-store is of no store that this program knows; it looks like sqlite:PATH, \
                 postgres://user:password@host/database, or redis://user:password@host:6379/0",
            ),
            Self::Connect(error) => error.fmt(f),
            Self::Redis(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NotShared {}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(url: &str) -> Option<Kind> {
        SharedStore::from(url.to_owned()).kind()
    }

    #[test]
    fn a_url_says_which_store_and_is_never_shown() {
        let file = |path: &str| Some(Kind::Sqlite(PathBuf::from(path)));
        assert_eq!(kind("sqlite:a/b.db"), file("a/b.db"));
        assert_eq!(kind("sqlite:/a/b.db"), file("/a/b.db"));
        assert_eq!(kind("sqlite:///a/b.db"), file("/a/b.db"));
        for url in ["postgres://me:secret@db/wadi", "postgresql://db/wadi"] {
            assert_eq!(kind(url), Some(Kind::Postgres));
        }
        for url in ["redis://me:secret@db:6379/0", "rediss://db"] {
            assert_eq!(kind(url), Some(Kind::Redis));
        }
        for wrong in [
            "",
            "sqlite:",
            "secret",
            "other://db",
            "postgres:secret",
            "redis:secret",
        ] {
            assert_eq!(kind(wrong), None, "{wrong}");
        }
        let store = SharedStore::from("postgres://me:secret@db/wadi".to_owned());
        assert!(!format!("{store:?}").contains("secret"));
    }
}
