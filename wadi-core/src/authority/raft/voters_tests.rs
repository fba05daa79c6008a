use proptest::prelude::*;

use super::*;
use crate::authority::{Charter, Register};
use crate::bucket::BucketCount;
use crate::clock::Moment;
use crate::member::{Founding, NodeName};

fn i(number: u64) -> Incarnation {
    Incarnation::new(number)
}

fn set(numbers: impl IntoIterator<Item = u64>) -> BTreeSet<Incarnation> {
    numbers.into_iter().map(i).collect()
}

/// A layout whose members have these standings; `None` is one that has died. The first is ready
/// when it is founded, and becomes what is asked for.
fn layout(standings: &[Option<Standing>]) -> Layout {
    let charter = Charter {
        buckets: BucketCount::new(8).expect("eight is not zero"),
        ..Charter::default()
    };
    let name = NodeName::new("n");
    let (mut register, _) = Register::found(
        charter,
        Founding::IN_PROCESS,
        0,
        name.clone(),
        String::new(),
        Moment::ZERO,
    );
    for _ in 1..standings.len() {
        let joined = register.join(name.clone(), String::new(), Moment::ZERO);
        let _ = joined;
    }
    let mut layout = register.layout().clone();
    for (at, standing) in standings.iter().enumerate() {
        let who = i(at as u64 + 1);
        match (standing, layout.members.get_mut(&who)) {
            (Some(standing), Some(member)) => member.standing = *standing,
            _ => drop(layout.members.remove(&who)),
        }
    }
    layout
}

fn votes(voters: impl IntoIterator<Item = u64>, told: u64) -> Votes {
    Votes {
        voters: set(voters),
        is_changing: false,
        told: set(1..=told),
        caught_up: set(1..=told),
        sure: set(1..=told),
        waited: false,
    }
}

const READY: Option<Standing> = Some(Standing::Ready);
const LEAVING: Option<Standing> = Some(Standing::Leaving);

#[test]
fn voters_grow_from_one_to_three_to_five() {
    for (ready, expected) in [(1, 1), (2, 1), (3, 3), (4, 3), (5, 5), (9, 5)] {
        let layout = layout(&vec![READY; ready]);
        let wanted = votes([1], ready as u64).wanted(&layout, i(1));
        assert_eq!(wanted, set(1..=expected), "of {ready}");
    }
}

#[test]
fn who_has_not_caught_up_is_waited_for() {
    let layout = layout(&[READY; 3]);
    let mut votes = votes([1], 3);
    votes.caught_up = set([2]);
    assert_eq!(votes.wanted(&layout, i(1)), set([1]));
    assert_eq!(votes.next_step(&layout, i(1)), None);
}

/// The third is started every second: three and four were it, and are not missed yet; five is it.
#[test]
fn who_is_started_again_and_again_does_not_take_the_majority() {
    let members = layout(&[READY; 5]);
    let mut votes = votes([1, 2, 3], 5);
    votes.caught_up = set([1, 2, 4, 5]);
    votes.sure = set([1, 2]);
    assert_eq!(votes.next_step(&members, i(1)), None);
    votes.sure = set([1, 2, 5]);
    let grows = Some(Step::Vote(set(1..=5)));
    assert_eq!(votes.next_step(&members, i(1)), grows);
    // It is missed now, and who is it now may vote: most of them are sure without it.
    let members = layout(&[READY, READY, None, READY, READY]);
    votes.caught_up = set([1, 2, 5]);
    votes.sure = set([1, 2]);
    let replaced = Some(Step::Vote(set([1, 2, 5])));
    assert_eq!(votes.next_step(&members, i(1)), replaced);
}

#[test]
fn two_that_have_just_come_do_not_vote_beside_one() {
    let members = layout(&[READY; 3]);
    let mut votes = votes([1], 3);
    votes.sure = set([1]);
    assert_eq!(votes.next_step(&members, i(1)), None);
    votes.sure = set([1, 3]);
    assert_eq!(
        votes.next_step(&members, i(1)),
        Some(Step::Vote(set([1, 2, 3])))
    );
}

#[test]
fn a_leaving_voter_votes_until_there_is_somebody_for_it() {
    let members = layout(&[READY, READY, LEAVING, READY]);
    let mut votes = votes([1, 2, 3], 4);
    votes.caught_up = set([2, 3]);
    assert_eq!(votes.wanted(&members, i(1)), set([1, 2, 3]));
    votes.caught_up = set([2, 3, 4]);
    assert_eq!(
        votes.next_step(&members, i(1)),
        Some(Step::Vote(set([1, 2, 4])))
    );
}

#[test]
fn who_never_catches_up_is_waited_for_only_so_long() {
    let members = layout(&[READY, READY, LEAVING, READY]);
    let mut votes = votes([1, 2, 3], 4);
    votes.caught_up = set([2, 3]);
    assert!(votes.waits(&members));
    votes.waited = true;
    assert!(!votes.waits(&members));
    assert_eq!(votes.next_step(&members, i(1)), Some(Step::Vote(set([1]))));
}

