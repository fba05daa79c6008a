//! The simulated world: true time, the queue of what happens next, and everything that is in it.
//!
//! Everything is drawn from one seed: the same seed gives the same run, to the last message.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use wadi_core::authority::{Charter, Register};
use wadi_core::bucket::{BucketCount, Layout};
use wadi_core::member::{Founding, Incarnation, NodeName};
use wadi_core::message::Message;
use wadi_core::protocol::{Event, Participant, Settings, Stored, ToStore};
use wadi_core::session::SessionId;
use wadi_core::stale::{Chosen, TakeNothingBack};
use wadi_core::tenure::Tenure;

use crate::authority::{Call, Reply};
use crate::clients::{Request, RequestId};
use crate::coordinate::coordinator_of;
use crate::coverage::{Coverage, Fault};
use crate::echoes::Echo;
use crate::faults::{Ambush, Cuts, Noise, Temper};
use crate::generations::Generations;
use crate::host::{Host, Instant, Process, SkewedClock};
use crate::invariants;
use crate::oracle::Oracle;
use crate::parting;
use crate::proofs::Proofs;
use crate::store::Store;
use crate::stragglers::Stragglers;

pub(crate) const MILLI: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000 * MILLI;

/// The lease of the simulated cluster.
pub(crate) const LEASE: Duration = Duration::from_secs(1);

/// What a trace calls a session.
pub(crate) fn name(id: &SessionId) -> String {
    let [.., a, b] = id.random();
    format!("{a:02x}{b:02x}")
}

/// How long the simulated cluster waits for who may come back; where messages are kept back, shorter than
/// those, or they would all have come before an older copy serves.
const ABSENT_AFTER: Duration = Duration::from_millis(2500);
const ABSENT_SOON: Duration = Duration::from_millis(300);
/// And where a node leaves when faults have stopped: longer than it has for that.
const ABSENT_LONG: Duration = Duration::from_secs(8);

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum Happening {
    Deliver {
        host: usize,
        start: u64,
        from: Incarnation,
        to: Incarnation,
        message: Message,
    },
    Wake {
        host: usize,
        start: u64,
    },
    CoordinatorWakes {
        host: usize,
        start: u64,
    },
    SealTimeout {
        host: usize,
        start: u64,
        id: SessionId,
        until: Instant,
    },
    RequestReaches {
        request: RequestId,
        host: usize,
    },
    HandlerEnds {
        request: RequestId,
    },
    ClientActs,
    AuthorityHears {
        host: usize,
        start: u64,
        call: Call,
    },
    HostHears {
        host: usize,
        start: u64,
        reply: Reply,
    },
    LayoutReaches {
        host: usize,
        start: u64,
        layout: Arc<Layout>,
    },
    StoreHears {
        host: usize,
        start: u64,
        who: Incarnation,
        id: SessionId,
        tenure: Tenure,
        ask: ToStore,
        answers: bool,
    },
    StoreAnswers {
        host: usize,
        start: u64,
        id: SessionId,
        tenure: Tenure,
        stored: Stored,
    },
    AuthorityTick,
    AuthorityDies,
    NextGeneration,
    HostTick {
        host: usize,
        start: u64,
    },
    Start {
        host: usize,
        pause_of: u64,
    },
    Strike,
    Befall {
        host: usize,
        fault: Fault,
    },
    Mend {
        cut: u64,
    },
    Straggle {
        number: u64,
    },
    DialAgain {
        host: usize,
        start: u64,
        to: usize,
        who: Incarnation,
    },
    LeaveInHaste {
        host: usize,
        start: u64,
        who: Incarnation,
    },
    Part,
    Parted {
        host: usize,
        start: u64,
        who: Incarnation,
    },
}

struct Due {
    at: Instant,
    number: u64,
    what: Happening,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // The queue gives the greatest first: earliest is greatest.
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

/// A broken invariant.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) invariant: &'static str,
    pub(crate) what: String,
}

