//! Requests on one session overlap without end while others want to have it moved: the mover gets it, and
//! no request waits for longer than the mover may.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use wadi_core::message::Want;
use wadi_core::node::Located;
use wadi_core::session::SessionId;

use crate::world::{World, millis, secs};

/// For how long a mover waits for the lock, at most.
const SEAL_WAIT: Duration = millis(500);

/// Requests that each have the session for so long, one beginning so long after the other, until told to stop;
/// the longest that one of them waited before its handler ran, and how many there were.
async fn requests(
    world: &Arc<World>,
    id: SessionId,
    (each, every): (Duration, Duration),
    stop: &AtomicBool,
) -> (Duration, usize) {
    let mut running = Vec::new();
    while !stop.load(Relaxed) {
        let world = Arc::clone(world);
        running.push(tokio::spawn(async move {
            let asked = world.node("n1").sessions().now();
            let served = world.request_wanting(Want::Locate, "n1", &id, async |visit| {
                let waited = world.node("n1").sessions().now().since(asked);
                tokio::time::sleep(each).await;
                visit.update("count", |count: &mut usize| *count += 1)?;
                Ok(waited)
            });
            served.await.expect("it is served")
        }));
        tokio::time::sleep(every).await;
    }
    let (mut longest, mut count) = (Duration::ZERO, 0);
    for request in running {
        longest = longest.max(request.await.expect("it does not panic"));
        count += 1;
    }
    (longest, count)
}

async fn counted(world: &World, id: &SessionId) -> usize {
    let count = world.request_wanting(Want::Locate, "n1", id, async |visit| {
        visit.get::<usize>("count")
    });
    count.await.expect("it is served").unwrap_or_default()
}

/// There is no moment at which nobody uses the session.
#[tokio::test(start_paused = true)]
async fn a_mover_is_not_starved_by_requests_that_overlap() {
    let world = Arc::new(World::of(&["n1", "n2", "n3"]).await);
    let id = world.create("n1").await;
    let stop = AtomicBool::new(false);
    let each = millis(100);
    let ((longest, count), took) =
        tokio::join!(requests(&world, id, (each, millis(10)), &stop), async {
            let mut took = Vec::new();
            tokio::time::sleep(millis(55)).await;
            for name in ["n2", "n3", "n1", "n3", "n2"] {
                let node = world.node(name);
                let asked = node.sessions().now();
                let located = node.locate(id, Want::Move).await;
                assert!(
                    matches!(located, Located::Came(_) | Located::Here),
                    "{name}: {located:?}"
                );
                took.push(node.sessions().now().since(asked));
                tokio::time::sleep(millis(200)).await;
            }
            stop.store(true, Relaxed);
            took
        });
    for took in took {
        assert!(took <= each + millis(50), "a mover waited for {took:?}");
    }
    assert!(
        longest <= 2 * each + millis(50),
        "one waited for {longest:?}"
    );
    assert!(count > 50, "{count}");
    assert_eq!(counted(&world, &id).await, count, "and nothing is lost");
}

/// One request has the session for very long, and others come and go beside it. Each time that somebody
/// wants to have the session, they wait for as long as the mover does, and go on when it gives up.
#[tokio::test(start_paused = true)]
async fn a_mover_that_waits_in_vain_stalls_requests_for_a_moment_only() {
    let world = Arc::new(World::of(&["n1", "n2", "n3"]).await);
    let id = world.create("n1").await;
    let stop = AtomicBool::new(false);
    let long = async {
        let long = world.request("n1", &id, async |visit| {
            tokio::time::sleep(secs(20)).await;
            visit.insert("long", true)
        });
        assert_eq!(long.await, Ok(()));
    };
    let movers = async {
        tokio::time::sleep(millis(55)).await;
        let began = world.node("n2").sessions().now();
        for _ in 0..5 {
            for name in ["n2", "n3"] {
                let node = world.node(name);
                let located = node.locate(id, Want::Move).await;
                assert!(matches!(located, Located::At(_)), "{name}: {located:?}");
            }
            tokio::time::sleep(millis(500)).await;
        }
        stop.store(true, Relaxed);
        let took = world.node("n2").sessions().now().since(began);
        assert!(took < secs(18), "the long request was not over: {took:?}");
    };
    let ((), (longest, count), ()) = tokio::join!(
        long,
        requests(&world, id, (millis(10), millis(20)), &stop),
        movers
    );
    assert!(
        longest <= SEAL_WAIT + millis(50),
        "one waited for {longest:?}"
    );
    assert_eq!(world.serving(&id), ["n1"]);
    assert_eq!(counted(&world, &id).await, count, "and nothing is lost");
}
