//! The nodes of a test. Beside each agreement stands what a driver does with it: it joins, renews, says
//! that it is ready, and comes back when it is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use wadi_core::authority::{Answer, Charter, Command, Lease, LeftRefused};
use wadi_core::bucket::{BucketCount, Layout};
use wadi_core::clock::{Clock, Moment};
use wadi_core::member::{Incarnation, NodeName, Standing};
use wadi_core::node::{
    Agreement, AgreementSettings, Authority, Listener, NobodyListens, OnQuorumLoss, PartEnd,
    StoreTold, Told,
};
use wadi_core::store::SessionStore;
use wadi_core::transport::{AddressList, Discovery};

use crate::net::Net;

/// The default lease: time is not real here.
pub(crate) const LEASE: Duration = Duration::from_secs(4);

/// As the driver's own wait.
const WAIT: Duration = Duration::from_secs(1);

/// Within this, in time that is not real, everything that must come about has come about.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The runtime's time, which is paused, as a clock.
#[derive(Debug)]
struct RuntimeClock(tokio::time::Instant);

impl Clock for RuntimeClock {
    fn now(&self) -> Moment {
        Moment::ZERO + Duration::from_secs(1) + self.0.elapsed()
    }

    fn unix_seconds(&self) -> u32 {
        1_780_000_000
    }
}

/// What the driver beside an agreement knows.
#[derive(Debug, Default)]
pub(crate) struct Life {
    pub(crate) lease: Option<Lease>,
    pub(crate) incarnations: Vec<Incarnation>,
    pub(crate) layout: Option<Arc<Layout>>,
    leaving: bool,
    pub(crate) has_left: bool,
    /// Whether its lease was ever over while it was a member.
    pub(crate) lapsed: bool,
}

/// How a node's parts ended by themselves.
#[derive(Debug, Default)]
pub(crate) struct Heard(Mutex<Vec<PartEnd>>, Mutex<Vec<StoreTold>>);

impl Listener for Heard {
    fn told(&self, what: Told) {
        match what {
            Told::PartEnded(why) => self.0.lock().push(why),
            Told::Store(what) => self.1.lock().push(what),
            _ => {}
        }
    }
}

impl Heard {
    pub(crate) fn all(&self) -> Vec<PartEnd> {
        self.0.lock().clone()
    }

    /// What was told of the store.
    pub(crate) fn of_the_store(&self) -> Vec<StoreTold> {
        self.1.lock().clone()
    }
}

pub(crate) struct Node {
    pub(crate) heard: Arc<Heard>,
    pub(crate) agreement: Arc<Agreement>,
    pub(crate) life: Arc<Mutex<Life>>,
    driving: Vec<JoinHandle<()>>,
}

impl Node {
    pub(crate) fn me(&self) -> Option<Incarnation> {
        self.life.lock().incarnations.last().copied()
    }

    pub(crate) fn layout(&self) -> Option<Arc<Layout>> {
        self.life.lock().layout.clone()
    }

    /// How many vote, as this node sees it; none in the middle of a change.
    pub(crate) fn voters(&self) -> Option<BTreeSet<Incarnation>> {
        let votes = self.agreement.part()?.votes();
        (!votes.is_changing).then_some(votes.voters)
    }

    pub(crate) fn leads(&self) -> bool {
        self.agreement.part().is_some_and(|part| part.leads())
    }

    pub(crate) fn is_ready(&self) -> bool {
        let life = self.life.lock();
        let me = life.incarnations.last();
        me.is_some_and(|me| {
            let layout = life.layout.as_ref();
            let member = layout.and_then(|layout| layout.members.get(me));
            member.is_some_and(|member| member.standing == Standing::Ready)
        })
    }

    /// Nothing renews any more; its part of the raft runs on.
    pub(crate) fn stop(&self) {
        for task in &self.driving {
            task.abort();
        }
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let layout = self.layout();
        f.debug_struct("Node")
            .field("me", &self.me())
            .field("part", &self.agreement)
            .field("members", &layout.map(|layout| layout.members.clone()))
            .field("voters", &self.voters())
            .finish_non_exhaustive()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Nodes by name, which is also the address.
pub(crate) struct World {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) net: Arc<Net>,
    pub(crate) nodes: BTreeMap<&'static str, Node>,
    /// Who says of which generation a cluster is.
    pub(crate) store: Option<Arc<dyn SessionStore>>,
}

pub(crate) async fn until(what: &str, holds: impl FnMut() -> bool) {
    until_described(|| what.to_owned(), holds).await;
}

async fn until_described(what: impl Fn() -> String, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "never came about: {}", what());
}

pub(crate) async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

