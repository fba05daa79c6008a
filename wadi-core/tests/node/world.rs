//! The stage: nodes, what lies between them, and a client that goes wherever its session is.
//!
//! Time is the runtime's paused time: it moves on by itself when nobody has anything to do, so a
//! test takes as long as its work, and no test depends on how fast the machine is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use wadi_core::authority::{Answer, Charter, Command};
use wadi_core::bucket::{BucketCount, Layout, LayoutVersion};
use wadi_core::clock::{Clock, Moment};
use wadi_core::evict::{Candidate, Evicter};
use wadi_core::member::{Incarnation, NodeName, Place};
use wadi_core::message::Want;
use wadi_core::node::{
    Answering, Authority, InProcess, Left, Listener, Located, Node, NodeSettings, Surroundings,
    Told, Unreachable,
};
use wadi_core::proof::Proof;
use wadi_core::protocol::coordinator::Pace;
use wadi_core::protocol::{Event, Settings};
use wadi_core::session::{
    Bits, ClusterKey, CookieChange, Keyring, Look, Origin, PresentedId, SessionError, SessionId,
    Sessions, Visit,
};
use wadi_core::store::SessionStore;
use wadi_core::transport::memory::{Condition, Network};

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn short_absence() -> Settings {
    Settings {
        absent_after: secs(10),
        ..Settings::default()
    }
}

/// The runtime's time, which a test pauses, as a node's clock.
#[derive(Debug)]
struct RuntimeClock(tokio::time::Instant);

impl RuntimeClock {
    #[allow(clippy::disallowed_methods, reason = "this is the tests' clock")]
    fn start() -> Self {
        Self(tokio::time::Instant::now())
    }
}

impl Clock for RuntimeClock {
    fn now(&self) -> Moment {
        Moment::ZERO + secs(1) + self.0.elapsed()
    }

    fn unix_seconds(&self) -> u32 {
        1_780_000_000 + u32::try_from(self.0.elapsed().as_secs()).expect("a test is short")
    }
}

/// The time of a test.
pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(RuntimeClock::start())
}

/// The same with a clock on the wall of its own, which is wrong by so many seconds; and begun earlier.
#[derive(Debug)]
struct OffClock {
    inner: Arc<dyn Clock>,
    ahead: Duration,
    off: Arc<AtomicI64>,
}

impl Clock for OffClock {
    fn now(&self) -> Moment {
        self.inner.now() + self.ahead
    }

    fn unix_seconds(&self) -> u32 {
        let right = i64::from(self.inner.unix_seconds());
        u32::try_from(right + self.off.load(Ordering::Relaxed)).expect("a time after 1970")
    }
}

/// Where the node with this name listens, each time that it is started.
fn address(name: &str) -> String {
    let port = name.bytes().map(u16::from).sum::<u16>();
    format!("127.0.0.1:{port}")
}

/// One node's way to the authority, which can be cut: its calls are then never answered.
#[derive(Debug)]
struct Way {
    to: Arc<InProcess>,
    cut: Arc<AtomicBool>,
    /// What the authority says to a farewell does not arrive.
    farewell_unheard: Arc<AtomicBool>,
    /// For how many milliseconds each answer is on its way.
    slow: Arc<AtomicU64>,
    /// How much later than agreed a layout arrives; no two ways have it at the same time.
    late: Mutex<fastrand::Rng>,
    place: u64,
}

impl Authority for Way {
    fn command(&self, command: Command) -> Answering<'_, Answer> {
        Box::pin(async move {
            if self.cut.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            let is_farewell = matches!(command, Command::Left { .. });
            let answer = self.to.command(command).await;
            tokio::time::sleep(millis(self.slow.load(Ordering::Relaxed))).await;
            if is_farewell && self.farewell_unheard.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            answer
        })
    }

    fn layout_after(&self, known: Option<LayoutVersion>) -> Answering<'_, Arc<Layout>> {
        Box::pin(async move {
            if self.cut.load(Ordering::Relaxed) {
                return Err(Unreachable);
            }
            let layout = self.to.layout_after(known).await;
            // The runtime wakes those who wait for it in any order.
            let late = self.late.lock().u64(0..3) * 8 + self.place;
            tokio::time::sleep(millis(late)).await;
            layout
        })
    }
}

