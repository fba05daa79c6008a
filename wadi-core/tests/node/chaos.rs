//! Everything at once: clients everywhere, nodes that leave and come, links and leases that fail; and
//! nobody is told anything that is not so. What fails prints its seed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use wadi_core::session::SessionId;
use wadi_core::store::SessionStore;
use wadi_core::transport::memory::Condition;

use crate::oracle::Oracle;
use crate::shelf::{Shelf, Way};
use crate::world::{Refused, World, clock, millis, secs};

/// Which faults there are; where there are none, nodes leave and come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Faults {
    None,
    Links,
    Leases,
    LinksAndLeases,
    /// There is a store below all nodes, which fails; and nodes leave and come.
    Store,
    StoreAndLinks,
    StoreAndLeases,
}

impl Faults {
    const fn have_store(self) -> bool {
        matches!(
            self,
            Self::Store | Self::StoreAndLinks | Self::StoreAndLeases
        )
    }
}

struct Run {
    world: World,
    oracle: Oracle,
    next_token: AtomicU32,
    over: AtomicBool,
    shelf: Arc<Shelf>,
}

fn pick<T: Copy>(rng: &mut fastrand::Rng, from: &[T]) -> Option<T> {
    (!from.is_empty()).then(|| from[rng.usize(0..from.len())])
}

