//! A store below all nodes: what nobody asks for goes there, and comes to whoever is asked for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wadi_core::clock::Clock;
use wadi_core::message::Want;
use wadi_core::node::{Left, Located, StoreTold, Told};
use wadi_core::protocol::Event;
use wadi_core::session::{Look, Origin, PresentedId, SessionId};
use wadi_core::store::SessionStore;

use crate::shelf::{Shelf, Way};
use crate::world::{Refused, World, clock, millis, secs};

const NAMES: [&str; 3] = ["n1", "n2", "n3"];

struct Stage {
    clock: Arc<dyn Clock>,
    shelf: Arc<Shelf>,
    world: World,
}

async fn stage() -> Stage {
    let clock = clock();
    let shelf = Shelf::new(&clock);
    let world = cluster(&clock, &shelf).await;
    Stage {
        clock,
        shelf,
        world,
    }
}

/// One more cluster over the same store.
async fn cluster(clock: &Arc<dyn Clock>, shelf: &Arc<Shelf>) -> World {
    let generation = shelf.begin(0).await.expect("it says one");
    let store = Arc::clone(shelf) as Arc<dyn SessionStore>;
    World::over(Arc::clone(clock), store, generation, &NAMES).await
}

impl Stage {
    async fn down(&self, name: &str, id: &SessionId) {
        self.world.put_down(name).await;
        assert_eq!(self.world.serving(id), [""; 0]);
        assert!(self.shelf.keeps(id).await);
    }

    /// Which of the nodes manages the session's bucket.
    fn manager(&self, id: &SessionId) -> &'static str {
        let layout = self.world.node("n1").status().layout.expect("it knows one");
        let manager = layout.placement(id.bucket(layout.buckets())).manager;
        let is_it = |name: &&&str| self.world.node(name).status().incarnation == Some(manager);
        NAMES.iter().find(is_it).expect("one of them does")
    }

    fn nothing_happened(&self) {
        for name in NAMES {
            assert_eq!(self.world.events(name), [], "{name}");
        }
    }

    fn times_told(&self, what: impl Fn(&StoreTold) -> bool) -> [usize; 3] {
        NAMES.map(|name| {
            let is_it = |told: &Told| matches!(told, Told::Store(told) if what(told));
            self.world.times_told(name, is_it)
        })
    }
}

async fn add(world: &World, name: &str, id: &SessionId) -> Result<(), Refused> {
    let add = async |visit: &wadi_core::session::Visit| {
        visit.update("count", |count: &mut u64| *count += 1)
    };
    world.request(name, id, add).await
}

async fn count(world: &World, name: &str, id: &SessionId) -> Result<u64, Refused> {
    let mut last = Err(Refused::Unavailable);
    for _ in 0..60 {
        let counted = world.request(name, id, async |visit| visit.get::<u64>("count"));
        last = counted.await.map(Option::unwrap_or_default);
        if last != Err(Refused::Unavailable) {
            break;
        }
        tokio::time::sleep(millis(500)).await;
    }
    last
}

#[tokio::test(start_paused = true)]
async fn what_one_node_puts_down_comes_up_at_the_one_that_is_asked() {
    let stage = stage().await;
    for asked in NAMES {
        for holder in NAMES {
            let id = stage.world.create("n1").await;
            add(&stage.world, holder, &id).await.unwrap();
            stage.down(holder, &id).await;
            let located = stage.world.node(asked).locate(id, Want::Move).await;
            let manager = stage.manager(&id);
            // One hop: its manager takes it out and sends it.
            let expected = match stage.world.node(manager).status().incarnation {
                Some(manager_is) if manager != asked => Located::Came(manager_is),
                _ => Located::Here,
            };
            assert_eq!(located, expected, "{holder} {manager} {asked}");
            assert_eq!(stage.world.serving(&id), [asked]);
            assert_eq!(count(&stage.world, asked, &id).await, Ok(1));
        }
    }
    // Others that rest there have gone down with them.
    let below = |name| stage.world.node(name).below().down();
    assert!(NAMES.map(below).iter().sum::<u64>() >= 9);
    let below = |name| stage.world.node(name).below().up();
    assert_eq!(NAMES.map(below).iter().sum::<u64>(), 9);
    stage.nothing_happened();
}

