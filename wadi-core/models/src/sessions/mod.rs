//! Three nodes, one bucket, one session: it is served by one node at most, loses nothing that was
//! acknowledged, does not come back from its end, and is never falsely called absent.
//!
//! The nodes are the product's own [`Participant`](wadi_core::protocol::Participant)s. The network
//! keeps every message and delivers it at any time, any number of times, or never. Time stands still:
//! what is unanswered is asked again at any time, a lease runs out at any time, and so does the wait for
//! who may come back; what is kept or remembered for a time is kept for ever.

mod authority;
mod controls;
mod node;
mod settles;
mod state;
mod truth;

use std::collections::VecDeque;
use std::sync::Arc;

use stateright::{Model, Property};
use wadi_core::bucket::LayoutVersion;
use wadi_core::member::{Incarnation, Standing};
use wadi_core::message::Want;
use wadi_core::protocol::{Input, Timer};
use wadi_core::sabotage::{self, Rule};

pub use controls::Control;
use node::SESSION;
pub use state::{Budget, Sent, State};
use truth::End;

/// One instance of the model.
#[derive(Clone, Copy, Debug)]
pub struct Sessions {
    /// The rule that is left out.
    pub without: Option<Rule>,
    /// Whether the session begins away from its bucket's manager.
    pub displaced: bool,
    /// Whether who may come back with a newer copy is waited for.
    pub waits: bool,
    /// How often what happens.
    pub budget: Budget,
    /// Whether every state must be able to come to rest.
    pub settles: bool,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A message arrives.
    Deliver(Arc<Sent>),
    /// A watcher sees a layout.
    Watch(usize, LayoutVersion),
    /// What is unanswered is asked again.
    AskAgain(usize, Timer),
    /// A request looks for the session at a node that does not have it.
    Find(usize),
    /// A request commits.
    Commit(usize),
    /// A request ends the session.
    End(usize),
    /// A mover has the session's lock.
    Seal(usize),
    /// A mover cannot have it in time.
    Busy(usize),
    /// A process dies.
    Crash(usize),
    /// A holder loses the session.
    Forget(usize),
    /// A lease runs out, by the node's own clock.
    Expire(usize),
    /// The authority declares somebody dead.
    Declare(Incarnation),
    /// The coordinator has the bucket re-assigned.
    Reassign,
    /// A node comes back, with what it still has.
    Return(usize),
    /// A member says that it is leaving.
    Leave(usize),
    /// A leaving member moves everything away.
    Evacuate(usize),
    /// A leaving member that has nothing left goes.
    Left(usize),
}

impl Sessions {
    /// The bounds in words.
    #[must_use]
    pub fn bounds(&self) -> String {
        let Budget {
            moves,
            commits,
            ends,
            crashes,
            expiries,
            leaves,
            returns,
            busy,
            forgets,
            tenures,
        } = self.budget;
        let place = if self.displaced {
            "displaced"
        } else {
            "at home"
        };
        format!(
            "3 nodes, 1 bucket, 1 session {place}, {moves} moves, {commits} commits, {ends} ends, {crashes} crashes, {expiries} expiries, {leaves} leaves, {returns} returns, {busy} busy, {forgets} forgotten, {tenures} tenures{}",
            if self.settles {
                ", every state comes to rest"
            } else {
                ""
            }
        )
    }

    fn choose(&self) {
        #[cfg(wadi_sabotage = "choose")]
        sabotage::choose(self.without);
        debug_assert!(
            self.without.is_none() || self.without.is_some_and(sabotage::is_off),
            "this build leaves nothing out"
        );
    }

    fn node_actions(&self, state: &State, at: usize, actions: &mut Vec<Action>) {
        let (spent, most) = (&state.spent, &self.budget);
        let node = &state.nodes[at];
        let Some(participant) = &node.participant else {
            if spent.returns < most.returns && spent.crashes > 0 {
                actions.push(Action::Return(at));
            }
            return;
        };
        let me = participant.me();
        let is_member = state.authority.is_member(me);
        for layout in state.authority.newer(participant.layout()) {
            actions.push(Action::Watch(at, layout.version));
        }
        for timer in participant.running_timers() {
            if !matches!(timer, Timer::Forget) {
                actions.push(Action::AskAgain(at, timer));
            }
        }
        if node.sealing {
            actions.push(Action::Seal(at));
            if spent.busy < most.busy {
                actions.push(Action::Busy(at));
            }
        }
        let acts = node.acts();
        match &node.resident {
            Some(resident) if acts => {
                if spent.commits < most.commits {
                    actions.push(Action::Commit(at));
                }
                let manager = state.authority.layout().placements[0].manager;
                if resident.confirmed && manager != me && spent.forgets < most.forgets {
                    actions.push(Action::Forget(at));
                }
                if resident.confirmed && spent.ends < most.ends {
                    actions.push(Action::End(at));
                }
            }
            None if acts && spent.moves < most.moves => actions.push(Action::Find(at)),
            _ => {}
        }
        if spent.crashes < most.crashes {
            actions.push(Action::Crash(at));
        }
        if spent.expiries < most.expiries && node.has_lease() {
            actions.push(Action::Expire(at));
        }
        if !is_member && spent.returns < most.returns {
            actions.push(Action::Return(at));
        }
        match state.authority.standing(me) {
            Some(Standing::Ready) if spent.leaves < most.leaves => actions.push(Action::Leave(at)),
            Some(Standing::Leaving) => {
                actions.push(Action::Evacuate(at));
                if node.evacuated {
                    actions.push(Action::Left(at));
                }
            }
            _ => {}
        }
    }

