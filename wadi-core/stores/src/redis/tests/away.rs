//! A server that is killed, stands still, or cannot be reached.

use wadi_core::store::{Claim, Ended, Put, SessionStore, StoreError, Took};

use super::super::RedisOpenError;
use super::*;

const SYNCED: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_there_after_the_server_was_killed() {
    let Some(mut server) = Server::start(&SYNCED) else {
        return;
    };
    let store = open(&server).await;
    let rows: Vec<Row> = (0..600).map(row).collect();
    assert_eq!(store.put(rows).await, Ok(vec![Put::Stored; 600]));
    let granted = Claim::Granted(tenure(5));
    assert!(matches!(
        store.take(row(0).id, granted).await,
        Ok(Took::Row(_))
    ));
    assert!(matches!(
        store.take(row(1).id, Claim::Own).await,
        Ok(Took::Row(_))
    ));
    let ended = Ended {
        id: row(2).id,
        bucket: row(2).bucket,
        remember_for: Duration::from_secs(600),
    };
    assert_eq!(store.end(vec![ended]).await, Ok(()));
    assert_eq!(store.take(row(700).id, granted).await, Ok(Took::Nothing));

    server.kill();
    let put = soon(store.put(vec![row(601)])).await;
    assert!(matches!(put, Err(StoreError::Unavailable(_))), "{put:?}");
    let took = soon(store.take(row(3).id, Claim::Own)).await;
    assert!(matches!(took, Err(StoreError::Unavailable(_))), "{took:?}");
    server.start_again();

    let listed = soon(store.page(everything(1000))).await;
    assert_eq!(listed.map(|heads| heads.len()), Ok(598));
    assert_eq!(
        store.put(vec![row(0), row(2), row(700)]).await,
        Ok(vec![Put::Refused; 3]),
        "given out, ended, and said to be absent"
    );
    assert_eq!(store.take(row(1).id, Claim::Own).await, Ok(Took::Nothing));
    assert_eq!(store.take(row(2).id, granted).await, Ok(Took::Ended));
    assert!(matches!(
        store.take(row(3).id, Claim::Own).await,
        Ok(Took::Row(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_answered_is_lost_by_a_server_that_is_killed_while_it_works() {
    let Some(mut server) = Server::start(&SYNCED) else {
        return;
    };
    let store = std::sync::Arc::new(open(&server).await);
    let putting = tokio::spawn({
        let store = std::sync::Arc::clone(&store);
        async move {
            let mut answered = Vec::new();
            for number in 0..1_000_000 {
                match store.put(vec![row(number)]).await {
                    Ok(put) => {
                        assert_eq!(put, [Put::Stored]);
                        answered.push(number);
                    }
                    Err(StoreError::Unavailable(_)) => return answered,
                    Err(error) => panic!("{error}"),
                }
            }
            answered
        }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.kill();
    let answered = soon(putting).await.expect("it does not panic");
    server.start_again();
    assert!(!answered.is_empty());
    for number in answered {
        let took = soon(store.take(row(number).id, Claim::Own)).await;
        assert!(matches!(took, Ok(Took::Row(_))), "{number}: {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_started_again_while_nobody_asked_is_not_missed() {
    let Some(mut server) = Server::start(&SYNCED) else {
        return;
    };
    let store = open(&server).await;
    assert_eq!(store.put(vec![row(1)]).await, Ok(vec![Put::Stored]));
    server.kill();
    server.start_again();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let took = soon(store.take(row(1).id, Claim::Own)).await;
    assert!(matches!(took, Ok(Took::Row(_))), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_is_said_in_time_and_used_again() {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let settings = RedisSettings::new().timeout(Duration::from_secs(3));
    let store = RedisStore::open(&server.address(), "test", settings).await;
    let store = store.expect("it opens");
    assert_eq!(store.put(vec![row(1)]).await, Ok(vec![Put::Stored]));
    server.signal("-STOP");
    let took = soon(store.take(row(1).id, Claim::Own)).await;
    assert!(matches!(took, Err(StoreError::Unavailable(_))), "{took:?}");
    let refused = soon(RedisStore::open(
        &server.address(),
        "test",
        RedisSettings::new().timeout(Duration::from_millis(100)),
    ))
    .await;
    assert!(
        matches!(refused, Err(RedisOpenError::Unreachable(_))),
        "{refused:?}"
    );
    server.signal("-CONT");
    let mut took = Err(StoreError::Unavailable(String::new()));
    for _ in 0..20 {
        took = soon(store.take(row(1).id, Claim::Own)).await;
        if !matches!(took, Err(StoreError::Unavailable(_))) {
            break;
        }
    }
    assert!(
        matches!(took, Ok(Took::Row(_))),
        "who did not hear that it has it, has not taken it: {took:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_an_address_is_said_without_it() {
    for address in [
        "nonsense",
        "postgres://user:secret@host/database",
        "redis://user:secret@host:port/0",
        "redis://user:secret@host/database",
    ] {
        let refused = RedisStore::open(address, "test", RedisSettings::new()).await;
        let Err(error @ RedisOpenError::Address(_)) = refused else {
            panic!("{refused:?}");
        };
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    // Nobody listens there.
    let settings = RedisSettings::new().timeout(Duration::from_secs(2));
    let refused = RedisStore::open("redis://user:secret@127.0.0.1:1/0", "test", settings).await;
    let Err(error @ RedisOpenError::Unreachable(_)) = refused else {
        panic!("{refused:?}");
    };
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_it_is_asked_for() {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let address = server.address().replace("redis://", "rediss://");
    let settings = RedisSettings::new().timeout(Duration::from_millis(500));
    let opening = RedisStore::open(&address, "test", settings);
    let refused = soon(opening).await;
    assert!(
        matches!(refused, Err(RedisOpenError::Unreachable(_))),
        "{refused:?}"
    );
}
