//! Two nodes, one bucket, an authority: nobody but the owner ever takes effect.
//!
//! Time passes in ticks. The network keeps every message for ever and delivers it at any time,
//! any number of times, or never: so loss, duplication, delay and reordering are one thing. A
//! node pauses by not being scheduled. Watchers see layouts as late as they like.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use stateright::{Model, Property};
use wadi_core::authority::{Charter, Lease, Proof, Register};
use wadi_core::bucket::{BucketCount, BucketId, LayoutVersion};
use wadi_core::clock::Moment;
use wadi_core::member::{Founding, Incarnation, NodeName};

use crate::process::{Ask, Bucket, Members, Message, Process, View};

/// Nanoseconds of the authority's clock in one tick.
const TICK: u64 = 10;
/// The lease, two ticks.
const LEASE: Duration = Duration::from_nanos(2 * TICK);

/// The rules; each may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// 1: death is declared only after the authority's own record of the lease ran out.
    pub wait: bool,
    /// 1: or when it is proven, which a living process never is.
    pub proof: bool,
    /// 2: a lease is counted from when the renewal was sent.
    pub count_from_send: bool,
    /// 2: nine tenths of it are counted.
    pub nine_tenths: bool,
    /// 3: the lease is checked again at commit, and sealing waits for requests in flight.
    pub check_at_commit: bool,
    /// 4: a layout older than one already seen is refused. (By itself it shows nothing: the next
    /// one is what counts.)
    pub layouts: bool,
    /// 4: a layout older than the epoch under which the bucket was given up is refused.
    pub given_up: bool,
    /// 4: a directory of another epoch than the one waited for is refused.
    pub directories: bool,
    /// 5: whoever comes back comes back as somebody new, with nothing owned.
    pub incarnation: bool,
    /// A new manager whose predecessor is gone asks everybody else before it owns.
    pub ask_everyone: bool,
    /// A new leader waits one whole lease before it declares death without proof.
    pub grace: bool,
    /// A renewal is answered only once it is agreed.
    pub agreed: bool,
}

impl Rules {
    /// All of them.
    pub const ALL: Self = Self {
        wait: true,
        proof: true,
        count_from_send: true,
        nine_tenths: true,
        check_at_commit: true,
        layouts: true,
        given_up: true,
        directories: true,
        incarnation: true,
        ask_everyone: true,
        grace: true,
        agreed: true,
    };
}

/// One instance of the model.
#[derive(Clone, Copy, Debug)]
pub struct Leases {
    /// What holds.
    pub rules: Rules,
    /// Nanoseconds of each node's clock in one tick: from nine to eleven.
    pub rates: [u64; 2],
    /// How many ticks pass at most.
    pub ticks: u8,
    /// How many renewals each incarnation sends at most.
    pub renewals: u8,
    /// How many incarnations there are at most, the founder included.
    pub incarnations: u64,
    /// How many processes crash at most.
    pub crashes: u8,
    /// How many members leave in good order at most.
    pub leaves: u8,
    /// How often the authority's leader changes at most.
    pub failovers: u8,
    /// What the next leader's clock is ahead of the one before.
    pub ahead: u64,
}

/// A rule left out, and the smallest instance that shows what comes of it.
#[derive(Clone, Copy, Debug)]
pub struct Control {
    name: &'static str,
    leave_out: fn(&mut Rules),
    from: Leases,
    is_large: bool,
}

impl Control {
    /// Each rule once, rule 4 in its three parts.
    pub const ALL: &[Self] = &[
        Self::of("  1 wait: dead after half a lease", Leases::SMALL, |r| {
            r.wait = false
        }),
        Self::of("  1 proof: silence is one", Leases::SMALL, |r| {
            r.proof = false
        }),
        Self::large("  2 counted from the answer", Leases::SMALL, |r| {
            r.count_from_send = false
        }),
        Self::of("  2 counted whole", Leases::SMALL, |r| {
            r.nine_tenths = false
        }),
        Self::of("  3 not checked again at commit", Leases::SMALL, |r| {
            r.check_at_commit = false
        }),
        Self::of("  4 older layouts accepted", Leases::LEAVES, |r| {
            r.layouts = false;
            r.given_up = false;
        }),
        Self::large(
            "  4 given up, an older layout accepted",
            Leases::LEAVES,
            |r| r.given_up = false,
        ),
        Self::large("  4 an older directory accepted", Leases::LEAVES, |r| {
            r.directories = false
        }),
        Self::of("  5 comes back as the same", Leases::SMALL, |r| {
            r.incarnation = false
        }),
        Self::large(
            "  takes over without asking everyone",
            Leases::LEAVES,
            |r| r.ask_everyone = false,
        ),
        Self::of("  fail-over: no grace", Leases::FAIL_OVER, |r| {
            r.grace = false
        }),
        Self::large(
            "  fail-over: answered before agreed",
            Leases::FAIL_OVER,
            |r| r.agreed = false,
        ),
    ];

