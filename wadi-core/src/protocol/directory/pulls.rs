//! Which directories this node asks their previous managers for, and when: some at once, and first those
//! that somebody waits for.
//!
//! Whoever takes over many buckets at once, as when another node leaves, has each open soon after it
//! asked for it; what is asked about meanwhile waits for one directory, and not for all of them. Each
//! previous manager has its own bounds, so one that is silent holds up no other's.

use std::collections::{BTreeMap, BTreeSet};

use super::{Directory, Managed, Phase};
use crate::bucket::BucketId;
use crate::member::Incarnation;
use crate::message::{Answer, Body, Want};
use crate::protocol::markers::Markers;
use crate::protocol::timer::Timer;
use crate::protocol::turn::Turn;
use crate::session::SessionId;
use crate::tenure::Tenure;

/// The buckets whose directories are to be pulled, by their previous managers. Those, and no others, are
/// in [`Phase::Pulling`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Pulls(BTreeMap<Incarnation, OfOne>);

/// Those of one previous manager.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct OfOne {
    asked: BTreeSet<BucketId>,
    later: BTreeSet<BucketId>,
    /// How many records a directory has, by those that came.
    typical: usize,
}

/// How many records a directory may have, before one came.
const FIRST_GUESS: usize = 512;

impl OfOne {
    const NONE: Self = Self {
        asked: BTreeSet::new(),
        later: BTreeSet::new(),
        typical: FIRST_GUESS,
    };

    /// The next one to ask for, if there is room for one more. There always is for one.
    fn next(&mut self, records_at_once: usize) -> Option<BucketId> {
        let expected = self.asked.len().saturating_mul(self.typical.max(1));
        if expected >= records_at_once.max(1) {
            return None;
        }
        let bucket = self.later.pop_first()?;
        self.asked.insert(bucket);
        Some(bucket)
    }
}

impl Pulls {
    pub(super) fn add(&mut self, from: Incarnation, bucket: BucketId) {
        let of_one = self.0.entry(from).or_insert(OfOne::NONE);
        of_one.later.insert(bucket);
    }

    /// A directory of so many records came.
    pub(super) fn came(&mut self, from: Incarnation, records: usize) {
        if let Some(of_one) = self.0.get_mut(&from) {
            of_one.typical = records.max(of_one.typical / 2);
        }
    }

    /// It is not waited for any more.
    pub(super) fn done(&mut self, from: Incarnation, bucket: BucketId) {
        if let Some(of_one) = self.0.get_mut(&from) {
            of_one.asked.remove(&bucket);
            of_one.later.remove(&bucket);
            if of_one.asked.is_empty() && of_one.later.is_empty() {
                self.0.remove(&from);
            }
        }
    }
}

/// How many questions about the sessions of one bucket are kept until they can be answered. Who asks more
/// asks again by itself.
const MOST_EARLY: usize = 256;

/// Who asked for which sessions of a bucket before it was open, or while they were on their way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct EarlyAsks(BTreeMap<(SessionId, Incarnation), Want>);

impl EarlyAsks {
    /// Keeps the question of somebody who wants the session itself.
    pub(super) fn keep(&mut self, id: SessionId, asker: Incarnation, want: Want) {
        if self.0.len() < MOST_EARLY {
            let kept = self.0.entry((id, asker)).or_insert(want);
            *kept = want.max(*kept);
        }
    }

    /// Takes the questions about one session.
    pub(super) fn take_of(&mut self, id: SessionId) -> Vec<(Incarnation, Want)> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let (first, last) = (Incarnation::new(0), Incarnation::new(u64::MAX));
        let askers = self.0.range((id, first)..=(id, last));
        let askers: Vec<_> = askers.map(|((_, asker), want)| (*asker, *want)).collect();
        for (asker, _) in &askers {
            self.0.remove(&(id, *asker));
        }
        askers
    }
}

impl Directory {
    /// Asks for as many directories as may be asked for at once.
    pub(super) fn pull_more(&mut self, turn: &mut Turn<'_>) {
        let at_once = turn.settings.hand_over_records;
        let mut next = Vec::new();
        for (from, of_one) in &mut self.pulls.0 {
            while let Some(bucket) = of_one.next(at_once) {
                next.push((*from, bucket));
            }
        }
        for (from, bucket) in next {
            ask(turn, from, bucket);
        }
    }

    /// Somebody waits for this bucket: its directory is asked for before others.
    pub(in crate::protocol) fn urge(&mut self, turn: &mut Turn<'_>, bucket: BucketId) {
        let Some(Phase::Pulling(from)) = self.managed.get(&bucket).map(|managed| &managed.phase)
        else {
            return;
        };
        let from = *from;
        if let Some(of_one) = self.pulls.0.get_mut(&from)
            && of_one.later.remove(&bucket)
        {
            of_one.asked.insert(bucket);
            ask(turn, from, bucket);
        }
    }

