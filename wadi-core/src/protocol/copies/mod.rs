//! This node's copies that are not simply held: being sealed, sealed, arriving, returned; and what
//! it must remember of those it no longer has.
//!
//! A sealed copy is never served. It is kept until the manager says that a newer one is current.

mod end;
mod entrust;
mod release;
mod report;
mod store;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::by_bucket::ByBucket;
use super::io::{Event, Loser, Output};
use super::returned::ReturnedCopy;
use super::timer::Timer;
use super::turn::Turn;
use crate::bucket::{BucketId, LayoutVersion};
use crate::clock::Moment;
use crate::member::Incarnation;
use crate::message::Body;
use crate::sabotage::{self, Rule};
use crate::session::SessionId;
use crate::tenure::{Revision, Tenure};

/// A manager's word that lets a copy go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Grant {
    to: Incarnation,
    tenure: Tenure,
    epoch: LayoutVersion,
}

/// A copy that serves nobody.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Sealed {
    tenure: Tenure,
    revision: Revision,
    state: Bytes,
    /// To whom it was sent; `None` for one that came back with its node.
    granted: Option<(Incarnation, Tenure)>,
    /// It was held when its node lost its right to act, and has been sent to nobody since.
    held: bool,
    /// It came back, and has served nobody since then, at least.
    away_since: Option<Moment>,
    /// The store was told more than once to keep it, so one refusal says nothing.
    put_again: bool,
}

impl Sealed {
    fn away_for(&self, now: Moment) -> Duration {
        self.away_since
            .map_or(Duration::ZERO, |since| now.since(since))
    }
}

/// Why a release was refused; the same one is refused again in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Refusal {
    Busy,
    NotHere,
}

/// The highest tenure that this node will not act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Floor {
    tenure: Tenure,
    refusal: Option<Refusal>,
    until: Moment,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Copies {
    sealing: ByBucket<Grant>,
    sealed: ByBucket<Sealed>,
    /// Returned copies that wait for their turn to be offered, and how many have it.
    to_offer: VecDeque<SessionId>,
    offering: usize,
    arriving: ByBucket<Tenure>,
    floors: ByBucket<Floor>,
    /// Ended here, and the manager has not said that the markers are in place.
    ending: BTreeMap<SessionId, Tenure>,
    /// Ends that wait for their turn to be told to managers.
    to_tell: VecDeque<(SessionId, Tenure)>,
}

impl Copies {
    pub(super) fn is_arriving(&self, bucket: BucketId, id: &SessionId) -> bool {
        self.arriving.contains(bucket, id)
    }

    /// Whether nothing but held sessions and memories is left.
    pub(super) fn is_settled(&self) -> bool {
        self.sealing.is_empty()
            && self.sealed.is_empty()
            && self.arriving.is_empty()
            && self.ending.is_empty()
            && self.to_tell.is_empty()
    }

    pub(super) fn sealed_len(&self) -> usize {
        self.sealed.len()
    }

    /// Everything that the next incarnation of this node can offer, besides its session map.
    pub(super) fn into_returned(self) -> impl Iterator<Item = ReturnedCopy> {
        self.sealed.into_iter().map(|(id, sealed)| ReturnedCopy {
            id,
            tenure: sealed.tenure,
            revision: sealed.revision,
            held: sealed.held,
            away_since: sealed.away_since,
            state: sealed.state,
        })
    }

    /// Whether a session is on its way out of the map.
    pub(super) fn is_sealing(&self, bucket: BucketId, id: &SessionId) -> bool {
        self.sealing.contains(bucket, id)
    }

    /// Whether a copy is here that serves nobody.
    pub(super) fn is_sealed(&self, bucket: BucketId, id: &SessionId) -> bool {
        self.sealed.contains(bucket, id)
    }

    /// The driver sealed a session that cannot be sent now.
    pub(super) fn not_sealed(&mut self, bucket: BucketId, id: SessionId) {
        self.sealing.remove(bucket, &id);
    }

    /// From now on acts on no tenure up to this one.
    fn raise_floor(
        &mut self,
        turn: &Turn<'_>,
        id: SessionId,
        tenure: Tenure,
        refusal: Option<Refusal>,
    ) {
        let until = turn.now + turn.settings.remember_for;
        let new = Floor {
            tenure,
            refusal,
            until,
        };
        let bucket = turn.bucket(&id);
        let floor = self.floors.get_or_insert(bucket, id, new);
        if tenure > floor.tenure {
            floor.tenure = tenure;
            floor.refusal = refusal;
        }
        floor.until = until;
    }