#[tokio::test(start_paused = true)]
async fn time_goes_on_for_what_is_in_the_store_and_once() {
    let stage = stage().await;
    let [kept, over] = [
        stage.world.create("n1").await,
        stage.world.create("n1").await,
    ];
    stage.down("n1", &kept).await;
    // Of the 600 seconds that it has without its cookie.
    tokio::time::sleep(secs(400)).await;
    for name in NAMES {
        // As it moves, and without a request that counts as one.
        assert_ne!(
            stage.world.node(name).locate(kept, Want::Move).await,
            Located::Unavailable
        );
        assert_eq!(stage.world.serving(&kept), [name]);
    }
    tokio::time::sleep(secs(150)).await;
    assert_eq!(stage.world.owner("n2", &kept).await, Ok("n1".to_owned()));
    tokio::time::sleep(secs(60)).await;
    let gone = Err(Refused::Absent { lost: false });
    assert_eq!(stage.world.owner("n2", &over).await, gone);
}

#[tokio::test(start_paused = true)]
async fn sessions_that_go_down_and_are_asked_for_everywhere_lose_nothing() {
    let stage = stage().await;
    let mut ids = Vec::new();
    for name in NAMES {
        ids.push(stage.world.create(name).await);
    }
    for name in NAMES {
        stage.world.evict(name, true);
    }
    let world = &stage.world;
    let over = AtomicBool::new(false);
    let (ids, over) = (&ids, &over);
    let clients = (0..12).map(|client| async move {
        let name = NAMES[client % 3];
        let mut rng = fastrand::Rng::with_seed(client as u64);
        for _ in 0..60 {
            let id = &ids[rng.usize(0..3)];
            while add(world, name, id).await.is_err() {
                tokio::time::sleep(millis(10)).await;
            }
            tokio::time::sleep(millis(rng.u64(0..400))).await;
        }
    });
    let watch = async move {
        while !over.load(Ordering::Relaxed) {
            for id in ids {
                assert!(world.serving(id).len() <= 1);
            }
            tokio::time::sleep(millis(3)).await;
        }
    };
    let clients = async move {
        all(clients).await;
        over.store(true, Ordering::Relaxed);
    };
    tokio::join!(clients, watch);
    let mut counted = 0;
    for id in ids {
        counted += count(&stage.world, "n2", id).await.unwrap();
    }
    assert_eq!(counted, 12 * 60);
    let up = NAMES.map(|name| world.node(name).below().up());
    assert!(up.iter().sum::<u64>() > 50, "{up:?}");
    stage.nothing_happened();
}