pub(crate) fn list(addresses: &[&str]) -> Arc<dyn Discovery> {
    let addresses = addresses.iter().map(|address| (*address).to_owned());
    Arc::new(AddressList::new(addresses))
}

impl World {
    #[allow(clippy::disallowed_methods, reason = "this is the tests' clock")]
    pub(crate) fn new() -> Self {
        Self {
            clock: Arc::new(RuntimeClock(tokio::time::Instant::now())),
            net: Arc::default(),
            nodes: BTreeMap::new(),
            store: None,
        }
    }

    /// These nodes, each with all of them on its list, founded and ready.
    pub(crate) async fn of(names: &[&'static str]) -> Self {
        let mut world = Self::new();
        for name in names {
            world.start(name, names);
        }
        world.all_ready(names).await;
        world
    }

    /// Starts a node with this list.
    pub(crate) fn start(&mut self, name: &'static str, addresses: &[&str]) {
        self.start_with(name, list(addresses), None);
    }

    pub(crate) fn settings(
        &self,
        name: &'static str,
        discovery: Arc<dyn Discovery>,
    ) -> AgreementSettings {
        AgreementSettings {
            node: NodeName::new(name),
            address: name.to_owned(),
            place: None,
            carrier: self.net.wire(name),
            clock: Arc::clone(&self.clock),
            charter: Charter {
                buckets: BucketCount::new(16).expect("above zero"),
                deputies: 1,
                lease: LEASE,
            },
            listener: Arc::new(NobodyListens),
            generation: 0,
            discovery,
            found_with: None,
            on_quorum_loss: OnQuorumLoss::Strict,
            store: self.store.clone(),
        }
    }

    pub(crate) fn start_with(
        &mut self,
        name: &'static str,
        discovery: Arc<dyn Discovery>,
        found_with: Option<usize>,
    ) {
        let heard = Arc::<Heard>::default();
        let settings = AgreementSettings {
            found_with,
            listener: heard.clone(),
            ..self.settings(name, discovery)
        };
        let agreement = Agreement::new(settings);
        let life = Arc::new(Mutex::new(Life::default()));
        let driver = Driver {
            name,
            agreement: Arc::clone(&agreement),
            life: Arc::clone(&life),
            clock: Arc::clone(&self.clock),
        };
        let watching = tokio::spawn(watch(Arc::clone(&agreement), Arc::clone(&life)));
        let driving = vec![tokio::spawn(driver.drive()), watching];
        let node = Node {
            heard,
            agreement,
            life,
            driving,
        };
        self.nodes.insert(name, node);
    }

    pub(crate) fn node(&self, name: &str) -> &Node {
        &self.nodes[name]
    }

    /// The node is gone from one moment to the next.
    pub(crate) async fn kill(&mut self, name: &str) -> Incarnation {
        let node = self.nodes.remove(name).expect("it is a node");
        let me = node.me();
        node.stop();
        self.net.detach(name);
        node.agreement.close().await;
        me.unwrap_or(Incarnation::new(0))
    }

    /// The node leaves in good order, and is gone then.
    pub(crate) async fn leave(&mut self, name: &str) {
        self.begin_to_leave(name);
        self.node_has_left(name).await;
    }

    pub(crate) fn begin_to_leave(&self, name: &str) {
        self.node(name).life.lock().leaving = true;
    }

    pub(crate) async fn node_has_left(&mut self, name: &str) {
        until("it has left", || self.node(name).life.lock().has_left).await;
        let node = self.nodes.remove(name).expect("it is a node");
        node.stop();
        node.agreement.leave(LEASE).await;
        self.net.detach(name);
    }

    pub(crate) fn set(&self, names: &[&str]) -> BTreeSet<Incarnation> {
        names
            .iter()
            .filter_map(|name| self.node(name).me())
            .collect()
    }

    /// Waits until exactly these are members, all of them ready, as each of them sees it.
    pub(crate) async fn all_ready(&self, names: &[&str]) {
        let what = || format!("one layout of {names:?}, and all ready: {:#?}", self.nodes);
        until_described(what, || {
            let expected = self.set(names);
            expected.len() == names.len()
                && names.iter().all(|name| {
                    let node = self.node(name);
                    let layout = node.layout();
                    node.is_ready()
                        && layout.is_some_and(|layout| layout.members.keys().eq(&expected))
                })
        })
        .await;
    }

    pub(crate) async fn voters_count(&self, count: usize) {
        until("the number of voters", || {
            let mut nodes = self.nodes.values();
            nodes.all(|node| node.voters().is_some_and(|voters| voters.len() == count))
        })
        .await;
    }

    pub(crate) async fn leader(&self) -> &'static str {
        let mut leader = None;
        until("a leader", || {
            let mut nodes = self.nodes.iter();
            leader = nodes.find(|(_, node)| node.leads()).map(|(name, _)| *name);
            leader.is_some()
        })
        .await;
        leader.expect("it was waited for")
    }