    /// The floor above this tenure, if any.
    fn floor_above(&self, bucket: BucketId, id: &SessionId, tenure: Tenure) -> Option<&Floor> {
        let floor = self.floors.get(bucket, id)?;
        (tenure <= floor.tenure && !sabotage::is_off(Rule::Floor)).then_some(floor)
    }

    fn is_below_floor(&self, bucket: BucketId, id: &SessionId, tenure: Tenure) -> bool {
        self.floor_above(bucket, id, tenure).is_some()
    }

    pub(super) fn forget(&mut self, now: Moment) {
        self.floors.retain(|_, floor| floor.until > now);
    }

    /// Takes a copy that came back with this node, which has served nobody since then, and offers it to its
    /// bucket's manager.
    pub(super) fn take_back(&mut self, turn: &mut Turn<'_>, copy: ReturnedCopy) {
        let ReturnedCopy {
            id,
            tenure,
            revision,
            held,
            away_since,
            state,
        } = copy;
        let bucket = turn.bucket(&id);
        let known = self.sealed.get(bucket, &id);
        if known.is_some_and(|known| (known.tenure, known.revision) >= (tenure, revision)) {
            return;
        }
        let copy = Sealed {
            tenure,
            revision,
            state,
            granted: None,
            held,
            away_since,
            put_again: false,
        };
        self.sealed.insert(bucket, id, copy);
        self.to_offer.push_back(id);
        self.offer_more(turn);
    }

    /// Offers as many at once as the settings allow, so that a node that comes back with many takes its
    /// time.
    fn offer_more(&mut self, turn: &mut Turn<'_>) {
        while self.offering < turn.settings.evacuate_at_once {
            let Some(id) = self.to_offer.pop_front() else {
                return;
            };
            if self.is_to_be_offered(turn, &id) && !turn.timers.is_running(Timer::Offer(id)) {
                self.offering += 1;
                turn.timers
                    .start(Timer::Offer(id), turn.now, Duration::ZERO);
            }
        }
    }

    fn is_to_be_offered(&self, turn: &Turn<'_>, id: &SessionId) -> bool {
        let copy = self.sealed.get(turn.bucket(id), id);
        copy.is_some_and(|copy| copy.granted.is_none())
    }

    /// A returned copy need not be offered any more.
    fn offered(&mut self, turn: &mut Turn<'_>, id: SessionId) {
        if turn.timers.stop(Timer::Offer(id)) {
            self.offering -= 1;
            self.offer_more(turn);
        }
    }

    /// Offers a returned copy, when its timer had waited for `last`; whether again later. Where its
    /// manager is silent, others have their turn.
    pub(super) fn offer(&mut self, turn: &mut Turn<'_>, id: SessionId, last: Duration) -> bool {
        let is_to_be = self.is_to_be_offered(turn, &id);
        let copy = self.sealed.get(turn.bucket(&id), &id);
        if let Some(copy) = copy.filter(|_| is_to_be) {
            if last.is_zero() || self.to_offer.is_empty() {
                let body = Body::Offer {
                    id,
                    tenure: copy.tenure,
                    revision: copy.revision,
                    held: copy.held,
                    away_for: copy.away_for(turn.now),
                };
                turn.send_to_manager(&id, body);
                return true;
            }
            self.to_offer.push_back(id);
        }
        self.offering -= 1;
        self.offer_more(turn);
        false
    }

    /// Manager: drop every copy below `tenure`, since it has lost to another one, or the policy did not
    /// take it. Whether none is here now.
    pub(super) fn drop_below(
        &mut self,
        turn: &mut Turn<'_>,
        from: Incarnation,
        id: SessionId,
        tenure: Tenure,
        loser: Loser,
    ) -> bool {
        let bucket = turn.bucket(&id);
        let mut is_sealed = false;
        if let Some(sealed) = self.sealed.get(bucket, &id) {
            is_sealed = sealed.tenure >= tenure;
            let is_offered = sealed.granted.is_none();
            if !is_sealed {
                self.sealed.remove(bucket, &id);
            }
            if !is_sealed && (is_offered || loser == Loser::Refused) {
                turn.event(Event::Dropped(id, loser));
            }
            if !is_sealed && is_offered {
                self.offered(turn, id);
            }
        }
        let in_map = turn.holdings.get(&id);
        let is_kept = in_map.is_some_and(|copy| copy.tenure >= tenure);
        if in_map.is_some() && !is_kept {
            if self.arriving.remove(bucket, &id).is_none() {
                turn.event(Event::Fork(id));
            }
            turn.answered(Timer::Arrived(id));
            turn.out.push(Output::Discard(id));
        }
        self.raise_floor(turn, id, tenure, None);
        turn.send(from, Body::Dropped { id, tenure });
        !is_kept && !is_sealed
    }
}
