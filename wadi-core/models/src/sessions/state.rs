//! Everything at one instant of the session model, and what a node's outputs do to it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use wadi_core::member::Incarnation;
use wadi_core::message::{Body, Message, Scope};
use wadi_core::protocol::{Found, Input, Output, SealedCopy};
use wadi_core::sabotage::{self, Rule};
use wadi_core::tenure::Tenure;

use super::authority::Authority;
use super::node::{Map, Node, Resident, SESSION};
use super::truth::{End, Truth};

/// A message that was sent. The network delivers it at any time, any number of times, or never.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sent {
    pub(super) to: Incarnation,
    pub(super) from: Incarnation,
    pub(super) message: Message,
}

/// How often something has happened that happens only so often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// A request wants the session at another node.
    pub moves: u8,
    /// A request commits.
    pub commits: u8,
    /// A request ends the session.
    pub ends: u8,
    /// A process crashes.
    pub crashes: u8,
    /// A lease runs out.
    pub expiries: u8,
    /// A member leaves in good order.
    pub leaves: u8,
    /// A node comes back as a new incarnation.
    pub returns: u8,
    /// The session's lock cannot be had in time.
    pub busy: u8,
    /// A holder that is not the manager loses the session, and runs on.
    pub forgets: u8,
    /// The highest tenure of an epoch that is looked at: a doubled question moves the session anew.
    pub tenures: u64,
}

/// Everything at one instant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub(super) authority: Authority,
    pub(super) nodes: [Arc<Node>; 3],
    pub(super) network: BTreeSet<Arc<Sent>>,
    pub(super) truth: Truth,
    pub(super) spent: Budget,
    /// What the last question came to; forgotten at once.
    pub(super) found: Option<Found>,
}

impl State {
    /// Three members; the session is at its bucket's manager, or displaced.
    pub(super) fn new(displaced: bool, waits: bool) -> Self {
        let (mut authority, first) = Authority::found();
        let others = [authority.join(1), authority.join(2)];
        let holder = if displaced { others[0] } else { first };
        let node = |me| Arc::new(Node::new(me, waits));
        let mut state = Self {
            authority,
            nodes: [node(first), node(others[0]), node(others[1])],
            network: BTreeSet::new(),
            truth: Truth::new(holder),
            spent: Budget::default(),
            found: None,
        };
        state.authority.reassign();
        let layout = Arc::clone(state.authority.layout());
        for at in 0..3 {
            let until = state.nodes[at].lease_until();
            state.give(at, Input::Lease(until));
            state.give(at, Input::Layout(Arc::clone(&layout)));
        }
        if displaced {
            state.give(1, Input::Register(SESSION));
            state.deliver_everything();
        } else {
            let tenure = Tenure::new(layout.placements[0].since, 0);
            state.node(0).resident = Some(Resident::new(tenure, Default::default(), 0));
        }
        state.network.clear();
        state
    }

    pub(super) fn node(&mut self, at: usize) -> &mut Node {
        Arc::make_mut(&mut self.nodes[at])
    }

    /// The authority declares a member dead: by a proof where its process is there no more, else because
    /// its lease ran out.
    pub(super) fn declare_dead(&mut self, who: Incarnation) {
        if self.at(who).is_some() {
            self.authority.expire(who);
        } else {
            self.authority.declare_dead(who);
        }
        self.truth.died(who);
    }

    pub(super) fn at(&self, who: Incarnation) -> Option<usize> {
        self.nodes.iter().position(|node| node.me() == Some(who))
    }

    /// Delivers one message after another, each once, in the order of sending, until none is left.
    /// Whether there was an end to it.
    pub(super) fn deliver_everything(&mut self) -> bool {
        for _ in 0..400 {
            let Some(sent) = self.network.pop_first() else {
                return true;
            };
            if let Some(at) = self.at(sent.to) {
                let Sent { from, message, .. } = Arc::unwrap_or_clone(sent);
                self.give(at, Input::Message { from, message });
            }
        }
        false
    }

    /// What can have no effect any more need not be remembered: messages to nobody, and those of an
    /// epoch that their receiver refuses.
    pub(super) fn forget_void_messages(&mut self) {
        let mut network = std::mem::take(&mut self.network);
        network.retain(|sent| {
            let Some(participant) = self
                .at(sent.to)
                .and_then(|at| self.nodes[at].participant.as_ref())
            else {
                return false;
            };
            let current = participant
                .layout()
                .map(|layout| layout.placements[0].since);
            sabotage::is_off(Rule::Epoch) || current.is_none_or(|epoch| sent.message.epoch >= epoch)
        });
        self.network = network;
    }

    /// The highest tenure that was allotted in any epoch, of those still on their way.
    pub(super) fn highest_tenure(&self) -> u64 {
        let allotted = |sent: &Arc<Sent>| match &sent.message.body {
            Body::Release { tenure, .. }
            | Body::Inquire {
                scope: Scope::Session(_, tenure),
                ..
            } => tenure.count(),
            _ => 0,
        };
        self.network.iter().map(allotted).max().unwrap_or(0)
    }