    pub(crate) fn may_act(&self, name: &str) -> bool {
        let life = self.node(name).life.lock();
        let lease = life.lease.as_ref();
        lease.is_some_and(|lease| lease.is_valid(self.clock.now()))
    }
}

/// What the product's driver does with an authority, and nothing else of it.
struct Driver {
    name: &'static str,
    agreement: Arc<Agreement>,
    life: Arc<Mutex<Life>>,
    clock: Arc<dyn Clock>,
}

impl Driver {
    async fn ask(&self, command: Command) -> Option<Answer> {
        let asked = tokio::time::timeout(WAIT, self.agreement.command(command)).await;
        asked.ok()?.ok()
    }

    async fn drive(self) {
        while !self.life.lock().has_left {
            self.join().await;
            self.be_a_member().await;
        }
    }

    async fn join(&self) {
        loop {
            let sent = self.clock.now();
            let join = Command::Join {
                node: NodeName::new(self.name),
                address: self.name.to_owned(),
                place: None,
            };
            if let Some(Answer::Joined(joined)) = self.ask(join).await {
                let mut life = self.life.lock();
                life.incarnations.push(joined.incarnation);
                let now = self.clock.now();
                life.lease = Some(Lease::joined(sent, joined.lease, now));
                return;
            }
            tokio::time::sleep(WAIT).await;
        }
    }

    /// Until it has left or is refused.
    async fn be_a_member(&self) {
        let me = self.life.lock().incarnations.last().copied();
        let me = me.expect("it has joined");
        let renewing = async {
            loop {
                let number = {
                    let mut life = self.life.lock();
                    life.lease
                        .as_mut()
                        .expect("it has joined")
                        .renew(self.clock.now())
                };
                let renewed = self.ask(Command::Renew(me)).await;
                {
                    let mut life = self.life.lock();
                    let now = self.clock.now();
                    let lease = life.lease.as_mut().expect("it has joined");
                    let lapsed = !lease.is_valid(now);
                    match renewed {
                        Some(Answer::Renewed(Ok(length))) => lease.granted(number, length, now),
                        Some(Answer::Renewed(Err(_))) => {
                            lease.refused();
                            // Who leaves and is no member any more has left.
                            life.has_left = life.leaving;
                            return;
                        }
                        _ => {}
                    }
                    life.lapsed |= lapsed;
                }
                let due = {
                    let life = self.life.lock();
                    life.lease.as_ref().and_then(Lease::renewal_due)
                };
                let wait = due.map_or(WAIT, |due| due.since(self.clock.now()));
                tokio::time::sleep(wait).await;
            }
        };
        tokio::select! {
            () = renewing => {}
            () = self.change_standing(me) => {}
        }
    }

    /// Ends when it has left.
    async fn change_standing(&self, me: Incarnation) {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let (leaving, layout) = {
                let life = self.life.lock();
                (life.leaving, life.layout.clone())
            };
            let Some(layout) = layout else { continue };
            let standing = layout.members.get(&me).map(|member| member.standing);
            // Who leaves has its buckets re-assigned, as the coordinator would.
            if leaving && standing == Some(Standing::Leaving) && layout.managed_by(me) > 0 {
                let propose = Command::Propose {
                    against: layout.version,
                    most_moves: None,
                };
                self.ask(propose).await;
            }
            let asked = match standing {
                Some(Standing::Joining) if !leaving => self.ask(Command::Ready(me)).await,
                Some(Standing::Joining | Standing::Ready) if leaving => {
                    self.ask(Command::Leave(me)).await
                }
                // Only who wants to go: to be leaving may be the leader's word, so that the only vote moves,
                // and who is declared dead then comes back. Forced where nobody is there to take anything.
                Some(Standing::Leaving) if leaving => {
                    let mut others = layout.members.values();
                    let force = others.all(|member| member.standing == Standing::Leaving);
                    let incarnation = me;
                    self.ask(Command::Left { incarnation, force }).await
                }
                _ => None,
            };
            if let Some(Answer::Left(Ok(()) | Err(LeftRefused::NotAMember(_)))) = asked {
                self.life.lock().has_left = true;
                return;
            }
        }
    }
}

async fn watch(agreement: Arc<Agreement>, life: Arc<Mutex<Life>>) {
    let mut known = None;
    while let Ok(layout) = agreement.layout_after(known).await {
        assert!(Some(layout.version) > known, "versions only grow");
        assert_eq!(layout.check(), Ok(()));
        known = Some(layout.version);
        life.lock().layout = Some(layout);
    }
}
