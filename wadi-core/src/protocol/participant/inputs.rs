//! What this node itself says: its requests' questions, what became of its own copies, and that it is
//! leaving.

use super::Participant;
use crate::clock::Moment;
use crate::protocol::holdings::Holdings;
use crate::protocol::io::{Found, Input, Output, SealedCopy, Stored};
use crate::protocol::timer::Timer;
use crate::protocol::turn::Turn;
use crate::session::SessionId;
use crate::tenure::Tenure;

impl Participant {
    /// Inputs from the node itself.
    pub(super) fn local(
        &mut self,
        now: Moment,
        input: Input,
        holdings: &dyn Holdings,
        out: &mut Vec<Output>,
    ) {
        let has_lease = self.has_lease(now);
        if self.layout.is_none() {
            match input {
                Input::Find { id, .. } | Input::Register(id) => {
                    let found = Found::Unavailable;
                    out.push(Output::Found { id, found });
                }
                // Asked of the incarnation before: offered with the rest of what it had.
                Input::Sealed(copies) => {
                    let returned = copies.into_iter().map(SealedCopy::returned);
                    self.returned.extend(returned);
                }
                Input::Returned(copy) => self.returned.push(copy),
                _ => {}
            }
            return;
        }
        if let Input::End { id, tenure } = input
            && !has_lease
        {
            self.unleased.ends.push((id, tenure));
            return;
        }
        self.with_turn(now, holdings, out, |this, turn| match input {
            Input::Find { id, want } => this.asks.find(turn, id, want),
            Input::Register(id) if !this.takes_more() => {
                let found = Found::Unavailable;
                turn.out.push(Output::Found { id, found });
            }
            Input::Register(id) => this.asks.register(turn, id),
            Input::Sealed(copies) => {
                for copy in copies {
                    this.was_sealed(turn, copy, has_lease);
                }
            }
            Input::Returned(copy) => {
                this.copies.take_back(turn, this.as_offered(now, copy));
            }
            Input::Waits(id) => {
                if let Some(evacuation) = &mut this.evacuation {
                    evacuation.waits(turn, id);
                    evacuation.push(turn, &this.directory);
                }
            }
            Input::Busy(id) => {
                this.copies.busy(turn, id);
                if let Some(evacuation) = &mut this.evacuation {
                    evacuation.waits(turn, id);
                    evacuation.push(turn, &this.directory);
                }
            }
            Input::Unencodable(id) => {
                this.copies.busy(turn, id);
                if let Some(evacuation) = &mut this.evacuation {
                    evacuation.stays(turn.bucket(&id), id);
                    evacuation.push(turn, &this.directory);
                }
            }
            Input::Gone(id) => {
                this.copies.gone(turn, &this.markers, id);
                this.forget_evacuated(turn, &id);
                this.some_have_gone(turn);
            }
            Input::End { id, tenure } => {
                this.copies.end(turn, &mut this.markers, id, tenure);
                this.forget_evacuated(turn, &id);
                this.some_have_gone(turn);
            }
            Input::Congested => {
                if let Some(evacuation) = &mut this.evacuation {
                    evacuation.hold_back();
                }
            }
            Input::Evacuate => {
                let evacuation = this.evacuation.get_or_insert_default();
                evacuation.push(turn, &this.directory);
                this.look_whether_evacuated(turn);
            }
            Input::Demote(id) => this.copies.demote(turn, id),
            Input::Stored { id, tenure, stored } => {
                if has_lease {
                    this.stored(turn, id, tenure, stored);
                }
            }
            Input::Layout(_) | Input::Lease(_) | Input::Message { .. } | Input::Timer(_) => {}
        });
    }

    /// The store did what it was asked, or did not: as the one that puts a session there, or as the manager.
    fn stored(&mut self, turn: &mut Turn<'_>, id: SessionId, tenure: Tenure, stored: Stored) {
        if !self.copies.is_put(turn, &id, tenure) {
            let markers = &mut self.markers;
            self.directory.stored(turn, markers, id, tenure, stored);
            self.directory.share_more(turn, markers);
        } else if self.copies.was_put(turn, id, tenure, &stored) {
            self.forget_evacuated(turn, &id);
            self.some_have_gone(turn);
        }
    }

    /// The evacuation's tick.
    pub(super) fn evacuate_on(&mut self, turn: &mut Turn<'_>) {
        let Some(evacuation) = &mut self.evacuation else {
            return;
        };
        let (copies, holdings) = (&self.copies, turn.holdings);
        evacuation.retain(|bucket, id| {
            holdings.get(id).is_some()
                || copies.is_sealing(bucket, id)
                || copies.is_sealed(bucket, id)
        });
        evacuation.tick(turn, &self.directory);
        self.look_whether_evacuated(turn);
    }

    /// A session was sealed and is out of the map.
    fn was_sealed(&mut self, turn: &mut Turn<'_>, copy: SealedCopy, has_lease: bool) {
        let id = copy.id;
        if has_lease || !self.copies.is_sealing(turn.bucket(&id), &id) {
            let bytes = copy.state.len();
            self.copies.sealed(turn, &self.markers, copy);
            if let Some(evacuation) = &mut self.evacuation
                && self.copies.is_sealed(turn.bucket(&id), &id)
            {
                evacuation.sealed(turn.bucket(&id), id, bytes);
            }
        } else {
            self.copies.not_sealed(turn.bucket(&id), id);
            turn.out.push(copy.restored());
        }
    }

    /// No copy of the session is here any more.
    pub(super) fn forget_evacuated(&mut self, turn: &Turn<'_>, id: &SessionId) {
        if let Some(evacuation) = &mut self.evacuation {
            evacuation.gone(turn.bucket(id), id);
        }
    }

    /// There may be room for others, or nothing may be left.
    pub(super) fn some_have_gone(&mut self, turn: &mut Turn<'_>) {
        if let Some(evacuation) = &mut self.evacuation {
            evacuation.push(turn, &self.directory);
        }
        self.look_whether_evacuated(turn);
    }

    pub(super) fn look_whether_evacuated(&mut self, turn: &mut Turn<'_>) {
        if self.evacuation.is_none() {
            return;
        }
        // Where everybody leaves, waiting for somebody to take the buckets would be in vain.
        let nobody_asks =
            self.directory.is_empty() || turn.layout.everybody_leaves() && self.directory.is_idle();
        let nothing_is_left = turn.holdings.is_empty()
            && self.copies.is_settled()
            && nobody_asks
            && !self.asks.is_registering();
        if nothing_is_left && (self.directory.is_empty() || self.creates_nothing_more) {
            self.takes_nothing_more = true;
            turn.send_off();
            turn.out.push(Output::Evacuated);
            return;
        }
        if nothing_is_left {
            // One that is created meanwhile shows at the next look.
            self.creates_nothing_more = true;
            self.directory.close(turn);
        }
        turn.timers
            .ensure(Timer::Evacuate, turn.now, turn.settings.retry);
    }
}
