//! What somebody else did to the keys.

use wadi_core::store::{Claim, Ended, Put, SessionStore, StoreError, Took};

use super::*;

async fn set(server: &Server, number: u32, value: &[u8]) {
    redis::cmd("SET")
        .arg(key(number))
        .arg(value)
        .exec_async(&mut beside(server).await)
        .await
        .expect("it can be written");
}

async fn get(server: &Server, number: u32) -> Vec<u8> {
    redis::cmd("GET")
        .arg(key(number))
        .query_async(&mut beside(server).await)
        .await
        .expect("it can be read")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_row_costs_that_row_only() {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let store = open(&server).await;
    let rows: Vec<Row> = (0..10).map(row).collect();
    assert_eq!(store.put(rows).await, Ok(vec![Put::Stored; 10]));
    // Its payload, its head, all of it, another kind of key, and another session's row.
    let mut payload = get(&server, 1).await;
    *payload.last_mut().expect("there is one") ^= 1;
    set(&server, 1, &payload).await;
    let mut head = get(&server, 2).await;
    head[65] = b'x';
    set(&server, 2, &head).await;
    set(&server, 3, b"garbage").await;
    let mut other = beside(&server).await;
    redis::cmd("DEL")
        .arg(key(4))
        .exec_async(&mut other)
        .await
        .expect("it can be written");
    redis::cmd("LPUSH")
        .arg(key(4))
        .arg("garbage")
        .exec_async(&mut other)
        .await
        .expect("it can be written");
    let others = get(&server, 0).await;
    set(&server, 7, &others).await;
    for number in [1, 2, 3, 4, 7] {
        let before = redis::cmd("DUMP")
            .arg(key(number))
            .query_async::<Vec<u8>>(&mut other)
            .await
            .expect("it can be read");
        for claim in [Claim::Own, Claim::Granted(tenure(9)), Claim::Own] {
            let took = store.take(row(number).id, claim).await;
            assert!(
                matches!(took, Err(StoreError::Damaged(_))),
                "{number}: {took:?}"
            );
        }
        if (2..=4).contains(&number) {
            // What is there is not known to be older.
            let mut newer = row(number);
            newer.tenure = tenure(9);
            let put = store.put(vec![newer, row(5)]).await;
            assert_eq!(put, Ok(vec![Put::Refused, Put::Stored]), "{number}");
        }
        let after = redis::cmd("DUMP")
            .arg(key(number))
            .query_async::<Vec<u8>>(&mut other)
            .await
            .expect("it can be read");
        assert!(before == after, "{number}: it stays as it was");
    }
    let listed = store.page(everything(100)).await.expect("it is listed");
    assert_eq!(listed.len(), 7, "what can be read");
    assert!(listed.iter().any(|head| head.id == row(1).id));
    assert!(matches!(
        store.take(row(6).id, Claim::Own).await,
        Ok(Took::Row(_))
    ));
    // A newer row takes the place of one whose payload broke, and an end that of each.
    let mut newer = row(1);
    newer.revision = Revision::new(2);
    assert_eq!(store.put(vec![newer]).await, Ok(vec![Put::Stored]));
    let ended = (1..=4).map(|number| Ended {
        id: row(number).id,
        bucket: row(number).bucket,
        remember_for: Duration::from_secs(60),
    });
    assert_eq!(store.end(ended.collect()).await, Ok(()));
    for number in 1..=4 {
        assert_eq!(
            store.take(row(number).id, Claim::Own).await,
            Ok(Took::Ended)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_what_somebody_removed_go_from_the_lists() {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let store = open(&server).await;
    let mut rows: Vec<Row> = (0..300).map(row).collect();
    for row in &mut rows {
        row.left = Duration::ZERO;
    }
    assert_eq!(store.put(rows).await, Ok(vec![Put::Stored; 300]));
    let keys: Vec<Vec<u8>> = (0..290).map(key).collect();
    let mut other = beside(&server).await;
    redis::cmd("DEL")
        .arg(keys)
        .exec_async(&mut other)
        .await
        .expect("it can be written");
    for is_due in [false, true] {
        let mut page = everything(20);
        page.due = is_due;
        let listed = store.page(page).await.map(|heads| heads.len());
        assert_eq!(
            listed,
            Ok(10),
            "those that are there, beyond many that are not"
        );
    }
    assert_eq!(entries(&server).await, [10, 0, 10]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_forgot_its_scripts_is_told_again() {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let store = open(&server).await;
    let mut other = beside(&server).await;
    for round in 0..3 {
        redis::cmd("SCRIPT")
            .arg("FLUSH")
            .exec_async(&mut other)
            .await
            .expect("it can be told");
        let rows: Vec<Row> = (0..300).map(row).collect();
        assert_eq!(store.put(rows).await, Ok(vec![Put::Stored; 300]), "{round}");
    }
}
