//! The small scripted world: nodes with their session maps, a network that can be cut, and time.
//!
//! It performs what the protocol says, at once and in order, and decides nothing itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wadi_core::bucket::{BucketId, Layout, LayoutVersion, Placement};
use wadi_core::clock::Moment;
use wadi_core::member::{Incarnation, Member, NodeName, Standing};
use wadi_core::message::{Body, Message, Want};
use wadi_core::protocol::{
    Copy, Event, Found, Holdings, Input, Output, Participant, ReturnedCopy, SealedCopy, Settings,
    Stored, ToStore,
};
use wadi_core::session::SessionId;
use wadi_core::stale::{Chosen, StalePolicy};
use wadi_core::tenure::{Revision, Tenure};

pub(crate) const N1: Incarnation = Incarnation::new(1);
pub(crate) const N2: Incarnation = Incarnation::new(2);
pub(crate) const N3: Incarnation = Incarnation::new(3);
pub(crate) const N4: Incarnation = Incarnation::new(4);
pub(crate) const N5: Incarnation = Incarnation::new(5);

/// The one session that most scripts are about.
pub(crate) const S: SessionId = SessionId::from_parts([7; 16], 1);

/// The only bucket.
pub(crate) const BUCKET: BucketId = BucketId::new(0);

/// A session of which nobody ever heard.
pub(crate) fn stranger(number: u32) -> SessionId {
    SessionId::from_parts([9; 16], number)
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 3600)
}

/// A session in a node's map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InMap {
    pub(crate) tenure: Tenure,
    pub(crate) revision: Revision,
    pub(crate) state: Bytes,
    /// Whether it is held: requests on it may be answered.
    pub(crate) confirmed: bool,
}

#[derive(Default)]
struct SessionMap(BTreeMap<SessionId, InMap>);

impl Holdings for SessionMap {
    fn get(&self, id: &SessionId) -> Option<Copy> {
        self.0.get(id).map(InMap::copy)
    }

