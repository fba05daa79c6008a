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
    /// Who of them lacks so little that it could vote, and was heard of lately.
    pub caught_up: BTreeSet<Incarnation>,
    /// Who of those who vote or could vote lives, and will not be gone in a moment: it was heard of lately,
    /// and votes already or has been heard of for a lease.
    pub sure: BTreeSet<Incarnation>,
    /// Whether who is about to catch up was waited for as long as it may be.
    pub waited: bool,
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
    /// No more than now vote unless most of those are sure: whoever is started again and again leaves dead
    /// members behind that nobody has missed yet, and with their votes, and its own, the last majority.
    ///
    /// A member that is leaving keeps its vote until there is somebody for it, for a while. For a dead
    /// one nobody is waited for: where it is not replaced at once, fewer vote.
    #[must_use]
    pub fn wanted(&self, layout: &Layout, leader: Incarnation) -> BTreeSet<Incarnation> {
        if self.waits(layout) {
            return self.voters.clone();
        }
        let mut able = self.able(layout, Standing::Ready);
        let mut count = self.affordable(&able);
        if in_standing(layout, Standing::Ready).count() == 0 {
            // Everybody leaves: one keeps the register until the last has gone.
            able = self.able(layout, Standing::Leaving);
            count = able.len().min(1);
        }
        if able.is_empty() {
            return self.voters.clone();
        }
        able.sort_by_key(|who| {
            let votes = self.voters.contains(who);
            (*who != leader, !votes, !self.sure.contains(who), *who)
        });
        able.into_iter().take(count).collect()
    }

    /// How many of these may vote.
    fn affordable(&self, able: &[Incarnation]) -> usize {
        let sure = able.iter().filter(|who| self.sure.contains(who)).count();
        let mut count = odd(able.len());
        while count > self.voters.len().max(1) && sure < count / 2 + 1 {
            count -= 2;
        }
        count
    }

    /// Whether somebody is worth waiting for, who is about to catch up: without it fewer would vote than
    /// now. Not where one of those who vote is dead, or the next death would be one too many.
    #[must_use]
    pub fn waits(&self, layout: &Layout) -> bool {
        let count = odd(self.able(layout, Standing::Ready).len());
        let ready = in_standing(layout, Standing::Ready).count();
        let nobody_is_dead = self.voters.iter().all(|who| layout.is_member(*who));
        !self.waited && nobody_is_dead && count < odd(ready) && count < self.voters.len()
    }

    /// Whether `who` has to hand its vote over before it is no member any more: it is the only one that
    /// has one, so nobody else needs to know all that is agreed, and somebody else could have it.
    #[must_use]
    pub fn is_needed(&self, layout: &Layout, who: Incarnation) -> bool {
        let able = self.able(layout, Standing::Ready);
        self.voters.iter().eq([&who]) && able.iter().any(|other| *other != who)
    }

    /// Those of this standing who could vote.
    fn able(&self, layout: &Layout, standing: Standing) -> Vec<Incarnation> {
        let can_vote =
            |who: &Incarnation| self.voters.contains(who) || self.caught_up.contains(who);
        in_standing(layout, standing).filter(can_vote).collect()
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

fn in_standing(layout: &Layout, standing: Standing) -> impl Iterator<Item = Incarnation> + '_ {
    let members = layout.members.iter();
    members
        .filter(move |(_, member)| member.standing == standing)
        .map(|(incarnation, _)| *incarnation)
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