/// How one run went.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) steps: u64,
    pub(crate) violation: Option<Violation>,
    pub(crate) coverage: Coverage,
    pub(crate) acknowledged: u64,
    pub(crate) unavailable: u64,
}

/// See the module.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) rng: fastrand::Rng,
    pub(crate) hosts: Vec<Host>,
    pub(crate) register: Register,
    pub(crate) authority_clock: SkewedClock,
    pub(crate) cuts: Cuts,
    pub(crate) noise: Noise,
    pub(crate) echoes: VecDeque<Echo>,
    pub(crate) temper: Temper,
    pub(crate) ambush: Option<Ambush>,
    pub(crate) stragglers: Option<Stragglers>,
    pub(crate) proofs: Option<Proofs>,
    pub(crate) generations: Option<Generations>,
    pub(crate) store: Option<Store>,
    /// Whether a node leaves when faults have stopped.
    parts: bool,
    pub(crate) oracle: Oracle,
    pub(crate) coverage: Coverage,
    pub(crate) requests: BTreeMap<RequestId, Request>,
    pub(crate) ending: BTreeMap<SessionId, RequestId>,
    pub(crate) registering: BTreeMap<SessionId, RequestId>,
    pub(crate) next_request: RequestId,
    pub(crate) next_token: u32,
    pub(crate) faults_until: Instant,
    pub(crate) acknowledged: u64,
    pub(crate) unavailable: u64,
    pub(crate) violation: Option<Violation>,
    pub(crate) trace: bool,
    /// What this step touched; checked when it is over.
    pub(crate) touched: BTreeSet<SessionId>,
    pub(crate) where_is: BTreeMap<Incarnation, usize>,
    settings: Arc<Settings>,
    queue: BinaryHeap<Due>,
    queued: u64,
    steps: u64,
}