    fn for_each_in(&self, bucket: BucketId, each: &mut dyn FnMut(SessionId, Copy)) {
        assert_eq!(bucket, BUCKET, "there is no other bucket");
        for (id, copy) in &self.0 {
            each(*id, copy.copy());
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl InMap {
    fn copy(&self) -> Copy {
        Copy {
            tenure: self.tenure,
            revision: self.revision,
        }
    }
}

/// One node: its part in the protocol and its session map.
pub(crate) struct Node {
    participant: Participant,
    map: SessionMap,
    /// A long request holds every session's lock: sealing waits until the script says what became
    /// of it.
    seals_wait: bool,
}

impl Node {
    pub(crate) fn new(me: Incarnation) -> Self {
        Self::with(Participant::new(me, Arc::new(Settings::default())))
    }

    /// A node that has this policy for stale copies.
    pub(crate) fn choosing(me: Incarnation, policy: impl StalePolicy) -> Self {
        let settings = Settings {
            stale: Chosen::new(Arc::new(policy)),
            ..Settings::default()
        };
        Self::with(Participant::new(me, Arc::new(settings)))
    }

    /// A node above a store.
    pub(crate) fn above_a_store(me: Incarnation) -> Self {
        let settings = Settings {
            store: true,
            ..Settings::default()
        };
        Self::with(Participant::new(me, Arc::new(settings)))
    }

    /// It comes back as `me` with a copy of the session that it held under `tenure`.
    pub(crate) fn returned(me: Incarnation, tenure: Tenure) -> Self {
        let mut fenced = Self::new(Incarnation::new(0));
        let state = Bytes::from_static(b"v0");
        let copy = InMap::new(tenure, Revision::ZERO, state, true);
        fenced.map.0.insert(S, copy);
        fenced.come_back(me)
    }

    fn with(participant: Participant) -> Self {
        Self {
            participant,
            map: SessionMap::default(),
            seals_wait: false,
        }
    }

    /// Takes the session out of the map, as whoever seals or ends it does.
    pub(crate) fn take_out(&mut self) -> InMap {
        self.map.0.remove(&S).expect("the session is here")
    }

    /// It was fenced and comes back as `me`, with what is in its map.
    pub(crate) fn come_back(self, me: Incarnation) -> Self {
        let copies = self.map.0.into_iter().map(|(id, copy)| ReturnedCopy {
            id,
            tenure: copy.tenure,
            revision: copy.revision,
            held: copy.confirmed,
            away_since: None,
            state: copy.state,
        });
        Self::with(self.participant.come_back(me, copies.collect()))
    }
}

/// Whether a message from the first to the second is lost.
type Loss = Box<dyn Fn(Incarnation, Incarnation, &Body) -> bool>;

pub(crate) struct World {
    now: Moment,
    nodes: BTreeMap<Incarnation, Node>,
    leaving: BTreeSet<Incarnation>,
    /// Whose end is proven.
    proven: BTreeSet<Incarnation>,
    /// Who learns of layouts later than the others.
    late: Option<Incarnation>,
    layout: Option<Arc<Layout>>,
    network: VecDeque<(Incarnation, Incarnation, Message)>,
    loss: Loss,
    log: Vec<(Incarnation, Output)>,
}

impl World {
    /// These nodes, with endless leases and no layout.
    pub(crate) fn of(members: &[Incarnation]) -> Self {
        let mut world = Self {
            now: Moment::from_nanos(1_000_000_000),
            nodes: BTreeMap::new(),
            leaving: BTreeSet::new(),
            proven: BTreeSet::new(),
            late: None,
            layout: None,
            network: VecDeque::new(),
            loss: Box::new(|_, _, _| false),
            log: Vec::new(),
        };
        for &me in members {
            world.start(Node::new(me));
        }
        world
    }

    /// n1 manages the bucket, with these deputies; everybody knows it.
    pub(crate) fn founded(members: &[Incarnation], deputies: &[Incarnation]) -> Self {
        let mut world = Self::of(members);
        world.agree(N1, deputies);
        world
    }

    /// The same, and these have this policy for stale copies.
    pub(crate) fn choosing(members: &[Incarnation], policy: impl StalePolicy + Clone) -> Self {
        let mut world = Self::of(&[]);
        for &me in members {
            world.start(Node::choosing(me, policy.clone()));
        }
        world.agree(N1, &[]);
        world
    }

    /// n1 manages the bucket, and there is a store below them all.
    pub(crate) fn above_a_store(members: &[Incarnation]) -> Self {
        let mut world = Self::of(&[]);
        for &me in members {
            world.start(Node::above_a_store(me));
        }
        world.agree(N1, &[]);
        world
    }

    // What the script lets happen to nodes, leases and layouts.

    /// The node is there, with an endless lease.
    pub(crate) fn start(&mut self, node: Node) {
        let me = self.start_unleased(node);
        self.give(me, Input::Lease(Moment::from_nanos(u64::MAX)));
    }

    /// The node is there, and was granted no lease.
    pub(crate) fn start_unleased(&mut self, node: Node) -> Incarnation {
        let me = node.participant.me();
        self.nodes.insert(me, node);
        me
    }

    /// The node's lease runs for so long from now.
    pub(crate) fn lease(&mut self, who: Incarnation, length: Duration) {
        let until = self.now + length;
        self.give(who, Input::Lease(until));
    }

    /// The node stops, dead or cut off from the authority; the next layout is without it.
    pub(crate) fn stop(&mut self, who: Incarnation) -> Node {
        self.nodes.remove(&who).expect("it is there")
    }

    /// The node's process ends, and the next layout is without it, by a proof.
    pub(crate) fn stop_proven(&mut self, who: Incarnation) {
        drop(self.stop(who));
        self.proven.insert(who);
    }

    /// From the next layout on, the node is leaving.
    pub(crate) fn leave(&mut self, who: Incarnation) {
        self.leaving.insert(who);
    }

    /// The next layout, of the nodes that are there: `manager` has the bucket. Everybody learns it,
    /// and what they say to that is on the network.
    pub(crate) fn agree(&mut self, manager: Incarnation, deputies: &[Incarnation]) {
        let before = self.layout.as_deref();
        let version = before.map_or(LayoutVersion::from_u64(1), |layout| layout.version.next());
        let unchanged = before
            .map(|layout| layout.placement(BUCKET))
            .filter(|placement| placement.manager == manager);
        let placement = Placement {
            manager,
            deputies: deputies.to_vec(),
            since: unchanged.map_or(version, |same| same.since),
            previous: match unchanged {
                Some(same) => same.previous,
                None => before.map(|layout| layout.placement(BUCKET).manager),
            },
        };
        let gone = before.into_iter().flat_map(|layout| layout.members.keys());
        let mut gone = gone.filter(|who| !self.nodes.contains_key(*who));
        let unproven = if gone.any(|who| !self.proven.contains(who)) {
            version
        } else {
            before.map_or(LayoutVersion::ZERO, |layout| layout.unproven)
        };
        let members = self.nodes.keys().map(|who| (*who, self.member(*who)));
        self.adopt(Layout {
            version,
            unproven,
            members: members.collect(),
            placements: vec![placement],
        });
    }

    /// The first layout: several have founded, who may follow another cluster.
    pub(crate) fn found_in_doubt(&mut self) {
        let version = LayoutVersion::from_u64(1);
        let members = self.nodes.keys().map(|who| (*who, self.member(*who)));
        self.adopt(Layout {
            version,
            unproven: version,
            members: members.collect(),
            placements: vec![Placement {
                manager: N1,
                deputies: Vec::new(),
                since: version,
                previous: None,
            }],
        });
    }

    /// Everybody learns this layout; who is [`World::late`] learns it when what the others say to that has
    /// been delivered.
    pub(crate) fn adopt(&mut self, layout: Layout) {
        assert_eq!(layout.check(), Ok(()));
        let layout = Arc::new(layout);
        self.layout = Some(Arc::clone(&layout));
        let everybody: Vec<_> = self.nodes.keys().copied().collect();
        let (late, others): (Vec<_>, Vec<_>) =
            (everybody.into_iter()).partition(|who| self.late == Some(*who));
        for who in others {
            self.give(who, Input::Layout(Arc::clone(&layout)));
        }
        for who in late {
            self.deliver();
            self.give(who, Input::Layout(Arc::clone(&layout)));
        }
    }

    /// From now on this node learns of layouts later than the others.
    pub(crate) fn late(&mut self, who: Incarnation) {
        self.late = Some(who);
    }

    pub(crate) fn member(&self, who: Incarnation) -> Member {
        Member {
            node: NodeName::new(format!("n{}", who.get())),
            address: String::new(),
            place: None,
            standing: if self.leaving.contains(&who) {
                Standing::Leaving
            } else {
                Standing::Ready
            },
        }
    }

    // The network and time.

    /// From now on these messages are lost.
    pub(crate) fn lose(
        &mut self,
        loss: impl Fn(Incarnation, Incarnation, &Body) -> bool + 'static,
    ) {
        self.loss = Box::new(loss);
    }

    /// Nothing is lost any more.
    pub(crate) fn heal(&mut self) {
        self.lose(|_, _, _| false);
    }

    /// Delivers until the network is silent; no time passes.
    pub(crate) fn deliver(&mut self) {
        while let Some((from, to, message)) = self.network.pop_front() {
            let arrives = message.retain(|body| !(self.loss)(from, to, body));
            if let Some(message) = arrives {
                self.give(to, Input::Message { from, message });
            }
        }
    }

    /// Delivers so many messages at most; no time passes.
    pub(crate) fn deliver_some(&mut self, most: usize) {
        for _ in 0..most {
            let Some((from, to, message)) = self.network.pop_front() else {
                return;
            };
            let arrives = message.retain(|body| !(self.loss)(from, to, body));
            if let Some(message) = arrives {
                self.give(to, Input::Message { from, message });
            }
        }
    }

    /// What is under way is lost.
    pub(crate) fn lose_what_is_under_way(&mut self) {
        self.network.clear();
    }

    /// So much time passes, with its timers and its messages.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        self.deliver();
        while let Some((at, who, timer)) = self.next_timer().filter(|(at, ..)| *at <= end) {
            self.now = self.now.max(at);
            self.give(who, Input::Timer(timer));
            self.deliver();
        }
        self.now = end;
    }

    /// So much time passes in which every node and the network stand still.
    pub(crate) fn sleep(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    fn next_timer(&self) -> Option<(Moment, Incarnation, wadi_core::protocol::Timer)> {
        let timers = self.nodes.iter().filter_map(|(who, node)| {
            let (at, timer) = node.participant.next_timer()?;
            Some((at, *who, timer))
        });
        timers.min()
    }

    /// `from` says this to `to` under the bucket's own epoch, and is heard at once.
    pub(crate) fn tell(&mut self, from: Incarnation, to: Incarnation, body: Body) {
        let epoch = self.epoch();
        self.tell_under(epoch, from, to, body);
    }

    /// The same under another epoch.
    pub(crate) fn tell_under(
        &mut self,
        epoch: LayoutVersion,
        from: Incarnation,
        to: Incarnation,
        body: Body,
    ) {
        let message = Message::new(epoch, body);
        self.give(to, Input::Message { from, message });
    }

    pub(crate) fn epoch(&self) -> LayoutVersion {
        let layout = self.layout.as_ref().expect("a layout is agreed");
        layout.placement(BUCKET).since
    }

    /// Gives one input, and performs what it leads to.
    pub(crate) fn give(&mut self, who: Incarnation, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let Some(node) = self.nodes.get_mut(&who) else {
                return;
            };
            let mut outputs = Vec::new();
            node.participant
                .handle(self.now, input, &node.map, &mut outputs);
            for output in outputs {
                self.log.push((who, output.clone()));
                match output {
                    Output::Send { to, message } if to == who => {
                        inputs.push_back(Input::Message { from: who, message });
                    }
                    Output::Send { to, message } => self.network.push_back((who, to, message)),
                    other => inputs.extend(node.perform(other)),
                }
            }
        }
    }

    // What requests do.

    /// A request at `who` creates the session.
    pub(crate) fn create(&mut self, who: Incarnation) {
        self.give(who, Input::Register(S));
        self.deliver();
    }

    /// A request at `who` wants to have the session.
    pub(crate) fn ask(&mut self, who: Incarnation) {
        let want = Want::Move;
        self.give(who, Input::Find { id: S, want });
        self.deliver();
    }

    /// A request at `who` wants to know where the session is; what it hears at once.
    pub(crate) fn locate(&mut self, who: Incarnation) -> Vec<Found> {
        let before = self.log.len();
        let want = Want::Locate;
        self.give(who, Input::Find { id: S, want });
        self.deliver();
        found(&self.log[before..], who)
    }

    /// A request at `who` wants to have the session, and nothing of that is heard yet.
    pub(crate) fn begin_to_ask(&mut self, who: Incarnation) {
        let want = Want::Move;
        self.give(who, Input::Find { id: S, want });
    }

    /// A request at `who` writes to the session.
    pub(crate) fn commit(&mut self, who: Incarnation, state: &'static [u8]) {
        let map = &mut self.node(who).map;
        let copy = map.0.get_mut(&S).expect("the session is here");
        assert!(copy.confirmed, "only a held session is written to");
        copy.revision = copy.revision.next();
        copy.state = Bytes::from_static(state);
    }

    /// A request at `who`, or its sweeper, ends the session.
    pub(crate) fn end(&mut self, who: Incarnation) {
        let tenure = self.node(who).take_out().tenure;
        self.give(who, Input::End { id: S, tenure });
    }

    /// n2 creates the session, n3 gets it and commits v1. n2 is never told to drop its copy: a
    /// sealed v0 stays there, and the loss goes on.
    pub(crate) fn move_from_n2_to_n3_and_leave_a_sealed_copy(&mut self) {
        self.create(N2);
        self.lose(|_, to, body| to == N2 && matches!(body, Body::Drop { .. }));
        self.ask(N3);
        self.commit(N3, b"v1");
        assert_eq!((self.serving(), self.sealed(N2)), (vec![N3], 1));
    }

    /// Nobody has asked for the session for long, at `who`.
    pub(crate) fn demote(&mut self, who: Incarnation) {
        self.give(who, Input::Demote(S));
        self.deliver();
    }

    /// What the store was asked last, and by whom.
    pub(crate) fn asked_store(&self) -> (Incarnation, Tenure, ToStore) {
        let mut log = self.log.iter().rev();
        let last = log.find_map(|(who, said)| match said {
            Output::Store { tenure, ask, .. } => Some((*who, *tenure, ask.clone())),
            _ => None,
        });
        last.expect("the store was asked something")
    }

    /// How often it was asked anything.
    pub(crate) fn askings(&self) -> usize {
        let log = self.log.iter();
        log.filter(|(_, said)| matches!(said, Output::Store { .. }))
            .count()
    }

    /// The store says this to `who` of what it was asked under `tenure`.
    pub(crate) fn store_says(&mut self, who: Incarnation, tenure: Tenure, stored: Stored) {
        self.give(
            who,
            Input::Stored {
                id: S,
                tenure,
                stored,
            },
        );
        self.deliver();
    }

    // What can be seen.

    pub(crate) fn node(&mut self, who: Incarnation) -> &mut Node {
        self.nodes.get_mut(&who).expect("it is there")
    }

    pub(crate) fn participant(&self, who: Incarnation) -> &Participant {
        &self.nodes[&who].participant
    }

    pub(crate) fn is_there(&self, who: Incarnation) -> bool {
        self.nodes.contains_key(&who)
    }

    /// A long request at `who` holds the session's lock, or does so no more.
    pub(crate) fn let_seals_wait(&mut self, who: Incarnation, wait: bool) {
        self.node(who).seals_wait = wait;
    }

    /// Who answers requests on the session from its own map.
    pub(crate) fn serving(&self) -> Vec<Incarnation> {
        let nodes = self.nodes.iter();
        nodes
            .filter(|(_, node)| node.map.0.get(&S).is_some_and(|copy| copy.confirmed))
            .map(|(who, _)| *who)
            .collect()
    }

    /// The session as requests at `who` see it.
    pub(crate) fn served(&self, who: Incarnation) -> Option<&[u8]> {
        let copy = self.nodes[&who].map.0.get(&S)?;
        copy.confirmed.then_some(&copy.state[..])
    }

    /// Whether the session is in this node's map, confirmed or not.
    pub(crate) fn has(&self, who: Incarnation) -> bool {
        self.nodes[&who].map.0.contains_key(&S)
    }

    pub(crate) fn sealed(&self, who: Incarnation) -> usize {
        self.nodes[&who].participant.sealed()
    }

    /// Every copy in every map.
    pub(crate) fn copies(&self) -> Vec<(Incarnation, SessionId, InMap)> {
        let nodes = self.nodes.iter();
        nodes
            .flat_map(|(who, node)| {
                let copies = node.map.0.iter();
                copies.map(|(id, copy)| (*who, *id, copy.clone()))
            })
            .collect()
    }

    pub(crate) fn markers(&self) -> usize {
        let nodes = self.nodes.values();
        nodes.map(|node| node.participant.markers()).sum()
    }

    /// Everything that was put out since the world began; its length is a point in time.
    pub(crate) fn log(&self) -> &[(Incarnation, Output)] {
        &self.log
    }

    pub(crate) fn said(&self, who: Incarnation, output: &Output) -> bool {
        let mut log = self.log.iter();
        log.any(|(by, said)| *by == who && said == output)
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        let log = self.log.iter();
        log.filter_map(|(_, said)| match said {
            Output::Event(event) => Some(*event),
            _ => None,
        })
        .collect()
    }

    /// What became of the questions that requests at `who` asked.
    pub(crate) fn found(&self, who: Incarnation) -> Vec<Found> {
        found(&self.log, who)
    }
}

fn found(log: &[(Incarnation, Output)], who: Incarnation) -> Vec<Found> {
    log.iter()
        .filter_map(|(by, said)| match said {
            Output::Found { found, .. } if *by == who => Some(*found),
            _ => None,
        })
        .collect()
}

impl Node {
    /// Performs an output that is no message; the input that it leads to, if any.
    fn perform(&mut self, output: Output) -> Option<Input> {
        let map = &mut self.map.0;
        match output {
            Output::Seal(_) if self.seals_wait => {}
            Output::Seal(id) => {
                return Some(match map.remove(&id) {
                    Some(copy) => copy.sealed(id),
                    None => Input::Gone(id),
                });
            }
            Output::Restore {
                id,
                tenure,
                revision,
                state,
            } => {
                map.insert(id, InMap::new(tenure, revision, state, true));
            }
            Output::Install {
                id,
                tenure,
                revision,
                state,
            } => {
                map.insert(id, InMap::new(tenure, revision, state, false));
            }
            Output::Confirm { id, tenure } => {
                if let Some(copy) = map.get_mut(&id).filter(|copy| copy.tenure == tenure) {
                    copy.confirmed = true;
                }
            }
            Output::Discard(id) => {
                map.remove(&id);
            }
            Output::Found {
                id,
                found: Found::Registered(tenure),
            } => {
                let state = Bytes::from_static(b"v0");
                map.insert(id, InMap::new(tenure, Revision::ZERO, state, true));
            }
            _ => {}
        }
        None
    }
}

impl InMap {
    fn new(tenure: Tenure, revision: Revision, state: Bytes, confirmed: bool) -> Self {
        Self {
            tenure,
            revision,
            state,
            confirmed,
        }
    }

    /// What the driver gives once it has sealed this copy.
    pub(crate) fn sealed(self, id: SessionId) -> Input {
        Input::Sealed(vec![SealedCopy {
            id,
            tenure: self.tenure,
            revision: self.revision,
            state: self.state,
        }])
    }
}
