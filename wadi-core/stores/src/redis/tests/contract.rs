//! The contract, on a server as it comes, and what a full one does.

use wadi_core::store::{Claim, Ended, Put, SessionStore, StoreError, Took, conformance};

use super::super::RedisOpenError;
use super::super::names::Names;
use super::super::scripts::{Script, TEXTS};
use super::super::value;
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_redis_conforms() {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    conformance::check(open(&server).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_over_the_newer_protocol_is_the_same() {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let address = format!("{}?protocol=resp3", server.address());
    let store = RedisStore::open(&address, "test", RedisSettings::new()).await;
    conformance::check(store.expect("it opens")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_open_a_new_server_at_once_and_share_it() {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let (a, b, c) = tokio::join!(open(&server), open(&server), open(&server));
    let rows: Vec<Row> = (0..1000).map(row).collect();
    assert_eq!(a.put(rows).await, Ok(vec![Put::Stored; 1000]));
    let listed = b.page(everything(2000)).await.map(|heads| heads.len());
    assert_eq!(listed, Ok(1000));
    assert!(matches!(
        b.take(row(5).id, Claim::Own).await,
        Ok(Took::Row(_))
    ));
    assert_eq!(c.take(row(5).id, Claim::Own).await, Ok(Took::Nothing));
    let forwards: Vec<Row> = (0..500).map(row).collect();
    let backwards: Vec<Row> = (0..500).rev().map(row).collect();
    for _ in 0..5 {
        let (one, other) = tokio::join!(a.put(forwards.clone()), b.put(backwards.clone()));
        assert_eq!(one, Ok(vec![Put::Stored; 500]));
        assert_eq!(other, Ok(vec![Put::Stored; 500]));
    }
    let form: String = redis::cmd("GET")
        .arg("wadi:{test}:form")
        .query_async(&mut beside(&server).await)
        .await
        .expect("it can be read");
    assert_eq!(form, "1");
    // Another application has the same ids, and none of the sessions.
    let other = RedisStore::open(&server.address(), "other", RedisSettings::new()).await;
    let other = other.expect("it opens");
    assert_eq!(other.page(everything(2000)).await, Ok(vec![]));
    assert_eq!(other.take(row(6).id, Claim::Own).await, Ok(Took::Nothing));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_has_run_out_is_listed_however_much_it_is() {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let store = open(&server).await;
    let mut rows: Vec<Row> = (0..3000).map(row).collect();
    for row in rows.iter_mut().filter(|row| row.id.issued() % 3 != 0) {
        row.left = Duration::ZERO;
    }
    assert_eq!(store.put(rows).await, Ok(vec![Put::Stored; 3000]));
    let mut page = everything(700);
    page.due = true;
    let mut due = Vec::new();
    loop {
        page.after = due.last().copied();
        let heads = store.page(page.clone()).await.expect("it is listed");
        due.extend(heads.iter().map(|head| (head.bucket, head.id)));
        if heads.len() < 700 {
            break;
        }
    }
    assert_eq!(due.len(), 2000);
    assert!(due.is_sorted());
    assert_eq!(entries(&server).await, [3000, 1000, 2000]);
    // Put again, one of them in another bucket.
    let mut again = row(1);
    again.bucket = BucketId::new(6);
    let put = store.put(vec![again, row(2)]).await;
    assert_eq!(put, Ok(vec![Put::Stored; 2]));
    assert_eq!(entries(&server).await, [3000, 1002, 1998]);
    page.after = None;
    page.most = 5000;
    let heads = store.page(page).await.expect("it is listed");
    assert_eq!(heads.len(), 1998, "what lives again is not due");
    let heads = store.page(everything(5000)).await.expect("it is listed");
    assert_eq!(heads.len(), 3000, "each once");
    let of_it = heads.iter().find(|head| head.id == row(1).id);
    assert_eq!(of_it.map(|head| head.bucket), Some(BucketId::new(6)));
    // Of what is gone, nothing is left.
    for (number, claim) in [
        (1, Claim::Own),
        (4, Claim::Own),
        (5, Claim::Granted(tenure(2))),
    ] {
        let took = store.take(row(number).id, claim).await;
        assert!(matches!(took, Ok(Took::Row(_))), "{took:?}");
    }
    assert_eq!(entries(&server).await, [2998, 1001, 1996]);
    let ended = (0..3000).map(|number| Ended {
        id: row(number).id,
        bucket: row(number).bucket,
        remember_for: Duration::ZERO,
    });
    assert_eq!(store.end(ended.collect()).await, Ok(()));
    assert_eq!(entries(&server).await, [0, 0, 0]);
    let sessions: Vec<Vec<u8>> = redis::cmd("KEYS")
        .arg("wadi:*session*")
        .query_async(&mut beside(&server).await)
        .await
        .expect("it can be read");
    assert_eq!(sessions.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_remembered_for_longer_stays_so() {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let store = open(&server).await;
    let end = async |number: u32, seconds: u64| {
        let ended = Ended {
            id: row(number).id,
            bucket: row(number).bucket,
            remember_for: Duration::from_secs(seconds),
        };
        assert_eq!(store.end(vec![ended]).await, Ok(()));
        redis::cmd("PTTL")
            .arg(key(number))
            .query_async::<i64>(&mut beside(&server).await)
            .await
            .expect("it can be read")
    };
    for seconds in [500, 1, 0] {
        let left = end(1, seconds).await;
        assert!((400_000..=500_000).contains(&left), "{left}");
    }
    let absent = store.take(row(2).id, Claim::Granted(tenure(2))).await;
    assert_eq!(absent, Ok(Took::Nothing));
    for seconds in [0, 1] {
        let left = end(2, seconds).await;
        assert!((500_000..=600_000).contains(&left), "{left}");
    }
    assert!(end(2, 900).await > 600_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_takes_nothing_more_and_all_else_goes_on() {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let store = open(&server).await;
    let rows: Vec<Row> = (0..20).map(row).collect();
    assert_eq!(store.put(rows).await, Ok(vec![Put::Stored; 20]));
    redis::cmd("CONFIG")
        .arg(&["SET", "maxmemory", "100kb"])
        .exec_async(&mut beside(&server).await)
        .await
        .expect("it can be set");
    let put = store.put(vec![row(21)]).await;
    assert!(matches!(put, Err(StoreError::Full(_))), "{put:?}");
    let listed = store.page(everything(100)).await.map(|heads| heads.len());
    assert_eq!(listed, Ok(20), "nothing changed");
    assert!(matches!(
        store.take(row(1).id, Claim::Own).await,
        Ok(Took::Row(_))
    ));
    let granted = Claim::Granted(tenure(2));
    assert!(matches!(
        store.take(row(2).id, granted).await,
        Ok(Took::Row(_))
    ));
    assert_eq!(store.take(row(22).id, granted).await, Ok(Took::Nothing));
    let ended = Ended {
        id: row(3).id,
        bucket: row(3).bucket,
        remember_for: Duration::from_secs(60),
    };
    assert_eq!(store.end(vec![ended]).await, Ok(()));
    assert_eq!(store.take(row(3).id, granted).await, Ok(Took::Ended));
    let mut due = everything(10);
    due.due = true;
    assert_eq!(store.page(due).await, Ok(vec![]));
    assert_eq!(store.begin(0).await, Ok(1));
    // A new connection, too.
    let again = open(&server).await;
    assert_eq!(again.take(row(3).id, granted).await, Ok(Took::Ended));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_no_store_is_refused() {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let store = open(&server).await;
    let mut other = beside(&server).await;
    let mut set = async |what: &[&str]| {
        let mut command = redis::cmd(what[0]);
        command.arg(&what[1..]);
        let done = command.exec_async(&mut other).await;
        done.expect("it can be set");
    };
    let opened = async || {
        let settings = RedisSettings::new();
        RedisStore::open(&server.address(), "test", settings).await
    };
    set(&["CONFIG", "SET", "maxmemory-policy", "volatile-lru"]).await;
    let refused = opened().await;
    assert!(
        matches!(&refused, Err(RedisOpenError::Evicts { policy }) if policy == "volatile-lru"),
        "{refused:?}"
    );
    // One that was fit when it was opened, once the connection is made again.
    set(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    let mut put = store.put(vec![row(1)]).await;
    if put
        .as_ref()
        .is_err_and(|error| !error.to_string().contains("maxmemory-policy"))
    {
        put = store.put(vec![row(1)]).await;
    }
    assert!(
        put.as_ref()
            .is_err_and(|error| error.to_string().contains("maxmemory-policy")),
        "{put:?}"
    );
    set(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    assert_eq!(store.put(vec![row(1)]).await, Ok(vec![Put::Stored]));
    set(&["SET", "wadi:{test}:form", "99"]).await;
    let refused = opened().await;
    assert!(
        matches!(
            refused,
            Err(RedisOpenError::Newer {
                found: 99,
                known: 1
            })
        ),
        "{refused:?}"
    );
    set(&["SET", "wadi:{test}:form", "1"]).await;
    set(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let refused = opened().await;
    assert!(
        matches!(refused, Err(RedisOpenError::Replica)),
        "{refused:?}"
    );
    let put = store.put(vec![row(1)]).await;
    assert!(matches!(put, Err(StoreError::Unavailable(_))), "{put:?}");
    set(&["REPLICAOF", "NO", "ONE"]).await;
    assert_eq!(store.put(vec![row(1)]).await, Ok(vec![Put::Stored]));
}

#[tokio::test]
async fn a_node_of_a_redis_cluster_is_refused() {
    let Some(server) = Server::start(&["--cluster-enabled", "yes"]) else {
        return;
    };
    let refused = RedisStore::open(&server.address(), "test", RedisSettings::new()).await;
    assert!(
        matches!(refused, Err(RedisOpenError::Cluster)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_server_that_says_nothing_of_itself_is_used() {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let mut command = redis::cmd("ACL");
    command.arg(&[
        "SETUSER", "shop", "on", ">secret", "~wadi:*", "+@all", "-info", "-config",
    ]);
    let made = command.exec_async(&mut beside(&server).await).await;
    made.expect("it can be made");
    let address = server.address().replace("redis://", "redis://shop:secret@");
    let store = RedisStore::open(&address, "test", RedisSettings::new()).await;
    let store = store.expect("it opens");
    assert_eq!(store.put(vec![row(1)]).await, Ok(vec![Put::Stored]));
    assert_eq!(
        store.page(everything(10)).await.map(|heads| heads.len()),
        Ok(1)
    );
    let wrong = address.replace("secret", "an0therSecret");
    let refused = RedisStore::open(&wrong, "test", RedisSettings::new()).await;
    let Err(error @ RedisOpenError::Unreachable(_)) = refused else {
        panic!("{refused:?}");
    };
    assert!(!error.to_string().contains("an0therSecret"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_take_that_arrives_late_takes_nothing_that_was_put_since() {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let store = open(&server).await;
    assert_eq!(store.put(vec![row(1)]).await, Ok(vec![Put::Stored]));
    let mut other = beside(&server).await;
    let read: Vec<u8> = redis::cmd("GET")
        .arg(key(1))
        .query_async(&mut other)
        .await
        .expect("it can be read");
    // Whoever read this was not heard of for long; meanwhile the session was taken, and comes back unchanged.
    let first = store.take(row(1).id, Claim::Own).await;
    assert!(matches!(first, Ok(Took::Row(_))), "{first:?}");
    assert_eq!(store.put(vec![row(1)]).await, Ok(vec![Put::Stored]));
    let names = Names::of("test").expect("it is one");
    let late: Vec<redis::Value> = redis::cmd("EVAL")
        .arg(TEXTS[Script::Take.place()])
        .arg(4)
        .arg(names.keys(row(1).id))
        .arg(value::id(row(1).id))
        .arg("")
        .arg(value::version(&read))
        .arg(1000)
        .query_async(&mut other)
        .await
        .expect("it is asked");
    assert_eq!(
        late.first(),
        Some(&redis::Value::BulkString(b"row".to_vec()))
    );
    let again = store.take(row(1).id, Claim::Own).await;
    assert!(matches!(again, Ok(Took::Row(_))), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_outlast_the_server_and_what_cannot_be_read_is_said() {
    let options = ["--appendonly", "yes", "--appendfsync", "always"];
    let Some(mut server) = Server::start(&options) else {
        return;
    };
    let store = open(&server).await;
    let first = store.begin(7).await.expect("there is one");
    assert_eq!(first, 8);
    server.kill();
    server.start_again();
    assert_eq!(store.begin(0).await, Ok(9));
    redis::cmd("SET")
        .arg("wadi:{test}:began")
        .arg("garbage")
        .exec_async(&mut beside(&server).await)
        .await
        .expect("it can be written");
    let none = store.begin(0).await;
    assert!(matches!(none, Err(StoreError::Damaged(_))), "{none:?}");
}
