//! SQLite, for the processes of one host. One writes at a time; who would, too, waits for it.

use std::path::Path;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Executor, QueryBuilder, Row as _, Sqlite, SqliteConnection, SqlitePool};
use wadi_core::session::SessionId;
use wadi_core::store::{Ended, FENCED_FOR, Head, Page, Row};
use wadi_core::tenure::Tenure;

use super::error::{ConnectError, in_time};
use super::rows::{self, Answer, Before, Database, Found};
use super::settings::SqlSettings;
use super::store::{Sql, is_a_store};

/// What time it is, in milliseconds, the same within one statement.
const NOW: &str = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";

/// What each version added. Never changed once released; a new version is a new entry.
pub(super) const VERSIONS: [&str; 2] = [
    "
    CREATE TABLE wadi_sessions (
        id BLOB PRIMARY KEY NOT NULL,
        bucket INTEGER NOT NULL,
        -- (tenure, revision), in their order; empty where the session has ended.
        stamp BLOB NOT NULL,
        given_out BLOB,
        put_at INTEGER NOT NULL,
        ends INTEGER NOT NULL,
        -- NULL where the session has ended: until `ends` nothing is put again.
        payload BLOB
    );
    CREATE INDEX wadi_sessions_listed ON wadi_sessions (bucket, id) WHERE payload IS NOT NULL;
    CREATE INDEX wadi_sessions_due ON wadi_sessions (ends) WHERE payload IS NOT NULL AND given_out IS NULL;
    CREATE INDEX wadi_sessions_forget ON wadi_sessions (ends) WHERE payload IS NULL;
",
    "
    -- Where wadi_sessions has given_out and no payload, there was nothing when it was asked for under that
    -- tenure: until `ends` nothing is put under a lower one.
    -- Of the tenures under which a row was given out since it was put, the last one of an earlier epoch than that
    -- of given_out, which is the last one of all.
    ALTER TABLE wadi_sessions ADD COLUMN given_before BLOB;
    CREATE TABLE wadi_begun (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        last INTEGER NOT NULL
    );
    INSERT INTO wadi_begun (one, last) VALUES (1, 0);
",
];

/// Sessions in a SQLite file that the nodes of one host share.
///
/// What a call has done survives `kill -9`, and a power cut. Times are counted by the host's clock on the wall, so
/// a jump of that one is a jump for what runs out here. The file is never to lie on a network's file system.
#[derive(Debug)]
pub struct SqliteStore(Sql<File>);

is_a_store!(SqliteStore);

/// What SQLite says where somebody else has the file: `SQLITE_BUSY`.
const LOCKED: &str = "5";
/// How long who finds it so waits.
const AGAIN: Duration = Duration::from_millis(20);

#[derive(Debug)]
struct File(SqlitePool);

impl SqliteStore {
    /// Opens the file, makes it where there is none, readable for its user only, and makes or extends its tables.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], by what mends it.
    pub async fn open(file: impl AsRef<Path>, settings: SqlSettings) -> Result<Self, ConnectError> {
        let file = file.as_ref();
        private(file)
            .map_err(|error| ConnectError::Unreachable(format!("{}: {error}", file.display())))?;
        let options = SqliteConnectOptions::new()
            .filename(file)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(settings.timeout);
        let open = async {
            // Who opens it first changes the file's form, and the engine lets nobody wait for that.
            let pool = loop {
                let pool = SqlitePoolOptions::new()
                    .max_connections(settings.connections)
                    .acquire_timeout(settings.timeout);
                match pool.connect_with(options.clone()).await {
                    Err(error) if is_locked(&error) => tokio::time::sleep(AGAIN).await,
                    opened => break opened?,
                }
            };
            migrate(&pool).await?;
            Ok(pool)
        };
        let pool = in_time(settings.to_open(), open).await?;
        Ok(Self(Sql {
            database: File(pool),
            timeout: settings.timeout,
            fences: AtomicU32::default(),
        }))
    }

    #[cfg(test)]
    pub(super) fn pool(&self) -> &SqlitePool {
        &self.0.database.0
    }

    /// Closes the file, once its calls are answered or their time is over; later calls are unavailable.
    pub async fn close(&self) {
        // Past that, its connections go with this process.
        let closed = self.0.database.0.close();
        let _ = tokio::time::timeout(self.0.timeout, closed).await;
    }
}

fn is_locked(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == LOCKED)
}

fn private(file: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file).map(drop)
}

