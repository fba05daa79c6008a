//! SQLite: the contract, and what may befall a file.

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Executor};
use wadi_core::store::conformance;

use super::super::sqlite::VERSIONS;
use super::super::{ConnectError, SqlSettings, SqliteStore, rows};
use super::*;

async fn open(file: &std::path::Path) -> SqliteStore {
    let store = SqliteStore::open(file, SqlSettings::new()).await;
    store.expect("it opens")
}

async fn beside(file: &std::path::Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(file);
    let connection = SqliteConnection::connect_with(&options).await;
    connection.expect("it opens")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_sqlite_conforms() {
    let directory = tempfile::tempdir().expect("there is room");
    conformance::check(open(&directory.path().join("store")).await).await;
}

#[tokio::test]
async fn several_open_a_new_file_at_once_and_share_it() {
    let directory = tempfile::tempdir().expect("there is room");
    let file = directory.path().join("store");
    let (a, b, c) = tokio::join!(open(&file), open(&file), open(&file));
    takes_many_rows_at_once(&a).await;
    assert!(matches!(
        b.take(row(5).id, Claim::Own).await,
        Ok(Took::Row(_))
    ));
    assert_eq!(c.take(row(5).id, Claim::Own).await, Ok(Took::Nothing));
    b.close().await;
    assert!(matches!(
        b.put(vec![row(5)]).await,
        Err(StoreError::Unavailable(_))
    ));
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_reads_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("there is room");
    let file = directory.path().join("store");
    let store = open(&file).await;
    assert_eq!(store.put(vec![row(1)]).await, Ok(vec![Put::Stored]));
    let mut seen = 0;
    for entry in std::fs::read_dir(directory.path()).expect("it is there") {
        let entry = entry.expect("it reads");
        let mode = entry.metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.file_name());
        seen += 1;
    }
    assert!(seen >= 2, "the file, and what SQLite has beside it");
}

#[tokio::test]
async fn a_damaged_row_costs_that_row_only() {
    let directory = tempfile::tempdir().expect("there is room");
    let file = directory.path().join("store");
    let store = open(&file).await;
    assert!(store.put(vec![row(1), row(2)]).await.is_ok());
    sqlx::query("UPDATE wadi_sessions SET payload = x'01020304' WHERE substr(id, 20) = x'01'")
        .execute(&mut beside(&file).await)
        .await
        .expect("it can be written");
    says_what_is_damaged_and_leaves_it(&store).await;
}

#[tokio::test]
async fn what_a_later_version_made_is_left_alone() {
    let directory = tempfile::tempdir().expect("there is room");
    let file = directory.path().join("store");
    open(&file).await.close().await;
    sqlx::query("INSERT INTO wadi_schema (version) VALUES (99)")
        .execute(&mut beside(&file).await)
        .await
        .expect("it can be written");
    let refused = SqliteStore::open(&file, SqlSettings::new()).await;
    assert!(
        matches!(
            refused,
            Err(ConnectError::Newer {
                found: 99,
                known: 2
            })
        ),
        "{refused:?}"
    );
}

