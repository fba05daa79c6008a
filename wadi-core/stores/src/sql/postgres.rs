//! PostgreSQL.

use std::str::FromStr;
use std::sync::atomic::AtomicU32;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Executor, PgPool, Row as _};
use wadi_core::session::SessionId;
use wadi_core::store::{Ended, FENCED_FOR, Head, Page, Row};
use wadi_core::tenure::Tenure;

use super::error::{ConnectError, in_time};
use super::rows::{self, Answer, Before, Database, Found};
use super::settings::SqlSettings;
use super::store::{Sql, is_a_store};

/// What time it is there, in milliseconds, the same within one statement.
const NOW: &str = "(extract(epoch from statement_timestamp()) * 1000)::int8";

/// Who makes tables makes them alone: the number is this program's, for all its nodes.
const ONE_AT_A_TIME: &str = "SELECT pg_advisory_xact_lock(8387227069271114)";

/// What each version added. Never changed once released; a new version is a new entry.
pub(super) const VERSIONS: [&str; 2] = [
    "
    CREATE TABLE wadi_sessions (
        id bytea PRIMARY KEY,
        bucket int4 NOT NULL,
        -- (tenure, revision), in their order; empty where the session has ended.
        stamp bytea NOT NULL,
        given_out bytea,
        put_at int8 NOT NULL,
        ends int8 NOT NULL,
        -- NULL where the session has ended: until `ends` nothing is put again.
        payload bytea
    );
    ALTER TABLE wadi_sessions ALTER COLUMN payload SET STORAGE EXTERNAL;
    CREATE INDEX wadi_sessions_listed ON wadi_sessions (bucket, id) WHERE payload IS NOT NULL;
    CREATE INDEX wadi_sessions_due ON wadi_sessions (ends) WHERE payload IS NOT NULL AND given_out IS NULL;
    CREATE INDEX wadi_sessions_forget ON wadi_sessions (ends) WHERE payload IS NULL;
",
    "
    -- Where wadi_sessions has given_out and no payload, there was nothing when it was asked for under that
    -- tenure: until `ends` nothing is put under a lower one.
    -- Of the tenures under which a row was given out since it was put, the last one of an earlier epoch than that
    -- of given_out, which is the last one of all.
    ALTER TABLE wadi_sessions ADD COLUMN given_before bytea;
    CREATE TABLE wadi_begun (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        last int8 NOT NULL
    );
    INSERT INTO wadi_begun (one, last) VALUES (1, 0);
",
];

/// Sessions in a PostgreSQL database that several nodes share.
///
/// What a call has done survives everything that the database survives. Times are counted by the database's
/// clock. Tables are made when it is opened, by whoever is first.
#[derive(Debug)]
pub struct PostgresStore(Sql<Postgres>);

is_a_store!(PostgresStore);

#[derive(Debug)]
struct Postgres(PgPool);

impl PostgresStore {
    /// Connects, and makes or extends the tables. `address` is like `postgres://user:password@host/database`.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], by what mends it.
    pub async fn open(address: &str, settings: SqlSettings) -> Result<Self, ConnectError> {
        let limit = settings.timeout.as_millis().to_string();
        let options = PgConnectOptions::from_str(address)?
            .application_name("wadi")
            // The database gives up, too, and does not go on with what nobody waits for.
            .options([("statement_timeout", &limit), ("lock_timeout", &limit)]);
        let pool = PgPoolOptions::new()
            .max_connections(settings.connections)
            .acquire_timeout(settings.timeout)
            .connect_with(options)
            .await?;
        in_time(settings.to_open(), migrate(&pool)).await?;
        Ok(Self(Sql {
            database: Postgres(pool),
            timeout: settings.timeout,
            fences: AtomicU32::default(),
        }))
    }

    /// Closes its connections, once their calls are answered; later calls are unavailable.
    pub async fn close(&self) {
        // Past that, its connections go with this process.
        let closed = self.0.database.0.close();
        let _ = tokio::time::timeout(self.0.timeout, closed).await;
    }
}

async fn migrate(pool: &PgPool) -> Result<(), ConnectError> {
    let mut step = pool.begin().await?;
    step.execute(ONE_AT_A_TIME).await?;
    step.execute("CREATE TABLE IF NOT EXISTS wadi_schema (version int8 NOT NULL)")
        .await?;
    let found: Option<i64> = sqlx::query_scalar("SELECT max(version) FROM wadi_schema")
        .fetch_one(&mut *step)
        .await?;
    let (found, known) = (found.unwrap_or(0), VERSIONS.len() as i64);
    if found > known {
        return Err(ConnectError::Newer { found, known });
    }
    for (version, statements) in (1..).zip(VERSIONS) {
        if version > found {
            step.execute(statements).await?;
            sqlx::query("INSERT INTO wadi_schema (version) VALUES ($1)")
                .bind(version)
                .execute(&mut *step)
                .await?;
        }
    }
    step.commit().await?;
    Ok(())
}

