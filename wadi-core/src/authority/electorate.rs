//! Who may found the next generation, where most of those who agree have died. Pure.
//!
//! It holds only while the generation can agree on nothing any more, and it is the same for everybody:
//! a node that knows of several electorates, because one is about to follow another, keeps to every one
//! of them. `wadi-core/models` searches the rules that are made of this, and what each is for.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::member::Incarnation;

/// Who votes in a generation, and which other members would be asked if all of those died.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Electorate {
    /// Who votes; five at most.
    pub voters: BTreeSet<Incarnation>,
    /// The other members that are ready.
    pub others: BTreeSet<Incarnation>,
}

impl Electorate {
    /// Whether nothing can be agreed any more now that these are dead: the other voters are no majority.
    #[must_use]
    pub fn is_over(&self, dead: &BTreeSet<Incarnation>) -> bool {
        let are_some = !self.voters.is_empty();
        are_some && self.voters.difference(dead).count() * 2 <= self.voters.len()
    }

    /// Who founds the next generation now that these are dead: the voters that are not; where there is
    /// none, the other members that are not.
    fn heirs(&self, dead: &BTreeSet<Incarnation>) -> BTreeSet<Incarnation> {
        let of = if self.voters.is_subset(dead) {
            &self.others
        } else {
            &self.voters
        };
        of.difference(dead).copied().collect()
    }
}

/// Who founds the next generation: of every electorate all that are not proven dead, together.
///
/// Most voters are dead by then, so of five at most two are left, and a majority of two is both. Of the
/// others there may be more, and a majority of those would not do: it could found, and die, and the rest
/// would found a second time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Heirs {
    of: Vec<BTreeSet<Incarnation>>,
    only_without: bool,
}

impl Heirs {
    /// Who they are now that these are dead, for `me`. `None` while something may still be agreed without
    /// `me`, or where nothing is known.
    ///
    /// To be found out, and kept, while `me` has a valid lease. It has missed no electorate then. And
    /// where all who vote are dead by then, none of them has founded: they would have waited for that
    /// lease.
    #[must_use]
    pub fn of(
        electorates: &[Electorate],
        me: Incarnation,
        dead: &BTreeSet<Incarnation>,
    ) -> Option<Self> {
        let gone_too: BTreeSet<_> = dead.iter().copied().chain([me]).collect();
        let are_over = electorates.iter().all(|e| e.is_over(&gone_too));
        // One that is about to follow may need nobody but `me`; that it does not hold yet, `me` knows.
        let is_one_over = electorates.iter().any(|e| e.is_over(dead));
        let heirs = electorates.iter().map(|electorate| electorate.heirs(dead));
        (are_over && is_one_over).then(|| Self {
            of: heirs.collect(),
            only_without: !electorates.iter().all(|e| e.is_over(dead)),
        })
    }

    /// Whether something could be agreed as long as who asked goes on: so what it was granted, and helped
    /// to grant, is over only a lease after it stopped.
    #[must_use]
    pub const fn only_without_me(&self) -> bool {
        self.only_without
    }

    /// Whether this is one of them.
    #[must_use]
    pub fn include(&self, who: Incarnation) -> bool {
        self.of.iter().any(|heirs| heirs.contains(&who))
    }