/// Awaits all of them at once.
async fn all(futures: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        futures.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if futures.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn many_go_down_in_few_calls_and_all_of_them_come_back() {
    let stage = stage().await;
    let mut ids = Vec::new();
    for n in 0..900 {
        ids.push(stage.world.create(NAMES[n % 3]).await);
    }
    for name in NAMES {
        stage.world.evict(name, true);
    }
    tokio::time::sleep(secs(5)).await;
    for name in NAMES {
        stage.world.evict(name, false);
        assert!(stage.world.node(name).sessions().map().is_empty());
        assert_eq!(stage.world.node(name).below().under_way(), 0);
    }
    assert_eq!(stage.shelf.kept().await.len(), 900);
    assert!(
        (2..=256).contains(&stage.shelf.most()),
        "{}",
        stage.shelf.most()
    );
    let world = &stage.world;
    let asked = ids.iter().map(|id| async move {
        assert!(world.owner("n2", id).await.is_ok());
    });
    all(asked).await;
    assert_eq!(stage.world.node("n2").sessions().map().len(), 900);
    stage.nothing_happened();
}

#[tokio::test(start_paused = true)]
async fn where_the_store_can_be_asked_little_at_once_nothing_is_lost() {
    let clock = clock();
    let shelf = Shelf::new(&clock);
    let store = Arc::clone(&shelf) as Arc<dyn SessionStore>;
    let world = World::over_with_queue(clock, store, 1, Some(2), &NAMES).await;
    let mut ids = Vec::new();
    for n in 0..60 {
        ids.push(world.create(NAMES[n % 3]).await);
    }
    for name in NAMES {
        world.evict(name, true);
    }
    tokio::time::sleep(secs(10)).await;
    let down = NAMES.map(|name| world.node(name).below().down());
    assert!(down.iter().sum::<u64>() >= 20, "{down:?}");
    for name in NAMES {
        world.evict(name, false);
    }
    for id in &ids {
        assert!(world.owner("n2", id).await.is_ok());
    }
    for name in NAMES {
        assert_eq!(world.events(name), [], "{name}");
    }
}

/// What is true of a store that is away, however it is.
async fn away(way: Way, lasts: u64) {
    let stage = stage().await;
    let [here, down, going] = [
        stage.world.create("n1").await,
        stage.world.create("n1").await,
        stage.world.create("n2").await,
    ];
    for id in [here, down, going] {
        add(&stage.world, "n1", &id).await.expect("it is served");
    }
    add(&stage.world, "n3", &down).await.expect("it is served");
    stage.down("n3", &down).await;
    add(&stage.world, "n2", &going).await.expect("it is served");

    stage.shelf.is(way);
    stage.world.evict("n2", true);
    tokio::time::sleep(millis(300)).await;
    stage.world.evict("n2", false);
    // Nobody knows where these are, and nobody says that they are gone.
    for name in NAMES {
        let asked = stage.world.request(name, &down, async |_| Ok(())).await;
        assert_eq!(asked, Err(Refused::Unavailable));
    }
    stage.world.evict("n1", true);
    for second in 0..lasts {
        for name in NAMES {
            let asked = add(&stage.world, name, &going).await;
            assert!(asked != Err(Refused::Absent { lost: true }), "{second}");
            assert!(asked != Err(Refused::Absent { lost: false }), "{second}");
        }
        tokio::time::sleep(secs(1)).await;
    }
    stage.world.evict("n1", false);
    // Some went the way of the store before it was known to be away, and no others.
    let fresh = stage.world.create("n3").await;
    for name in NAMES {
        add(&stage.world, name, &fresh).await.expect("it is served");
    }
    assert!(stage.world.node("n2").below().is_away());
    // Where that is known no more go its way than it takes to find out whether it is back.
    let mut others = Vec::new();
    for _ in 0..40 {
        others.push(stage.world.create("n2").await);
    }
    stage.world.evict("n2", true);
    tokio::time::sleep(secs(10)).await;
    stage.world.evict("n2", false);
    let served = others.iter().filter(|id| stage.world.serving(id) == ["n2"]);
    let served = served.count();
    assert!((30..=40).contains(&served), "{served}");
    stage.shelf.is(Way::Well);
    tokio::time::sleep(secs(40)).await;
    for id in [here, down, going].iter().chain(&others) {
        assert!(count(&stage.world, "n1", id).await.is_ok());
    }
    assert!(!stage.shelf.asked_twice_at_once());
    assert_eq!(count(&stage.world, "n2", &here).await, Ok(1));
    assert_eq!(count(&stage.world, "n2", &down).await, Ok(2));
    assert!(
        count(&stage.world, "n2", &going)
            .await
            .expect("it is served")
            >= 2
    );
    tokio::time::sleep(secs(5)).await;
    let gone = stage.times_told(|told| matches!(told, StoreTold::Away(_)));
    let back = stage.times_told(|told| *told == StoreTold::Back);
    assert_eq!(gone, back);
    assert!(gone.iter().all(|times| *times <= 2), "{gone:?}");
    assert!(gone.iter().sum::<usize>() >= 1, "{gone:?}");
    assert!(
        !NAMES
            .iter()
            .any(|name| stage.world.node(name).below().is_away())
    );
    stage.nothing_happened();
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_silent_for_a_while_loses_nothing() {
    away(Way::Silent, 20).await;
}

#[tokio::test(start_paused = true)]
async fn nor_one_that_does_everything_and_says_nothing() {
    away(Way::Mute, 20).await;
}

#[tokio::test(start_paused = true)]
async fn nor_one_that_does_everything_long_after() {
    away(Way::Late(secs(12)), 20).await;
}

#[tokio::test(start_paused = true)]
async fn nor_one_that_cannot_be_reached() {
    away(Way::Gone, 20).await;
}

#[tokio::test(start_paused = true)]
async fn nor_one_whose_own_code_panics() {
    away(Way::Broken, 5).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_full_store_does_not_take_is_served_from_memory() {
    let stage = stage().await;
    let id = stage.world.create("n1").await;
    stage.shelf.is(Way::Full);
    stage.world.put_down("n1").await;
    assert_eq!(stage.world.serving(&id), ["n1"]);
    for name in NAMES {
        add(&stage.world, name, &id).await.unwrap();
    }
    stage.shelf.is(Way::Well);
    tokio::time::sleep(secs(20)).await;
    stage.down("n3", &id).await;
    assert_eq!(count(&stage.world, "n1", &id).await, Ok(3));
    stage.nothing_happened();
}

#[tokio::test(start_paused = true)]
async fn all_nodes_leave_at_once_and_a_new_cluster_has_everything() {
    let mut stage = stage().await;
    let mut ids = Vec::new();
    for n in 0..60 {
        ids.push(stage.world.create(NAMES[n % 3]).await);
    }
    for (n, id) in ids.iter().enumerate() {
        add(&stage.world, NAMES[n / 7 % 3], id).await.unwrap();
    }
    let destroyed = ids.pop().unwrap();
    let flushed = stage
        .world
        .request("n2", &destroyed, async |visit| visit.flush().await);
    flushed.await.unwrap();
    // Some are there already.
    stage.world.put_down("n2").await;
    for round in 0..3 {
        let [a, b, c] = NAMES.map(|name| stage.world.node(name));
        let leaving =
            async { tokio::join!(a.leave(secs(20)), b.leave(secs(20)), c.leave(secs(20))) };
        let left = tokio::time::timeout(secs(15), leaving).await;
        let well = Left {
            in_good_order: true,
            left_behind: 0,
        };
        assert_eq!(left, Ok((well, well, well)), "{round}");
        assert_eq!(stage.shelf.kept().await.len(), 59, "{round}");
        stage.world = cluster(&stage.clock, &stage.shelf).await;
        for (n, id) in ids.iter().enumerate() {
            let name = NAMES[(n + round) % 3];
            assert_eq!(count(&stage.world, name, id).await, Ok(1 + round as u64));
            let tenure = stage
                .world
                .node(name)
                .sessions()
                .map()
                .get(id)
                .unwrap()
                .version()
                .0;
            assert_eq!(tenure.epoch().generation(), round as u32 + 2);
            add(&stage.world, name, id).await.unwrap();
        }
        for name in NAMES {
            let asked = stage.world.owner(name, &destroyed).await;
            assert!(matches!(asked, Err(Refused::Absent { .. })), "{asked:?}");
        }
        stage.nothing_happened();
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_alone_leaves_everything_in_the_store() {
    let clock = clock();
    let shelf = Shelf::new(&clock);
    let store = || Arc::clone(&shelf) as Arc<dyn SessionStore>;
    let world = World::over(Arc::clone(&clock), store(), 1, &["n1"]).await;
    let id = world.create("n1").await;
    add(&world, "n1", &id).await.unwrap();
    let left = tokio::time::timeout(secs(10), world.leave("n1")).await;
    let well = Left {
        in_good_order: true,
        left_behind: 0,
    };
    assert_eq!(left, Ok(well));
    let world = World::over(clock, store(), 2, &["n1"]).await;
    assert_eq!(count(&world, "n1", &id).await, Ok(1));
    // Where the store takes nothing it goes all the same, when its time is up.
    shelf.is(Way::Silent);
    let left = tokio::time::timeout(secs(21), world.leave("n1"))
        .await
        .unwrap();
    assert_eq!(left.left_behind, 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_destroyed_stays_away_whether_it_was_in_the_store_or_not() {
    let stage = stage().await;
    let [never, once] = [
        stage.world.create("n1").await,
        stage.world.create("n1").await,
    ];
    stage.world.owner("n2", &once).await.unwrap();
    stage.down("n2", &once).await;
    for id in [never, once] {
        let flushed = stage
            .world
            .request("n3", &id, async |visit| visit.flush().await);
        flushed.await.unwrap();
        for name in NAMES {
            let asked = stage.world.owner(name, &id).await;
            assert_eq!(asked, Err(Refused::Absent { lost: false }));
        }
        assert!(!stage.shelf.keeps(&id).await);
    }
    let later = cluster(&stage.clock, &stage.shelf).await;
    for id in [never, once] {
        for name in NAMES {
            let asked = later.owner(name, &id).await;
            assert!(matches!(asked, Err(Refused::Absent { .. })), "{asked:?}");
        }
    }
    stage.nothing_happened();
}

#[tokio::test(start_paused = true)]
async fn a_row_that_has_run_out_ends_exactly_once() {
    let stage = stage().await;
    let mut ids = Vec::new();
    for n in 0..50 {
        ids.push(stage.world.create(NAMES[n % 3]).await);
    }
    for name in NAMES {
        stage.world.put_down(name).await;
    }
    assert_eq!(stage.shelf.kept().await.len(), 50);
    tokio::time::sleep(secs(590)).await;
    assert_eq!(stage.shelf.kept().await.len(), 50);
    assert_eq!(stage.shelf.ends(), 0);
    tokio::time::sleep(secs(20)).await;
    assert_eq!(stage.shelf.kept().await.len(), 0);
    assert_eq!(stage.shelf.ends(), 50);
    for id in &ids {
        let ended = NAMES.map(|name| {
            let node = stage.world.node(name);
            let text = node.sessions().text(id);
            let presented = PresentedId::parse(text.expose().as_bytes()).unwrap();
            matches!(
                node.sessions().look(&presented, node.sessions().now()),
                Look::NotHere(Origin::Expired)
            )
        });
        assert_eq!(ended.iter().filter(|ended| **ended).count(), 1);
        let asked = stage.world.owner("n2", id).await;
        assert_eq!(asked, Err(Refused::Absent { lost: false }));
    }
    stage.nothing_happened();
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_node_made_of_a_row_is_not_served_as_it_was_in_silence() {
    let stage = stage().await;
    let mut ids = Vec::new();
    for _ in 0..12 {
        let id = stage.world.create("n2").await;
        add(&stage.world, "n3", &id).await.unwrap();
        ids.push(id);
    }
    stage.world.put_down("n3").await;
    for id in &ids {
        assert!(stage.shelf.keeps(id).await);
        add(&stage.world, "n1", id).await.unwrap();
    }
    stage.world.kill("n1");
    for id in &ids {
        let asked = count(&stage.world, "n2", id).await;
        let told = ["n2", "n3"].map(|name| stage.world.events(name));
        let is_told = |event: Event| told.iter().any(|told| told.contains(&event));
        match asked {
            Ok(1) => assert!(is_told(Event::Stale(*id))),
            Err(Refused::Absent { lost: true }) => assert!(is_told(Event::Lost(*id))),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn another_cluster_on_the_same_store_is_told_of() {
    let stage = stage().await;
    let id = stage.world.create("n1").await;
    stage.down("n1", &id).await;
    let later = cluster(&stage.clock, &stage.shelf).await;
    assert!(later.owner("n1", &id).await.is_ok());
    let asked = stage.world.request("n1", &id, async |_| Ok(())).await;
    assert_eq!(asked, Err(Refused::Unavailable));
    let told = stage.times_told(|told| *told == StoreTold::Superseded);
    assert_eq!(told.iter().sum::<usize>(), 1, "{told:?}");
}