impl Database for Postgres {
    async fn put(&self, all: &[&Row]) -> Answer<Vec<Vec<u8>>> {
        let of = |row: &&Row| rows::stamp(row.tenure, row.revision);
        let buckets = all.iter().map(|row| i32::from(row.bucket.get()));
        sqlx::query_scalar(&format!(
            "INSERT INTO wadi_sessions AS has (id, bucket, stamp, given_out, put_at, ends, payload)
             SELECT new.id, new.bucket, new.stamp, NULL::bytea, {NOW}, {NOW} + new.lasts, new.payload
             FROM unnest($1::bytea[], $2::int4[], $3::bytea[], $4::int8[], $5::bytea[])
                 AS new (id, bucket, stamp, lasts, payload)
             ORDER BY new.id
             ON CONFLICT (id) DO UPDATE SET bucket = excluded.bucket, stamp = excluded.stamp,
                 given_out = NULL, given_before = NULL, put_at = excluded.put_at, ends = excluded.ends,
                 payload = excluded.payload
             WHERE CASE WHEN has.payload IS NULL
                 THEN has.ends <= {NOW} OR has.given_out <= substring(excluded.stamp FROM 1 FOR 16)
                 ELSE has.stamp <= excluded.stamp AND (has.given_out IS NULL
                     OR has.given_out <= substring(excluded.stamp FROM 1 FOR 16)) END
             RETURNING id"
        ))
        .bind(all.iter().map(|row| rows::id(row.id)).collect::<Vec<_>>())
        .bind(buckets.collect::<Vec<_>>())
        .bind(all.iter().map(of).collect::<Vec<_>>())
        .bind(all.iter().map(|row| rows::millis(row.left)).collect::<Vec<_>>())
        .bind(all.iter().map(|row| row.payload.as_bytes()).collect::<Vec<_>>())
        .fetch_all(&self.0)
        .await
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
                 AND given_out IS NOT DISTINCT FROM $4",
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
                 given_before = CASE WHEN substring(given_out FROM 1 FOR 8) < substring($4 FROM 1 FOR 8) THEN given_out
                     ELSE given_before END
             WHERE id = $1 AND stamp = $2 AND put_at = $3 AND payload IS NOT NULL
                 AND given_out IS NOT DISTINCT FROM $5
                 AND substring(stamp FROM 1 FOR 16) <= $4 AND (given_out IS NULL OR given_out <= $4)
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
        let buckets = ended.iter().map(|ended| i32::from(ended.bucket.get()));
        let times = ended.iter().map(|ended| rows::millis(ended.remember_for));
        sqlx::query(&format!(
            "INSERT INTO wadi_sessions AS has (id, bucket, stamp, given_out, put_at, ends, payload)
             SELECT new.id, new.bucket, ''::bytea, NULL::bytea, {NOW}, {NOW} + new.lasts, NULL::bytea
             FROM unnest($1::bytea[], $2::int4[], $3::int8[]) AS new (id, bucket, lasts)
             ORDER BY new.id
             ON CONFLICT (id) DO UPDATE SET bucket = excluded.bucket, stamp = ''::bytea, given_out = NULL,
                 given_before = NULL, put_at = excluded.put_at, payload = NULL,
                 ends = CASE WHEN has.payload IS NULL THEN greatest(has.ends, excluded.ends)
                     ELSE excluded.ends END"
        ))
        .bind(ended.iter().map(|ended| rows::id(ended.id)).collect::<Vec<_>>())
        .bind(buckets.collect::<Vec<_>>())
        .bind(times.collect::<Vec<_>>())
        .execute(&self.0)
        .await?;
        Ok(())
    }

    async fn fence(&self, id: SessionId, under: Tenure) -> Answer<bool> {
        let done = sqlx::query(&format!(
            "INSERT INTO wadi_sessions AS has (id, bucket, stamp, given_out, put_at, ends, payload)
             VALUES ($1, 0, ''::bytea, $2, {NOW}, {NOW} + $3, NULL)
             ON CONFLICT (id) DO UPDATE SET stamp = excluded.stamp, put_at = excluded.put_at,
                 given_out = CASE WHEN has.ends <= {NOW} THEN excluded.given_out
                     ELSE greatest(has.given_out, excluded.given_out) END,
                 ends = greatest(has.ends, excluded.ends)
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
            "UPDATE wadi_begun SET last = greatest(last, $1) + 1 WHERE greatest(last, $1) < $2
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
                 ORDER BY ends LIMIT 512 FOR UPDATE SKIP LOCKED)"
        ))
        .execute(&self.0)
        .await?;
        Ok(())
    }

    async fn page(&self, page: &Page) -> Answer<Vec<Head>> {
        let from = if page.due {
            // By time first: else whoever plans it might read everything in order, to find what is due.
            format!(
                "(WITH due AS MATERIALIZED (SELECT id, bucket, stamp, given_out FROM wadi_sessions
                     WHERE payload IS NOT NULL AND given_out IS NULL AND ends <= {NOW})
                 SELECT id, bucket, stamp, given_out FROM due) AS listed"
            )
        } else {
            "(SELECT id, bucket, stamp, given_out FROM wadi_sessions WHERE payload IS NOT NULL) AS listed"
                .to_owned()
        };
        let (after_bucket, after_id) = rows::after(page);
        let listed = sqlx::query(&format!(
            "SELECT id, bucket, stamp, given_out FROM {from}
             WHERE bucket BETWEEN $1 AND $2 AND (bucket, id) > ($3, $4)
             ORDER BY bucket, id LIMIT $5"
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
