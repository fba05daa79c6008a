//! The node's one task: it takes what it is given, in order, and what is due; gives it to the
//! protocol, and does what comes out before it takes the next.
//!
//! It waits for nothing but its queue and its alarm. Whatever takes time (a session's lock, the
//! authority) is done by another task, which gives the outcome back through the queue.

mod authority;
mod below;
mod deaths;
mod lease;
mod leave;
mod membership;
mod perform;
mod requests;
mod seal;
mod timers;

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use self::below::Under;
use self::deaths::Proven;
use self::lease::Leases;
use self::leave::Leaving;
use self::timers::Alarm;
use super::below::Below;
use super::given::Given;
use super::holdings::Here;
use super::lanes::{Entrance, Lanes};
use super::listen::Told;
use super::open::OpenBuckets;
use super::settings::NodeSettings;
use super::status::{Aftermath, Migrations, Status};
use super::surroundings::Surroundings;
use super::waiting::Waiting;
use crate::bucket::Layout;
use crate::clock::{Clock, Moment};
use crate::evict::Evicter;
use crate::lease::LeaseGate;
use crate::member::Incarnation;
use crate::protocol::coordinator::Coordinator;
use crate::protocol::{Input, Output, Participant, ReturnedCopy};
use crate::session::{Departed, Departures, Drained, Sealed, SessionId, Sessions};
use crate::store::SessionStore;
use crate::tenure::Tenure;

/// At most so many inputs, and so many of the protocol's timers, are handled before the other is
/// looked at again, and the lease.
const ROUND: usize = 64;
/// For so long at most each of the two, too, and one of them more: an input or a timer may concern some
/// hundreds of sessions. What came out goes on its way then, and whoever was answered has a turn.
const SLICE: Duration = Duration::from_millis(1);
/// Of how many ends the protocol is told before an input: more than inputs can cause, so that they
/// become fewer, and few enough for a driver that is asked something.
const BURIED_BEFORE: usize = 8;

/// The node's driver; see the module.
pub(super) struct Driver {
    settings: Arc<NodeSettings>,
    /// Where other nodes reach this one, in the network's own words.
    address: String,
    clock: Arc<dyn Clock>,
    surroundings: Surroundings,
    sessions: Arc<Sessions>,
    departures: Arc<Departures>,
    gate: Arc<LeaseGate>,
    leases: Arc<Leases>,
    open: Arc<OpenBuckets>,
    queue: Lanes,
    entrance: Entrance,
    /// For the tasks that give outcomes back.
    back: mpsc::Sender<Given>,
    alarm: Alarm,
    tasks: JoinSet<()>,
    /// How many of the tasks wait for a session's lock.
    sealing: usize,
    /// What was sealed and taken out of the map in this step, and the protocol is to be told of.
    sealed: Vec<(SessionId, Sealed)>,
    /// What it is being told of, until it has said whether it stays so.
    told_of: Vec<(SessionId, Sealed)>,
    /// What was in the map when this node was last fenced, and is not encoded yet. Before all of it is,
    /// the protocol learns of no layout, and so answers nobody.
    drained: Vec<Drained>,
    /// What was encoded of it while nobody could take it.
    returned: Vec<ReturnedCopy>,
    /// What is left to give and to do in a step; empty between two.
    steps: (VecDeque<Input>, Vec<Output>),
    /// The transport did not take a message, and the protocol has not been told.
    congested: bool,
    waiting: Waiting,
    life: Life,
    leaving: Option<Leaving>,
    /// The first incarnation of this process: what listened at its address before has ended.
    first: Option<Incarnation>,
    /// The latest layout that the authority has told of, whoever this node was then.
    layout: Option<Arc<Layout>>,
    status: watch::Sender<Status>,
    migrations: Arc<Migrations>,
    aftermath: Arc<Aftermath>,
    /// The store below all nodes.
    under: Option<Under>,
    /// What it has just given out, while the protocol is told.
    rising: Option<(SessionId, Tenure)>,
}

