//! A session's end counts when its markers are in place: here, at the deputy, and wherever an
//! older copy may be.

use std::collections::BTreeSet;
use std::time::Duration;

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
        keep_for: Duration,
    ) {
        let Some(managed) = self.managed_of(turn, &id) else {
            return;
        };
        if !managed.has_allotted(tenure) {
            return;
        }
        if matches!(managed.phase, super::Phase::Pulling(_)) {
            // It is told again.
            let bucket = turn.bucket(&id);
            self.urge(turn, bucket);
            return;
        }
        let mut with_copies = BTreeSet::new();
        if !managed.is_open() {
            // Anybody who has not reported may have a copy.
            with_copies.extend(turn.layout.members.keys());
        }
        if let Some(entry) = managed.entries.remove(&id) {
            with_copies.extend(entry.older);
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
        if turn.settings.store && !sabotage::is_off(Rule::EndRow) {
            with_copies.insert(Incarnation::STORE);
        }
        turn.answered(Timer::Release(id));
        turn.answered(Timer::Drop(id));
        turn.answered(Timer::Missing(id));
        let keep_for = keep_for.min(turn.settings.mark_for(tenure));
        let destroyer = Some(destroyer);
        self.spread_marker(turn, markers, id, tenure, keep_for, with_copies, destroyer);
        self.answer_early_of(turn, markers, id);
    }

    /// Keeps a marker for so long, and has it kept by the deputy and by `with_copies`.
    #[expect(clippy::too_many_arguments, reason = "all of it is one marker's")]
    pub(super) fn spread_marker(
        &mut self,
        turn: &mut Turn<'_>,
        markers: &mut Markers,
        id: SessionId,
        tenure: Tenure,
        keep_for: Duration,
        mut with_copies: BTreeSet<Incarnation>,
        destroyer: Option<Incarnation>,
    ) {
        let bucket = turn.bucket(&id);
        markers.set(bucket, id, tenure, turn.now, keep_for);
        let tenure = markers.get(bucket, &id).unwrap_or(tenure);
        if sabotage::is_off(Rule::MarkCopies) {
            with_copies.clear();
        }
        with_copies.extend(deputy(turn, bucket));
        if let Some(earlier) = self.endings.get(bucket, &id) {
            with_copies.extend(&earlier.waiting);
        }
        if let Some(destroyer) = destroyer {
            with_copies.remove(&destroyer);
        }
        with_copies.retain(|who| turn.is_there(*who));
        let mark = mark(turn, markers, id, tenure);
        for &who in &with_copies {
            turn.send(who, mark.clone());
        }
        turn.await_answer(Timer::Mark(id));
        let ending = Ending {
            tenure,
            waiting: with_copies,
            destroyer,
        };
        self.endings.insert(bucket, id, ending);
        self.finish_ending(turn, id);
    }

    fn finish_ending(&mut self, turn: &mut Turn<'_>, id: SessionId) {
        let bucket = turn.bucket(&id);
        if self
            .endings
            .get(bucket, &id)
            .is_none_or(|ending| !ending.waiting.is_empty())
        {
            return;
        }
        turn.answered(Timer::Mark(id));
        let Some(ending) = self.endings.remove(bucket, &id) else {
            return;
        };
        if let Some(destroyer) = ending.destroyer {
            let tenure = ending.tenure;
            turn.send(destroyer, Body::Ended { id, tenure });
        }
    }

    /// Has the marker kept, again; whether somebody has not answered.
    pub(in crate::protocol) fn mark_again(
        &self,
        turn: &mut Turn<'_>,
        markers: &Markers,
        id: SessionId,
    ) -> bool {
        let Some(ending) = self.endings.get(turn.bucket(&id), &id) else {
            return false;
        };
        let mark = mark(turn, markers, id, ending.tenure);
        for &who in &ending.waiting {
            turn.send(who, mark.clone());
        }
        true
    }

    /// Somebody keeps the marker.
    pub(in crate::protocol) fn marked(
        &mut self,
        turn: &mut Turn<'_>,
        from: Incarnation,
        id: SessionId,
        tenure: Tenure,
    ) {
        let ending = self.endings.get_mut(turn.bucket(&id), &id);
        if let Some(ending) = ending.filter(|ending| tenure >= ending.tenure) {
            ending.waiting.remove(&from);
            self.finish_ending(turn, id);
        }
    }

    /// Who died need not be waited for.
    pub(super) fn bury_endings(&mut self, turn: &mut Turn<'_>) {
        let mut done = Vec::new();
        for (id, ending) in self.endings.iter_mut() {
            ending.waiting.retain(|who| turn.is_there(*who));
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
        let kept = markers.bucket(bucket).map(|(id, _)| id);
        self.to_share.extend(kept);
        self.share_more(turn, markers);
    }

    /// As many markers at once as the settings allow go to their new deputies.
    pub(in crate::protocol) fn share_more(&mut self, turn: &mut Turn<'_>, markers: &mut Markers) {
        while self.endings.len() < turn.settings.evacuate_at_once
            && let Some(id) = self.to_share.pop_front()
        {
            let bucket = turn.bucket(&id);
            let Some(tenure) = markers.get(bucket, &id) else {
                continue;
            };
            if !self.managed.contains_key(&bucket) {
                continue;
            }
            let destroyer = self
                .endings
                .get(bucket, &id)
                .and_then(|ending| ending.destroyer);
            let (keep_for, nobody) = (Duration::ZERO, BTreeSet::new());
            self.spread_marker(turn, markers, id, tenure, keep_for, nobody, destroyer);
        }
    }
}

/// Tells somebody to keep the marker that this node keeps, and no longer.
pub(super) fn mark(turn: &Turn<'_>, markers: &Markers, id: SessionId, tenure: Tenure) -> Body {
    let keep_for = markers.keep_for(turn.bucket(&id), &id, turn.now);
    Body::Mark {
        id,
        tenure,
        keep_for,
    }
}

fn deputy(turn: &Turn<'_>, bucket: BucketId) -> Option<Incarnation> {
    let deputies = &turn.layout.placement(bucket).deputies;
    deputies.iter().copied().find(|who| turn.is_member(*who))
}