    const fn of(name: &'static str, from: Leases, leave_out: fn(&mut Rules)) -> Self {
        Self {
            name,
            leave_out,
            from,
            is_large: false,
        }
    }

    const fn large(name: &'static str, from: Leases, leave_out: fn(&mut Rules)) -> Self {
        Self {
            is_large: true,
            ..Self::of(name, from, leave_out)
        }
    }

    /// What is left out.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it takes above fifty thousand states.
    #[must_use]
    pub const fn is_large(&self) -> bool {
        self.is_large
    }

    /// The instance that must fail.
    #[must_use]
    pub fn model(&self) -> Leases {
        let mut model = self.from;
        (self.leave_out)(&mut model.rules);
        model
    }
}

impl Leases {
    const SMALL: Self = Self {
        rules: Rules::ALL,
        rates: [9, 9],
        ticks: 4,
        renewals: 1,
        incarnations: 3,
        crashes: 0,
        leaves: 0,
        failovers: 0,
        ahead: 0,
    };

    const LEAVES: Self = Self {
        ticks: 2,
        leaves: 2,
        ..Self::SMALL
    };

    const FAIL_OVER: Self = Self {
        failovers: 1,
        ahead: 1_000,
        ..Self::SMALL
    };

    /// The instances that must hold, by name; larger ones when `deep`, for minutes.
    #[must_use]
    pub fn instances(deep: bool) -> Vec<(&'static str, Self)> {
        let more = u8::from(deep);
        let expiry = Self {
            renewals: 1 + more,
            ..Self::SMALL
        };
        let crash = Self {
            ticks: 3 + more,
            crashes: 1,
            ..Self::SMALL
        };
        let hand_over = Self {
            ticks: 2 + more,
            ..Self::LEAVES
        };
        let fail_over = Self {
            crashes: more,
            ..Self::FAIL_OVER
        };
        vec![
            ("leases: pauses and expiry", expiry),
            ("leases: crash and proof", crash),
            ("leases: hand-over", hand_over),
            ("leases: fail-over of the authority", fail_over),
        ]
    }

    /// The bounds in words.
    #[must_use]
    pub fn bounds(&self) -> String {
        format!(
            "{} ticks (lease 2), clocks {}:{}:{TICK}, {} renewals each, {} incarnations, {} crashes, {} leaves, {} fail-overs",
            self.ticks,
            self.rates[0],
            self.rates[1],
            self.renewals,
            self.incarnations,
            self.crashes,
            self.leaves,
            self.failovers,
        )
    }
}

/// Everything at one instant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    tick: u8,
    register: Arc<Register>,
    /// What the leader's clock is ahead of the first leader's.
    offset: u64,
    /// What layouts have said about the bucket, each once, in order.
    views: Arc<Vec<View>>,
    nodes: [Option<Process>; 2],
    network: BTreeSet<Message>,
    /// Crashed incarnations: their death can be proven.
    crashed: BTreeSet<Incarnation>,
    leaves: u8,
    failovers: u8,
    /// The highest epoch under which anybody has owned the bucket.
    owned: LayoutVersion,
    /// A request of somebody but the founder took effect.
    succeeded: bool,
    /// A request took effect when the bucket was already another's.
    late_effect: bool,
    /// The bucket was handed over, at least once.
    handed_over: bool,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Time passes.
    Tick,
    /// A node without process joins, and is ready.
    Start(usize),
    /// A process dies.
    Crash(usize),
    /// A member says that it is leaving.
    Leave(usize),
    /// A leaving member that has handed everything over goes.
    Left(usize),
    /// A node sends a renewal.
    Renew(usize),
    /// A message arrives.
    Deliver(Message),
    /// A leader that was replaced and does not know it grants a renewal.
    GrantByDeposed(Message),
    /// A watcher sees a layout.
    Watch(usize, View),
    /// The authority declares dead whose lease ran out.
    Expire,
    /// A crashed process is proven dead.
    Prove(Incarnation),

    /// Another leader of the authority takes over.
    FailOver,
    /// A request begins, and checks.
    Begin(usize),
    /// It checks again, and takes effect or not.
    Commit(usize),
}