impl World {
    /// The world of `seed`, before anything has happened.
    pub(crate) fn new(seed: u64, trace: bool) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let buckets = BucketCount::new(rng.u16(2..=8)).expect("at least two");
        let temper = Temper::random(&mut rng);
        let authority_clock = SkewedClock::random(&mut rng, temper.skew);
        let mut hosts: Vec<_> = (0..rng.usize(3..=5))
            .map(|_| Host::new(SkewedClock::random(&mut rng, temper.skew), buckets))
            .collect();
        let charter = Charter {
            buckets,
            deputies: 1,
            lease: LEASE,
        };
        let now_there = authority_clock.read(0);
        let (register, founder) = Register::found(
            charter,
            Founding::IN_PROCESS,
            0,
            NodeName::new("h0"),
            "h0".into(),
            now_there,
        );
        let stragglers = Stragglers::random(seed);
        let parts = stragglers.is_none() && parting::is_in(seed);
        let absent_after = match stragglers {
            Some(_) => ABSENT_SOON,
            None if parts => ABSENT_LONG,
            None => ABSENT_AFTER,
        };
        let takes_nothing_back = !parts && seed % 16 == 9;
        let store = Store::random(seed);
        let settings = Arc::new(Settings {
            store: store.is_some(),
            stale: match takes_nothing_back {
                true => Chosen::new(Arc::new(TakeNothingBack)),
                false => Chosen::default(),
            },
            retry: Duration::from_millis(40),
            retry_most: Duration::from_millis(400),
            ask_for: Duration::from_secs(1),
            resolve_after: Duration::from_nanos(temper.resolve_after),
            absent_after,
            remember_for: Duration::from_secs(8),
            mark_for: Duration::from_secs(3600),
            hand_over_records: if seed.is_multiple_of(2) { 1 } else { 2048 },
            evacuate_at_once: 3,
            ..Settings::default()
        });
        let first = hosts[0].clock.read(0);
        hosts[0].process = Process::Member {
            participant: Box::new(Participant::new(founder.incarnation, Arc::clone(&settings))),
            lease: wadi_core::authority::Lease::joined(first, founder.lease, first),
            coordinator: coordinator_of(founder.incarnation, &register),
            ready: true,
            leaving: false,
        };
        let mut world = Self {
            now: 0,
            noise: Noise::random(&mut rng),
            temper,
            ambush: Ambush::random(&mut rng),
            stragglers,
            proofs: Proofs::random(seed),
            generations: Generations::random(seed),
            store,
            parts,
            rng,
            register,
            authority_clock,
            cuts: Cuts::default(),
            echoes: VecDeque::new(),
            oracle: Oracle::new(match takes_nothing_back {
                true => Duration::ZERO,
                false => absent_after,
            }),
            coverage: Coverage::default(),
            requests: BTreeMap::new(),
            ending: BTreeMap::new(),
            registering: BTreeMap::new(),
            next_request: 0,
            next_token: 0,
            faults_until: 12 * SECOND,
            acknowledged: 0,
            unavailable: 0,
            violation: None,
            trace,
            touched: BTreeSet::new(),
            where_is: BTreeMap::from([(founder.incarnation, 0)]),
            settings,
            queue: BinaryHeap::new(),
            queued: 0,
            steps: 0,
            hosts,
        };
        let layout = Arc::new(world.register.layout().clone());
        world.after(
            0,
            Happening::LayoutReaches {
                host: 0,
                start: 0,
                layout,
            },
        );
        world.after(0, Happening::HostTick { host: 0, start: 0 });
        for host in 1..world.hosts.len() {
            let wait = world.rng.u64(0..2 * SECOND);
            world.after(wait, Happening::Start { host, pause_of: 0 });
        }
        world.after(0, Happening::AuthorityTick);
        world.after(50 * MILLI, Happening::ClientActs);
        world.after(1_500 * MILLI, Happening::Strike);
        world.doom_the_authority();
        world
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings)
    }

    pub(crate) fn faulty(&self) -> bool {
        self.now < self.faults_until
    }

    pub(crate) fn after(&mut self, wait: u64, what: Happening) {
        self.queued += 1;
        self.queue.push(Due {
            at: self.now + wait,
            number: self.queued,
            what,
        });
    }

    pub(crate) fn fail(&mut self, invariant: &'static str, what: impl Into<String>) {
        if self.violation.is_none() {
            let what = what.into();
            self.note(|| format!("VIOLATION {invariant}: {what}"));
            self.violation = Some(Violation { invariant, what });
        }
    }

    pub(crate) fn note(&self, what: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>12.3} ms  {}", self.now as f64 / 1e6, what());
        }
    }

    /// Runs the world of `seed` until it has settled, or something is wrong.
    pub(crate) fn run(seed: u64, least_steps: u64, trace: bool) -> Outcome {
        let mut world = Self::new(seed, trace);
        loop {
            world.run_until(world.faults_until);
            if world.violation.is_some() || world.steps >= least_steps {
                break;
            }
            world.faults_until += 4 * SECOND;
        }
        if world.violation.is_none() {
            world.heal();
            let mut settled = world.faults_until + 14 * SECOND;
            if world.parts {
                world.after(parting::SOON, Happening::Part);
                settled += ABSENT_LONG.as_nanos() as u64 + 4 * SECOND;
            }
            world.run_until(settled);
        }
        if world.violation.is_none() {
            invariants::settles::check(&mut world);
        }
        Outcome {
            steps: world.steps,
            violation: world.violation,
            coverage: world.coverage,
            acknowledged: world.acknowledged,
            unavailable: world.unavailable,
        }
    }

    pub(crate) fn run_until(&mut self, end: Instant) {
        while self.violation.is_none() {
            let Some(due) = self.queue.peek() else { break };
            if due.at > end {
                break;
            }
            let due = self.queue.pop().expect("it was just looked at");
            self.now = self.now.max(due.at);
            self.steps += 1;
            self.happen(due.what);
            invariants::after_each_step(self);
        }
        self.now = self.now.max(end);
    }

    /// Whether what concerns this process has to wait, because its machine is paused; it is then
    /// put back for when that ends.
    fn is_paused(&mut self, host: usize, what: Happening) -> Option<Happening> {
        match self.hosts[host].paused_until {
            Some(until) if until > self.now => {
                let wait = until - self.now;
                self.after(wait, what);
                None
            }
            _ => Some(what),
        }
    }

    fn happen(&mut self, what: Happening) {
        let concerned = match &what {
            Happening::Deliver { host, start, .. }
            | Happening::Wake { host, start }
            | Happening::CoordinatorWakes { host, start }
            | Happening::SealTimeout { host, start, .. }
            | Happening::HostHears { host, start, .. }
            | Happening::LayoutReaches { host, start, .. }
            | Happening::LeaveInHaste { host, start, .. }
            | Happening::Parted { host, start, .. }
            | Happening::DialAgain { host, start, .. }
            | Happening::StoreAnswers { host, start, .. }
            | Happening::HostTick { host, start } => {
                if self.hosts[*host].start != *start {
                    return;
                }
                Some(*host)
            }
            Happening::RequestReaches { host, .. } => Some(*host),
            Happening::HandlerEnds { request } => match self.requests.get(request) {
                Some(request) => Some(request.host),
                None => return,
            },
            _ => None,
        };
        let what = match concerned {
            Some(host) => match self.is_paused(host, what) {
                Some(what) => what,
                None => return,
            },
            None => what,
        };
        match what {
            Happening::Deliver {
                host,
                from,
                to,
                message,
                ..
            } => self.deliver(host, from, to, message),
            Happening::Wake { host, .. } => self.wake(host),
            Happening::CoordinatorWakes { host, .. } => self.coordinator_wakes(host),
            Happening::SealTimeout {
                host, id, until, ..
            } => self.seal_timeout(host, id, until),
            Happening::RequestReaches { request, host } => self.request_reaches(request, host),
            Happening::HandlerEnds { request } => self.handler_ends(request),
            Happening::ClientActs => self.client_acts(),
            Happening::AuthorityHears { host, start, call } => {
                self.authority_hears(host, start, call);
            }
            Happening::HostHears { host, reply, .. } => self.host_hears(host, reply),
            Happening::LayoutReaches { host, layout, .. } => self.layout_reaches(host, layout),
            Happening::StoreHears {
                host,
                start,
                who,
                id,
                tenure,
                ask,
                answers,
            } => self.store_hears((host, start, who), id, tenure, ask, answers),
            Happening::StoreAnswers {
                host,
                id,
                tenure,
                stored,
                ..
            } => self.store_answers(host, id, tenure, stored),
            Happening::AuthorityTick => self.authority_tick(),
            Happening::AuthorityDies => self.authority_dies(),
            Happening::NextGeneration => self.next_generation(),
            Happening::HostTick { host, .. } => self.host_tick(host),
            Happening::Start { host, pause_of } => self.start(host, pause_of),
            Happening::Strike => self.strike(),
            Happening::Befall { host, fault } => self.befall(host, fault),
            Happening::Mend { cut } => self.cuts.mend(cut),
            Happening::Straggle { number } => self.straggle(number),
            Happening::DialAgain { host, to, who, .. } => self.dial_again(host, to, who),
            Happening::LeaveInHaste { host, who, .. } => self.leave_in_haste(host, who),
            Happening::Part => self.part(),
            Happening::Parted { host, who, .. } => self.parted(host, who),
        }
    }

    pub(crate) fn told(&mut self, host: usize, event: Event) {
        let (Event::Lost(id) | Event::Stale(id) | Event::Dropped(id, _) | Event::Fork(id)) = event;
        self.note(|| format!("h{host} event {} {event:?}", name(&id)));
        match event {
            Event::Lost(_) | Event::Stale(_) => self.oracle.told(&id, self.now),
            Event::Dropped(..) => {}
            Event::Fork(_) => self.fail("no fork", format!("h{host} saw two copies of a session")),
        }
    }
}