    fn act(&self, state: &mut State, action: Action) {
        match action {
            Action::Deliver(sent) => {
                if let Some(at) = state.at(sent.to) {
                    let Sent { from, message, .. } = Arc::unwrap_or_clone(sent);
                    state.give(at, Input::Message { from, message });
                }
            }
            Action::Watch(at, version) => {
                let layout = state
                    .authority
                    .newer(None)
                    .find(|layout| layout.version == version)
                    .map(Arc::clone);
                if let Some(layout) = layout {
                    state.give(at, Input::Layout(layout));
                }
            }
            Action::AskAgain(at, timer) => state.give(at, Input::Timer(timer)),
            Action::Find(at) => {
                state.spent.moves += 1;
                let want = Want::Move;
                state.give(at, Input::Find { id: SESSION, want });
            }
            Action::Commit(at) => self.commit(state, at),
            Action::End(at) => {
                state.spent.ends += 1;
                state.end(at);
            }
            Action::Seal(at) => state.seal(at),
            Action::Busy(at) => {
                state.spent.busy += 1;
                state.node(at).sealing = false;
                state.give(at, Input::Busy(SESSION));
            }
            Action::Crash(at) => {
                state.spent.crashes += 1;
                if let Some(me) = state.nodes[at].me() {
                    state.truth.died(me);
                }
                state.stop(at);
            }
            Action::Forget(at) => {
                state.spent.forgets += 1;
                state.truth.forgotten();
                let mut later = VecDeque::new();
                state.take_out(at, &mut later);
                for input in later {
                    state.give(at, input);
                }
            }
            Action::Expire(at) => {
                state.spent.expiries += 1;
                state.node(at).expire();
            }
            Action::Declare(who) => {
                state.declare_dead(who);
                state.look_for_lost_markers();
            }
            Action::Reassign => state.authority.reassign(),
            Action::Return(at) => {
                state.spent.returns += 1;
                let me = state.authority.join(at);
                state.node(at).come_back(me);
                let until = state.nodes[at].lease_until();
                state.give(at, Input::Lease(until));
            }
            Action::Leave(at) => {
                state.spent.leaves += 1;
                if let Some(me) = state.nodes[at].me() {
                    state.authority.leave(me);
                }
            }
            Action::Evacuate(at) => state.give(at, Input::Evacuate),
            Action::Left(at) => {
                if state.nodes[at]
                    .me()
                    .is_some_and(|me| state.authority.left(me))
                {
                    state.stop(at);
                }
            }
        }
    }

    fn commit(&self, state: &mut State, at: usize) {
        let bit = 1 << state.spent.commits;
        state.spent.commits += 1;
        let Some(resident) = &mut state.node(at).resident else {
            return;
        };
        resident.commits |= bit;
        resident.revision = resident.revision.next();
        if resident.confirmed {
            state.truth.acknowledge(bit);
        } else {
            resident.held_back |= bit;
        }
    }
}

impl Model for Sessions {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        self.choose();
        vec![State::new(self.displaced, self.waits)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.choose();
        actions.extend(state.network.iter().map(Arc::clone).map(Action::Deliver));
        for at in 0..state.nodes.len() {
            self.node_actions(state, at, actions);
        }
        for who in state.authority.layout().members.keys() {
            let alive = state.at(*who).is_some_and(|at| state.nodes[at].has_lease());
            if !alive {
                actions.push(Action::Declare(*who));
            }
        }
        if state.authority.has_orphans() {
            actions.push(Action::Reassign);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        self.choose();
        let mut state = last.clone();
        self.act(&mut state, action);
        state.found = None;
        state.forget_void_messages();
        (state != *last).then_some(state)
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.highest_tenure() <= self.budget.tenures
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("one copy is served", |_, state: &State| {
                state.nodes.iter().filter_map(|node| node.serves()).count() <= 1
            }),
            Property::always("what was acknowledged is served", |_, state: &State| {
                let mut served = state.nodes.iter().filter_map(|node| node.serves());
                served.all(|copy| state.truth.may_serve(copy.commits))
            }),
            Property::always("an ended session stays ended", |_, state: &State| {
                state.truth.end != End::Acknowledged
                    || state.truth.markers_gone
                    || state.nodes.iter().all(|node| node.serves().is_none())
            }),
            Property::always("nothing false is said", |_, state: &State| {
                state.truth.wrong.is_none()
            }),
            Property::always("directories are sound", |_, state: &State| {
                let mut running = state
                    .nodes
                    .iter()
                    .filter_map(|node| node.participant.as_ref());
                running.all(|participant| participant.check().is_ok())
            }),
            Property::sometimes("it is served elsewhere", |model: &Self, state: &State| {
                let began = usize::from(model.displaced);
                let mut others = (0..3).filter(|at| *at != began);
                others.any(|at| state.nodes[at].serves().is_some())
            }),
        ];
        if self.budget.ends > 0 {
            properties.push(Property::sometimes(
                "its end is acknowledged",
                |_, state: &State| state.truth.end == End::Acknowledged,
            ));
        }
        if self.budget.leaves > 0 {
            properties.push(Property::sometimes(
                "a member has left",
                |_, state: &State| {
                    state.spent.crashes == 0
                        && state.nodes.iter().any(|node| node.participant.is_none())
                },
            ));
        }
        if self.settles {
            properties.push(Property::always(
                "every state comes to rest",
                |model: &Self, state: &State| {
                    model.choose();
                    settles::settles(state)
                },
            ));
        }
        properties
    }
}