impl State {
    fn now(&self) -> Moment {
        Moment::from_nanos(u64::from(self.tick) * TICK + self.offset)
    }

    fn node(&self, incarnation: Incarnation) -> Option<usize> {
        let is = |node: &Option<Process>| node.as_ref().is_some_and(|p| p.me == incarnation);
        self.nodes.iter().position(is)
    }

    /// Changes the register, and has the bucket re-assigned where that is due. The coordinator
    /// is never late here, but whoever watches is.
    fn agree<T>(&mut self, change: impl FnOnce(&mut Register, Moment) -> T) -> T {
        let now = self.now();
        let register = Arc::make_mut(&mut self.register);
        let answer = change(register, now);
        let version = register.layout().version;
        let _ = register.propose(version, None);
        self.publish();
        answer
    }

    /// Notes what the layout now says about the bucket, where that is news.
    fn publish(&mut self) {
        let layout = self.register.layout();
        let placement = layout.placement(BucketId::new(0));
        let view = View {
            version: layout.version,
            manager: placement.manager,
            since: placement.since,
            ask: match placement.previous {
                Some(former) if layout.is_member(former) => Ask::Former(former),
                // Nobody has owned it before the founder.
                None => Ask::Everyone(Members::default()),
                // Who joined later cannot have owned it.
                Some(_) => Ask::Everyone(
                    layout
                        .members
                        .keys()
                        .copied()
                        .filter(|m| *m < placement.manager)
                        .collect(),
                ),
            },
        };
        let same = |known: &View| {
            View {
                version: view.version,
                ..*known
            } == view
        };
        if !self.views.last().is_some_and(same) {
            Arc::make_mut(&mut self.views).push(view);
        }
    }

    fn note_owner(&mut self, at: usize) {
        if let Some(Bucket::Owns(epoch)) = self.nodes[at].as_ref().map(|p| p.bucket) {
            self.owned = self.owned.max(epoch);
        }
    }
}

impl Leases {
    fn clock(&self, state: &State, at: usize) -> Moment {
        Moment::from_nanos(u64::from(state.tick) * self.rates[at])
    }

    /// What the authority grants; enlarged where the node's nine tenths are to come out as all.
    fn granted(&self) -> Duration {
        if self.rules.nine_tenths {
            LEASE
        } else {
            Duration::from_nanos((2 * TICK * 10).div_ceil(9))
        }
    }

    /// The moment by which leases are judged; later than it is where nobody waits for their end.
    fn judged_at(&self, state: &State) -> Moment {
        if self.rules.wait {
            state.now()
        } else {
            state.now() + LEASE / 2
        }
    }

    fn join(&self, state: &mut State, at: usize) {
        let joined = state.agree(|register, now| {
            let joined = register.join(name(at), String::new(), now);
            let _ = register.ready(joined.incarnation);
            joined
        });
        let now = self.clock(state, at);
        let lease = Lease::joined(now, self.granted(), now);
        match &mut state.nodes[at] {
            // With rule 5 left out, who comes back goes on with what it has.
            Some(process) if !self.rules.incarnation => {
                process.me = joined.incarnation;
                process.lease = lease;
            }
            node => *node = Some(Process::new(joined.incarnation, lease)),
        }
    }

