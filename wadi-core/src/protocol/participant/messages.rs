//! Messages from other nodes, and from this one to itself: who may say what, and whom it concerns.
//!
//! What is of an older epoch, or of somebody who is no member, changes nothing.

use super::Participant;
use crate::clock::Moment;
use crate::member::Incarnation;
use crate::message::{Body, Message};
use crate::protocol::directory::{self, Offered};
use crate::protocol::holdings::Holdings;
use crate::protocol::io::{Loser, Output};
use crate::protocol::returned::ReturnedCopy;
use crate::protocol::turn::Turn;
use crate::sabotage::{self, Rule};

impl Participant {
    pub(super) fn message(
        &mut self,
        now: Moment,
        from: Incarnation,
        message: Message,
        holdings: &dyn Holdings,
        out: &mut Vec<Output>,
    ) {
        let Some(layout) = &self.layout else {
            return;
        };
        if !self.has_lease(now) {
            return;
        }
        if !layout.is_member(from) && !sabotage::is_off(Rule::MembersOnly) {
            // Either a newcomer that the next layout names, or a dead one whose word is void.
            if layout
                .members
                .last_key_value()
                .is_none_or(|(last, _)| *last < from)
            {
                out.push(Output::WantLayout(layout.version.next()));
                self.comes_early(from, &message);
            }
            return;
        }
        if !message.is_well_formed(layout.buckets()) {
            return;
        }
        let bucket = message.body.bucket(layout.buckets());
        let Some(placement) = layout.placements.get(bucket.index()) else {
            return;
        };
        if message.epoch > placement.since {
            out.push(Output::WantLayout(message.epoch));
            self.comes_early(from, &message);
            return;
        }
        let manager = placement.manager;
        let version = layout.version;
        let older = message.epoch < placement.since;
        let refused = older && !sabotage::is_off(Rule::Epoch);
        let from_manager = from == manager || (older && !refused);
        self.with_turn(now, holdings, out, |this, turn| {
            if refused {
                if !matches!(message.body, Body::Stale { .. }) {
                    turn.send(from, Body::Stale { bucket, version });
                }
            } else {
                let mut somebody_went = false;
                for body in message.into_bodies() {
                    somebody_went |= this.dispatch(turn, from, from_manager, body);
                }
                if somebody_went {
                    this.some_have_gone(turn);
                }
            }
        });
    }

    /// A message of a layout that is not known here yet. It comes again, at ever longer intervals; for a
    /// directory nobody should wait for that, since a whole bucket does.
    fn comes_early(&mut self, from: Incarnation, message: &Message) {
        let Some(layout) = &self.layout else { return };
        if let Body::Pull { bucket } = message.body
            && bucket.index() < layout.placements.len()
        {
            self.early.insert(bucket, (from, message.epoch));
        }
    }

