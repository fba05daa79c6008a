//! What each of the protocol's outputs means in this node.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;

use super::Driver;
use crate::clock::Moment;
use crate::member::Incarnation;
use crate::message::{Body, Message};
use crate::node::listen::Told;
use crate::node::locate::Located;
use crate::protocol::{Found, Input, Output};
use crate::session::{self, DecodeFault, SessionId, check_sealed};
use crate::tenure::Tenure;

impl Driver {
    /// A message arrived for the incarnation `to` of this node.
    pub(super) fn message(&mut self, to: Incarnation, from: Incarnation, message: Message) {
        if self.me() != Some(to) {
            return;
        }
        // The protocol counts what it is given as readable, and lets the other copies go.
        let mut unreadable = 0;
        let readable = message.retain(|body| {
            let is_readable = match body {
                Body::State { state, .. } | Body::Entrusted { state, .. } => {
                    check_sealed(state).is_ok()
                }
                _ => true,
            };
            match body {
                Body::State { id, .. } if is_readable => self.waiting.came(*id, from),
                _ => unreadable += usize::from(!is_readable),
            }
            is_readable
        });
        for _ in 0..unreadable {
            self.tell(Told::Unreadable { from });
        }
        if let Some(mut message) = readable {
            self.take_into_keeping(&mut message);
            self.give(Input::Message { from, message });
        }
    }

    /// What is to be kept here sealed counts its time by this node's clock from now on.
    fn take_into_keeping(&self, message: &mut Message) {
        if !matches!(message.body, Body::Entrusted { .. }) {
            return;
        }
        let now = self.now();
        for body in message.bodies_mut() {
            if let Body::Entrusted { state, .. } = body {
                *state = session::kept(state, now);
            }
        }
    }

    pub(super) fn tell(&self, what: Told) {
        self.surroundings.listener.told(what);
    }

    /// Does what the protocol says; of a session that is to be installed also whether it is `confirmed`.
    pub(super) fn perform(
        &mut self,
        output: Output,
        confirmed: bool,
        now: Moment,
        inputs: &mut VecDeque<Input>,
    ) {
        match output {
            Output::Send { to, mut message } => {
                self.note_rising(&message);
                self.let_leave(&mut message);
                match self.me() {
                    Some(me) if me == to => inputs.push_back(Input::Message { from: me, message }),
                    _ => self.congested |= !self.surroundings.transport.send(to, message),
                }
            }
            Output::Seal(id) => self.seal(id, now, inputs),
            Output::Restore {
                id,
                tenure,
                revision,
                state,
            } => {
                if !self.put_back(id) {
                    let state = session::leaving(&state, now);
                    let installed = self.sessions.install(id, tenure, revision, &state, now);
                    self.expect_readable(installed.map(drop));
                }
            }
            Output::Install {
                id,
                tenure,
                revision,
                state,
            } => {
                let sessions = &self.sessions;
                let installed = if confirmed {
                    self.migrations.arrived.fetch_add(1, Relaxed);
                    sessions.install(id, tenure, revision, &state, now)
                } else {
                    sessions.install_unconfirmed(id, tenure, revision, &state, now)
                };
                self.expect_readable(installed.map(drop));
            }
            Output::Confirm { id, tenure } => {
                if self.sessions.confirm(&id, tenure) {
                    self.migrations.arrived.fetch_add(1, Relaxed);
                }
            }
            Output::Discard(id) => self.sessions.discard(&id),
            Output::Found { id, found } => self.found(id, found),
            Output::Ended(id) => self.waiting.ended(&id),
            Output::Open(bucket, epoch) => self.open.open(bucket, epoch),
            Output::Close(bucket) => self.open.close(bucket),
            Output::Store { id, tenure, ask } => self.ask_store(id, tenure, ask, inputs),
            // Layouts are asked for all the time.
            Output::WantLayout(_) => {}
            Output::Evacuated => self.evacuated(),
            Output::Event(event) => {
                self.aftermath.count(event);
                self.tell(Told::Session(event));
            }
        }
    }

    /// What a message carries of sessions leaves as of now.
    fn let_leave(&self, message: &mut Message) {
        if message.body.state_bytes() == 0 {
            return;
        }
        let now = self.now();
        for body in message.bodies_mut() {
            if let Body::State { state, .. } | Body::Entrusted { state, .. } = body {
                *state = session::leaving(state, now);
            }
        }
    }

    /// What was sealed here is readable, and what came from elsewhere was looked at before.
    fn expect_readable(&self, installed: Result<(), DecodeFault>) {
        debug_assert_eq!(installed, Ok(()));
        if let (Err(_), Some(from)) = (installed, self.me()) {
            self.tell(Told::Unreadable { from });
        }
    }

    fn found(&mut self, id: SessionId, found: Found) {
        match found {
            Found::Here => self.waiting.found(&id, Located::Here),
            Found::At(holder) => self.waiting.found(&id, Located::At(holder)),
            Found::Absent { lost } => self.waiting.found(&id, Located::Absent { lost }),
            Found::Registered(tenure) => self.registered(id, tenure),
            Found::Unavailable => {
                self.waiting.found(&id, Located::Unavailable);
                // Who waits for a registration sees that it does not come.
                drop(self.waiting.registering(&id));
            }
        }
    }

    /// In the step in which the tenure is known the session is in the map, or a manager that asked
    /// everybody would be told that it is nowhere.
    fn registered(&mut self, id: SessionId, tenure: Tenure) {
        let registered = self.sessions.put_registered(id, tenure);
        if let Some(reply) = self.waiting.registering(&id) {
            // Who has given up meanwhile gets none, and nobody else does.
            let _ = reply.send(registered);
        }
    }
}
