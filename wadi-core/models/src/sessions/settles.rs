//! Nothing stays stuck: from any state, when faults stop and everything on its way is lost, the
//! cluster settles, and the session can be reached or is known to be gone.

use std::sync::Arc;

use wadi_core::member::Standing;
use wadi_core::message::Want;
use wadi_core::protocol::{Found, Input, Timer};
use wadi_core::sabotage::{self, Rule};

use super::node::SESSION;
use super::state::State;

/// How often everything that is unanswered may be asked again before it counts as stuck.
const ROUNDS: usize = 24;

/// Whether this state comes to rest as it should.
pub(super) fn settles(state: &State) -> bool {
    let mut state = state.clone();
    state.network.clear();
    heal(&mut state);
    come_to_rest(&mut state) && can_be_reached(&mut state)
}

/// The authority hears of everything; who lost its lease comes back as somebody new.
fn heal(state: &mut State) {
    let members: Vec<_> = state.authority.layout().members.keys().copied().collect();
    for who in members {
        let alive = state.at(who).is_some_and(|at| state.nodes[at].has_lease());
        if !alive {
            state.declare_dead(who);
        }
    }
    for at in 0..state.nodes.len() {
        let fenced = state.nodes[at]
            .me()
            .is_some_and(|me| !state.authority.is_member(me));
        if fenced {
            let me = state.authority.join(at);
            state.node(at).come_back(me);
            let until = state.nodes[at].lease_until();
            state.give(at, Input::Lease(until));
        }
    }
    state.look_for_lost_markers();
}

fn come_to_rest(state: &mut State) -> bool {
    for _ in 0..ROUNDS {
        if state.authority.has_orphans() {
            state.authority.reassign();
        }
        let layout = Arc::clone(state.authority.layout());
        for at in 0..state.nodes.len() {
            state.give(at, Input::Layout(Arc::clone(&layout)));
        }
        for at in 0..state.nodes.len() {
            let_leave(state, at);
        }
        if !come_to_an_end(state) {
            return false;
        }
        if state.authority.layout().version == layout.version && is_settled(state) {
            return true;
        }
        if !sabotage::is_off(Rule::AskAgain) {
            ask_again(state);
        }
    }
    false
}

/// Delivers everything and lets every mover have its lock; whether there was an end to it.
fn come_to_an_end(state: &mut State) -> bool {
    for _ in 0..ROUNDS {
        if !state.deliver_everything() {
            return false;
        }
        let Some(at) = (0..state.nodes.len()).find(|at| state.nodes[*at].sealing) else {
            return true;
        };
        state.seal(at);
    }
    false
}

fn let_leave(state: &mut State, at: usize) {
    let Some(me) = state.nodes[at].me() else {
        return;
    };
    if state.authority.standing(me) != Some(Standing::Leaving) {
        return;
    }
    state.give(at, Input::Evacuate);
    if state.nodes[at].evacuated && state.authority.left(me) {
        state.stop(at);
    }
}

fn ask_again(state: &mut State) {
    for at in 0..state.nodes.len() {
        let Some(participant) = &state.nodes[at].participant else {
            continue;
        };
        for timer in participant.running_timers().collect::<Vec<_>>() {
            if !matches!(timer, Timer::Forget) {
                state.give(at, Input::Timer(timer));
            }
        }
    }
}

fn is_settled(state: &State) -> bool {
    let mut running = state.nodes.iter().filter(|node| node.participant.is_some());
    running.all(|node| {
        let participant = node.participant.as_ref().expect("it runs");
        !node.sealing && participant.is_settled()
    })
}

fn can_be_reached(state: &mut State) -> bool {
    for at in 0..state.nodes.len() {
        let node = &state.nodes[at];
        if node.participant.is_none() || node.serves().is_some() {
            continue;
        }
        state.found = None;
        let want = Want::Locate;
        state.give(at, Input::Find { id: SESSION, want });
        if !come_to_an_end(state) {
            return false;
        }
        let reached = match state.found {
            Some(Found::Here) => state.nodes[at].serves().is_some(),
            Some(Found::At(holder)) => state
                .at(holder)
                .is_some_and(|at| state.nodes[at].serves().is_some()),
            Some(Found::Absent { .. }) | None => state.truth.may_be_gone(),
            Some(_) => false,
        };
        if !reached {
            return false;
        }
    }
    true
}