#[derive(Debug, Default)]
struct Notebook(Mutex<Vec<Told>>);

impl Listener for Notebook {
    fn told(&self, what: Told) {
        self.0.lock().push(what);
    }
}

struct Stage {
    node: Node,
    notes: Arc<Notebook>,
    to_authority: Arc<AtomicBool>,
    farewell_unheard: Arc<AtomicBool>,
    slow: Arc<AtomicU64>,
    /// By how many seconds its clock on the wall is wrong.
    off: Arc<AtomicI64>,
}

/// Nodes by name, and everything between them.
pub(crate) struct World {
    clock: Arc<dyn Clock>,
    authority: Arc<InProcess>,
    pub(crate) network: Network,
    charter: Charter,
    protocol: Settings,
    queue: Option<usize>,
    nodes: Mutex<BTreeMap<&'static str, Arc<Stage>>>,
    /// The store below all nodes, and whom it is asked to take: everybody who rests, at these nodes.
    store: Option<Arc<dyn SessionStore>>,
    evicting: Mutex<BTreeMap<&'static str, Arc<AtomicBool>>>,
    store_queue: Option<usize>,
    /// Of which each node's ids are drawn.
    seeds: Mutex<fastrand::Rng>,
}

/// Chooses everybody, or nobody.
#[derive(Debug)]
struct WhenTold(Arc<AtomicBool>);

impl Evicter for WhenTold {
    fn evicts(&self, _: &Candidate) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Random bits that are the same each time.
#[derive(Debug)]
struct Seeded(fastrand::Rng);

impl Bits for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }
}

/// The handler is done: ends the visit as the layer does.
pub(crate) async fn respond(visit: &Visit) -> Result<CookieChange, SessionError> {
    let committed = visit.commit();
    let settled = match committed {
        Err(SessionError::Unregistered) => visit.register().await,
        Err(SessionError::Unconfirmed) => visit.confirmed().await,
        committed => return committed,
    };
    let committed = settled.and_then(|()| visit.commit());
    if committed.is_err() {
        visit.abandon();
    }
    committed
}

/// What a client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It has no session (any more).
    Absent { lost: bool },
    /// Try again: 503.
    Unavailable,
}