#[tokio::test]
async fn tables_of_the_first_version_are_extended_with_what_is_in_them() {
    let directory = tempfile::tempdir().expect("there is room");
    let file = directory.path().join("store");
    std::fs::File::create(&file).expect("there is room");
    let mut before = beside(&file).await;
    let schema = "CREATE TABLE wadi_schema (version INTEGER NOT NULL);
        INSERT INTO wadi_schema (version) VALUES (1);";
    for made in [VERSIONS[0], schema] {
        before.execute(made).await.expect("it is made");
    }
    let had = Some(rows::tenure(row(4).tenure));
    for (row, given_out, payload) in [
        (row(1), None, Some(row(1).payload)),
        (row(2), None, None),
        (row(4), had, Some(row(4).payload)),
    ] {
        let stamp = rows::stamp(row.tenure, row.revision);
        sqlx::query(
            "INSERT INTO wadi_sessions (id, bucket, stamp, given_out, put_at, ends, payload)
             VALUES ($1, $2, $3, $5, 0, 9000000000000, $4)",
        )
        .bind(rows::id(row.id))
        .bind(i32::from(row.bucket.get()))
        .bind(payload.as_ref().map_or(Vec::new(), |_| stamp))
        .bind(payload.as_ref().map(|payload| payload.as_bytes().to_vec()))
        .bind(given_out)
        .execute(&mut before)
        .await
        .expect("it can be written");
    }
    let (a, b) = tokio::join!(open(&file), open(&file));
    has_what_the_first_version_left(&a).await;
    say_no_number_twice(&a, &b).await;
    let versions: Vec<i64> = sqlx::query_scalar("SELECT version FROM wadi_schema")
        .fetch_all(&mut before)
        .await
        .expect("it reads");
    assert_eq!(versions, [1, 2]);
}

#[tokio::test]
async fn fences_go_in_time_some_at_once() {
    let directory = tempfile::tempdir().expect("there is room");
    let file = directory.path().join("store");
    let store = open(&file).await;
    asks_for(&store, 0..700).await;
    let mut other = beside(&file).await;
    sqlx::query("UPDATE wadi_sessions SET ends = 0")
        .execute(&mut other)
        .await
        .expect("it can be written");
    asks_for(&store, 1000..1128).await;
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM wadi_sessions")
        .fetch_one(&mut other)
        .await
        .expect("it reads");
    assert_eq!(left, 128, "those that still stand");
}

#[tokio::test]
async fn what_is_no_database_is_said_and_left() {
    let directory = tempfile::tempdir().expect("there is room");
    let file = directory.path().join("store");
    std::fs::write(
        &file,
        "something else, which is long enough to be taken for a header".repeat(10),
    )
    .expect("there is room");
    let before = std::fs::read(&file).expect("it reads");
    let refused = SqliteStore::open(&file, SqlSettings::new()).await;
    assert!(
        matches!(refused, Err(ConnectError::Unreachable(_))),
        "{refused:?}"
    );
    assert_eq!(std::fs::read(&file).expect("it reads"), before);
}

#[tokio::test]
async fn who_waits_for_another_writer_too_long_is_told() {
    let directory = tempfile::tempdir().expect("there is room");
    let file = directory.path().join("store");
    let settings = SqlSettings::new().timeout(Duration::from_millis(300));
    let store = SqliteStore::open(&file, settings).await.expect("it opens");
    let mut other = beside(&file).await;
    sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut other)
        .await
        .expect("it begins");
    let put = store.put(vec![row(1)]).await;
    assert!(matches!(put, Err(StoreError::Unavailable(_))), "{put:?}");
    sqlx::query("ROLLBACK")
        .execute(&mut other)
        .await
        .expect("it ends");
    assert_eq!(store.put(vec![row(1)]).await, Ok(vec![Put::Stored]));
}

#[tokio::test]
async fn a_full_file_is_said_and_reading_goes_on() {
    let directory = tempfile::tempdir().expect("there is room");
    let file = directory.path().join("store");
    let settings = SqlSettings::new().connections(1);
    let store = SqliteStore::open(&file, settings).await.expect("it opens");
    assert!(store.put(vec![row(1)]).await.is_ok());
    // The only connection, so this holds for the store.
    let pool = store.pool();
    sqlx::query("PRAGMA max_page_count = 20")
        .fetch_all(pool)
        .await
        .expect("it is set");
    let mut large = row(2);
    large.payload = Payload::seal(id(2), &[0; 500_000]);
    let put = store.put(vec![large]).await;
    assert!(matches!(put, Err(StoreError::Full(_))), "{put:?}");
    assert_eq!(
        store.page(everything(10)).await.map(|heads| heads.len()),
        Ok(1)
    );
    assert!(matches!(
        store.take(row(1).id, Claim::Own).await,
        Ok(Took::Row(_))
    ));
}
