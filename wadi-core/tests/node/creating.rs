//! Sessions that need an id while no bucket is open where they are.

use std::sync::Arc;

use wadi_core::node::Node;
use wadi_core::session::{CookieChange, Origin, SessionError, SessionId, Visit};
use wadi_core::transport::memory::Condition;

use crate::world::{Refused, World, millis, respond, secs};

const CUT: Condition = Condition {
    cut: true,
    delay: std::time::Duration::ZERO,
    doubled: false,
};

fn new_visit(node: &Node) -> Visit {
    Visit::without(Arc::clone(node.sessions()), Origin::New)
}

/// The node is leaving and none of its buckets is open; a session in use keeps it from being done.
async fn leaving(world: &World, name: &str) -> (tokio::task::JoinHandle<bool>, impl Sized + use<>) {
    let busy = world.create(name).await;
    let node = world.node(name);
    let held = node.sessions().map().get(&busy).expect("it is here");
    let in_use = held.try_share();
    let leaving = node.clone();
    let leaves = tokio::spawn(async move { leaving.evacuate(secs(60)).await });
    while node.may_create() {
        tokio::time::sleep(millis(1)).await;
    }
    (leaves, in_use.expect("nobody else uses it"))
}

fn all_sessions(world: &World) -> usize {
    let names = world.names().into_iter();
    names
        .map(|name| world.node(name).sessions().map().len())
        .sum()
}

#[tokio::test(start_paused = true)]
async fn a_node_without_buckets_has_its_sessions_registered_before_others_hear_of_them() {
    let world = World::with_buckets(2, &["n1", "n2", "n3"]).await;
    let node = world.node("n3");
    assert!(!node.may_create());
    let visit = new_visit(&node);
    visit.insert("owner", "n3".to_owned()).unwrap();
    let id = visit.id().unwrap();
    assert_eq!(all_sessions(&world), 0);
    assert_eq!(visit.commit(), Err(SessionError::Unregistered));
    let committed = respond(&visit).await.unwrap();
    assert!(matches!(committed, CookieChange::Set { created: true, .. }));
    assert_eq!(world.serving(&id), ["n3"]);
    assert_eq!(world.owner("n1", &id).await, Ok("n3".to_owned()));
    assert_eq!(world.serving(&id), ["n1"]);

    // Nobody is asked about one that nobody writes to, or that ends before the head.
    world.every_link(CUT);
    let visit = new_visit(&node);
    assert_eq!(visit.get::<String>("owner"), Ok(None));
    assert_eq!(respond(&visit).await, Ok(CookieChange::Keep));
    let visit = new_visit(&node);
    visit.insert("owner", 1_u8).unwrap();
    visit.flush().await.unwrap();
    assert_eq!(respond(&visit).await, Ok(CookieChange::Clear));
    let visit = new_visit(&node);
    visit.insert("owner", 1_u8).unwrap();
    visit.abandon();
    assert_eq!(all_sessions(&world), 1);
}