    /// What is said of one session or one bucket; whether a copy of a session has gone from here.
    fn dispatch(
        &mut self,
        turn: &mut Turn<'_>,
        from: Incarnation,
        from_manager: bool,
        body: Body,
    ) -> bool {
        let mut has_gone = false;
        match body {
            // To the manager. A node that is not has no directory for the bucket and is silent.
            Body::Find { id, to, want } => {
                self.directory.find(turn, &self.markers, from, id, to, want);
            }
            Body::Register { id } => self.directory.register(turn, &self.markers, from, id),
            Body::Busy { id, tenure } => self.directory.busy(turn, &self.markers, from, id, tenure),
            Body::NotHere { id, tenure } => self.directory.not_here(turn, from, id, tenure),
            Body::Arrived { id, tenure } => {
                self.directory
                    .arrived(turn, &self.markers, from, id, tenure);
            }
            Body::Dropped { id, tenure } => {
                self.directory.dropped(turn, from, id, tenure);
            }
            Body::End {
                id,
                tenure,
                keep_for,
            } => {
                self.directory
                    .end(turn, &mut self.markers, from, id, tenure, keep_for);
            }
            Body::Marked { id, tenure } => {
                self.directory.marked(turn, from, id, tenure);
                self.directory.share_more(turn, &mut self.markers);
            }
            Body::Offer {
                id,
                tenure,
                revision,
                held,
                away_for,
            } => {
                let offered = Offered {
                    tenure,
                    revision,
                    held,
                    away_for,
                };
                self.directory.offer(turn, &self.markers, from, id, offered);
            }
            Body::Report {
                scope,
                sightings,
                doubt,
            } => {
                let markers = &mut self.markers;
                self.directory
                    .report(turn, markers, from, scope, sightings, doubt);
            }
            // Between managers.
            Body::Pull { bucket } if from_manager => {
                self.directory.pull(turn, &self.markers, from, bucket);
            }
            Body::Directory {
                bucket,
                records,
                doubt_for,
                lost_for,
            } => {
                self.directory.directory(
                    turn,
                    &mut self.markers,
                    from,
                    bucket,
                    records,
                    doubt_for,
                    lost_for,
                );
            }
            Body::NotMine { bucket } => self.directory.not_mine(turn, from, bucket),
            Body::Pulled { bucket } if from_manager => {
                self.directory.pulled(turn, bucket);
                if let Some(evacuation) = &mut self.evacuation {
                    evacuation.fetched(turn, &self.directory, bucket);
                }
                self.look_whether_evacuated(turn);
            }
            // From the manager to holders and askers.
            Body::Answer { id, answer } if from_manager => self.asks.answer(turn, id, answer),
            Body::Release {
                id,
                held,
                to,
                tenure,
            } if from_manager => {
                self.copies
                    .release(turn, &self.markers, from, id, held, to, tenure);
            }
            Body::Confirmed { id, tenure } if from_manager => {
                self.copies.confirmed(turn, id, tenure);
            }
            Body::Drop { id, tenure } if from_manager => {
                has_gone = self
                    .copies
                    .drop_below(turn, from, id, tenure, Loser::Outdated);
                if has_gone {
                    self.forget_evacuated(turn, &id);
                }
            }
            Body::Refuse { id, tenure } if from_manager => {
                has_gone = self
                    .copies
                    .drop_below(turn, from, id, tenure, Loser::Refused);
                if has_gone {
                    self.forget_evacuated(turn, &id);
                }
            }
            Body::Registered { id, tenure } if from_manager => {
                self.asks.registered(turn, id, tenure);
            }
            Body::Ended { id, tenure } if from_manager => {
                self.copies.ended(turn, id, tenure);
                self.copies.tell_more(turn);
            }
            Body::Mark {
                id,
                tenure,
                keep_for,
            } if from_manager => {
                let markers = &mut self.markers;
                self.copies.mark(turn, markers, from, id, tenure, keep_for);
                self.forget_evacuated(turn, &id);
                has_gone = true;
            }
            Body::Inquire { scope } if from_manager && !self.copies.is_between(turn, scope) => {
                let sightings = self.copies.report(turn, &self.markers, scope);
                let doubt = directory::doubt(turn);
                let report = Body::Report {
                    scope,
                    sightings,
                    doubt,
                };
                turn.send(from, report);
            }
            Body::Entrust { id, kept } if from_manager => {
                let (copies, markers) = (&mut self.copies, &self.markers);
                has_gone = copies.entrust(turn, markers, from, id, kept);
                if has_gone {
                    self.forget_evacuated(turn, &id);
                }
            }
            Body::Entrusted {
                id,
                tenure,
                revision,
                state,
            } if self.takes_more() && self.directory.keeps(turn, from, id, tenure) => {
                let copy = ReturnedCopy {
                    id,
                    tenure,
                    revision,
                    // It waits, so there may be a newer one.
                    held: false,
                    away_since: Some(turn.now),
                    state,
                };
                self.copies.take_back(turn, copy);
                self.directory.relieve(turn, from, id);
            }
            // Between holders.
            Body::State {
                id,
                tenure,
                revision,
                state,
            } if self.takes_more() => {
                let (copies, directory) = (&mut self.copies, &mut self.directory);
                let markers = &self.markers;
                let here = copies.state(turn, markers, directory, id, tenure, revision, state);
                if here {
                    self.asks.arrived(turn, id);
                }
            }
            // What only a manager may say, from somebody else; and `Stale`, whose epoch has said it.
            _ => {}
        }
        has_gone
    }
}
