//! A session is to leave this node. Where its lock is free it is sealed in the very step in which that
//! is said; else a task of its own waits for the lock. It goes from the map in the step in which the
//! protocol is given what was sealed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Driver;
use crate::clock::Moment;
use crate::member::Incarnation;
use crate::node::given::Given;
use crate::node::listen::Told;
use crate::protocol::{Input, SealedCopy};
use crate::session::{Guard, Held, SessionError, SessionId};

impl Driver {
    pub(super) fn seal(&mut self, id: SessionId, now: Moment, inputs: &mut VecDeque<Input>) {
        let Some(held) = self.sessions.map().get(&id) else {
            inputs.push_front(Input::Gone(id));
            if let Some(departed) = self.departures.take_one(&id) {
                // It has ended, and the protocol is told that before.
                inputs.push_front(self.departing(departed));
            }
            return;
        };
        let alone = held.try_alone();
        if alone.is_some() || self.revokes() {
            if let Some(refused) = self.seal_now(id, &held, alone, now) {
                inputs.push_front(refused);
            }
            return;
        }
        let Some(me) = self.me() else { return };
        if self.sealing >= self.settings.seals_at_once {
            inputs.push_front(Input::Busy(id));
            return;
        }
        self.sealing += 1;
        inputs.push_back(Input::Waits(id));
        let (wait, back) = (self.settings.seal_wait, self.back.clone());
        self.tasks.spawn(async move {
            let alone = held.alone(wait).await;
            // A driver that is gone has no use for it.
            let _ = back.send(Given::Locked { me, id, alone }).await;
        });
    }

    /// The lock was had, or was not, for the incarnation `me` of this node. What an earlier one waited
    /// for was taken out of the map when it was fenced, and is offered.
    pub(super) fn locked(&mut self, me: Incarnation, id: SessionId, alone: Option<Guard>) {
        self.sealing -= 1;
        if self.me() != Some(me) {
            return;
        }
        let now = self.now();
        let mut inputs = VecDeque::new();
        match alone {
            // It only kept the place of the one that is there now.
            Some(alone) if self.is_another(&id, alone.session()) => self.seal(id, now, &mut inputs),
            Some(alone) => {
                let held = Arc::clone(alone.session());
                inputs.extend(self.seal_now(id, &held, Some(alone), now));
            }
            // In use for too long: it is served here as before.
            None => inputs.push_back(Input::Busy(id)),
        }
        if let Some(sealed) = self.what_was_sealed() {
            inputs.push_front(sealed);
        }
        for input in inputs {
            self.step(input);
        }
    }

    /// Whether another session is in the map by this id.
    fn is_another(&self, id: &SessionId, held: &Arc<Held>) -> bool {
        let there = self.sessions.map().get(id);
        there.is_some_and(|there| !Arc::ptr_eq(&there, held))
    }

    /// Seals it and takes it out of the map; else why not.
    fn seal_now(
        &mut self,
        id: SessionId,
        held: &Arc<Held>,
        alone: Option<Guard>,
        now: Moment,
    ) -> Option<Input> {
        match self.sessions.seal(&id, held, alone, now) {
            Ok(sealed) => {
                if !self.sessions.take_out(&id, &sealed) {
                    return Some(Input::Gone(id));
                }
                self.sealed.push((id, sealed));
                None
            }
            Err(SessionError::Ended | SessionError::Moved) => Some(Input::Gone(id)),
            Err(SessionError::Unencodable {
                type_name, reason, ..
            }) => {
                self.tell(Told::Unencodable { type_name, reason });
                Some(Input::Unencodable(id))
            }
            Err(_) => Some(Input::Busy(id)),
        }
    }

    /// The input that tells the protocol of everything that was sealed and that it was not told of.
    pub(super) fn what_was_sealed(&mut self) -> Option<Input> {
        let copies = self.sealed.iter().map(|(id, sealed)| SealedCopy {
            id: *id,
            tenure: sealed.tenure,
            revision: sealed.revision,
            state: sealed.state.clone(),
        });
        let input = (!self.sealed.is_empty()).then(|| Input::Sealed(copies.collect()));
        self.told_of.append(&mut self.sealed);
        input
    }

    /// The protocol does not want it sealed: it is served as before, by the same values, and whoever
    /// waits for it has it. Whether it was sealed in this step.
    pub(super) fn put_back(&mut self, id: SessionId) -> bool {
        let at = self.told_of.iter().position(|(sealed, _)| *sealed == id);
        if let Some(at) = at {
            let (_, sealed) = self.told_of.swap_remove(at);
            self.sessions.put_back(id, sealed);
        }
        at.is_some()
    }

    /// The protocol has taken what was sealed: from here on its copies count.
    pub(super) fn let_sealed_go(&mut self) {
        for (_, sealed) in self.told_of.drain(..) {
            self.migrations.left.fetch_add(1, Relaxed);
            sealed.let_go();
        }
    }
}