async fn migrate(pool: &SqlitePool) -> Result<(), ConnectError> {
    let mut connection = pool.acquire().await?;
    // Alone from the first look on; another one waits here.
    connection.execute("BEGIN IMMEDIATE").await?;
    let done = extend(&mut connection).await;
    let ended = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = connection.execute(ended).await;
    done?;
    ended?;
    Ok(())
}

async fn extend(connection: &mut SqliteConnection) -> Result<(), ConnectError> {
    connection
        .execute("CREATE TABLE IF NOT EXISTS wadi_schema (version INTEGER NOT NULL)")
        .await?;
    let found: Option<i64> = sqlx::query_scalar("SELECT max(version) FROM wadi_schema")
        .fetch_one(&mut *connection)
        .await?;
    let (found, known) = (found.unwrap_or(0), VERSIONS.len() as i64);
    if found > known {
        return Err(ConnectError::Newer { found, known });
    }
    for (version, statements) in (1..).zip(VERSIONS) {
        if version > found {
            connection.execute(statements).await?;
            sqlx::query("INSERT INTO wadi_schema (version) VALUES ($1)")
                .bind(version)
                .execute(&mut *connection)
                .await?;
        }
    }
    Ok(())
}

impl Database for File {
    async fn put(&self, all: &[&Row]) -> Answer<Vec<Vec<u8>>> {
        let mut query = QueryBuilder::<Sqlite>::new(
            "INSERT INTO wadi_sessions AS has (id, bucket, stamp, given_out, put_at, ends, payload) ",
        );
        query.push_values(all, |mut values, row| {
            values
                .push_bind(rows::id(row.id))
                .push_bind(i32::from(row.bucket.get()))
                .push_bind(rows::stamp(row.tenure, row.revision))
                .push("NULL")
                .push(NOW)
                .push(NOW)
                .push_unseparated(" + ")
                .push_bind_unseparated(rows::millis(row.left))
                .push_bind(row.payload.as_bytes().to_vec());
        });
        query.push(format!(
            " ON CONFLICT (id) DO UPDATE SET bucket = excluded.bucket, stamp = excluded.stamp,
                 given_out = NULL, given_before = NULL, put_at = excluded.put_at, ends = excluded.ends,
                 payload = excluded.payload
             WHERE CASE WHEN has.payload IS NULL
                 THEN has.ends <= {NOW} OR has.given_out <= substr(excluded.stamp, 1, 16)
                 ELSE has.stamp <= excluded.stamp AND (has.given_out IS NULL
                     OR has.given_out <= substr(excluded.stamp, 1, 16)) END
             RETURNING id"
        ));
        // Each number of rows is another statement, and few come twice.
        let query = query.build_query_scalar().persistent(false);
        query.fetch_all(&self.0).await
    }

    async fn find(&self, id: SessionId) -> Answer<Option<Found>> {
        let row = sqlx::query(&format!(
            "SELECT stamp, given_out, given_before, put_at, ends, payload, {NOW} AS now
             FROM wadi_sessions WHERE id = $1"
        ))
        .bind(rows::id(id))
        .fetch_optional(&self.0)
        .await?;
        row.map(|row| {
            Ok(Found {
                stamp: row.try_get("stamp")?,
                given_out: row.try_get("given_out")?,
                given_before: row.try_get("given_before")?,
                put_at: row.try_get("put_at")?,
                ends: row.try_get("ends")?,
                now: row.try_get("now")?,
                payload: row.try_get("payload")?,
            })
        })
        .transpose()
    }