    fn deliver(&self, state: &mut State, message: Message) {
        match message {
            Message::Renew(from, number) => {
                let answer = match state.agree(|register, now| register.renew(from, now)) {
                    Ok(_) => Message::Granted(from, number),
                    Err(_) => Message::Refused(from),
                };
                state.network.insert(answer);
            }
            Message::Granted(to, number) => {
                let Some(at) = state.node(to) else { return };
                let now = self.clock(state, at);
                let length = self.granted();
                let Some(process) = &mut state.nodes[at] else {
                    return;
                };
                if self.rules.count_from_send {
                    process.lease.granted(number, length, now);
                } else {
                    let as_if_sent_now = process.lease.renew(now);
                    process.lease.granted(as_if_sent_now, length, now);
                }
            }
            Message::Refused(to) => {
                let Some(at) = state.node(to) else { return };
                if self.rules.incarnation {
                    state.nodes[at] = None;
                } else if state.register.layout().members.len() < 2 {
                    self.join(state, at);
                }
            }
            Message::Pull {
                to,
                from,
                epoch,
                everyone,
            } => {
                let Some(at) = state.node(to) else { return };
                let Some(process) = &mut state.nodes[at] else {
                    return;
                };
                let owned = matches!(process.bucket, Bucket::Owns(_));
                if process.give_up(epoch, everyone, &self.rules) {
                    let (to, from) = (from, to);
                    state.network.insert(Message::Directory { to, from, epoch });
                    state.handed_over |= owned;
                }
            }
            Message::Directory { to, from, epoch } => {
                let Some(at) = state.node(to) else { return };
                let Some(process) = &mut state.nodes[at] else {
                    return;
                };
                process.take(from, epoch, &self.rules);
                state.note_owner(at);
            }
        }
    }

    /// Removes messages that can have no effect any more, which makes equal states equal.
    fn forget(&self, state: &mut State) {
        let nodes = &state.nodes;
        let lives = |who: &Incarnation| nodes.iter().flatten().any(|p| p.me == *who);
        state.network.retain(|message| match message {
            // A late renewal still counts at the authority.
            Message::Renew(from, _) => lives(from),
            Message::Granted(to, number) => {
                let awaited = |p: &Process| p.me == *to && p.lease.awaits(*number);
                nodes.iter().flatten().any(awaited)
            }
            Message::Refused(to) => lives(to),
            Message::Pull { to, from, .. } => lives(to) && lives(from),
            Message::Directory { to, .. } => lives(to),
        });
    }
}

fn name(at: usize) -> NodeName {
    NodeName::new(if at == 0 { "a" } else { "b" })
}

impl Model for Leases {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let charter = Charter {
            buckets: BucketCount::new(1).expect("one is not zero"),
            deputies: 1,
            lease: LEASE,
        };
        let (register, joined) = Register::found(
            charter,
            Founding::IN_PROCESS,
            0,
            name(0),
            String::new(),
            Moment::ZERO,
        );
        let lease = Lease::joined(Moment::ZERO, self.granted(), Moment::ZERO);
        let mut state = State {
            tick: 0,
            register: Arc::new(register),
            offset: 0,
            views: Arc::new(Vec::new()),
            nodes: [Some(Process::new(joined.incarnation, lease)), None],
            network: BTreeSet::new(),
            crashed: BTreeSet::new(),
            leaves: 0,
            failovers: 0,
            owned: LayoutVersion::ZERO,
            succeeded: false,
            late_effect: false,
            handed_over: false,
        };
        state.publish();
        let first = state.views[0];
        if let Some(founder) = &mut state.nodes[0] {
            founder.see(first, &self.rules);
        }
        state.note_owner(0);
        // The second node has joined at the same instant.
        self.join(&mut state, 1);
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.tick < self.ticks {
            actions.push(Action::Tick);
        }
        for (at, node) in state.nodes.iter().enumerate() {
            let Some(process) = node else {
                actions.push(Action::Start(at));
                continue;
            };
            let now = self.clock(state, at);
            if (state.crashed.len() as u8) < self.crashes {
                actions.push(Action::Crash(at));
            }
            if state.leaves < self.leaves {
                actions.push(Action::Leave(at));
            }
            if process.bucket == Bucket::Nothing {
                actions.push(Action::Left(at));
            }
            if process.renewals < self.renewals && process.renewed_at != Some(now) {
                actions.push(Action::Renew(at));
            }
            for view in state.views.iter() {
                if process
                    .view
                    .is_none_or(|known| known.version < view.version)
                    || !self.rules.layouts
                {
                    actions.push(Action::Watch(at, *view));
                }
            }
            match process.begun {
                None if process.acts(now) => actions.push(Action::Begin(at)),
                None => {}
                Some(_) => actions.push(Action::Commit(at)),
            }
        }
        for message in &state.network {
            actions.push(Action::Deliver(*message));
            if !self.rules.agreed && state.failovers > 0 && matches!(message, Message::Renew(..)) {
                actions.push(Action::GrantByDeposed(*message));
            }
        }
        if !state.register.overdue(self.judged_at(state)).is_empty() {
            actions.push(Action::Expire);
        }
        for incarnation in &state.crashed {
            if state.register.layout().is_member(*incarnation) {
                actions.push(Action::Prove(*incarnation));
            }
        }
        if !self.rules.proof && state.register.layout().members.len() > 1 {
            let silent = state.register.layout().members.keys();
            actions.extend(silent.map(|silent| Action::Prove(*silent)));
        }