    /// Gives an input to the process at `at`, and does what it says.
    pub(super) fn give(&mut self, at: usize, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let node = Arc::make_mut(&mut self.nodes[at]);
            let Some(participant) = &mut node.participant else {
                return;
            };
            let mut outputs = Vec::new();
            participant.handle(node.now, input, &Map(&node.resident), &mut outputs);
            for output in outputs {
                self.perform(at, output, &mut inputs);
            }
        }
    }

    fn perform(&mut self, at: usize, output: Output, inputs: &mut VecDeque<Input>) {
        let me = self.nodes[at].me().expect("only a process acts");
        match output {
            Output::Send { to, message } => {
                match message.body {
                    // From here on only the confirmed holder need have the session.
                    Body::Confirmed { .. } => self.truth.held_by(to),
                    Body::Ended { .. } => {
                        let participant = self.nodes[at].participant.as_ref();
                        let keeps = participant.is_some_and(|it| it.keeps_marker(&SESSION));
                        self.truth.marked(keeps);
                    }
                    _ => {}
                }
                if to == me {
                    inputs.push_back(Input::Message { from: me, message });
                } else if !matches!(message.body, Body::Stale { .. }) {
                    // `Stale` says with its epoch that there is a newer layout; watchers here need
                    // no such hint.
                    let from = me;
                    self.network.insert(Arc::new(Sent { to, from, message }));
                }
            }
            Output::Store { .. } => unreachable!("there is no store below these nodes"),
            Output::Seal(_) if self.nodes[at].resident.is_none() => {
                inputs.push_back(Input::Gone(SESSION));
            }
            Output::Seal(_) => self.node(at).sealing = true,
            Output::Restore {
                tenure,
                revision,
                state,
                ..
            } => self.node(at).resident = Some(Resident::new(tenure, revision, state[0])),
            Output::Install {
                tenure,
                revision,
                state,
                ..
            } => {
                self.take_out(at, inputs);
                let mut resident = Resident::new(tenure, revision, state[0]);
                resident.confirmed = false;
                self.node(at).resident = Some(resident);
            }
            Output::Discard(_) => self.take_out(at, inputs),
            Output::Confirm { tenure, .. } => {
                let participant = self.nodes[at].participant.as_ref();
                let layout = participant.and_then(|it| it.layout());
                if layout.is_some_and(|it| it.placements[0].manager == me) {
                    // A manager that takes it in itself confirms it without a word.
                    self.truth.held_by(me);
                }
                self.confirm(at, tenure);
            }
            Output::Found { found, .. } => {
                self.truth.found(found);
                self.found = Some(found);
                if let Found::Registered(tenure) = found {
                    self.node(at).resident = Some(Resident::new(tenure, Default::default(), 0));
                }
            }
            Output::Ended(_) => self.truth.ended(),
            Output::Evacuated => self.node(at).evacuated = true,
            Output::Event(event) => self.truth.told(event),
            Output::Open(..) | Output::Close(_) | Output::WantLayout(_) => {}
        }
    }

    fn confirm(&mut self, at: usize, tenure: Tenure) {
        let node = self.node(at);
        let acts = node.acts();
        let Some(resident) = node.resident.as_mut().filter(|it| it.tenure == tenure) else {
            return;
        };
        resident.confirmed = true;
        let held_back = std::mem::take(&mut resident.held_back);
        if acts {
            self.truth.acknowledge(held_back);
        }
    }

    /// Takes the copy out of the map; a mover that waits for its lock finds it gone.
    pub(super) fn take_out(&mut self, at: usize, inputs: &mut VecDeque<Input>) {
        let node = self.node(at);
        node.resident = None;
        if std::mem::take(&mut node.sealing) {
            inputs.push_back(Input::Gone(SESSION));
        }
    }

    /// The session's lock is had: takes the session out of the map, encoded.
    pub(super) fn seal(&mut self, at: usize) {
        let node = self.node(at);
        node.sealing = false;
        let input = match node.resident.take() {
            Some(resident) => Input::Sealed(vec![SealedCopy {
                id: SESSION,
                tenure: resident.tenure,
                revision: resident.revision,
                state: vec![resident.commits].into(),
            }]),
            None => Input::Gone(SESSION),
        };
        self.give(at, input);
    }

    /// Ends the session under its exclusive lock.
    pub(super) fn end(&mut self, at: usize) {
        let mut later = VecDeque::new();
        let Some(resident) = self.nodes[at].resident else {
            return;
        };
        self.take_out(at, &mut later);
        if self.truth.end == End::No {
            self.truth.end = End::Asked;
        }
        let tenure = resident.tenure;
        self.give(
            at,
            Input::End {
                id: SESSION,
                tenure,
            },
        );
        for input in later {
            self.give(at, input);
        }
    }

    /// The process at `at` is gone.
    pub(super) fn stop(&mut self, at: usize) {
        self.node(at).stop();
        self.look_for_lost_markers();
    }

    /// A marker that no member keeps any more protects nothing.
    pub(super) fn look_for_lost_markers(&mut self) {
        if self.truth.end != End::Acknowledged || self.truth.markers_gone {
            return;
        }
        let kept = self
            .nodes
            .iter()
            .filter_map(|node| node.participant.as_ref())
            .any(|participant| {
                self.authority.is_member(participant.me()) && participant.keeps_marker(&SESSION)
            });
        self.truth.markers_gone = !kept;
    }
}
