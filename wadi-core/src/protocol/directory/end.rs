//! A session's end counts when its markers are in place: here, at the deputy, and wherever an
//! older copy may be.

use std::collections::BTreeSet;

use super::{Directory, Ending, Whereabouts};
use crate::bucket::BucketId;
use crate::member::Incarnation;
use crate::message::Body;
use crate::protocol::markers::Markers;
use crate::protocol::timer::Timer;
use crate::protocol::turn::Turn;
use crate::sabotage::{self, Rule};
use crate::session::SessionId;
use crate::tenure::Tenure;

impl Directory {
    /// The holder ended a session.
    pub(in crate::protocol) fn end(
        &mut self,
        turn: &mut Turn<'_>,
        markers: &mut Markers,
        destroyer: Incarnation,
        id: SessionId,
        tenure: Tenure,
    ) {
        let Some(managed) = self.managed_of(turn, &id) else {
            return;
        };
        if matches!(managed.phase, super::Phase::Pulling(_)) {
            return;
        }
        let mut with_copies = BTreeSet::new();
        if let Some(entry) = managed.entries.remove(&id) {
            with_copies = entry.older;
            match entry.place {
                Whereabouts::At { holder, .. } => {
                    with_copies.insert(holder);
                }
                Whereabouts::Moving { from, to, .. } => {
                    with_copies.extend([from, to]);
                }
                Whereabouts::Unsettled { inquiry, .. } => {
                    // Anybody may have a copy; the question is answered by the marker.
                    turn.answered(Timer::Inquire(inquiry.scope));
                    with_copies.extend(turn.layout.members.keys());
                }
                Whereabouts::Missing { .. } => {}
            }
        }
        if turn.holdings.get(&id).is_some() {
            // At home here, and its end was told late, by a node that came back.
            with_copies.insert(turn.me);
        }
        turn.answered(Timer::Release(id));
        turn.answered(Timer::Drop(id));
        turn.answered(Timer::Missing(id));
        self.spread_marker(turn, markers, id, tenure, with_copies, Some(destroyer));
    }

    /// Keeps a marker, and has it kept by the deputy and by `with_copies`.
    pub(super) fn spread_marker(
        &mut self,
        turn: &mut Turn<'_>,
        markers: &mut Markers,
        id: SessionId,
        tenure: Tenure,
        mut with_copies: BTreeSet<Incarnation>,
        destroyer: Option<Incarnation>,
    ) {
        let bucket = turn.bucket(&id);
        markers.set(bucket, id, tenure, turn.now, turn.settings.mark_for);
        if sabotage::is_off(Rule::MarkCopies) {
            with_copies.clear();
        }
        with_copies.extend(deputy(turn, bucket));
        if let Some(earlier) = self.endings.get(&id) {
            with_copies.extend(&earlier.waiting);
        }
        if let Some(destroyer) = destroyer {
            with_copies.remove(&destroyer);
        }
        with_copies.retain(|who| turn.is_member(*who));
        for &who in &with_copies {
            turn.send(who, Body::Mark { id, tenure });
        }
        turn.await_answer(Timer::Mark(id));
        let ending = Ending {
            tenure,
            waiting: with_copies,
            destroyer,
        };
        self.endings.insert(id, ending);
        self.finish_ending(turn, id);
    }

    fn finish_ending(&mut self, turn: &mut Turn<'_>, id: SessionId) {
        if self
            .endings
            .get(&id)
            .is_none_or(|ending| !ending.waiting.is_empty())
        {
            return;
        }
        turn.answered(Timer::Mark(id));
        if let Some(destroyer) = self.endings.remove(&id).and_then(|ending| ending.destroyer) {
            turn.send(destroyer, Body::Ended { id });
        }
    }

    /// Has the marker kept, again; whether somebody has not answered.
    pub(in crate::protocol) fn mark_again(&self, turn: &mut Turn<'_>, id: SessionId) -> bool {
        let Some(ending) = self.endings.get(&id) else {
            return false;
        };
        let tenure = ending.tenure;
        for &who in &ending.waiting {
            turn.send(who, Body::Mark { id, tenure });
        }
        true
    }

    /// Somebody keeps the marker.
    pub(in crate::protocol) fn marked(
        &mut self,
        turn: &mut Turn<'_>,
        from: Incarnation,
        id: SessionId,
    ) {
        if let Some(ending) = self.endings.get_mut(&id) {
            ending.waiting.remove(&from);
            self.finish_ending(turn, id);
        }
    }

    /// Who died need not be waited for.
    pub(super) fn bury_endings(&mut self, turn: &mut Turn<'_>) {
        let mut done = Vec::new();
        for (id, ending) in &mut self.endings {
            ending.waiting.retain(|who| turn.is_member(*who));
            if ending.waiting.is_empty() {
                done.push(*id);
            }
        }
        for id in done {
            self.finish_ending(turn, id);
        }
    }

    /// Gives a bucket's markers to its deputy when that is a new one.
    pub(super) fn share_markers(
        &mut self,
        turn: &mut Turn<'_>,
        markers: &mut Markers,
        bucket: BucketId,
    ) {
        let deputy = deputy(turn, bucket);
        let Some(managed) = self.managed.get_mut(&bucket) else {
            return;
        };
        if !managed.is_open() || managed.deputy == deputy {
            return;
        }
        managed.deputy = deputy;
        if deputy.is_none() || sabotage::is_off(Rule::ShareMarkers) {
            return;
        }
        let kept: Vec<_> = markers.bucket(bucket).collect();
        for (id, tenure) in kept {
            let destroyer = self.endings.get(&id).and_then(|ending| ending.destroyer);
            self.spread_marker(turn, markers, id, tenure, BTreeSet::new(), destroyer);
        }
    }
}

fn deputy(turn: &Turn<'_>, bucket: BucketId) -> Option<Incarnation> {
    let deputies = &turn.layout.placement(bucket).deputies;
    deputies.iter().copied().find(|who| turn.is_member(*who))
}