        if state.failovers < self.failovers {
            actions.push(Action::FailOver);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = last.clone();
        match action {
            Action::Tick => next.tick += 1,
            Action::Start(at) => {
                let given = next.register.layout().members.keys().next_back();
                let given = given.map_or(0, |youngest| youngest.get());
                let given = given.max(
                    next.register
                        .tombstones()
                        .last()
                        .map_or(0, |(i, _)| i.get()),
                );
                if given >= self.incarnations {
                    return None;
                }
                self.join(&mut next, at);
            }
            Action::Crash(at) => {
                let process = next.nodes[at].take()?;
                next.crashed.insert(process.me);
            }
            Action::Leave(at) => {
                let who = last.nodes[at].as_ref()?.me;
                next.agree(|register, _| register.leave(who)).ok()?;
                next.leaves += 1;
            }
            Action::Left(at) => {
                let process = next.nodes[at].take()?;
                next.agree(|register, _| register.left(process.me, false))
                    .ok()?;
            }
            Action::Renew(at) => {
                let now = self.clock(last, at);
                let process = next.nodes[at].as_mut()?;
                process.renewals += 1;
                process.renewed_at = Some(now);
                let number = process.lease.renew(now);
                next.network.insert(Message::Renew(process.me, number));
            }
            Action::Deliver(message) => self.deliver(&mut next, message),
            Action::GrantByDeposed(Message::Renew(from, number)) => {
                next.network.insert(Message::Granted(from, number));
            }
            Action::GrantByDeposed(_) => return None,
            Action::Watch(at, view) => {
                let sent = next.nodes[at].as_mut()?.see(view, &self.rules);
                next.network.extend(sent);
                next.note_owner(at);
            }
            Action::Expire => {
                let judged_at = self.judged_at(last);
                next.agree(|register, _| register.expire(judged_at));
            }
            Action::Prove(incarnation) => {
                let proof = Proof::BoundAddress;
                next.agree(|register, _| register.declare_dead(incarnation, proof))
                    .ok()?;
            }
            Action::FailOver => {
                next.failovers += 1;
                next.offset += self.ahead;
                if self.rules.grace {
                    next.agree(Register::take_over);
                }
            }
            Action::Begin(at) => {
                let process = next.nodes[at].as_mut()?;
                if let Bucket::Owns(epoch) = process.bucket {
                    process.begun = Some(epoch);
                }
            }
            Action::Commit(at) => {
                let now = self.clock(last, at);
                if let Some(epoch) = next.nodes[at].as_mut()?.commit(now, &self.rules) {
                    next.late_effect |= epoch < last.owned;
                    next.succeeded |= epoch == last.owned && epoch.number() > 1;
                }
            }
        }
        self.forget(&mut next);
        (next != *last).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("one owner acts", |model: &Self, state: &State| {
                let acts = |at: usize| {
                    let process = state.nodes[at].as_ref();
                    process.is_some_and(|process| process.acts(model.clock(state, at)))
                };
                !(acts(0) && acts(1))
            }),
            Property::always("nothing takes effect late", |_, state: &State| {
                !state.late_effect
            }),
            // The model is not empty: somebody else does take over, and takes effect.
            Property::sometimes("a second owner takes effect", |_, state: &State| {
                state.succeeded
            }),
        ];
        if self.leaves > 0 {
            properties.push(Property::sometimes(
                "a bucket is handed over",
                |_, state: &State| state.handed_over && state.succeeded,
            ));
        }
        properties
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Expected, run};

    #[test]
    fn a_small_instance_holds() {
        let model = Leases {
            ticks: 3,
            ..Leases::SMALL
        };
        let row = run("leases", "", model, Expected::Holds);
        assert!(row.good, "{row:?}");
    }

    #[test]
    fn rules_left_out_give_counterexamples() {
        // An unoptimised build would take long for the others; the binary runs them all.
        for control in Control::ALL.iter().filter(|control| !control.is_large()) {
            let row = run(control.name(), "", control.model(), Expected::Fails);
            assert!(row.good, "{row:?}");
        }
    }
}
