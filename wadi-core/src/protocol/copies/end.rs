//! A session ends here, and markers of sessions that ended elsewhere are kept.

use std::time::Duration;

use super::Copies;
use crate::member::Incarnation;
use crate::message::Body;
use crate::protocol::io::{Event, Loser, Output};
use crate::protocol::markers::Markers;
use crate::protocol::timer::Timer;
use crate::protocol::turn::Turn;
use crate::sabotage::{self, Rule};
use crate::session::SessionId;
use crate::tenure::Tenure;

impl Copies {
    /// A session was destroyed or expired here and is out of the map.
    pub(in crate::protocol) fn end(
        &mut self,
        turn: &mut Turn<'_>,
        markers: &mut Markers,
        id: SessionId,
        tenure: Tenure,
    ) {
        let bucket = turn.bucket(&id);
        if self.sealed.remove(bucket, &id).is_some() {
            self.offered(turn, id);
        }
        let keep_for = turn.settings.mark_for(tenure);
        markers.set(bucket, id, tenure, turn.now, keep_for);
        if sabotage::is_off(Rule::MarkBeforeAnswer) {
            turn.out.push(Output::Ended(id));
        }
        self.ending.insert(id, tenure);
        self.tell_end(turn, markers, id);
        turn.await_answer(Timer::End(id));
    }

    /// Tells the manager of an end that this node keeps a marker of.
    pub(super) fn tell_end(&self, turn: &mut Turn<'_>, markers: &Markers, id: SessionId) {
        let bucket = turn.bucket(&id);
        if let Some(tenure) = markers.get(bucket, &id) {
            let keep_for = markers.keep_for(bucket, &id, turn.now);
            turn.send_to_manager(
                &id,
                Body::End {
                    id,
                    tenure,
                    keep_for,
                },
            );
        }
    }

    /// A node that came back tells the managers of every end that it knows: its markers may be the
    /// last ones.
    pub(in crate::protocol) fn tell_markers(&mut self, turn: &mut Turn<'_>, markers: &Markers) {
        self.to_tell = markers.iter().collect();
        self.tell_more(turn);
    }

    /// As many at once as the settings allow; each is told when its timer goes off.
    pub(in crate::protocol) fn tell_more(&mut self, turn: &mut Turn<'_>) {
        while self.ending.len() < turn.settings.evacuate_at_once
            && let Some((id, tenure)) = self.to_tell.pop_front()
        {
            self.ending.entry(id).or_insert(tenure);
            turn.await_answer(Timer::End(id));
        }
    }

    /// Tells the manager again; whether it has not answered yet.
    pub(in crate::protocol) fn end_again(
        &mut self,
        turn: &mut Turn<'_>,
        markers: &Markers,
        id: SessionId,
    ) -> bool {
        if markers.get(turn.bucket(&id), &id).is_none() {
            // Its time is over, and whoever waited for the answer has long given up.
            self.ending.remove(&id);
        }
        let waits = self.ending.contains_key(&id);
        if waits {
            self.tell_end(turn, markers, id);
        }
        waits
    }

    /// Every session that ended here and whose manager has not answered.
    pub(in crate::protocol) fn endings(&self) -> Vec<SessionId> {
        self.ending.keys().copied().collect()
    }

    /// Manager: the markers are in place.
    pub(in crate::protocol) fn ended(
        &mut self,
        turn: &mut Turn<'_>,
        id: SessionId,
        tenure: Tenure,
    ) {
        if self.ending.get(&id).is_some_and(|ours| tenure >= *ours) {
            self.ending.remove(&id);
            turn.answered(Timer::End(id));
            turn.out.push(Output::Ended(id));
        }
    }

    /// Manager: it has ended; keep a marker and no copy.
    pub(in crate::protocol) fn mark(
        &mut self,
        turn: &mut Turn<'_>,
        markers: &mut Markers,
        from: Incarnation,
        id: SessionId,
        tenure: Tenure,
        keep_for: Duration,
    ) {
        let bucket = turn.bucket(&id);
        let keep_for = keep_for.min(turn.settings.mark_for);
        markers.set(bucket, id, tenure, turn.now, keep_for);
        self.forget_copies(turn, id);
        turn.send(from, Body::Marked { id, tenure });
    }

    /// Drops every copy of a session that has ended.
    pub(in crate::protocol) fn forget_copies(&mut self, turn: &mut Turn<'_>, id: SessionId) {
        let bucket = turn.bucket(&id);
        if let Some(copy) = self.sealed.remove(bucket, &id) {
            if copy.granted.is_none() {
                turn.event(Event::Dropped(id, Loser::Ended));
            }
            self.offered(turn, id);
        }
        if turn.holdings.get(&id).is_some() {
            if self.arriving.remove(bucket, &id).is_none() {
                // Every node that knew of its end was away when this copy was found; now one is back.
                turn.event(Event::Dropped(id, Loser::Ended));
            }
            turn.answered(Timer::Arrived(id));
            turn.out.push(Output::Discard(id));
        }
    }
}