    async fn remove(&self, id: SessionId, found: &Found) -> Answer<bool> {
        let done = sqlx::query(
            "DELETE FROM wadi_sessions
             WHERE id = $1 AND stamp = $2 AND put_at = $3 AND payload IS NOT NULL
                 AND given_out IS $4",
        )
        .bind(rows::id(id))
        .bind(&found.stamp)
        .bind(found.put_at)
        .bind(found.given_out.as_deref())
        .execute(&self.0)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    async fn give_out(
        &self,
        id: SessionId,
        found: &Found,
        under: Tenure,
    ) -> Answer<Option<Before>> {
        let told = sqlx::query_scalar(
            "UPDATE wadi_sessions SET given_out = $4,
                 given_before = CASE WHEN substr(given_out, 1, 8) < substr($4, 1, 8) THEN given_out
                     ELSE given_before END
             WHERE id = $1 AND stamp = $2 AND put_at = $3 AND payload IS NOT NULL
                 AND given_out IS $5
                 AND substr(stamp, 1, 16) <= $4 AND (given_out IS NULL OR given_out <= $4)
             RETURNING given_before",
        )
        .bind(rows::id(id))
        .bind(&found.stamp)
        .bind(found.put_at)
        .bind(rows::tenure(under))
        .bind(found.given_out.as_deref())
        .fetch_all(&self.0)
        .await?;
        Ok(told.into_iter().next())
    }

    async fn end(&self, ended: &[&Ended]) -> Answer<()> {
        let mut query = QueryBuilder::<Sqlite>::new(
            "INSERT INTO wadi_sessions AS has (id, bucket, stamp, given_out, put_at, ends, payload) ",
        );
        query.push_values(ended, |mut values, ended| {
            values
                .push_bind(rows::id(ended.id))
                .push_bind(i32::from(ended.bucket.get()))
                .push("x''")
                .push("NULL")
                .push(NOW)
                .push(NOW)
                .push_unseparated(" + ")
                .push_bind_unseparated(rows::millis(ended.remember_for))
                .push("NULL");
        });
        query.push(
            " ON CONFLICT (id) DO UPDATE SET bucket = excluded.bucket, stamp = x'', given_out = NULL,
                 given_before = NULL, put_at = excluded.put_at, payload = NULL,
                 ends = CASE WHEN has.payload IS NULL THEN max(has.ends, excluded.ends)
                     ELSE excluded.ends END",
        );
        query.build().persistent(false).execute(&self.0).await?;
        Ok(())
    }

    async fn fence(&self, id: SessionId, under: Tenure) -> Answer<bool> {
        let done = sqlx::query(&format!(
            "INSERT INTO wadi_sessions AS has (id, bucket, stamp, given_out, put_at, ends, payload)
             VALUES ($1, 0, x'', $2, {NOW}, {NOW} + $3, NULL)
             ON CONFLICT (id) DO UPDATE SET stamp = excluded.stamp, put_at = excluded.put_at,
                 given_out = CASE WHEN has.ends <= {NOW} THEN excluded.given_out
                     ELSE max(has.given_out, excluded.given_out) END,
                 ends = max(has.ends, excluded.ends)
             WHERE has.payload IS NULL AND (has.given_out IS NOT NULL OR has.ends <= {NOW})"
        ))
        .bind(rows::id(id))
        .bind(rows::tenure(under))
        .bind(rows::millis(FENCED_FOR))
        .execute(&self.0)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    async fn begin(&self, after: u32) -> Answer<Option<i64>> {
        let said = sqlx::query_scalar(
            "UPDATE wadi_begun SET last = max(last, $1) + 1 WHERE max(last, $1) < $2
             RETURNING last",
        )
        .bind(i64::from(after))
        .bind(rows::LAST_NUMBER)
        .fetch_all(&self.0)
        .await?;
        Ok(said.first().copied())
    }

    async fn forget(&self) -> Answer<()> {
        sqlx::query(&format!(
            "DELETE FROM wadi_sessions WHERE id IN (
                 SELECT id FROM wadi_sessions WHERE payload IS NULL AND ends <= {NOW}
                 ORDER BY ends LIMIT 512)"
        ))
        .execute(&self.0)
        .await?;
        Ok(())
    }

    async fn page(&self, page: &Page) -> Answer<Vec<Head>> {
        let from = if page.due {
            // By time first: else whoever plans it might read everything in order, to find what is due.
            format!(
                "WITH listed AS MATERIALIZED (SELECT id, bucket, stamp, given_out FROM wadi_sessions
                     WHERE payload IS NOT NULL AND given_out IS NULL AND ends <= {NOW})
                 SELECT * FROM listed WHERE "
            )
        } else {
            "SELECT id, bucket, stamp, given_out FROM wadi_sessions WHERE payload IS NOT NULL AND "
                .to_owned()
        };
        let (after_bucket, after_id) = rows::after(page);
        let listed = sqlx::query(&format!(
            "{from} bucket BETWEEN $1 AND $2 AND (bucket, id) > ($3, $4) ORDER BY bucket, id LIMIT $5"
        ))
        .bind(i32::from(page.buckets.start().get()))
        .bind(i32::from(page.buckets.end().get()))
        .bind(after_bucket)
        .bind(after_id)
        .bind(rows::most(page))
        .fetch_all(&self.0)
        .await?;
        let heads = listed.iter().map(|row| {
            let given_out: Option<&[u8]> = row.try_get("given_out")?;
            rows::head(
                row.try_get("id")?,
                row.try_get("bucket")?,
                row.try_get("stamp")?,
                given_out,
            )
        });
        heads.collect()
    }
}
