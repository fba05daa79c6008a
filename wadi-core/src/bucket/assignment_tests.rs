use proptest::prelude::*;

use super::*;
use crate::member::NodeName;

fn member(standing: Standing) -> Member {
    Member {
        node: NodeName::new("n"),
        address: String::new(),
        place: None,
        standing,
    }
}

fn founded(buckets: u16) -> Layout {
    let buckets = BucketCount::new(buckets).unwrap();
    Layout::found(buckets, 0, Incarnation::new(1), member(Standing::Ready))
}

/// One change of the members, as the authority would make it.
#[derive(Clone, Copy, Debug)]
enum Change {
    Join(Standing),
    Ready(usize),
    Leave(usize),
    Die(usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => Just(Change::Join(Standing::Ready)),
        1 => Just(Change::Join(Standing::Joining)),
        1 => any::<usize>().prop_map(Change::Ready),
        1 => any::<usize>().prop_map(Change::Leave),
        2 => any::<usize>().prop_map(Change::Die),
    ]
}

fn apply(layout: &mut Layout, change: Change, last: &mut u64) {
    let members: Vec<Incarnation> = layout.members.keys().copied().collect();
    let pick = |at: usize| (!members.is_empty()).then(|| members[at % members.len()]);
    match change {
        Change::Join(standing) => {
            *last += 1;
            layout
                .members
                .insert(Incarnation::new(*last), member(standing));
        }
        Change::Ready(at) => {
            if let Some(member) = pick(at).and_then(|m| layout.members.get_mut(&m))
                && member.standing == Standing::Joining
            {
                member.standing = Standing::Ready;
            }
        }
        Change::Leave(at) => {
            if let Some(member) = pick(at).and_then(|m| layout.members.get_mut(&m)) {
                member.standing = Standing::Leaving;
            }
        }
        Change::Die(at) => {
            pick(at).and_then(|m| layout.members.remove(&m));
        }
    }
    layout.version = layout.version.next();
}

fn moved(before: &Layout, after: &Layout) -> usize {
    let pairs = before.placements.iter().zip(&after.placements);
    pairs
        .filter(|(old, new)| old.manager != new.manager)
        .count()
}

/// The fewest changes of manager that give every bucket an eligible manager and balance.
fn fewest_moves(layout: &Layout) -> usize {
    let kept: Vec<usize> = layout.eligible().map(|m| layout.managed_by(m)).collect();
    let (floor, larger) = (
        layout.placements.len() / kept.len(),
        layout.placements.len() % kept.len(),
    );
    let orphans = layout.placements.len() - kept.iter().sum::<usize>();
    let above: usize = kept.iter().map(|load| load.saturating_sub(floor)).sum();
    let spared = kept
        .iter()
        .filter(|load| **load > floor)
        .count()
        .min(larger);
    orphans + above - spared
}

fn spread(loads: impl Iterator<Item = usize> + Clone) -> usize {
    loads.clone().max().unwrap_or(0) - loads.min().unwrap_or(0)
}

fn deputy_loads(layout: &Layout) -> Vec<usize> {
    let of = |m: Incarnation| {
        layout
            .placements
            .iter()
            .filter(move |p| p.deputies.contains(&m))
            .count()
    };
    layout.eligible().map(of).collect()
}

fn step(layout: &Layout, terms: &AssignmentTerms) -> Layout {
    layout.reassigned(terms).unwrap_or_else(|| layout.clone())
}

