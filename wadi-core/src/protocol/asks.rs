//! The asker's side: a request wants a session that is not here, or a new one registered.
//!
//! A question is pursued across layouts until it is answered or its time is up; then the outcome
//! is "unavailable", never "absent".

use std::collections::BTreeMap;

use super::io::{Found, Output};
use super::timer::Timer;
use super::turn::Turn;
use crate::clock::Moment;
use crate::message::{Answer, Body, Want};
use crate::session::SessionId;
use crate::tenure::Tenure;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Ask {
    want: Want,
    until: Moment,
}

/// Every question that this node pursues.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Asks {
    finding: BTreeMap<SessionId, Ask>,
    registering: BTreeMap<SessionId, Moment>,
}

impl Asks {
    pub(super) fn find(&mut self, turn: &mut Turn<'_>, id: SessionId, want: Want) {
        let until = turn.now + turn.settings.ask_for;
        // Who joins in waits no longer than who asked first, or a busy session would answer nobody.
        let ask = self.finding.entry(id).or_insert(Ask { want, until });
        ask.want = ask.want.max(want);
        self.ask(turn, id);
        turn.timers
            .ensure(Timer::Ask(id), turn.now, turn.settings.retry);
    }

    fn ask(&self, turn: &mut Turn<'_>, id: SessionId) {
        if let Some(ask) = self.finding.get(&id) {
            let (to, want) = (turn.me, ask.want);
            turn.send_to_manager(&id, Body::Find { id, to, want });
        }
    }

    /// Asks again, or gives up; whether to wait on.
    pub(super) fn ask_again(&mut self, turn: &mut Turn<'_>, id: SessionId) -> bool {
        let Some(ask) = self.finding.get(&id) else {
            return false;
        };
        if turn.now >= ask.until {
            self.finish(turn, id, Found::Unavailable);
            return false;
        }
        self.ask(turn, id);
        true
    }

    /// Gives up when the time is up, also where nothing can be asked; whether it did.
    pub(super) fn give_up_overdue(
        &mut self,
        now: Moment,
        id: SessionId,
        out: &mut Vec<Output>,
    ) -> bool {
        let is_over = |until: &Moment| now >= *until;
        let overdue = self.finding.get(&id).is_some_and(|ask| is_over(&ask.until))
            || self.registering.get(&id).is_some_and(is_over);
        if overdue {
            self.finding.remove(&id);
            self.registering.remove(&id);
            let found = Found::Unavailable;
            out.push(Output::Found { id, found });
        }
        overdue
    }

    fn finish(&mut self, turn: &mut Turn<'_>, id: SessionId, found: Found) {
        if self.finding.remove(&id).is_some() {
            turn.answered(Timer::Ask(id));
            turn.out.push(Output::Found { id, found });
        }
    }

    /// The session is in this node's map.
    pub(super) fn arrived(&mut self, turn: &mut Turn<'_>, id: SessionId) {
        self.finish(turn, id, Found::Here);
    }

    pub(super) fn answer(&mut self, turn: &mut Turn<'_>, id: SessionId, answer: Answer) {
        if !self.finding.contains_key(&id) {
            return;
        }
        match answer {
            Answer::At { holder, tenure } if holder == turn.me => {
                if turn.holdings.get(&id).is_some() {
                    self.finish(turn, id, Found::Here);
                } else {
                    turn.send_to_manager(&id, Body::NotHere { id, tenure });
                }
            }
            Answer::At { holder, .. } => self.finish(turn, id, Found::At(holder)),
            Answer::Absent { lost } => self.finish(turn, id, Found::Absent { lost }),
            Answer::Wait => {}
        }
    }

    /// Whether a session may still come to be held here because this node asked for it.
    pub(super) fn is_registering(&self) -> bool {
        !self.registering.is_empty()
    }

    pub(super) fn register(&mut self, turn: &mut Turn<'_>, id: SessionId) {
        self.registering
            .insert(id, turn.now + turn.settings.ask_for);
        turn.send_to_manager(&id, Body::Register { id });
        turn.timers
            .start(Timer::Register(id), turn.now, turn.settings.retry);
    }

    /// Asks again, or gives up: whether it gave up, or `None` when nothing is asked any more.
    pub(super) fn register_again(&mut self, turn: &mut Turn<'_>, id: SessionId) -> Option<bool> {
        let until = *self.registering.get(&id)?;
        if turn.now >= until {
            self.registering.remove(&id);
            let found = Found::Unavailable;
            turn.out.push(Output::Found { id, found });
            return Some(true);
        }
        turn.send_to_manager(&id, Body::Register { id });
        Some(false)
    }

    pub(super) fn registered(&mut self, turn: &mut Turn<'_>, id: SessionId, tenure: Tenure) {
        if self.registering.remove(&id).is_some() {
            turn.answered(Timer::Register(id));
            let found = Found::Registered(tenure);
            turn.out.push(Output::Found { id, found });
        }
    }

    /// Who answers may have changed: asks everything again.
    pub(super) fn ask_everybody(&self, turn: &mut Turn<'_>) {
        for &id in self.finding.keys() {
            self.ask(turn, id);
        }
        for &id in self.registering.keys() {
            turn.send_to_manager(&id, Body::Register { id });
        }
    }
}