impl Run {
    async fn start(seed: u64, has_store: bool) -> Self {
        const NAMES: [&str; 4] = ["n1", "n2", "n3", "n4"];
        let clock = clock();
        let shelf = Shelf::new(&clock);
        let store = Arc::clone(&shelf) as Arc<dyn SessionStore>;
        let world = if has_store {
            World::seeded_over(clock, store, seed, &NAMES).await
        } else {
            World::seeded(seed, &NAMES).await
        };
        Self {
            world,
            shelf,
            oracle: Oracle::default(),
            next_token: AtomicU32::new(0),
            over: AtomicBool::new(false),
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    async fn client(&self, mut rng: fastrand::Rng) {
        while !self.is_over() {
            let Some(name) = pick(&mut rng, &self.world.names()) else {
                break;
            };
            let known = pick(&mut rng, &self.oracle.ids());
            match (rng.u32(0..100), known) {
                (0..8, _) | (_, None) if self.oracle.alive() < 24 => {
                    // A node that has nothing any more, or is cut off, creates none.
                    if let Ok(id) = self.world.try_create(name).await {
                        self.oracle.created(id, BTreeSet::new());
                    }
                }
                (_, None) => {}
                (0..12, Some(id)) => self.end(name, id).await,
                (12..15, Some(id)) => self.renew(name, id).await,
                (15..60, Some(id)) => self.append(name, id, rng.u64(0..4)).await,
                (_, Some(id)) => {
                    self.read(name, id).await.ok();
                }
            }
            tokio::time::sleep(millis(rng.u64(0..20))).await;
        }
    }

    async fn read(&self, name: &str, id: SessionId) -> Result<(), Refused> {
        let before = self.oracle.before(&id);
        let read = self
            .world
            .request(name, &id, async |visit| visit.get::<Vec<u32>>("list"))
            .await;
        match read {
            Ok(list) => {
                self.oracle.saw(&before, &list.unwrap_or_default());
                Ok(())
            }
            Err(refused) => {
                self.oracle.refused(&id, refused);
                Err(refused)
            }
        }
    }

    async fn append(&self, name: &str, id: SessionId, takes: u64) {
        let token = self.next_token.fetch_add(1, Ordering::Relaxed);
        let before = self.oracle.before(&id);
        let appended = self
            .world
            .request(name, &id, async |visit| {
                let list = visit.update("list", |list: &mut Vec<u32>| {
                    list.push(token);
                    list.clone()
                })?;
                tokio::time::sleep(millis(takes)).await;
                Ok(list)
            })
            .await;
        match appended {
            Ok(list) => {
                self.oracle.saw(&before, &list);
                self.oracle.appended(&id, token);
            }
            Err(refused) => self.oracle.refused(&id, refused),
        }
    }

    async fn end(&self, name: &str, id: SessionId) {
        let flushed = self
            .world
            .request(name, &id, async |visit| {
                self.oracle.end_asked(&id);
                visit.flush().await
            })
            .await;
        match flushed {
            Ok(()) => self.oracle.ended(&id),
            Err(refused) => self.oracle.refused(&id, refused),
        }
    }

    async fn renew(&self, name: &str, id: SessionId) {
        let renewed = self
            .world
            .request(name, &id, async |visit| {
                self.oracle.end_asked(&id);
                visit.cycle_id().await?;
                let list = visit.get::<Vec<u32>>("list")?.unwrap_or_default();
                Ok((visit.id(), list))
            })
            .await;
        match renewed {
            Ok((Some(new), list)) => {
                self.oracle.ended(&id);
                self.oracle.created(new, list.into_iter().collect());
            }
            Ok((None, _)) => {}
            Err(refused) => self.oracle.refused(&id, refused),
        }
    }

    /// Nodes leave and come, one at a time.
    async fn comings_and_goings(&self, mut rng: fastrand::Rng) {
        while !self.is_over() {
            tokio::time::sleep(millis(rng.u64(500..3000))).await;
            let name = ["n1", "n2", "n3", "n4"][rng.usize(0..4)];
            if self.world.names().contains(&name) && self.world.names().len() > 2 {
                let left = self.world.leave(name).await;
                assert!(left.in_good_order, "{left:?}");
            } else if !self.world.names().contains(&name) {
                self.world.start(name).await;
            }
        }
    }

    async fn link_faults(&self, mut rng: fastrand::Rng) {
        while !self.is_over() {
            tokio::time::sleep(millis(rng.u64(100..800))).await;
            let names = self.world.names();
            let (Some(from), Some(to)) = (pick(&mut rng, &names), pick(&mut rng, &names)) else {
                continue;
            };
            let condition = Condition {
                cut: rng.u32(0..3) == 0,
                delay: millis(if rng.bool() { 0 } else { rng.u64(1..400) }),
                doubled: rng.bool(),
            };
            self.world.condition(from, to, condition);
            if rng.u32(0..4) == 0 {
                self.world.network.heal();
            }
        }
        self.world.network.heal();
    }

    async fn lease_faults(&self, mut rng: fastrand::Rng) {
        while !self.is_over() {
            tokio::time::sleep(millis(rng.u64(100..3000))).await;
            if let Some(name) = pick(&mut rng, &self.world.names()) {
                self.world.cut_off(name, true);
                tokio::time::sleep(millis(rng.u64(500..8000))).await;
                self.world.cut_off(name, false);
            }
        }
    }

    /// Sessions go down everywhere and come up, and the store fails in every way.
    async fn store_faults(&self, mut rng: fastrand::Rng) {
        while !self.is_over() {
            tokio::time::sleep(millis(rng.u64(50..700))).await;
            if let Some(name) = pick(&mut rng, &self.world.names()) {
                self.world.evict(name, rng.bool());
            }
            self.shelf.is(match rng.u32(0..20) {
                0 => Way::Silent,
                1 => Way::Mute,
                2 => Way::Late(millis(rng.u64(1..9000))),
                3 => Way::Gone,
                4 => Way::Full,
                5 => Way::Broken,
                _ => Way::Well,
            });
        }
        self.shelf.is(Way::Well);
        for name in self.world.names() {
            self.world.evict(name, false);
        }
    }

    /// At most one node serves a session, whenever one looks.
    async fn watch(&self) {
        while !self.is_over() {
            for id in self.oracle.ids() {
                let serving = self.world.serving(&id);
                assert!(serving.len() <= 1, "served by {serving:?}");
            }
            tokio::time::sleep(millis(11)).await;
        }
    }

    /// Faults have stopped: everybody can be served again.
    async fn settles(&self) {
        self.world.network.heal();
        // Some may have died with nodes that are back, but with older copies only.
        tokio::time::sleep(secs(60)).await;
        self.everything_is_served().await;
    }

    async fn everything_is_served(&self) {
        for id in self.oracle.ids() {
            let name = self.world.names()[0];
            let read = self.read(name, id).await;
            if self.oracle.is_alive(&id) {
                assert_eq!(read, Ok(()), "it is served again");
            }
        }
    }
}

async fn chaos(seed: u64, lasts: Duration, faults: Faults) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let run = Run::start(seed, faults.have_store()).await;
    let clients: Vec<_> = (0..8).map(|_| rng.fork()).collect();
    let (coming, failing, storing) = (rng.fork(), rng.fork(), rng.fork());
    let clients = async {
        let mut clients: Vec<_> = clients
            .into_iter()
            .map(|rng| Box::pin(run.client(rng)))
            .collect();
        std::future::poll_fn(|context| {
            clients.retain_mut(|client| client.as_mut().poll(context).is_pending());
            if clients.is_empty() {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
    };
    tokio::join!(
        clients,
        run.watch(),
        async {
            match faults {
                Faults::None => run.comings_and_goings(coming).await,
                Faults::Links => run.link_faults(failing).await,
                Faults::Leases => run.lease_faults(failing).await,
                Faults::LinksAndLeases => {
                    tokio::join!(run.lease_faults(failing), run.link_faults(coming));
                }
                Faults::Store => {
                    tokio::join!(run.comings_and_goings(coming), run.store_faults(storing));
                }
                Faults::StoreAndLinks => {
                    tokio::join!(run.link_faults(coming), run.store_faults(storing));
                }
                Faults::StoreAndLeases => {
                    tokio::join!(run.lease_faults(coming), run.store_faults(storing));
                }
            }
        },
        async {
            tokio::time::sleep(lasts).await;
            run.over.store(true, Ordering::Relaxed);
        }
    );
    run.settles().await;
}

fn seeds(faults: Faults) {
    let first: u64 =
        std::env::var("WADI_FIRST_SEED").map_or(0, |seed| seed.parse().expect("a number"));
    let count: u64 =
        std::env::var("WADI_SEEDS").map_or(8, |seeds| seeds.parse().expect("a number"));
    for seed in first..first + count {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        println!("seed {seed}");
        runtime.block_on(chaos(seed, secs(15), faults));
    }
}

/// Requests on threads of their own, in real time, between the driver's steps and in the middle of
/// them.
#[test]
fn many_threads_at_once() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let run = runtime.block_on(Run::start(0, false));
    let mut rng = fastrand::Rng::new();
    std::thread::scope(|scope| {
        for rng in (0..6).map(|_| rng.fork()).collect::<Vec<_>>() {
            scope.spawn(|| runtime.block_on(run.client(rng)));
        }
        runtime.block_on(async {
            // Twice a node leaves and comes, so that buckets change hands all the time.
            for name in ["n4", "n1"] {
                let left = run.world.leave(name).await;
                assert!(left.in_good_order, "{left:?}");
                run.world.start(name).await;
                tokio::time::sleep(millis(500)).await;
            }
            run.over.store(true, Ordering::Relaxed);
        });
    });
    runtime.block_on(run.everything_is_served());
}

#[test]
fn nodes_leave_and_come() {
    seeds(Faults::None);
}

#[test]
fn links_are_cut_late_and_doubled() {
    seeds(Faults::Links);
}

#[test]
fn links_and_leases_fail_together() {
    seeds(Faults::LinksAndLeases);
}

#[test]
fn leases_run_out() {
    seeds(Faults::Leases);
}

#[test]
fn a_store_below_fails_while_nodes_leave_and_come() {
    seeds(Faults::Store);
}

#[test]
fn a_store_below_and_links_fail() {
    seeds(Faults::StoreAndLinks);
}

#[test]
fn a_store_below_and_leases_fail() {
    seeds(Faults::StoreAndLeases);
}
