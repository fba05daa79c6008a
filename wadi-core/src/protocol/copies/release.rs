//! A session leaves this node, and a session arrives: the holder's and the new holder's side of a
//! migration.

use bytes::Bytes;

use super::{Copies, Grant, Refusal, Sealed};
use crate::bucket::BucketId;
use crate::member::Incarnation;
use crate::message::Body;
use crate::protocol::directory::Directory;
use crate::protocol::io::{Event, Output, SealedCopy};
use crate::protocol::markers::Markers;
use crate::protocol::timer::Timer;
use crate::protocol::turn::Turn;
use crate::sabotage::{self, Rule};
use crate::session::SessionId;
use crate::tenure::{Revision, Tenure};

impl Copies {
    /// Manager: seal the copy of tenure `held` and send it to `to` under `tenure`.
    #[expect(
        clippy::too_many_arguments,
        reason = "they are the message's own fields"
    )]
    pub(in crate::protocol) fn release(
        &mut self,
        turn: &mut Turn<'_>,
        markers: &Markers,
        manager: Incarnation,
        id: SessionId,
        held: Tenure,
        to: Incarnation,
        tenure: Tenure,
    ) {
        let bucket = turn.bucket(&id);
        if markers.get(bucket, &id).is_some() {
            self.tell_end(turn, markers, id);
            return;
        }
        if let Some(floor) = self.floor_above(bucket, &id, tenure) {
            if floor.tenure == tenure
                && !sabotage::is_off(Rule::RefuseAgain)
                && let Some(refusal) = floor.refusal
            {
                refuse(turn, manager, id, tenure, refusal);
            }
            return;
        }
        if let Some(sealed) = self.sealed.get_mut(bucket, &id)
            && sealed.tenure == held
        {
            if sealed.granted.is_some_and(|(_, last)| last > tenure) {
                return;
            }
            sealed.put_again = to == Incarnation::STORE && sealed.granted == Some((to, tenure));
            sealed.granted = Some((to, tenure));
            sealed.held = false;
            let (revision, state) = (sealed.revision, sealed.state.clone());
            self.offered(turn, id);
            send_state(turn, id, to, tenure, revision, state);
            return;
        }
        match turn.holdings.get(&id) {
            Some(copy) if copy.tenure == held => {
                // A manager releases only what it knows to have arrived: that confirms it.
                self.confirmed(turn, id, copy.tenure);
                let grant = Grant {
                    to,
                    tenure,
                    epoch: turn.epoch(bucket),
                };
                match self.sealing.get_mut(bucket, &id) {
                    Some(last) if last.tenure < tenure => *last = grant,
                    Some(_) => {}
                    None => {
                        self.sealing.insert(bucket, id, grant);
                        turn.out.push(Output::Seal(id));
                    }
                }
            }
            Some(copy) if copy.tenure == tenure => {
                turn.send(manager, Body::Arrived { id, tenure });
            }
            _ => {
                self.raise_floor(turn, id, tenure, Some(Refusal::NotHere));
                refuse(turn, manager, id, tenure, Refusal::NotHere);
            }
        }
    }

    /// The driver sealed a session.
    pub(in crate::protocol) fn sealed(
        &mut self,
        turn: &mut Turn<'_>,
        markers: &Markers,
        copy: SealedCopy,
    ) {
        let id = copy.id;
        let bucket = turn.bucket(&id);
        if markers.get(bucket, &id).is_some() && !sabotage::is_off(Rule::MarkerBeats) {
            // It ended while it was taken out of the map.
            self.sealing.remove(bucket, &id);
            self.tell_end(turn, markers, id);
            return;
        }
        let Some(grant) = self.sealing.remove(bucket, &id) else {
            // Asked of an earlier incarnation: what this one has it offers.
            self.take_back(turn, copy.returned());
            return;
        };
        let stands = sabotage::is_off(Rule::LateSeal)
            || (grant.epoch == turn.epoch(bucket)
                && !self.is_below_floor(bucket, &id, grant.tenure));
        if !stands {
            // While the lock was awaited, this node reported the session as held: it stays so.
            turn.out.push(copy.restored());
            return;
        }
        let (tenure, revision, state) = (copy.tenure, copy.revision, copy.state.clone());
        if !sabotage::is_off(Rule::KeepSealed) {
            let kept = Sealed {
                tenure,
                revision,
                state: state.clone(),
                granted: Some((grant.to, grant.tenure)),
                held: false,
                away_since: None,
                put_again: false,
            };
            self.sealed.insert(bucket, id, kept);
        }
        if sabotage::is_off(Rule::Seal) {
            turn.out.push(copy.restored());
        }
        send_state(turn, id, grant.to, grant.tenure, revision, state);
    }

    /// The driver could not have the session's lock in time.
    pub(in crate::protocol) fn busy(&mut self, turn: &mut Turn<'_>, id: SessionId) {
        let bucket = turn.bucket(&id);
        let Some(grant) = self.sealing.remove(bucket, &id) else {
            return;
        };
        if grant.epoch != turn.epoch(bucket) || self.is_below_floor(bucket, &id, grant.tenure) {
            return;
        }
        self.raise_floor(turn, id, grant.tenure, Some(Refusal::Busy));
        let manager = turn.manager(&id);
        refuse(turn, manager, id, grant.tenure, Refusal::Busy);
    }

    /// The session that was to be sealed is not in the map any more.
    pub(in crate::protocol) fn gone(
        &mut self,
        turn: &mut Turn<'_>,
        markers: &Markers,
        id: SessionId,
    ) {
        let bucket = turn.bucket(&id);
        let Some(grant) = self.sealing.remove(bucket, &id) else {
            return;
        };
        let manager = turn.manager(&id);
        if markers.get(bucket, &id).is_some() {
            self.tell_end(turn, markers, id);
        } else {
            self.raise_floor(turn, id, grant.tenure, Some(Refusal::NotHere));
            refuse(turn, manager, id, grant.tenure, Refusal::NotHere);
        }
    }

    /// Holder: here is the session. Whether it is in the map now.
    #[expect(
        clippy::too_many_arguments,
        reason = "they are the message's own fields, and who may confirm it"
    )]
    pub(in crate::protocol) fn state(
        &mut self,
        turn: &mut Turn<'_>,
        markers: &Markers,
        directory: &mut Directory,
        id: SessionId,
        tenure: Tenure,
        revision: Revision,
        state: Bytes,
    ) -> bool {
        let bucket = turn.bucket(&id);
        if markers.get(bucket, &id).is_some() && !sabotage::is_off(Rule::MarkerBeats) {
            self.tell_end(turn, markers, id);
            return false;
        }
        // Its epoch is adopted here, so no manager has allotted in a later one yet.
        if tenure.epoch() > turn.epoch(bucket) {
            return false;
        }
        // What was sealed here is remembered by the sealed copy itself, what was dropped by the floor.
        let seen_before = self
            .sealed
            .get(bucket, &id)
            .is_some_and(|sealed| tenure <= sealed.tenure && !sabotage::is_off(Rule::Floor));
        if seen_before || self.is_below_floor(bucket, &id, tenure) {
            return false;
        }
        if let Some(copy) = turn.holdings.get(&id) {
            if copy.tenure == tenure {
                turn.send_to_manager(&id, Body::Arrived { id, tenure });
                return true;
            }
            if copy.tenure > tenure {
                return true;
            }
            if !self.arriving.contains(bucket, &id) {
                turn.event(Event::Fork(id));
                return true;
            }
        }
        turn.out.push(Output::Install {
            id,
            tenure,
            revision,
            state,
        });
        if directory.comes_home(turn, id, tenure) {
            // This node is its manager, too, and so confirms it in the same step.
            turn.out.push(Output::Confirm { id, tenure });
            self.is_confirmed(turn, bucket, id, tenure);
            return true;
        }
        self.arriving.insert(bucket, id, tenure);
        if sabotage::is_off(Rule::AwaitConfirm) {
            turn.out.push(Output::Confirm { id, tenure });
        }
        turn.send_to_manager(&id, Body::Arrived { id, tenure });
        turn.await_answer(Timer::Arrived(id));
        true
    }

    /// Tells the manager again that a session arrived; whether it is still unconfirmed.
    pub(in crate::protocol) fn arrived_again(&self, turn: &mut Turn<'_>, id: SessionId) -> bool {
        let Some(&tenure) = self.arriving.get(turn.bucket(&id), &id) else {
            return false;
        };
        turn.send_to_manager(&id, Body::Arrived { id, tenure });
        true
    }

    /// Every session that arrived here and is not confirmed.
    pub(in crate::protocol) fn arrivals(&self) -> Vec<SessionId> {
        self.arriving.iter().map(|(_, id, _)| *id).collect()
    }

    /// Manager: it is yours.
    pub(in crate::protocol) fn confirmed(
        &mut self,
        turn: &mut Turn<'_>,
        id: SessionId,
        tenure: Tenure,
    ) {
        let bucket = turn.bucket(&id);
        let Some(&arrived) = self.arriving.get(bucket, &id) else {
            return;
        };
        if arrived != tenure && !sabotage::is_off(Rule::OlderTenure) {
            return;
        }
        let tenure = arrived;
        self.is_confirmed(turn, bucket, id, tenure);
        turn.out.push(Output::Confirm { id, tenure });
    }

    /// The copy of this tenure, which is in the map, is the session: what came before it is over.
    fn is_confirmed(
        &mut self,
        turn: &mut Turn<'_>,
        bucket: BucketId,
        id: SessionId,
        tenure: Tenure,
    ) {
        if self.arriving.remove(bucket, &id).is_some() {
            turn.answered(Timer::Arrived(id));
        }
        if self
            .sealed
            .get(bucket, &id)
            .is_some_and(|older| older.tenure < tenure)
        {
            self.sealed.remove(bucket, &id);
            self.offered(turn, id);
        }
    }
}

pub(super) fn refuse(
    turn: &mut Turn<'_>,
    manager: Incarnation,
    id: SessionId,
    tenure: Tenure,
    refusal: Refusal,
) {
    let body = match refusal {
        Refusal::Busy => Body::Busy { id, tenure },
        Refusal::NotHere => Body::NotHere { id, tenure },
    };
    turn.send(manager, body);
}

fn send_state(
    turn: &mut Turn<'_>,
    id: SessionId,
    to: Incarnation,
    tenure: Tenure,
    revision: Revision,
    state: Bytes,
) {
    turn.send(
        to,
        Body::State {
            id,
            tenure,
            revision,
            state,
        },
    );
}