/// What this node is in the cluster.
enum Life {
    /// Nobody yet, or nobody any more; asks to join, as who it was.
    Joining {
        former: Option<Box<Participant>>,
        /// When to ask again; `None` while an answer is waited for.
        again_at: Option<Moment>,
    },
    Member(Box<Membership>),
    /// It has left.
    Over,
}

/// One incarnation.
struct Membership {
    me: Incarnation,
    participant: Participant,
    coordinator: Coordinator,
    /// Until when the protocol knows that it may act.
    may_act_until: Moment,
    /// Renews its lease; ends with it.
    keeper: AbortHandle,
    /// When to look again at what was asked of the authority and has not shown in a layout yet.
    look_at: Option<Moment>,
    /// Whose end is proven, and shows in no layout yet.
    proven: BTreeMap<Incarnation, Proven>,
    /// When to declare those again.
    declare_at: Option<Moment>,
    /// It has asked to be no member any more, and may be none before it hears so.
    has_asked_to_go: bool,
}

/// Whether `next` says that the session which `output` puts into the map is held here.
fn is_confirmed_by(output: &Output, next: &Output) -> bool {
    match (output, next) {
        (
            Output::Install { id, tenure, .. },
            Output::Confirm {
                id: confirmed,
                tenure: under,
            },
        ) => id == confirmed && tenure == under,
        _ => false,
    }
}

impl Drop for Driver {
    /// However it ends: where nobody performs what the protocol says, nobody may act.
    fn drop(&mut self) {
        self.gate.revoke();
        self.open.close_all();
        if std::thread::panicking() {
            // The listener may be what failed, and may fail again.
            let told = catch_unwind(AssertUnwindSafe(|| self.tell(Told::Died)));
            drop(told);
        }
    }
}

impl Driver {
    #[expect(clippy::too_many_arguments, reason = "called in one place")]
    pub(super) fn new(
        settings: Arc<NodeSettings>,
        address: String,
        (clock, surroundings): (Arc<dyn Clock>, Surroundings),
        sessions: Arc<Sessions>,
        departures: Arc<Departures>,
        gate: Arc<LeaseGate>,
        open: Arc<OpenBuckets>,
        (entrance, queue): (Entrance, Lanes),
        status: watch::Sender<Status>,
        (migrations, aftermath): (Arc<Migrations>, Arc<Aftermath>),
    ) -> Self {
        Self {
            settings,
            address,
            clock,
            surroundings,
            sessions,
            departures,
            leases: Arc::new(Leases::new(Arc::clone(&gate))),
            gate,
            open,
            queue,
            back: entrance.rest().clone(),
            entrance,
            alarm: Alarm::default(),
            tasks: JoinSet::new(),
            sealing: 0,
            sealed: Vec::new(),
            told_of: Vec::new(),
            drained: Vec::new(),
            returned: Vec::new(),
            steps: Default::default(),
            congested: false,
            waiting: Waiting::default(),
            life: Life::Joining {
                former: None,
                again_at: None,
            },
            leaving: None,
            first: None,
            layout: None,
            status,
            migrations,
            aftermath,
            under: None,
            rising: None,
        }
    }

    /// Lives until the node has left, or is stopped; over this store, where there is one.
    pub(super) async fn run(
        mut self,
        over: Option<(Arc<dyn SessionStore>, Arc<dyn Evicter>)>,
        below: Arc<Below>,
    ) {
        if let Some((store, evicter)) = over {
            self.begin_over(store, evicter, below);
        }
        self.watch_layouts();
        self.ask_to_join();
        while !matches!(self.life, Life::Over) {
            let nap = self.nap();
            let mut given = if nap.is_zero() {
                self.queue.try_next()
            } else {
                self.next(nap).await
            };
            self.pass_lease_on();
            let mut left = ROUND;
            let until = self.now() + SLICE;
            while let Some(one) = given.take() {
                self.take(one);
                left -= 1;
                if self.now() >= until {
                    left = 0;
                }
                if left > 0 && !matches!(self.life, Life::Over) {
                    given = self.queue.try_next();
                }
            }
            while self.tasks.try_join_next().is_some() {}
            self.do_what_is_due();
            self.encode_drained();
            self.surroundings.transport.flush();
            if left == 0 || nap.is_zero() {
                // More is waiting; others have their turn before.
                tokio::task::yield_now().await;
            }
        }
        self.surroundings.transport.flush();
    }