#[tokio::test(start_paused = true)]
async fn a_session_is_created_though_the_buckets_close_before_its_first_write() {
    let world = World::of(&["n1", "n2"]).await;
    let node = world.node("n1");
    assert!(node.may_create());
    let visit = new_visit(&node);
    let (leaves, in_use) = leaving(&world, "n1").await;
    visit.insert("owner", "n1".to_owned()).unwrap();
    let id = visit.id().unwrap();
    assert!(respond(&visit).await.is_ok());
    // It is evacuated like every other.
    drop(in_use);
    assert!(leaves.await.unwrap());
    assert_eq!(world.serving(&id), ["n2"]);
    assert_eq!(world.owner("n2", &id).await, Ok("n1".to_owned()));

    // A node that has said that nothing is left takes nothing more.
    assert_eq!(
        world.try_create("n1").await,
        Err(SessionError::Unregistered)
    );
    assert!(node.sessions().map().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_login_on_a_leaving_node_renews_the_id() {
    let world = World::of(&["n1", "n2"]).await;
    let old = world.create("n1").await;
    let node = world.node("n1");
    let held = node.sessions().map().get(&old).unwrap();
    let guard = held.try_share().unwrap();
    let visit = Visit::holding(Arc::clone(node.sessions()), guard, old);
    let (leaves, in_use) = leaving(&world, "n1").await;
    for _ in 0..2 {
        let before = visit.id().unwrap();
        visit.cycle_id().await.unwrap();
        let id = visit.id().unwrap();
        assert_ne!(id, before);
        assert!(node.sessions().map().get(&before).is_none());
        assert!(Arc::ptr_eq(&node.sessions().map().get(&id).unwrap(), &held));
    }
    let new = visit.id().unwrap();
    visit.insert("user", "ann".to_owned()).unwrap();
    assert!(matches!(visit.commit(), Ok(CookieChange::Set { .. })));
    drop((visit, held, in_use));
    assert!(leaves.await.unwrap());
    assert_eq!(world.serving(&new), ["n2"]);
    assert_eq!(world.owner("n2", &new).await, Ok("n1".to_owned()));
    let absent = Err(Refused::Absent { lost: false });
    for name in ["n1", "n2"] {
        assert_eq!(world.owner(name, &old).await, absent, "{name}");
        assert_eq!(world.events(name), [], "{name}");
    }
}

/// Logins of many sessions while everything is moved away: each is renewed or not, and then is in one
/// place under one id.
#[tokio::test(start_paused = true)]
async fn renewals_race_an_evacuation() {
    for round in 0..20 {
        let world = World::of(&["n1", "n2", "n3"]).await;
        let mut ids = Vec::new();
        for _ in 0..100 {
            ids.push(world.create("n1").await);
        }
        world.every_link(Condition {
            delay: millis(round % 5),
            ..Condition::default()
        });
        let node = world.node("n1");
        let evacuating = node.clone();
        // Some of the requests are too slow, and lose their sessions.
        let leaves = tokio::spawn(async move { evacuating.evacuate(millis(30 + 2 * round)).await });
        let logins = ids.iter().enumerate().map(|(n, id)| {
            let (world, n) = (&world, n as u64);
            async move {
                tokio::time::sleep(millis(n / 5)).await;
                let login = world.request("n1", id, async |visit| {
                    tokio::time::sleep(millis(n % 7)).await;
                    visit.cycle_id().await?;
                    tokio::time::sleep(millis(n % 40)).await;
                    visit.insert("user", n)?;
                    Ok(visit.id().unwrap())
                });
                (*id, login.await)
            }
        });
        let logins: Vec<(SessionId, _)> = all(logins.collect()).await;
        assert!(leaves.await.unwrap());
        tokio::time::sleep(secs(5)).await;
        assert!(node.sessions().map().is_empty());
        let mut renewed = 0;
        for (old, login) in &logins {
            let Ok(new) = login else { continue };
            renewed += 1;
            assert_eq!(world.serving(new).len(), 1);
            let user = world.request("n2", new, async |visit| visit.get::<u64>("user"));
            assert!(user.await.unwrap().is_some());
            let absent = Err(Refused::Absent { lost: false });
            assert_eq!(world.owner("n3", old).await, absent);
        }
        assert!(renewed > 20, "{renewed}");
        // Nothing empty stays behind: there are as many sessions as there were.
        assert_eq!(all_sessions(&world), ids.len());
        for name in ["n1", "n2", "n3"] {
            assert_eq!(world.events(name), [], "{name}");
        }
    }
}

async fn all<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<T>> = waiting.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in waiting.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(out) = future.as_mut().poll(context)
            {
                *done = Some(out);
            }
        }
        if done.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test(start_paused = true)]
async fn where_no_manager_answers_nothing_stays() {
    let world = World::with_buckets(2, &["n1", "n2", "n3"]).await;
    let node = world.node("n3");
    let old = world.create("n1").await;
    // It is n3's now, and is renewed in vain.
    world.owner("n3", &old).await.unwrap();
    // The managers hear what is asked, and are not heard.
    world.condition("n1", "n3", CUT);
    world.condition("n2", "n3", CUT);
    let visit = new_visit(&node);
    visit.insert("owner", "n3".to_owned()).unwrap();
    let created = visit.id().unwrap();
    let began = node.sessions().now();
    assert_eq!(respond(&visit).await, Err(SessionError::Unregistered));
    assert!(node.sessions().now().since(began) < secs(5));
    assert_eq!(visit.id(), None);
    let renewed = world.request("n3", &old, async |visit| {
        assert_eq!(visit.cycle_id().await, Err(SessionError::Unregistered));
        assert_eq!(visit.id(), Some(old));
        visit.insert("still", true)
    });
    assert_eq!(renewed.await, Ok(()));
    // A request that is given up while it waits.
    let visit = new_visit(&node);
    visit.insert("owner", "n3".to_owned()).unwrap();
    let waits = tokio::time::timeout(millis(100), visit.register());
    assert!(waits.await.is_err());
    visit.abandon();
    world.network.heal();
    tokio::time::sleep(secs(5)).await;
    assert_eq!(all_sessions(&world), 1);
    let absent = Err(Refused::Absent { lost: false });
    assert_eq!(world.owner("n1", &created).await, absent);
    assert_eq!(world.owner("n2", &old).await, Ok("n1".to_owned()));
    assert_eq!(
        world
            .request("n1", &old, async |visit| visit.contains("still"))
            .await,
        Ok(true)
    );
    for name in world.names() {
        assert_eq!(world.events(name), [], "{name}");
    }
}
