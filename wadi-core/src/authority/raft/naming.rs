//! Naming who would found the next generation, before the voters are changed. Pure: what is known in,
//! one step out.
//!
//! Whoever finds most voters dead must know who votes, though those who changed that may be the very ones
//! that died. So a change is named first, and made only when everybody who is in one of the electorates
//! holds the entry that names it, or is no member any more. Whose lease is valid is a member; so it has
//! not missed one.

use std::collections::BTreeSet;

use super::voters::Votes;
use crate::authority::{Electorate, Register};
use crate::bucket::Layout;
use crate::member::{Incarnation, Standing};

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    /// This electorate is named; until it is, the voters are not changed.
    Name(Electorate),
    /// Not everybody knows of those that are named.
    Wait,
    /// These may vote.
    Vote(BTreeSet<Incarnation>),
    /// Only the last one holds from now on.
    Settle,
    /// All is as it should be.
    Nothing,
}

/// The electorate in which these vote.
pub(super) fn electorate(
    voters: BTreeSet<Incarnation>,
    votes: &Votes,
    layout: &Layout,
) -> Electorate {
    let ready = layout.members.iter();
    let ready = ready.filter(|(_, member)| member.standing == Standing::Ready);
    let others = ready.map(|(who, _)| *who);
    let others = others.filter(|who| !voters.contains(who) && votes.told.contains(who));
    Electorate {
        others: others.collect(),
        voters,
    }
}

/// Who has to know of what is named: who may found by any of these, and is a member.
pub(super) fn concerned<'a>(
    named: &'a [Electorate],
    layout: &'a Layout,
) -> impl Iterator<Item = Incarnation> + 'a {
    let of = |electorate: &'a Electorate| electorate.voters.iter().chain(&electorate.others);
    let all = named.iter().flat_map(of).copied();
    all.filter(|who| layout.is_member(*who))
}

/// What comes next, where these are named, this one is wanted, and all who are concerned know, or not.
pub(super) fn next(
    named: &[Electorate],
    wanted: Electorate,
    votes: &Votes,
    all_know: bool,
) -> Naming {
    let Some(last) = named.last() else {
        return Naming::Name(wanted);
    };
    // So many at once that the last one has to do for now.
    let is_full = named.len() >= Register::MOST_ELECTORATES;
    if *last != wanted && !is_full {
        return Naming::Name(wanted);
    }
    let is_made = !votes.is_changing && votes.voters == last.voters;
    match (named.len() > 1, is_made) {
        (false, true) => Naming::Nothing,
        _ if !all_know => Naming::Wait,
        (_, false) => Naming::Vote(last.voters.clone()),
        (true, true) => Naming::Settle,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(numbers: &[u64]) -> BTreeSet<Incarnation> {
        numbers.iter().copied().map(Incarnation::new).collect()
    }

    fn of(voters: &[u64]) -> Electorate {
        Electorate {
            voters: set(voters),
            others: BTreeSet::new(),
        }
    }

    fn voting(voters: &[u64], is_changing: bool) -> Votes {
        Votes {
            voters: set(voters),
            is_changing,
            ..Votes::default()
        }
    }

    #[test]
    fn a_change_is_named_then_known_then_made_then_settled() {
        let (one, three) = (of(&[1]), of(&[1, 2, 3]));
        let before = voting(&[1], false);
        let named = [one.clone()];
        assert_eq!(next(&named, one.clone(), &before, false), Naming::Nothing);
        let naming = next(&named, three.clone(), &before, true);
        assert_eq!(naming, Naming::Name(three.clone()));
        let named = [one, three.clone()];
        let waits = next(&named, three.clone(), &before, false);
        assert_eq!(waits, Naming::Wait);
        let vote = || Naming::Vote(set(&[1, 2, 3]));
        assert_eq!(next(&named, three.clone(), &before, true), vote());
        let during = voting(&[1, 2, 3], true);
        assert_eq!(next(&named, three.clone(), &during, true), vote());
        let after = voting(&[1, 2, 3], false);
        assert_eq!(next(&named, three.clone(), &after, false), Naming::Wait);
        assert_eq!(next(&named, three.clone(), &after, true), Naming::Settle);
        let settled = [three.clone()];
        assert_eq!(next(&settled, three, &after, false), Naming::Nothing);
    }

    #[test]
    fn not_more_are_named_than_may_be() {
        let all: Vec<_> = (1..=8).map(|who| of(&[who])).collect();
        let wanted = of(&[9]);
        let votes = voting(&[1], false);
        let last = Naming::Vote(set(&[8]));
        assert_eq!(next(&all, wanted.clone(), &votes, true), last);
        assert_eq!(next(&all, wanted, &votes, false), Naming::Wait);
    }
}
