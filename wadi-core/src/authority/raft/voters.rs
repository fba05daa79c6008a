//! Which members vote, and what the leader changes next. Pure: what is known in, one step out.
//!
//! Nobody rests at two voters: with two, either one's death stops everything, which is worse than
//! with one. The change from one to three is a single step, and openraft's joint agreement makes
//! every majority of the old voters and of the new ones consent to it.

use std::collections::BTreeSet;

use crate::bucket::Layout;
use crate::member::{Incarnation, Standing};

/// What a leader knows about who votes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Votes {
    /// Who votes; in the middle of a change, who shall vote.
    pub voters: BTreeSet<Incarnation>,
    /// Whether a change of the voters was begun and not ended.
    pub is_changing: bool,
    /// To whom the leader sends what is agreed, the voters included.
    pub told: BTreeSet<Incarnation>,
    /// Who of them lacks so little that it could vote.
    pub caught_up: BTreeSet<Incarnation>,
}

/// One change; the next one is decided when this one is agreed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A member is told of everything from now on.
    Tell(Incarnation),
    /// Exactly these vote.
    Vote(BTreeSet<Incarnation>),
    /// These, which are no members, are told of nothing any more.
    Forget(BTreeSet<Incarnation>),
}

impl Votes {
    /// Who should vote, by this layout: the leader and those who vote already before others, then
    /// the oldest.
    ///
    /// A member that is leaving keeps its vote until there is somebody for it, and a dead one until
    /// there is somebody, or until fewer than three are ready: then one votes.
    #[must_use]
    pub fn wanted(&self, layout: &Layout, leader: Incarnation) -> BTreeSet<Incarnation> {
        let standing = |standing: Standing| {
            let members = layout.members.iter();
            members
                .filter(move |(_, member)| member.standing == standing)
                .map(|(incarnation, _)| *incarnation)
        };
        let can_vote =
            |who: &Incarnation| self.voters.contains(who) || self.caught_up.contains(who);
        let ready = standing(Standing::Ready).count();
        let mut able: Vec<_> = standing(Standing::Ready).filter(can_vote).collect();
        let mut count = odd(able.len());
        // Who is about to catch up is worth waiting for.
        if count < odd(ready) && count < self.voters.len() {
            return self.voters.clone();
        }
        if ready == 0 {
            // Everybody leaves: one keeps the register until the last has gone.
            able = standing(Standing::Leaving).filter(can_vote).collect();
            count = able.len().min(1);
        }
        if able.is_empty() {
            return self.voters.clone();
        }
        able.sort_by_key(|who| (*who != leader, !self.voters.contains(who), *who));
        able.into_iter().take(count).collect()
    }

    /// What to change next, if anything.
    #[must_use]
    pub fn next_step(&self, layout: &Layout, leader: Incarnation) -> Option<Step> {
        let wanted = self.wanted(layout, leader);
        if self.is_changing {
            return Some(Step::Vote(wanted));
        }
        let untold = |who: &&Incarnation| !self.told.contains(who);
        if let Some(member) = layout.members.keys().find(untold) {
            return Some(Step::Tell(*member));
        }
        if wanted != self.voters {
            return Some(Step::Vote(wanted));
        }
        let strangers = self.told.iter().copied();
        let strangers: BTreeSet<_> = strangers
            .filter(|who| !layout.is_member(*who) && !self.voters.contains(who))
            .collect();
        (!strangers.is_empty()).then_some(Step::Forget(strangers))
    }
}

/// Five, three or one: how many of so many vote; zero of none.
const fn odd(ready: usize) -> usize {
    match ready {
        0 => 0,
        1 | 2 => 1,
        3 | 4 => 3,
        _ => 5,
    }
}

#[cfg(test)]
#[path = "voters_tests.rs"]
mod tests;