    /// Asks for the directory again; whether it is still missing.
    pub(in crate::protocol) fn pull_again(&self, turn: &mut Turn<'_>, bucket: BucketId) -> bool {
        let Some(Phase::Pulling(previous)) =
            self.managed.get(&bucket).map(|managed| &managed.phase)
        else {
            return false;
        };
        turn.send(*previous, Body::Pull { bucket });
        true
    }

    /// The bucket's previous manager is not waited for any more.
    pub(super) fn pulls_no_more(&mut self, turn: &mut Turn<'_>, bucket: BucketId) {
        turn.answered(Timer::Pull(bucket));
        if let Some(Phase::Pulling(from)) = self.managed.get(&bucket).map(|managed| &managed.phase)
        {
            self.pulls.done(*from, bucket);
        }
    }

    /// The bucket is open now: answers who asked before.
    pub(super) fn answer_early(
        &mut self,
        turn: &mut Turn<'_>,
        markers: &Markers,
        bucket: BucketId,
    ) {
        let Some(managed) = self.managed.get_mut(&bucket) else {
            return;
        };
        if managed.early.0.is_empty() {
            return;
        }
        let EarlyAsks(asks) = std::mem::take(&mut managed.early);
        for ((id, asker), want) in asks {
            if turn.is_member(asker) {
                self.find(turn, markers, asker, id, asker, want);
            }
        }
    }

    /// The session is somewhere now: answers who asked while it was on its way.
    pub(super) fn answer_early_of(
        &mut self,
        turn: &mut Turn<'_>,
        markers: &Markers,
        id: SessionId,
    ) {
        let Some(managed) = self.managed_of(turn, &id).filter(|it| it.is_open()) else {
            return;
        };
        for (asker, want) in managed.early.take_of(id) {
            if turn.is_member(asker) {
                self.find(turn, markers, asker, id, asker, want);
            }
        }
    }

    /// The same where it comes to this very node, in this step: its map, and so a look at it, does not have
    /// the session before the step is over.
    pub(super) fn is_here_now(&mut self, turn: &mut Turn<'_>, id: SessionId, tenure: Tenure) {
        let holder = turn.me;
        let Some(managed) = self.managed_of(turn, &id) else {
            return;
        };
        for (asker, _) in managed.early.take_of(id) {
            let answer = Answer::At { holder, tenure };
            turn.send(asker, Body::Answer { id, answer });
        }
    }

    /// Whether exactly those buckets are to be pulled that wait for their previous managers.
    pub(super) fn pulls_what_it_waits_for(&self, bucket: BucketId, managed: &Managed) -> bool {
        let is_in =
            |of_one: &OfOne| of_one.asked.contains(&bucket) || of_one.later.contains(&bucket);
        let of = self.pulls.0.iter().filter(|(_, of_one)| is_in(of_one));
        let of = of.map(|(from, _)| *from);
        match managed.phase {
            Phase::Pulling(from) => of.eq([from]),
            _ => of.count() == 0,
        }
    }
}

fn ask(turn: &mut Turn<'_>, from: Incarnation, bucket: BucketId) {
    turn.send(from, Body::Pull { bucket });
    turn.await_answer(Timer::Pull(bucket));
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: Incarnation = Incarnation::new(1);

    fn asked(pulls: &mut Pulls, records_at_once: usize) -> usize {
        let Some(of_one) = pulls.0.get_mut(&FROM) else {
            return 0;
        };
        std::iter::from_fn(|| of_one.next(records_at_once)).count()
    }

    #[test]
    fn as_many_are_asked_for_at_once_as_have_so_many_records() {
        let mut pulls = Pulls::default();
        (0..1000).for_each(|number| pulls.add(FROM, BucketId::new(number)));
        assert_eq!(asked(&mut pulls, 2048), 4);
        assert_eq!(asked(&mut pulls, 2048), 0);
        pulls.done(FROM, BucketId::new(0));
        pulls.came(FROM, 0);
        assert_eq!(
            asked(&mut pulls, 2048),
            5,
            "256 records are expected of each"
        );
        pulls.came(FROM, 10_000);
        pulls.done(FROM, BucketId::new(1));
        assert_eq!(asked(&mut pulls, 2048), 0);
        (2..9).for_each(|number| pulls.done(FROM, BucketId::new(number)));
        assert_eq!(asked(&mut pulls, 1), 1, "one always may be");
        for _ in 0..20 {
            pulls.came(FROM, 0);
        }
        assert_eq!(asked(&mut pulls, 2048), 990, "empty ones cost nothing");
        (9..1000).for_each(|number| pulls.done(FROM, BucketId::new(number)));
        assert_eq!(pulls, Pulls::default());
    }
}
