//! A node's process stands still for longer than its lease while the others go on, and the clocks on all
//! walls jump: no session is served by two, no version has two layouts, and when it goes on it serves nothing
//! until it is somebody new, with what it had.
//!
//! Each side is a runtime of its own whose time is paused, and one thread takes both on in turns. So one that is
//! not taken on stands still altogether, as a process that was stopped does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use wadi_core::bucket::{Layout, LayoutVersion};
use wadi_core::clock::{Clock, ManualClock, Moment};
use wadi_core::member::Standing;
use wadi_core::session::SessionId;

use crate::whole::Whole;
use crate::world::LEASE;

const THREE: [&str; 3] = ["n1", "n2", "n3"];
const STEP: Duration = Duration::from_millis(10);
const HOURS: i64 = 3600;

/// One monotonic clock for all, and a clock on the wall of each node's own, which is off.
#[derive(Debug)]
struct OffClock {
    inner: Arc<ManualClock>,
    off: Arc<AtomicI64>,
}

impl Clock for OffClock {
    fn now(&self) -> Moment {
        self.inner.now()
    }

    fn unix_seconds(&self) -> u32 {
        let wall = i64::from(self.inner.unix_seconds()) + self.off.load(Relaxed);
        u32::try_from(wall).expect("a time after 1970")
    }
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    let built = builder.enable_time().start_paused(true).build();
    built.expect("the system has what it takes")
}

struct Stage {
    whole: Whole,
    clock: Arc<ManualClock>,
    offs: BTreeMap<&'static str, Arc<AtomicI64>>,
    /// One for each node, by name.
    sides: BTreeMap<&'static str, Runtime>,
    stands_still: Option<(&'static str, Duration)>,
    random: fastrand::Rng,
    ids: Vec<SessionId>,
    layouts: BTreeMap<LayoutVersion, Arc<Layout>>,
}

impl Stage {
    fn new(seed: u64) -> Self {
        let clock = Arc::new(ManualClock::new());
        let side = runtime();
        let mut whole = side.block_on(async { Whole::empty() });
        let (mut offs, mut sides) = (BTreeMap::new(), BTreeMap::new());
        for name in THREE {
            let side = runtime();
            let off = Arc::<AtomicI64>::default();
            whole.world.clock = Arc::new(OffClock {
                inner: Arc::clone(&clock),
                off: Arc::clone(&off),
            });
            side.block_on(async { whole.start(name, &THREE) });
            offs.insert(name, off);
            sides.insert(name, side);
        }
        Self {
            whole,
            clock,
            offs,
            sides,
            stands_still: None,
            random: fastrand::Rng::with_seed(seed),
            ids: Vec::new(),
            layouts: BTreeMap::new(),
        }
    }

    /// A moment passes for everybody but who stands still; whatever a look from outside can see is checked.
    fn step(&mut self) {
        self.clock.advance(STEP);
        for (name, side) in &self.sides {
            match &mut self.stands_still {
                Some((who, since)) if who == name => *since += STEP,
                _ => side.block_on(async { tokio::time::sleep(STEP).await }),
            }
            // A wall clock jumps whenever it likes.
            if self.random.u8(0..50) == 0 {
                self.offs[name].store(self.random.i64(-50..50) * HOURS, Relaxed);
            }
            Self::check(&self.whole, &self.ids, &mut self.layouts);
        }
    }

    fn check(whole: &Whole, ids: &[SessionId], layouts: &mut BTreeMap<LayoutVersion, Arc<Layout>>) {
        for id in ids {
            assert!(whole.serving(id) <= 1, "two serve one session");
        }
        let statuses: Vec<_> = whole
            .nodes
            .values()
            .map(|(node, _)| node.status())
            .collect();
        for layout in statuses.iter().filter_map(|status| status.layout.clone()) {
            let known = layouts.entry(layout.version).or_insert(Arc::clone(&layout));
            assert_eq!(**known, *layout, "one version, two layouts");
        }
        let Some((_, newest)) = layouts.last_key_value() else {
            return;
        };
        let youngest = newest.members.keys().max();
        for ((node, _), status) in whole.nodes.values().zip(&statuses) {
            let is_dead = status
                .incarnation
                .is_some_and(|me| Some(&me) < youngest && !newest.is_member(me));
            assert!(!is_dead || !node.sessions().may_act(), "the dead act");
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.clock.now() + time;
        while self.clock.now() < end {
            self.step();
        }
    }

    fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let end = self.clock.now() + LEASE * 20;
        while !holds(self) {
            assert!(self.clock.now() < end, "never came about: {what}");
            self.step();
        }
    }

    fn all_ready(&self, names: &[&str]) -> bool {
        names.iter().all(|name| {
            let status = self.whole.nodes[name].0.status();
            status.standing() == Some(Standing::Ready)
                && (status.layout).is_some_and(|layout| layout.members.len() == names.len())
        })
    }

    fn create(&mut self, name: &'static str) {
        let _inside = self.sides[name].enter();
        let id = self.whole.create(name).expect("it may create");
        self.ids.push(id);
    }

    fn stop(&mut self, name: &'static str) {
        self.whole.world.net.pause(name, true);
        self.stands_still = Some((name, Duration::ZERO));
    }

    /// It goes on; for its timers all the time has passed.
    fn go_on(&mut self) {
        let (name, since) = self.stands_still.take().expect("one stands still");
        self.whole.world.net.pause(name, false);
        self.sides[name].block_on(async { tokio::time::advance(since).await });
    }
}

fn stop_for(stops: &'static str, time: Duration, seed: u64) {
    let mut stage = Stage::new(seed);
    stage.until("three are a cluster", |stage| stage.all_ready(&THREE));
    stage.pass(LEASE);
    for name in THREE {
        for _ in 0..5 {
            stage.create(name);
        }
    }
    let all: Vec<_> = stage.ids.clone();
    let of_others = |stage: &Stage| {
        let mut serving = stage.ids.iter().zip(0..);
        serving.all(|(id, place)| THREE[place / 5] == stops || stage.whole.serving(id) == 1)
    };
    let former = stage.whole.nodes[stops].0.status().incarnation;
    stage.stop(stops);
    stage.pass(time);
    let others: Vec<_> = THREE.into_iter().filter(|name| *name != stops).collect();
    assert!(stage.all_ready(&others), "{stops}: it was declared dead");
    assert!(of_others(&stage), "{stops}: what the others hold is served");
    assert!(
        !stage.whole.nodes[stops].0.sessions().may_act(),
        "{stops}: its lease is over, though it does not know"
    );
    stage.go_on();
    stage.until("it is somebody new, and all is served", |stage| {
        stage.all_ready(&THREE) && all.iter().all(|id| stage.whole.serving(id) == 1)
    });
    let now = stage.whole.nodes[stops].0.status().incarnation;
    assert!(now > former, "{stops}: {former:?}, {now:?}");
    stage.pass(LEASE * 3);
    for name in THREE {
        stage.create(name);
    }
    for id in &stage.ids {
        assert_eq!(stage.whole.serving(id), 1, "{stops}");
    }
}

#[test]
fn whoever_stands_still_for_long_wakes_as_nobody_and_brings_back_what_it_had() {
    for seed in 0..3 {
        for stops in THREE {
            eprintln!("{stops} stops, seed {seed}");
            let time = LEASE * 2 + LEASE / 4 * u32::try_from(seed * 3).expect("it is small");
            stop_for(stops, time, seed);
        }
    }
}