#[test]
fn nobody_is_waited_for_while_a_voter_is_dead() {
    let members = layout(&[READY, READY, None, READY]);
    let mut votes = votes([1, 2, 3], 4);
    votes.caught_up = set([2]);
    assert_eq!(votes.next_step(&members, i(1)), Some(Step::Vote(set([1]))));
}

#[test]
fn the_only_voter_is_needed_until_somebody_else_votes() {
    let members = layout(&[READY, READY]);
    let mut votes = votes([1], 2);
    assert!(votes.is_needed(&members, i(1)));
    assert!(!votes.is_needed(&members, i(2)), "it does not vote");
    votes.caught_up = set([]);
    assert!(!votes.is_needed(&members, i(1)), "nobody could have it");
    votes.voters = set([2]);
    assert!(!votes.is_needed(&members, i(1)));
    let last = layout(&[READY]);
    assert!(!self::votes([1], 1).is_needed(&last, i(1)));
}

#[test]
fn a_dead_voter_is_replaced_or_one_remains() {
    let three = layout(&[READY, READY, None, READY]);
    assert_eq!(votes([1, 2, 3], 4).wanted(&three, i(2)), set([1, 2, 4]));
    let two = layout(&[READY, READY, None]);
    assert_eq!(votes([1, 2, 3], 3).wanted(&two, i(2)), set([2]));
}

#[test]
fn everybody_may_leave_at_once() {
    let members = layout(&[LEAVING; 3]);
    assert_eq!(votes([1, 2, 3], 3).wanted(&members, i(2)), set([2]));
    let last = layout(&[LEAVING]);
    assert_eq!(votes([1], 1).wanted(&last, i(1)), set([1]));
}

#[test]
fn the_dead_are_told_nothing_once_they_do_not_vote() {
    let members = layout(&[READY, None]);
    let step = votes([1], 2).next_step(&members, i(1));
    assert_eq!(step, Some(Step::Forget(set([2]))));
}

#[test]
fn a_change_that_was_begun_is_ended_first() {
    let members = layout(&[READY; 3]);
    let mut votes = votes([1, 2, 3], 1);
    votes.is_changing = true;
    votes.caught_up = set([1, 2, 3]);
    assert_eq!(
        votes.next_step(&members, i(1)),
        Some(Step::Vote(set([1, 2, 3])))
    );
}

fn standings() -> impl Strategy<Value = Vec<Option<Standing>>> {
    let standing = prop_oneof![
        4 => Just(READY),
        1 => Just(LEAVING),
        1 => Just(Some(Standing::Joining)),
        2 => Just(None),
    ];
    proptest::collection::vec(standing, 1..12)
}

/// Carries a step out as the leader would.
fn carry_out(votes: &mut Votes, step: Step) {
    match step {
        Step::Tell(who) => {
            votes.told.insert(who);
            votes.caught_up.insert(who);
            votes.sure.insert(who);
        }
        Step::Vote(voters) => votes.voters = voters,
        Step::Forget(strangers) => votes.told.retain(|who| !strangers.contains(who)),
    }
    votes.caught_up = &votes.caught_up & &votes.told;
}

proptest! {
    /// From any agreed state, whatever becomes of the members: it comes to rest, at an odd number,
    /// with everybody told; each step on the way is odd, too; and at rest those vote who are ready.
    #[test]
    fn it_comes_to_rest_at_one_three_or_five(
        standings in standings(),
        first in 0usize..3,
    ) {
        let members = layout(&standings);
        let count = [1, 3, 5][first].min(odd(standings.len()));
        let mut votes = votes(1..=count as u64, standings.len() as u64);
        let mut leader = i(1);
        let mut steps = 0;
        while let Some(step) = votes.next_step(&members, leader) {
            carry_out(&mut votes, step);
            prop_assert!([1, 3, 5].contains(&votes.voters.len()), "{votes:?}");
            if !votes.voters.contains(&leader) {
                leader = *votes.voters.first().expect("somebody votes");
            }
            steps += 1;
            prop_assert!(steps < 40, "it does not settle: {votes:?}");
        }
        let ready: BTreeSet<_> = members
            .members
            .iter()
            .filter(|(_, member)| member.standing == Standing::Ready)
            .map(|(who, _)| *who)
            .collect();
        if !ready.is_empty() {
            prop_assert_eq!(votes.voters.len(), odd(ready.len()));
            prop_assert!(votes.voters.is_subset(&ready));
        }
        prop_assert!(members.members.keys().all(|who| votes.told.contains(who)));
    }

    /// The same members, in whatever way they were learnt, give the same answer, and asking again
    /// after it was carried out gives it again.
    #[test]
    fn it_is_settled_by_what_it_wants(standings in standings(), leader in 1u64..12) {
        let members = layout(&standings);
        let mut votes = votes([1], standings.len() as u64);
        let wanted = votes.wanted(&members, i(leader));
        votes.voters = wanted.clone();
        prop_assert_eq!(votes.wanted(&members, i(leader)), wanted);
    }
}