proptest! {
    #[test]
    fn any_history_of_members_keeps_every_promise(
        buckets in 1u16..70,
        deputies in 0u8..4,
        changes in prop::collection::vec(prop::collection::vec(change(), 1..5), 1..12),
    ) {
        let terms = AssignmentTerms::default().with_deputies(deputies);
        let mut layout = founded(buckets);
        let mut last = 1;
        for together in changes {
            together.into_iter().for_each(|change| apply(&mut layout, change, &mut last));
            let eligible: Vec<Incarnation> = layout.eligible().collect();
            let next = step(&layout, &terms);
            prop_assert_eq!(&next, &step(&layout.clone(), &terms), "deterministic");
            prop_assert_eq!(next.check(), Ok(()));
            if eligible.is_empty() {
                prop_assert_eq!(&next, &layout, "managers stay where nobody may follow");
                continue;
            }
            if next != layout {
                prop_assert_eq!(next.check_after(&layout), Ok(()));
            }
            prop_assert!(next.placements.iter().all(|p| next.is_eligible(p.manager)));
            prop_assert!(!next.has_orphans());
            prop_assert!(spread(eligible.iter().map(|m| next.managed_by(*m))) <= 1, "managers balanced");
            prop_assert!(spread(deputy_loads(&next).into_iter()) <= 1, "deputies balanced: {:?}", deputy_loads(&next));
            let wanted = usize::from(deputies).min(eligible.len() - 1);
            for placement in &next.placements {
                prop_assert_eq!(placement.deputies.len(), wanted);
                prop_assert!(placement.deputies.iter().all(|d| next.is_eligible(*d)));
            }
            prop_assert_eq!(moved(&layout, &next), fewest_moves(&layout), "fewest moves");
            prop_assert_eq!(next.reassigned(&terms), None, "settled after one step");
            layout = next;
        }
    }

    #[test]
    fn a_paced_step_moves_no_more_than_allowed_and_gets_there(
        buckets in 1u16..70,
        deputies in 0u8..3,
        pace in 1u16..6,
        changes in prop::collection::vec(change(), 1..12),
    ) {
        let terms = AssignmentTerms::default().with_deputies(deputies).with_most_moves(Some(pace));
        let mut layout = step(&founded(buckets), &terms);
        let mut last = 1;
        changes.into_iter().for_each(|change| apply(&mut layout, change, &mut last));
        prop_assume!(layout.eligible().next().is_some());
        let in_one = fewest_moves(&layout);
        let orphans = layout.placements.iter().filter(|p| !layout.is_eligible(p.manager)).count();
        let mut total = 0;
        while let Some(next) = layout.reassigned(&terms) {
            prop_assert_eq!(next.check_after(&layout), Ok(()));
            prop_assert!(!next.has_orphans(), "orphans are never kept waiting");
            let must = if total == 0 { orphans } else { 0 };
            prop_assert!(moved(&layout, &next) <= must + usize::from(pace));
            total += moved(&layout, &next);
            layout = next;
        }
        prop_assert_eq!(total, in_one, "pacing costs no move");
        prop_assert_eq!(layout.reassigned(&terms.with_most_moves(None)), None);
    }
}

fn with_members(buckets: u16, count: u64, terms: &AssignmentTerms) -> Layout {
    let mut layout = founded(buckets);
    let mut last = 1;
    for _ in 1..count {
        apply(&mut layout, Change::Join(Standing::Ready), &mut last);
        layout = step(&layout, terms);
    }
    layout
}

#[test]
fn the_first_eligible_deputy_takes_over_a_dead_managers_buckets() {
    let terms = AssignmentTerms::default();
    let mut layout = with_members(60, 4, &terms);
    layout.members.remove(&Incarnation::new(2));
    layout.version = layout.version.next();
    let next = step(&layout, &terms);
    let orphaned = layout.placements.iter().zip(&next.placements);
    let orphaned: Vec<_> = orphaned
        .filter(|(old, _)| old.manager == Incarnation::new(2))
        .collect();
    assert_eq!(orphaned.len(), 15);
    assert!(
        orphaned
            .iter()
            .all(|(old, new)| new.manager == old.deputies[0])
    );
    assert!(
        orphaned
            .iter()
            .all(|(_, new)| new.previous == Some(Incarnation::new(2)))
    );
}

#[test]
fn a_leaving_managers_buckets_go_and_name_it_as_previous_while_it_is_a_member() {
    let terms = AssignmentTerms::default();
    let mut layout = with_members(8, 2, &terms);
    apply(&mut layout, Change::Leave(0), &mut 2);
    let next = step(&layout, &terms);
    assert_eq!(next.managed_by(Incarnation::new(1)), 0);
    assert!(next.is_member(Incarnation::new(1)));
    assert!(next.placements.iter().all(|p| p.deputies.is_empty()));
    let taken = next.placements.iter().filter(|p| p.since == next.version);
    assert!(
        taken
            .clone()
            .all(|p| p.previous == Some(Incarnation::new(1)))
    );
    assert_eq!(taken.count(), 4);
}