    fn now(&self) -> Moment {
        self.clock.now()
    }

    fn member(&mut self) -> Option<&mut Membership> {
        match &mut self.life {
            Life::Member(member) => Some(member),
            Life::Joining { .. } | Life::Over => None,
        }
    }

    fn me(&self) -> Option<Incarnation> {
        match &self.life {
            Life::Member(member) => Some(member.me),
            Life::Joining { .. } | Life::Over => None,
        }
    }

    fn take(&mut self, given: Given) {
        match given {
            Given::Message { to, from, message } => self.message(to, from, message),
            Given::Find { id, want, reply } => self.find(id, want, reply),
            Given::Register { id, reply } => self.register(id, reply),
            Given::Locked { me, id, alone } => self.locked(me, id, alone),
            // What has happened is looked at in each round.
            Given::Departed | Given::Leased => {}
            Given::Died { me, who, proof } => self.died(me, who, proof),
            Given::DeclareDead { who, force, reply } => self.declare_dead(who, force, reply),
            Given::Layout(layout) => self.learn(layout),
            Given::Answered { asked, answer } => self.answered(asked, answer),
            Given::Stored(outcomes) => self.stored(outcomes),
            Given::Demote(chosen) => self.demote(chosen),
            Given::Evacuate { revoke_at, reply } => self.evacuate(revoke_at, reply),
            Given::Leave { until, reply } => self.start_leaving(until, reply),
        }
    }

    /// Gives the protocol an input, after some of the ends of sessions that came before. Until it is
    /// told, each counts as here.
    fn give(&mut self, input: Input) {
        self.bury_departed(BURIED_BEFORE);
        self.step(input);
    }

    /// Tells the protocol of sessions that ended here, of so many at most.
    fn bury_departed(&mut self, most: usize) {
        for _ in 0..most {
            let Some(departed) = self.departures.take() else {
                return;
            };
            let input = self.departing(departed);
            self.step(input);
        }
    }

    /// The input that tells the protocol of an end.
    fn departing(&mut self, departed: Departed) -> Input {
        let (id, tenure) = (departed.id, departed.tenure);
        if matches!(self.life, Life::Member(_)) {
            self.waiting.end(id, departed.settled);
        }
        Input::End { id, tenure }
    }

    /// One input, and whatever follows from it within this node.
    fn step(&mut self, input: Input) {
        // Kept from step to step for the memory that they have.
        let (mut inputs, mut outputs) = std::mem::take(&mut self.steps);
        inputs.push_back(input);
        while let Some(input) = inputs.pop_front() {
            let now = self.now();
            let Life::Member(member) = &mut self.life else {
                inputs.clear();
                break;
            };
            let here = Here {
                sessions: &self.sessions,
                departures: &self.departures,
            };
            let tells_of_sealed = matches!(input, Input::Sealed(_));
            member.participant.handle(now, input, &here, &mut outputs);
            let mut outputs_left = outputs.drain(..).peekable();
            while let Some(output) = outputs_left.next() {
                // Its manager is this node, and has confirmed it.
                let confirmed = outputs_left.next_if(|next| is_confirmed_by(&output, next));
                self.perform(output, confirmed.is_some(), now, &mut inputs);
            }
            drop(outputs_left);
            if tells_of_sealed {
                self.let_sealed_go();
            }
            // Before what this node tells itself, which goes by what is in the map.
            if let Some(sealed) = self.what_was_sealed() {
                inputs.push_front(sealed);
            }
            if std::mem::take(&mut self.congested) {
                inputs.push_back(Input::Congested);
            }
        }
        self.steps = (inputs, outputs);
    }

    /// Lets everybody see who this node is and what it knows.
    fn publish(&self) {
        let incarnation = self.me();
        let layout = self.layout.clone();
        self.status.send_modify(|status| {
            status.incarnation = incarnation;
            status.layout = layout;
        });
    }
}
