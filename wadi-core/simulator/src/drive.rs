//! The driver in miniature: gives inputs to a node's participant and does what its outputs say.

use std::collections::VecDeque;

use wadi_core::member::Incarnation;
use wadi_core::message::{Body, Message};
use wadi_core::protocol::{Found, Input, Output, SealedCopy};
use wadi_core::sabotage::{self, Rule};
use wadi_core::session::SessionId;
use wadi_core::tenure::Tenure;

use crate::coverage::{Fault, Phase};
use crate::faults::LONGEST_DELAY;
use crate::host::{Instant, Process, Resident, decode, encode};
use crate::world::{Happening, MILLI, World, name};

impl World {
    /// Gives an input to the process on `host`, if it is a member.
    pub(crate) fn give(&mut self, host: usize, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let machine = &mut self.hosts[host];
            let now = machine.clock.read(self.now);
            let Process::Member { participant, .. } = &mut machine.process else {
                return;
            };
            let mut outputs = Vec::new();
            participant.handle(now, input, &machine.map, &mut outputs);
            for output in outputs {
                self.perform(host, output, &mut inputs);
            }
        }
        self.schedule_wake(host);
    }

    pub(crate) fn schedule_wake(&mut self, host: usize) {
        let machine = &self.hosts[host];
        let Some((moment, _)) = machine
            .participant()
            .and_then(|participant| participant.next_timer())
        else {
            return;
        };
        let at = machine.clock.when(moment).max(self.now);
        let start = machine.start;
        if machine.wake_at.is_none_or(|scheduled| scheduled > at) {
            self.hosts[host].wake_at = Some(at);
            let wait = at - self.now;
            self.after(wait, Happening::Wake { host, start });
        }
    }

    pub(crate) fn wake(&mut self, host: usize) {
        self.hosts[host].wake_at = None;
        let now = self.hosts[host].clock.read(self.now);
        let due = self.hosts[host]
            .participant()
            .and_then(|participant| participant.next_timer())
            .filter(|(moment, _)| *moment <= now);
        match due {
            Some((_, timer)) => self.give(host, Input::Timer(timer)),
            None => self.schedule_wake(host),
        }
    }

    fn perform(&mut self, host: usize, output: Output, inputs: &mut VecDeque<Input>) {
        let me = self.hosts[host].incarnation().expect("only a member acts");
        if let Output::Send { to, message } = &output {
            for body in message.bodies() {
                match body {
                    // From here on only the confirmed holder need have the session.
                    Body::Confirmed { id, .. } => self.oracle.held(id, *to, self.now),
                    Body::Arrived { id, tenure } => self.note_stored(id, *tenure),
                    Body::Ended { id, .. } => self.oracle.marked(id),
                    Body::Entrusted { id, tenure, .. } => self.oracle.entrusts(id, me, *tenure),
                    Body::Entrust { id, kept } if *kept > Tenure::NONE => {
                        self.oracle.kept(id, (*to, *kept), me);
                    }
                    _ => {}
                }
            }
        }
        if let Output::Confirm { id, .. } = &output
            && self.manages(host, id)
        {
            // A manager that takes a session in itself confirms it without a word.
            self.oracle.held(id, me, self.now);
        }
        match output {
            Output::Send { to, message } if to == me => {
                self.note_message(host, host, &message);
                inputs.push_back(Input::Message { from: me, message });
            }
            Output::Send { to, message } => self.send(host, me, to, message),
            Output::Store { id, tenure, ask } => self.ask_store(host, id, tenure, ask),
            Output::Seal(id) => self.seal(host, id, inputs),
            Output::Restore {
                id,
                tenure,
                revision,
                state,
            } => {
                self.note(|| format!("h{host} restores {} {tenure:?} {revision:?}", name(&id)));
                let resident = Resident::new(tenure, revision, decode(&state), true);
                self.hosts[host].map.sessions.insert(id, resident);
                self.touched.insert(id);
                self.look_again(host, id);
            }
            Output::Install {
                id,
                tenure,
                revision,
                state,
            } => {
                self.take_out(host, &id, inputs);
                let resident = Resident::new(tenure, revision, decode(&state), false);
                self.note(|| format!("h{host} installs {} {tenure:?} {revision:?}", name(&id)));
                self.hosts[host].map.sessions.insert(id, resident);
                self.touched.insert(id);
                self.look_again(host, id);
            }
            Output::Confirm { id, tenure } => self.confirm(host, id, tenure),
            Output::Discard(id) => {
                self.note(|| format!("h{host} discards {}", name(&id)));
                self.take_out(host, &id, inputs);
                self.look_again(host, id);
            }
            Output::Found { id, found } => self.found(host, id, found),
            Output::Ended(id) => self.ended(id),
            Output::Open(bucket, epoch) => {
                self.hosts[host].open.insert(bucket, epoch);
            }
            Output::Close(bucket) => {
                self.hosts[host].open.remove(&bucket);
            }
            Output::WantLayout(_) => self.want_layout(host),
            Output::Evacuated => self.evacuated(host),
            Output::Event(event) => self.told(host, event),
        }
    }

    fn note_message(&self, host: usize, target: usize, message: &Message) {
        for body in message.bodies() {
            self.note(|| {
                let session = body.session().map_or_else(String::new, name);
                format!(
                    "h{host} -> h{target} {session} {:?} {body:?}",
                    message.epoch
                )
            });
        }
    }

    /// Sends a message from one process to another, with whatever the network does to it.
    fn send(&mut self, host: usize, from: Incarnation, to: Incarnation, message: Message) {
        let Some(&target) = self.where_is.get(&to) else {
            return;
        };
        let leaving = matches!(
            self.hosts[host].process,
            Process::Member { leaving: true, .. }
        );
        let phase = Phase::of_message(&message.body, leaving);
        self.note_message(host, target, &message);
        if self.straggles(target, from, to, &message) {
            return;
        }
        let ambushed = phase.and_then(|phase| self.ambush(phase, host, target));
        let mut strikes = Vec::new();
        let mut copies = 1;
        if self.faulty() {
            if self.cuts.blocks(host, target) {
                copies = 0;
            } else if ambushed == Some(Fault::Loss) || self.noise.loses(&mut self.rng) {
                strikes.push(Fault::Loss);
                copies = 0;
            } else if ambushed == Some(Fault::Duplicate) || self.noise.duplicates(&mut self.rng) {
                strikes.push(Fault::Duplicate);
                copies = 2;
            }
        }
        self.keep_echo(target, from, to, &message);
        for copy in 0..copies {
            let faulty = self.faulty();
            let (mut wait, mut late) = self.noise.delay(&mut self.rng, faulty);
            let echo = copy == 1 && (ambushed.is_some() || self.noise.echoes);
            if ambushed == Some(Fault::Delay) || echo {
                (wait, late) = (self.rng.u64(20 * MILLI..LONGEST_DELAY), true);
            }
            if late {
                strikes.push(Fault::Delay);
            }
            let start = self.hosts[target].start;
            let message = message.clone();
            self.after(
                wait,
                Happening::Deliver {
                    host: target,
                    start,
                    from,
                    to,
                    message,
                },
            );
        }
        if let Some(phase) = phase {
            for fault in strikes {
                self.coverage.count(fault, phase);
            }
        }
    }

    pub(crate) fn deliver(
        &mut self,
        host: usize,
        from: Incarnation,
        to: Incarnation,
        message: Message,
    ) {
        let sender = self.where_is.get(&from).copied();
        if self.faulty() && sender.is_some_and(|sender| self.cuts.blocks(sender, host)) {
            return;
        }
        if self.hosts[host].incarnation() == Some(to) {
            self.give(host, Input::Message { from, message });
        }
    }

    fn seal(&mut self, host: usize, id: SessionId, inputs: &mut VecDeque<Input>) {
        let until: Instant = self.now + self.temper.seal_limit;
        let start = self.hosts[host].start;
        let Some(resident) = self.hosts[host].map.sessions.get_mut(&id) else {
            inputs.push_back(Input::Gone(id));
            return;
        };
        if resident.readers == 0 {
            self.take_sealed(host, id, inputs);
        } else if resident.seal_until.is_none() {
            resident.seal_until = Some(until);
            let wait = until - self.now;
            self.after(
                wait,
                Happening::SealTimeout {
                    host,
                    start,
                    id,
                    until,
                },
            );
        }
    }

    /// Takes a session that nobody reads out of the map, encoded.
    pub(crate) fn take_sealed(&mut self, host: usize, id: SessionId, inputs: &mut VecDeque<Input>) {
        self.touched.insert(id);
        self.note(|| format!("h{host} seals {}", name(&id)));
        // Before any message to itself: nobody may ask while it is neither here nor there.
        match self.hosts[host].map.sessions.remove(&id) {
            Some(resident) => {
                let copy = SealedCopy {
                    id,
                    tenure: resident.tenure,
                    revision: resident.revision,
                    state: encode(&resident.tokens),
                };
                match inputs.front_mut() {
                    Some(Input::Sealed(copies)) => copies.push(copy),
                    _ => inputs.push_front(Input::Sealed(vec![copy])),
                }
            }
            None => inputs.push_front(Input::Gone(id)),
        }
        self.look_again(host, id);
    }

    pub(crate) fn seal_timeout(&mut self, host: usize, id: SessionId, until: Instant) {
        let Some(resident) = self.hosts[host].map.sessions.get_mut(&id) else {
            return;
        };
        if resident.seal_until != Some(until) {
            return;
        }
        resident.seal_until = None;
        self.give(host, Input::Busy(id));
        self.look_again(host, id);
    }

    /// Takes a copy out of the map that is not current any more.
    fn take_out(&mut self, host: usize, id: &SessionId, inputs: &mut VecDeque<Input>) {
        let Some(resident) = self.hosts[host].map.sessions.remove(id) else {
            return;
        };
        if resident.seal_until.is_some() {
            inputs.push_back(Input::Gone(*id));
        }
        for request in resident.held_back {
            self.unavailable(request);
        }
    }

    /// Whether `host` is the manager of the session's bucket, as far as it knows.
    fn manages(&self, host: usize, id: &SessionId) -> bool {
        let participant = self.hosts[host].participant();
        participant.is_some_and(|participant| {
            let layout = participant.layout();
            layout.is_some_and(|layout| {
                layout.placement(id.bucket(layout.buckets())).manager == participant.me()
            })
        })
    }

    fn confirm(&mut self, host: usize, id: SessionId, tenure: Tenure) {
        let Some(resident) = self.hosts[host].map.sessions.get_mut(&id) else {
            return;
        };
        if resident.tenure != tenure {
            return;
        }
        self.touched.insert(id);
        resident.confirmed = true;
        let held_back = std::mem::take(&mut resident.held_back);
        let may_act = self.hosts[host].may_act(self.now) || sabotage::is_off(Rule::LeaseGate);
        for request in held_back {
            if may_act {
                self.answer_with_effect(request);
            } else {
                self.unavailable(request);
            }
        }
    }

    fn found(&mut self, host: usize, id: SessionId, found: Found) {
        self.note(|| format!("h{host} found {}: {found:?}", name(&id)));
        match found {
            Found::Registered(tenure) => self.registered(host, id, tenure),
            Found::Here => self.look_again(host, id),
            Found::At(holder) => self.forward(host, id, holder),
            Found::Absent { lost } => {
                for request in self.hosts[host].waiting.remove(&id).unwrap_or_default() {
                    self.absent(request, lost);
                }
            }
            Found::Unavailable => {
                if let Some(request) = self.registering.remove(&id) {
                    self.unavailable(request);
                }
                for request in self.hosts[host].waiting.remove(&id).unwrap_or_default() {
                    self.unavailable(request);
                }
            }
        }
    }
}
