//! A request runs on a session that has just come, and its answer waits for the manager's word:
//! whatever becomes of the session meanwhile, nothing is acknowledged that another copy does not have.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use wadi_core::message::Want;
use wadi_core::node::Located;
use wadi_core::protocol::Event;
use wadi_core::session::{SessionError, SessionId, Visit};
use wadi_core::tenure::Revision;
use wadi_core::transport::memory::Condition;

use crate::world::{Refused, World, millis};

const CUT: Condition = Condition {
    cut: true,
    delay: millis(0),
    doubled: false,
};

/// A session that n1 manages and n3 held has just come to n2, where n1's word cannot come.
async fn unconfirmed() -> (World, SessionId) {
    let world = World::of(&["n1", "n2", "n3"]).await;
    let id = world.create("n1").await;
    assert_eq!(world.owner("n3", &id).await, Ok("n1".to_owned()));
    world.condition("n1", "n2", CUT);
    let came = world.node("n2").locate(id, Want::Move).await;
    assert!(matches!(came, Located::Came(_)), "{came:?}");
    let held = world.node("n2").sessions().map().get(&id);
    let held = held.expect("it came");
    assert!(held.is_unconfirmed());
    (world, id)
}

async fn write(visit: &Visit) -> Result<(), SessionError> {
    visit.insert("n", 1_u8)
}

async fn read(world: &World, name: &str, id: &SessionId) -> Result<Option<u8>, Refused> {
    for _ in 0..120 {
        let read = world.request(name, id, async |visit| visit.get("n")).await;
        if read != Err(Refused::Unavailable) {
            return read;
        }
        tokio::time::sleep(millis(500)).await;
    }
    Err(Refused::Unavailable)
}

#[tokio::test(start_paused = true)]
async fn its_manager_dies_before_it_has_confirmed() {
    let (world, id) = unconfirmed().await;
    let (written, ()) = tokio::join!(world.request("n2", &id, write), async {
        tokio::time::sleep(millis(100)).await;
        // What n2 reports to the next manager has the write.
        let held = world.node("n2").sessions().map().get(&id);
        let (_, revision) = held.and_then(|held| held.version_as(&id)).expect("it came");
        assert_eq!(revision, Revision::new(2));
        world.kill("n1");
    });
    assert_eq!(written, Ok(()), "the next manager has confirmed it");
    assert_eq!(read(&world, "n3", &id).await, Ok(Some(1)));
    assert_eq!(world.serving(&id), ["n3"]);
    assert_eq!(world.events("n2"), []);
}

#[tokio::test(start_paused = true)]
async fn its_node_is_fenced_before_it_is_confirmed() {
    let (world, id) = unconfirmed().await;
    world.condition("n2", "n1", CUT);
    let (written, ()) = tokio::join!(world.request("n2", &id, write), async {
        tokio::time::sleep(millis(100)).await;
        world.cut_off("n2", true);
    });
    assert_eq!(written, Err(Refused::Unavailable));
    // The others know that it has it, and it comes back with it.
    world.cut_off("n2", false);
    world.network.heal();
    world.settle().await;
    for name in ["n2", "n1", "n3"] {
        assert_eq!(read(&world, name, &id).await, Ok(Some(1)), "{name}");
        assert_eq!(world.serving(&id), [name]);
        let forked = |event: &Event| matches!(event, Event::Fork(_));
        assert!(!world.events(name).iter().any(forked), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_asked_for_by_another_while_a_handler_runs_on_it() {
    let (world, id) = unconfirmed().await;
    let has_run = AtomicBool::new(false);
    let long = async |visit: &Visit| {
        visit.insert("n", 1_u8)?;
        tokio::time::sleep(millis(150)).await;
        has_run.store(true, Relaxed);
        Ok(())
    };
    let (written, read) = tokio::join!(world.request("n2", &id, long), async {
        tokio::time::sleep(millis(50)).await;
        let asked = read(&world, "n3", &id);
        let heal = async {
            tokio::time::sleep(millis(20)).await;
            assert!(!has_run.load(Relaxed));
            world.network.heal();
        };
        let (read, ()) = tokio::join!(asked, heal);
        assert!(has_run.load(Relaxed), "it was waited for");
        read
    });
    assert_eq!((written, read), (Ok(()), Ok(Some(1))));
}

#[tokio::test(start_paused = true)]
async fn its_node_leaves_before_it_is_confirmed() {
    let (world, id) = unconfirmed().await;
    let (written, left, ()) = tokio::join!(
        world.request("n2", &id, write),
        async {
            tokio::time::sleep(millis(50)).await;
            world.leave("n2").await
        },
        async {
            tokio::time::sleep(millis(500)).await;
            world.network.heal();
        }
    );
    assert_eq!(written, Ok(()));
    assert!(left.in_good_order, "{left:?}");
    assert_eq!(read(&world, "n3", &id).await, Ok(Some(1)));
}

#[tokio::test(start_paused = true)]
async fn it_ends_only_once_it_is_confirmed() {
    let (world, id) = unconfirmed().await;
    let flush = async |visit: &Visit| visit.flush().await;
    let ended = world.request("n2", &id, flush).await;
    assert_eq!(ended, Err(Refused::Unavailable), "nobody has confirmed it");
    world.network.heal();
    world.settle().await;
    assert_eq!(world.serving(&id), ["n2"]);
    assert_eq!(world.request("n2", &id, flush).await, Ok(()));
    let gone = read(&world, "n3", &id).await;
    assert_eq!(gone, Err(Refused::Absent { lost: false }));
}