impl World {
    /// A cluster of these nodes, all of them ready and with buckets.
    pub(crate) async fn of(names: &[&'static str]) -> Self {
        Self::with_buckets(32, names).await
    }

    pub(crate) async fn with_buckets(buckets: u16, names: &[&'static str]) -> Self {
        Self::with(buckets, short_absence(), names).await
    }

    pub(crate) async fn with(buckets: u16, protocol: Settings, names: &[&'static str]) -> Self {
        Self::made_with(0, buckets, protocol, None, names).await
    }

    /// So few messages wait for each node's driver.
    pub(crate) async fn with_queue(buckets: u16, queue: usize, names: &[&'static str]) -> Self {
        Self::made_with(0, buckets, Settings::default(), Some(queue), names).await
    }

    /// Everything by chance in it comes from `seed`.
    pub(crate) async fn seeded(seed: u64, names: &[&'static str]) -> Self {
        Self::made_with(seed, 32, Settings::default(), None, names).await
    }

    async fn made_with(
        seed: u64,
        buckets: u16,
        protocol: Settings,
        queue: Option<usize>,
        names: &[&'static str],
    ) -> Self {
        let mut world = Self::empty(clock(), seed, 0, buckets, protocol);
        world.queue = queue;
        world.begun(names).await
    }

    /// A cluster of these nodes over a store, of this generation. No two of their clocks say the same.
    pub(crate) async fn over(
        clock: Arc<dyn Clock>,
        store: Arc<dyn SessionStore>,
        generation: u32,
        names: &[&'static str],
    ) -> Self {
        Self::over_with_queue(clock, store, generation, None, names).await
    }

    /// Everything by chance in it comes from `seed`; what dies is missed for as long as by default.
    pub(crate) async fn seeded_over(
        clock: Arc<dyn Clock>,
        store: Arc<dyn SessionStore>,
        seed: u64,
        names: &[&'static str],
    ) -> Self {
        let mut world = Self::empty(clock, seed, 1, 32, Settings::default());
        world.store = Some(store);
        world.begun(names).await
    }

    /// The same, where each node asks the store so much at once at most.
    pub(crate) async fn over_with_queue(
        clock: Arc<dyn Clock>,
        store: Arc<dyn SessionStore>,
        generation: u32,
        store_queue: Option<usize>,
        names: &[&'static str],
    ) -> Self {
        let mut world = Self::empty(
            clock,
            u64::from(generation),
            generation,
            32,
            short_absence(),
        );
        world.store = Some(store);
        world.store_queue = store_queue;
        world.begun(names).await
    }

    fn empty(
        clock: Arc<dyn Clock>,
        seed: u64,
        generation: u32,
        buckets: u16,
        protocol: Settings,
    ) -> Self {
        let charter = Charter {
            buckets: BucketCount::new(buckets).expect("above zero"),
            deputies: 1,
            lease: secs(4),
        };
        Self {
            authority: Arc::new(InProcess::new(charter, generation, Arc::clone(&clock))),
            clock,
            network: Network::new(),
            charter,
            protocol,
            queue: None,
            nodes: Mutex::default(),
            store: None,
            evicting: Mutex::default(),
            store_queue: None,
            seeds: Mutex::new(fastrand::Rng::with_seed(seed)),
        }
    }

    async fn begun(self, names: &[&'static str]) -> Self {
        for name in names {
            self.start(name).await;
        }
        self.settle().await;
        self
    }

    /// Whether all sessions of this node that rest are to go down.
    pub(crate) fn evict(&self, name: &str, evict: bool) {
        self.evicting.lock()[name].store(evict, Ordering::Relaxed);
    }

    /// Has everything of this node go down that rests, and waits for it.
    pub(crate) async fn put_down(&self, name: &str) {
        self.evict(name, true);
        tokio::time::sleep(secs(1)).await;
        self.evict(name, false);
    }

    /// Starts a node, and waits until it is ready.
    pub(crate) async fn start(&self, name: &'static str) {
        self.begin(name, false);
        let ready = self.node(name).ready(secs(10)).await;
        ready.expect("it gets ready");
    }

    /// Starts a node; `cut_off`: the authority does not answer it.
    pub(crate) fn begin(&self, name: &'static str, cut_off: bool) {
        let mut settings = NodeSettings {
            pace: Pace {
                between_steps: millis(200),
                ..Pace::default()
            },
            protocol: Arc::new(self.protocol.clone()),
            ..NodeSettings::new(NodeName::new(name), self.charter)
        };
        settings.queue = self.queue.unwrap_or(settings.queue);
        let to_authority = Arc::new(AtomicBool::new(cut_off));
        let farewell_unheard = Arc::new(AtomicBool::new(false));
        let slow = Arc::new(AtomicU64::new(0));
        let notes = Arc::new(Notebook::default());
        let surroundings = Surroundings {
            authority: Arc::new(Way {
                to: Arc::clone(&self.authority),
                cut: Arc::clone(&to_authority),
                farewell_unheard: Arc::clone(&farewell_unheard),
                slow: Arc::clone(&slow),
                late: Mutex::new(self.seeds.lock().fork()),
                place: name.bytes().map(u64::from).sum::<u64>() % 8,
            }),
            place: Some(Place::new(1)),
            transport: self.network.port(NodeName::new(name)),
            listener: Arc::clone(&notes) as Arc<dyn Listener>,
        };
        let key = ClusterKey::from_secret(&[7; 32]).expect("long enough");
        let bits = Box::new(Seeded(self.seeds.lock().fork()));
        let sessions = Sessions::builder(Keyring::new(key)).bits(bits);
        let off = Arc::new(AtomicI64::new(0));
        let clock = Arc::new(OffClock {
            inner: Arc::clone(&self.clock),
            ahead: match &self.store {
                Some(_) => secs(1000 * name.bytes().map(u64::from).sum::<u64>()),
                None => Duration::ZERO,
            },
            off: Arc::clone(&off),
        });
        settings.store_rounds = millis(100);
        settings.store_sweeps = secs(1);
        settings.store_queue = self.store_queue.unwrap_or(settings.store_queue);
        let node = Node::new(settings, clock, sessions);
        if let Some(store) = &self.store {
            let evicts = Arc::<AtomicBool>::default();
            self.evicting.lock().insert(name, Arc::clone(&evicts));
            node.over(Arc::clone(store), Arc::new(WhenTold(evicts)));
        }
        node.start(address(name), surroundings);
        let stage = Stage {
            node,
            notes,
            to_authority,
            farewell_unheard,
            slow,
            off,
        };
        self.nodes.lock().insert(name, Arc::new(stage));
    }

    /// Waits until buckets have found their places and nothing is on its way.
    pub(crate) async fn settle(&self) {
        tokio::time::sleep(secs(3)).await;
    }

    fn stage(&self, name: &str) -> Arc<Stage> {
        Arc::clone(&self.nodes.lock()[name])
    }

    pub(crate) fn node(&self, name: &str) -> Node {
        self.stage(name).node.clone()
    }

    fn find_node(&self, name: &str) -> Option<Node> {
        let nodes = self.nodes.lock();
        nodes.get(name).map(|stage| stage.node.clone())
    }

    /// The names of the nodes that were started and have not left.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.nodes.lock().keys().copied().collect()
    }

    fn name_of(&self, incarnation: Incarnation) -> Option<&'static str> {
        let nodes = self.nodes.lock();
        nodes
            .iter()
            .find(|(_, stage)| stage.node.status().incarnation == Some(incarnation))
            .map(|(name, _)| *name)
    }

    /// The node is gone from one moment to the next.
    pub(crate) fn kill(&self, name: &str) {
        let killed = self.nodes.lock().remove(name);
        killed.expect("there is such a node").node.stop();
    }

    /// The same, and everybody else has a proof of it.
    pub(crate) fn kill_proven(&self, name: &str) {
        self.kill(name);
        self.network.end(&NodeName::new(name), Proof::RefusedHere);
    }

    pub(crate) async fn leave(&self, name: &str) -> Left {
        let left = self.node(name).leave(secs(20)).await;
        self.nodes.lock().remove(name);
        left
    }

    /// Whether the node hears nothing of the authority, nor it of the node.
    pub(crate) fn cut_off(&self, name: &str, cut: bool) {
        self.stage(name).to_authority.store(cut, Ordering::Relaxed);
    }

    /// The authority takes the node's farewell, and the node does not hear so.
    pub(crate) fn farewell_unheard(&self, name: &str) {
        self.stage(name)
            .farewell_unheard
            .store(true, Ordering::Relaxed);
    }

    /// What the authority answers to the node takes so many milliseconds.
    pub(crate) fn slow_answers(&self, name: &str, millis: u64) {
        self.stage(name).slow.store(millis, Ordering::Relaxed);
    }

    /// The node's clock on the wall is wrong by so many seconds from now on.
    pub(crate) fn wall_is_off(&self, name: &str, by: i64) {
        self.stage(name).off.store(by, Ordering::Relaxed);
    }

    pub(crate) fn condition(&self, from: &str, to: &str, condition: Condition) {
        let (from, to) = (NodeName::new(from), NodeName::new(to));
        self.network.set(&from, &to, condition);
    }

    /// Every link between these nodes has this condition.
    pub(crate) fn every_link(&self, condition: Condition) {
        for from in self.names() {
            for to in self.names() {
                self.condition(from, to, condition);
            }
        }
    }

    /// What the node's listener was told of sessions.
    pub(crate) fn events(&self, name: &str) -> Vec<Event> {
        let stage = self.stage(name);
        let notes = stage.notes.0.lock();
        notes
            .iter()
            .filter_map(|told| match told {
                Told::Session(event) => Some(*event),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn was_told(&self, name: &str, what: impl Fn(&Told) -> bool) -> bool {
        self.stage(name).notes.0.lock().iter().any(what)
    }

    pub(crate) fn times_told(&self, name: &str, what: impl Fn(&Told) -> bool) -> usize {
        let stage = self.stage(name);
        let notes = stage.notes.0.lock();
        notes.iter().filter(|told| what(told)).count()
    }

    /// The names of the nodes that serve this session.
    pub(crate) fn serving(&self, id: &SessionId) -> Vec<&'static str> {
        let serves = |node: &Node| {
            let held = node.sessions().map().get(id);
            held.is_some_and(|held| held.is_confirmed()) && node.sessions().may_act()
        };
        let nodes = self.nodes.lock();
        nodes
            .iter()
            .filter(|(_, stage)| serves(&stage.node))
            .map(|(name, _)| *name)
            .collect()
    }

    /// A request without a cookie creates a session, whose `owner` attribute is the node's name.
    pub(crate) async fn create(&self, name: &str) -> SessionId {
        self.try_create(name).await.expect("it may create")
    }

    pub(crate) async fn try_create(&self, name: &str) -> Result<SessionId, SessionError> {
        let node = self.find_node(name).ok_or(SessionError::Lapsed)?;
        let visit = Visit::without(Arc::clone(node.sessions()), Origin::New);
        visit.insert("owner", name.to_owned())?;
        let id = visit.id().expect("it was created");
        respond(&visit).await?;
        Ok(id)
    }

    /// A request with this session's cookie reaches the node `name`, which migrates the session to
    /// itself, or sends the request to where it is.
    pub(crate) async fn request<R>(
        &self,
        name: &str,
        id: &SessionId,
        handle: impl AsyncFnOnce(&Visit) -> Result<R, SessionError>,
    ) -> Result<R, Refused> {
        self.request_wanting(Want::Move, name, id, handle).await
    }

    pub(crate) async fn request_wanting<R>(
        &self,
        want: Want,
        name: &str,
        id: &SessionId,
        handle: impl AsyncFnOnce(&Visit) -> Result<R, SessionError>,
    ) -> Result<R, Refused> {
        let visit = self.visit(want, name, id).await?;
        let result = handle(&visit).await;
        let committed = respond(&visit).await;
        match (result, committed) {
            (Ok(result), Ok(_)) => Ok(result),
            _ => Err(Refused::Unavailable),
        }
    }

    async fn visit(&self, want: Want, name: &str, id: &SessionId) -> Result<Visit, Refused> {
        let mut at = self.find_node(name).ok_or(Refused::Unavailable)?;
        let text = at.sessions().text(id);
        let presented = PresentedId::parse(text.expose().as_bytes()).expect("it is ours");
        for _ in 0..8 {
            let sessions = at.sessions();
            if !sessions.may_act() {
                return Err(Refused::Unavailable);
            }
            match sessions.look(&presented, sessions.now()) {
                Look::Here(guard) => return Ok(Visit::holding(Arc::clone(sessions), guard, *id)),
                Look::Busy(held) => {
                    let waited = Arc::clone(sessions).wait(&presented, held).await;
                    match waited {
                        Ok(visit) if visit.origin() == Origin::Existing => return Ok(visit),
                        // It is gone from here: look for it elsewhere.
                        Ok(_) | Err(SessionError::Moved) => {}
                        Err(_) => return Err(Refused::Unavailable),
                    }
                }
                Look::NotHere(Origin::Lost) => {}
                // As the layer does: it is known here what became of it.
                Look::NotHere(_) => return Err(Refused::Absent { lost: false }),
            }
            match at.locate(*id, want).await {
                Located::Here | Located::Came(_) => {}
                Located::At(holder) => {
                    match self.name_of(holder).and_then(|name| self.find_node(name)) {
                        Some(holder) => at = holder,
                        None => return Err(Refused::Unavailable),
                    }
                }
                Located::Absent { lost } => return Err(Refused::Absent { lost }),
                Located::Unavailable => return Err(Refused::Unavailable),
            }
        }
        Err(Refused::Unavailable)
    }

    /// As [`World::request`], again and again until somebody can say, for at most a minute.
    pub(crate) async fn owner(&self, name: &str, id: &SessionId) -> Result<String, Refused> {
        let mut last = Err(Refused::Unavailable);
        for _ in 0..120 {
            last = self
                .request(name, id, async |visit| visit.get::<String>("owner"))
                .await
                .map(Option::unwrap_or_default);
            if last != Err(Refused::Unavailable) {
                break;
            }
            tokio::time::sleep(millis(500)).await;
        }
        last
    }
}
