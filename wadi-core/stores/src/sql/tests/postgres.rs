//! PostgreSQL: the contract, and what may befall a server.

use sqlx::{Connection, Executor, PgConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wadi_core::store::conformance;

use super::super::postgres::VERSIONS;
use super::super::{ConnectError, PostgresStore, SqlSettings, rows};
use super::server::Server;
use super::*;

async fn open(server: &Server) -> PostgresStore {
    let store = PostgresStore::open(&server.address(), SqlSettings::new()).await;
    store.expect("it opens")
}

async fn beside(server: &Server) -> PgConnection {
    let connection = PgConnection::connect(&server.address()).await;
    connection.expect("it connects")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_postgresql_conforms() {
    let Some(server) = Server::start() else {
        return;
    };
    conformance::check(open(&server).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_open_a_new_database_at_once_and_share_it() {
    let Some(server) = Server::start() else {
        return;
    };
    let (a, b, c) = tokio::join!(open(&server), open(&server), open(&server));
    takes_many_rows_at_once(&a).await;
    assert!(matches!(
        b.take(row(5).id, Claim::Own).await,
        Ok(Took::Row(_))
    ));
    assert_eq!(c.take(row(5).id, Claim::Own).await, Ok(Took::Nothing));
    // Batches of the same rows, in other orders, at the same time.
    let forwards: Vec<Row> = (0..500).map(row).collect();
    let backwards: Vec<Row> = (0..500).rev().map(row).collect();
    for _ in 0..5 {
        let (one, other) = tokio::join!(a.put(forwards.clone()), b.put(backwards.clone()));
        assert_eq!(one, Ok(vec![Put::Stored; 500]));
        assert_eq!(other, Ok(vec![Put::Stored; 500]));
    }
    sqlx::query("UPDATE wadi_sessions SET payload = '\\x01020304' WHERE substring(id FROM 17) = '\\x00000001'")
        .execute(&mut beside(&server).await)
        .await
        .expect("it can be written");
    says_what_is_damaged_and_leaves_it(&c).await;
    sqlx::query("INSERT INTO wadi_schema (version) VALUES (99)")
        .execute(&mut beside(&server).await)
        .await
        .expect("it can be written");
    let refused = PostgresStore::open(&server.address(), SqlSettings::new()).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_the_first_version_are_extended_with_what_is_in_them() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut before = beside(&server).await;
    let schema = "CREATE TABLE wadi_schema (version int8 NOT NULL);
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
    let (a, b) = tokio::join!(open(&server), open(&server));
    has_what_the_first_version_left(&a).await;
    say_no_number_twice(&a, &b).await;
    let versions: Vec<i64> = sqlx::query_scalar("SELECT version FROM wadi_schema ORDER BY version")
        .fetch_all(&mut before)
        .await
        .expect("it reads");
    assert_eq!(versions, [1, 2]);

    // Fences go in time, some at once.
    asks_for(&a, 5000..5700).await;
    sqlx::query("UPDATE wadi_sessions SET ends = 0 WHERE payload IS NULL")
        .execute(&mut before)
        .await
        .expect("it can be written");
    asks_for(&b, 6000..6128).await;
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM wadi_sessions WHERE payload IS NULL")
        .fetch_one(&mut before)
        .await
        .expect("it reads");
    assert_eq!(left, 128, "those that still stand");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_is_said_in_time_and_used_again() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let settings = SqlSettings::new().timeout(Duration::from_secs(3));
    let store = PostgresStore::open(&server.address(), settings)
        .await
        .expect("it opens");
    assert_eq!(store.put(vec![row(1)]).await, Ok(vec![Put::Stored]));

    // A row that somebody else keeps locked.
    let mut other = beside(&server).await;
    let mut locking = other.begin().await.expect("it begins");
    sqlx::query("SELECT id FROM wadi_sessions FOR UPDATE")
        .fetch_all(&mut *locking)
        .await
        .expect("it reads");
    let put = soon(store.put(vec![row(1)])).await;
    assert!(matches!(put, Err(StoreError::Unavailable(_))), "{put:?}");
    locking.rollback().await.expect("it ends");
    assert_eq!(store.put(vec![row(1)]).await, Ok(vec![Put::Stored]));

    // One that stands still.
    server.signal("-STOP");
    let took = soon(store.take(row(1).id, Claim::Own)).await;
    assert!(matches!(took, Err(StoreError::Unavailable(_))), "{took:?}");
    server.signal("-CONT");

    // One that is gone, and comes back.
    server.stop();
    let put = soon(store.put(vec![row(2)])).await;
    assert!(matches!(put, Err(StoreError::Unavailable(_))), "{put:?}");
    server.start_again();
    assert_eq!(store.put(vec![row(2)]).await, Ok(vec![Put::Stored]));
    assert!(matches!(
        store.take(row(2).id, Claim::Own).await,
        Ok(Took::Row(_))
    ));
}

/// Within many times what a call may take.
async fn soon<T>(answer: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), answer)
        .await
        .expect("who waits is told in time")
}

#[tokio::test]
async fn what_cannot_be_an_address_is_said_without_it() {
    for address in ["nonsense", "postgres://user:secret@host:port/database"] {
        let refused = PostgresStore::open(address, SqlSettings::new()).await;
        let Err(error @ ConnectError::Address(_)) = refused else {
            panic!("{refused:?}");
        };
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    // Nobody listens there.
    let settings = SqlSettings::new().timeout(Duration::from_secs(2));
    let refused =
        PostgresStore::open("postgres://user:secret@127.0.0.1:1/database", settings).await;
    let Err(error @ ConnectError::Unreachable(_)) = refused else {
        panic!("{refused:?}");
    };
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_holds_up_no_close() {
    let Some(server) = Server::start() else {
        return;
    };
    let settings = SqlSettings::new().timeout(Duration::from_secs(1));
    let store = PostgresStore::open(&server.address(), settings).await;
    let store = store.expect("it opens");
    server.signal("-STOP");
    let put = store.put(vec![row(1)]).await;
    let closed = tokio::time::timeout(Duration::from_secs(30), store.close()).await;
    server.signal("-CONT");
    assert!(matches!(put, Err(StoreError::Unavailable(_))), "{put:?}");
    assert!(closed.is_ok(), "it is waited for");
}

/// Forwards to the server until the client has said this; then nothing more comes of either.
async fn falls_silent_at(word: &'static [u8], server: String) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it listens");
    tokio::spawn(async move {
        let mut kept = Vec::new();
        loop {
            let (mut client, _) = listener.accept().await.expect("it listens");
            let mut there = TcpStream::connect(&server).await.expect("it runs");
            let (mut said, mut answer) = ([0; 8192], [0; 8192]);
            loop {
                tokio::select! {
                    read = client.read(&mut said) => {
                        let said = &said[..read.unwrap_or(0)];
                        if said.is_empty() || said.windows(word.len()).any(|it| it == word) {
                            break;
                        }
                        there.write_all(said).await.expect("it runs");
                    }
                    read = there.read(&mut answer) => {
                        let read = read.expect("it runs");
                        client.write_all(&answer[..read]).await.expect("it is there");
                    }
                }
            }
            kept.push((client, there));
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_falls_silent_while_it_is_opened_is_said_in_time() {
    let Some(server) = Server::start() else {
        return;
    };
    let address = server.address();
    let (before, rest) = address.split_once('@').expect("it names a host");
    let (host, database) = rest.split_once('/').expect("it names a database");
    let silent = falls_silent_at(b"pg_advisory_xact_lock", host.to_owned()).await;
    let settings = SqlSettings::new().timeout(Duration::from_secs(1));
    let address = format!("{before}@{silent}/{database}");
    let opened = PostgresStore::open(&address, settings);
    let opened = tokio::time::timeout(Duration::from_secs(60), opened).await;
    let opened = opened.expect("it is said in time");
    assert!(
        matches!(opened, Err(ConnectError::Unreachable(_))),
        "{opened:?}"
    );
}