#[test]
fn a_moved_buckets_former_manager_is_its_deputy() {
    let layout = with_members(8, 2, &AssignmentTerms::default());
    let mut moved = layout
        .placements
        .iter()
        .filter(|p| p.manager == Incarnation::new(2));
    assert!(moved.all(|p| p.deputies == [Incarnation::new(1)]));
}

#[test]
fn a_dead_managers_buckets_would_go_to_many() {
    let layout = with_members(4096, 5, &AssignmentTerms::default());
    for manager in layout.eligible() {
        for deputy in layout.eligible().filter(|deputy| *deputy != manager) {
            let common = layout.placements.iter();
            let common = common.filter(|p| p.manager == manager && p.deputies == [deputy]);
            let common = common.count();
            // A quarter of a fifth of 4096 is 205.
            assert!(
                (150..=260).contains(&common),
                "{manager:?} {deputy:?}: {common}"
            );
        }
    }
}

#[test]
fn a_hundred_members_that_join_at_once_are_placed_in_one_step() {
    let mut layout = founded(4096);
    let mut last = 1;
    for _ in 0..99 {
        apply(&mut layout, Change::Join(Standing::Ready), &mut last);
    }
    let next = step(&layout, &AssignmentTerms::default().with_deputies(2));
    assert!(spread(next.eligible().map(|m| next.managed_by(m))) <= 1);
    assert!(spread(deputy_loads(&next).into_iter()) <= 1);
}

#[test]
fn a_check_names_each_fault() {
    use crate::bucket::{BucketId, LayoutFault};
    let bucket = BucketId::new(0);
    let good = with_members(2, 2, &AssignmentTerms::default());
    let faulty = |spoil: fn(&mut Layout)| {
        let mut layout = good.clone();
        spoil(&mut layout);
        layout
    };
    let check = |spoil| faulty(spoil).check();
    assert_eq!(
        check(|l| l.placements.clear()),
        Err(LayoutFault::BucketCount)
    );
    let since = |l: &mut Layout| l.placements[0].since = LayoutVersion::ZERO;
    assert_eq!(check(since), Err(LayoutFault::NoEpoch(bucket)));
    let previous = |l: &mut Layout| l.placements[0].previous = Some(l.placements[0].manager);
    assert_eq!(check(previous), Err(LayoutFault::PreviousIsManager(bucket)));
    let twice = |l: &mut Layout| l.placements[0].deputies = vec![l.placements[0].manager];
    assert_eq!(check(twice), Err(LayoutFault::TwiceInOneBucket(bucket)));
    let future = |l: &mut Layout| l.placements[0].since = l.version.next();
    assert_eq!(check(future), Err(LayoutFault::FromTheFuture(bucket)));

    let after = |spoil: fn(&mut Layout)| {
        let mut next = good.clone();
        next.version = next.version.next();
        spoil(&mut next);
        next.check_after(&good)
    };
    assert_eq!(after(|_| ()), Ok(()));
    assert_eq!(
        after(|l| l.version = l.version.next()),
        Err(LayoutFault::NotTheNextVersion)
    );
    assert_eq!(
        after(|l| l.placements.truncate(1)),
        Err(LayoutFault::BucketCount)
    );
    let back = |l: &mut Layout| {
        l.members
            .insert(Incarnation::new(0), member(Standing::Joining));
    };
    assert_eq!(after(back), Err(LayoutFault::CameBack(Incarnation::new(0))));
    let stolen = |l: &mut Layout| l.placements[0].manager = Incarnation::new(9);
    assert_eq!(after(stolen), Err(LayoutFault::BrokenSuccession(bucket)));
}

#[test]
fn a_former_manager_is_preferred_as_deputy_to_one_with_less_to_do() {
    let mut layout = founded(6);
    let mut last = 1;
    apply(&mut layout, Change::Join(Standing::Ready), &mut last);
    apply(&mut layout, Change::Join(Standing::Ready), &mut last);
    let managed_and_deputised = [(1, 2), (1, 2), (1, 2), (1, 2), (2, 1), (3, 2)];
    for (placement, (manager, deputy)) in layout.placements.iter_mut().zip(managed_and_deputised) {
        placement.manager = Incarnation::new(manager);
        placement.deputies = vec![Incarnation::new(deputy)];
    }
    let next = step(&layout, &AssignmentTerms::default());
    assert_eq!(next.placements[0].manager, Incarnation::new(2));
    assert_eq!(next.placements[0].deputies, [Incarnation::new(1)]);
}