    /// Whether these found if they do so together, where these are dead by now. Where all heirs of one
    /// electorate have died nobody does, for they may have founded.
    #[must_use]
    pub fn are_among(&self, these: &BTreeSet<Incarnation>, dead: &BTreeSet<Incarnation>) -> bool {
        self.of.iter().all(|heirs| {
            let mut left = heirs.difference(dead).peekable();
            left.peek().is_some() && left.all(|heir| these.contains(heir))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Somebody who votes in none of these.
    const ME: Incarnation = Incarnation::new(99);

    fn set(numbers: &[u64]) -> BTreeSet<Incarnation> {
        numbers.iter().copied().map(Incarnation::new).collect()
    }

    fn of(voters: &[u64], others: &[u64]) -> Electorate {
        Electorate {
            voters: set(voters),
            others: set(others),
        }
    }

    fn heirs(electorates: &[Electorate], dead: &[u64]) -> Option<Vec<BTreeSet<Incarnation>>> {
        Heirs::of(electorates, ME, &set(dead)).map(|heirs| heirs.of)
    }

    #[test]
    fn the_voters_that_are_left_found_together_and_only_once_most_are_dead() {
        let five = [of(&[1, 2, 3, 4, 5], &[6])];
        assert_eq!(heirs(&five, &[1, 2, 6]), None);
        assert_eq!(heirs(&five, &[1, 2, 3]), Some(vec![set(&[4, 5])]));
        let heirs = Heirs::of(&five, ME, &set(&[1, 2, 3])).unwrap();
        assert!(heirs.include(Incarnation::new(4)) && !heirs.include(Incarnation::new(6)));
        assert!(heirs.are_among(&set(&[4, 5, 6]), &set(&[1, 2, 3])));
        assert!(!heirs.are_among(&set(&[4, 6]), &set(&[1, 2, 3])));
        assert!(heirs.are_among(&set(&[4]), &set(&[1, 2, 3, 5])));
        assert!(!heirs.are_among(&set(&[6]), &set(&[1, 2, 3, 4, 5])));
    }

    #[test]
    fn of_two_who_have_just_founded_either_goes_on() {
        let two = [of(&[1, 2], &[])];
        assert_eq!(heirs(&two, &[]), None);
        assert_eq!(heirs(&two, &[2]), Some(vec![set(&[1])]));
        let four = [of(&[1, 2, 3, 4], &[])];
        assert_eq!(heirs(&four, &[1]), None);
        assert_eq!(heirs(&four, &[1, 4]), Some(vec![set(&[2, 3])]));
    }

    #[test]
    fn the_others_found_only_where_every_voter_is_dead_and_then_all_of_them() {
        let three = [of(&[1, 2, 3], &[4, 5, 6])];
        assert_eq!(heirs(&three, &[1, 2]), Some(vec![set(&[3])]));
        let dead = set(&[1, 2, 3, 6]);
        let heirs_of_three = Heirs::of(&three, ME, &dead).unwrap();
        assert!(heirs_of_three.are_among(&set(&[4, 5]), &dead));
        assert!(!heirs_of_three.are_among(&set(&[4]), &dead));
        // Nobody is left: nobody founds. And where nobody votes nothing is known.
        let nobody = Heirs::of(&[of(&[1], &[])], ME, &set(&[1])).unwrap();
        assert!(!nobody.are_among(&set(&[2]), &set(&[1])));
        assert_eq!(heirs(&[Electorate::default()], &[1]), None);
        assert_eq!(heirs(&[], &[1]), None);
    }

    #[test]
    fn every_electorate_is_kept_to() {
        let both = [of(&[1], &[2, 3]), of(&[1, 2, 3], &[])];
        assert_eq!(heirs(&both, &[1]), None);
        let dead = set(&[1, 2]);
        let heirs = Heirs::of(&both, ME, &dead).unwrap();
        assert!(heirs.are_among(&set(&[3]), &dead));
        let another = [of(&[1], &[2, 4]), of(&[1, 2, 3], &[])];
        let heirs = Heirs::of(&another, ME, &dead).unwrap();
        assert!(!heirs.are_among(&set(&[3]), &dead));
        assert!(heirs.are_among(&set(&[3, 4]), &dead));
    }

    #[test]
    fn one_that_needs_nobody_but_who_asks_does_not_hold_it_up() {
        let both = [of(&[1, 2], &[]), of(&[1], &[2])];
        let one = Incarnation::new(1);
        assert_eq!(Heirs::of(&both, one, &set(&[])), None);
        let heirs = Heirs::of(&both, one, &set(&[2])).unwrap();
        assert!(heirs.only_without_me());
        assert!(heirs.are_among(&set(&[1]), &set(&[2])));
        // The other one has to have its death proven.
        assert_eq!(Heirs::of(&both, Incarnation::new(2), &set(&[])), None);
        let heirs = Heirs::of(&both, Incarnation::new(2), &set(&[1])).unwrap();
        assert!(!heirs.only_without_me());
        assert!(heirs.are_among(&set(&[2]), &set(&[1])));
        // As long as nobody is dead the one that votes alone has no reason.
        assert_eq!(Heirs::of(&both[1..], one, &set(&[2])), None);
    }
}
