use proptest::prelude::*;

use super::*;

const L: Duration = Duration::from_secs(4);

fn at(millis: u64) -> Moment {
    Moment::ZERO + Duration::from_millis(millis)
}

fn i(number: u64) -> Incarnation {
    Incarnation::new(number)
}

fn charter() -> Charter {
    Charter {
        buckets: BucketCount::new(6).unwrap(),
        ..Charter::default()
    }
}

fn founded() -> Register {
    Register::found(
        charter(),
        Founding::IN_PROCESS,
        0,
        NodeName::new("n1"),
        "a1".into(),
        at(0),
    )
    .0
}

fn join(register: &mut Register, name: &str, now: Moment) -> Incarnation {
    register
        .join(NodeName::new(name), name.into(), now)
        .incarnation
}

/// n1 and n2, both ready, with three buckets each.
fn two() -> Register {
    let mut register = founded();
    let second = join(&mut register, "n2", at(0));
    register.ready(second).unwrap();
    register.propose(register.layout().version, None).unwrap();
    assert_eq!(register.layout().managed_by(second), 3);
    register
}

#[test]
fn every_change_is_one_version() {
    let mut register = founded();
    let expect = |register: &Register, grown: u64| {
        assert_eq!(register.layout().version.number(), grown);
    };
    expect(&register, 1);
    join(&mut register, "n2", at(0));
    expect(&register, 2);
    register.renew(i(2), at(1)).unwrap();
    expect(&register, 2);
    register.ready(i(2)).unwrap();
    register.ready(i(2)).unwrap();
    expect(&register, 3);
    assert_eq!(
        register
            .propose(register.layout().version, None)
            .map(|v| v.number()),
        Ok(4)
    );
    assert_eq!(
        register
            .propose(register.layout().version, None)
            .map(|v| v.number()),
        Ok(4)
    );
    register.leave(i(2)).unwrap();
    register.leave(i(2)).unwrap();
    expect(&register, 5);
    register.propose(register.layout().version, None).unwrap();
    register.left(i(2), false).unwrap();
    expect(&register, 7);
    assert_eq!(register.expire(at(4_000)), [i(1)]);
    expect(&register, 8);
    assert_eq!(register.expire(at(4_000)), []);
    expect(&register, 8);
}

#[test]
fn a_stale_proposal_does_no_harm() {
    let mut register = two();
    let seen = register.layout().version;
    register.leave(i(1)).unwrap();
    let before = register.clone();
    assert_eq!(
        register.propose(seen, None),
        Err(ProposeRefused::Conflict(before.layout().version))
    );
    assert_eq!(register, before);
}

#[test]
fn exactly_those_whose_lease_ran_out_die() {
    let mut register = two();
    register.renew(i(2), at(1)).unwrap();
    assert_eq!(register.next_expiry(), Some(at(4_000)));
    assert_eq!(register.expire(at(3_999)), []);
    assert_eq!(register.expire(at(4_000)), [i(1)]);
    assert_eq!(
        register.tombstone(i(1)).map(|t| t.death),
        Some(Death::LeaseRanOut)
    );
    assert_eq!(
        register.renew(i(1), at(4_000)),
        Err(NotAMember::Tombstoned(i(1)))
    );
    assert_eq!(
        register.renew(i(3), at(4_000)),
        Err(NotAMember::Unknown(i(3)))
    );
    assert_eq!(
        register.renew(i(0), at(4_000)),
        Err(NotAMember::Unknown(i(0)))
    );
    assert_eq!(register.expire(at(4_001)), [i(2)]);
}

#[test]
fn an_older_receipt_does_not_shorten_a_lease() {
    let mut register = founded();
    register.renew(i(1), at(2_000)).unwrap();
    register.renew(i(1), at(1_000)).unwrap();
    assert_eq!(register.expire(at(5_999)), []);
}

#[test]
fn a_join_at_the_same_address_kills_nobody_and_a_proof_does_at_once() {
    let mut register = two();
    let again = join(&mut register, "n2", at(10));
    assert_eq!(again, i(3));
    assert!(register.layout().is_member(i(2)));
    register.declare_dead(i(2), Proof::BoundAddress).unwrap();
    assert!(!register.layout().is_member(i(2)));
    assert_eq!(
        register.layout().managed_by(i(2)),
        3,
        "until the re-assignment"
    );
    assert!(register.layout().has_orphans());
    assert_eq!(
        register.declare_dead(i(2), Proof::Operator),
        Err(NotAMember::Tombstoned(i(2)))
    );
    let version = register.layout().version;
    register.propose(version, None).unwrap();
    assert_eq!(register.layout().managed_by(i(1)), 6);
    assert_eq!(register.layout().managed_by(i(3)), 0, "it is not ready");
}

#[test]
fn leaving_in_good_order_needs_everything_handed_over() {
    let mut register = two();
    assert_eq!(
        register.left(i(1), false),
        Err(LeftRefused::NotLeaving(i(1)))
    );
    register.leave(i(1)).unwrap();
    assert_eq!(
        register.left(i(1), false),
        Err(LeftRefused::StillManages(3))
    );
    let mut hasty = register.clone();
    hasty.left(i(1), true).unwrap();
    assert_eq!(
        hasty.tombstone(i(1)).map(|t| t.death),
        Some(Death::LeftInHaste)
    );
    register.propose(register.layout().version, None).unwrap();
    register.left(i(1), false).unwrap();
    assert_eq!(register.tombstone(i(1)).map(|t| t.death), Some(Death::Left));
    assert_eq!(register.layout().managed_by(i(2)), 6);
}

#[test]
fn where_everybody_leaves_who_has_nothing_may_go() {
    let mut register = two();
    register.leave(i(1)).unwrap();
    register.leave(i(2)).unwrap();
    let third = join(&mut register, "n3", at(0));
    // It will be ready, and take them.
    assert_eq!(
        register.left(i(1), false),
        Err(LeftRefused::StillManages(3))
    );
    register.leave(third).unwrap();
    register.left(i(1), false).unwrap();
    assert_eq!(register.tombstone(i(1)).map(|t| t.death), Some(Death::Left));
    let mut hasty = register.clone();
    hasty.left(i(2), true).unwrap();
    assert_eq!(
        hasty.tombstone(i(2)).map(|t| t.death),
        Some(Death::LeftInHaste)
    );
    register.left(third, false).unwrap();
    register.left(i(2), false).unwrap();
    assert!(register.layout().members.is_empty());
    assert_eq!(register.check(), Ok(()));
}

#[test]
fn a_new_leader_waits_one_whole_lease_by_its_own_clock() {
    let mut register = two();
    // Its clock may be ahead of the old leader's, or far behind.
    let mut ahead = register.clone();
    ahead.take_over(at(1_000_000));
    assert_eq!(ahead.expire(at(1_003_999)), []);
    assert_eq!(ahead.expire(at(1_004_000)), [i(1), i(2)]);
    register.renew(i(1), at(1_000_000)).unwrap();
    register.take_over(at(5));
    assert_eq!(register.expire(at(4_005)), [i(1), i(2)]);
}

#[test]
fn generations_share_no_incarnation_and_no_version() {
    let first = founded();
    let (second, joined) = Register::found(
        charter(),
        Founding::IN_PROCESS,
        1,
        NodeName::new("n1"),
        "a1".into(),
        at(0),
    );
    assert!(second.layout().version.number() == 1 && second.generation() == 1);
    assert!(second.layout().version > first.layout().version);
    let mut second = second;
    assert_eq!(second.renew(i(1), at(0)), Err(NotAMember::Unknown(i(1))));
    assert_eq!(second.renew(joined.incarnation, at(0)), Ok(L));
}

#[test]
fn tombstones_are_bounded_and_refusals_are_not() {
    let mut register = founded();
    for _ in 0..Register::TOMBSTONES_KEPT + 10 {
        let joined = join(&mut register, "n2", at(0));
        register.declare_dead(joined, Proof::Operator).unwrap();
    }
    assert_eq!(register.tombstones().count(), Register::TOMBSTONES_KEPT);
    assert_eq!(register.tombstone(i(2)), None);
    assert_eq!(
        register.renew(i(2), at(0)),
        Err(NotAMember::Tombstoned(i(2)))
    );
}

fn command() -> impl Strategy<Value = Command> {
    let who = (0u64..9).prop_map(i);
    let join = Just(Command::Join {
        node: NodeName::new("n"),
        address: "a".into(),
        place: None,
    });
    let proof = Proof::Operator;
    let propose = |ago: u64, most_moves| Command::Propose {
        against: LayoutVersion::from_u64(ago),
        most_moves,
    };
    prop_oneof![
        2 => join,
        4 => who.clone().prop_map(Command::Renew),
        2 => who.clone().prop_map(Command::Ready),
        1 => who.clone().prop_map(Command::Leave),
        1 => (who.clone(), any::<bool>()).prop_map(|(incarnation, force)| Command::Left { incarnation, force }),
        1 => (who.clone(), who).prop_map(move |(by, incarnation)| Command::DeclareDead { by, incarnation, proof }),
        2 => Just(Command::Expire),
        4 => (0u64..3, prop::option::of(0u16..3)).prop_map(move |(ago, most)| propose(ago, most)),
        1 => Just(Command::TakeOver),
    ]
}

proptest! {
    #[test]
    fn any_history_keeps_the_invariants_and_replays_to_the_same(
        commands in prop::collection::vec((command(), 0u64..1_500), 1..60),
    ) {
        let mut register = founded();
        let mut now = at(0);
        let mut copy = register.clone();
        let mut given = vec![i(1)];
        for (mut command, passed) in commands {
            now = now + Duration::from_millis(passed);
            if let Command::Propose { against, .. } = &mut command {
                let version = register.layout().version.as_u64();
                *against = LayoutVersion::from_u64(version.saturating_sub(against.as_u64()));
            }
            let before = register.clone();
            let answer = register.apply(command.clone(), now);
            prop_assert_eq!(&copy.apply(command, now), &answer);
            prop_assert_eq!(&copy, &register);
            prop_assert_eq!(register.check(), Ok(()));
            let changed = (register.layout().members != before.layout().members)
                || (register.layout().placements != before.layout().placements);
            if changed {
                prop_assert_eq!(register.layout().check_after(before.layout()), Ok(()));
            } else {
                prop_assert_eq!(register.layout().version, before.layout().version);
            }
            match answer {
                Answer::Joined(joined) => {
                    prop_assert!(given.iter().all(|earlier| *earlier < joined.incarnation));
                    given.push(joined.incarnation);
                }
                Answer::Expired(dead) => {
                    for incarnation in dead {
                        prop_assert!(before.renewed[&incarnation] + L <= now);
                    }
                }
                _ => {}
            }
            let bytes = rmp_serde::to_vec_named(&register).unwrap();
            prop_assert_eq!(&rmp_serde::from_slice::<Register>(&bytes).unwrap(), &register);
        }
    }
}

#[test]
fn who_is_not_ready_is_given_no_buckets() {
    let mut register = founded();
    let second = join(&mut register, "n2", at(0));
    register.propose(register.layout().version, None).unwrap();
    assert_eq!(register.layout().managed_by(second), 0);
    register.ready(second).unwrap();
    register.propose(register.layout().version, None).unwrap();
    assert_eq!(register.layout().managed_by(second), 3);
    register.leave(second).unwrap();
    register.propose(register.layout().version, None).unwrap();
    assert_eq!(register.layout().managed_by(second), 0);
}

const HERE: Place = Place::new(1);

/// n1 and n2 listen at addresses of one place, n3 at one of another, and n4 at a name.
fn in_places() -> Register {
    let mut register = founded();
    let members = [
        ("10.0.0.1:1", Some(HERE)),
        ("10.0.0.1:2", Some(HERE)),
        ("10.0.0.2:1", Some(Place::new(2))),
        ("n4.example:1", Some(HERE)),
    ];
    for (address, place) in members {
        register.join_in(place, NodeName::new("n"), address.into(), at(0));
    }
    register
}

#[test]
fn a_death_is_proven_by_who_can_know_of_it() {
    let register = in_places();
    let [a, b, elsewhere, named] = [2, 3, 4, 5].map(i);
    let may = |by, dead, proof| register.clone().prove_dead(by, dead, proof) == Ok(());
    for by in [a, elsewhere, named] {
        assert!(may(by, b, Proof::Operator));
    }
    assert!(may(a, b, Proof::RefusedHere));
    assert!(!may(elsewhere, b, Proof::RefusedHere), "it cannot know");
    assert!(!may(a, elsewhere, Proof::RefusedHere), "nor here");
    assert!(may(a, elsewhere, Proof::ClosedAndRefused));
    assert!(!may(a, i(1), Proof::RefusedHere), "it listens nowhere");
    for proof in [Proof::RefusedHere, Proof::ClosedAndRefused] {
        assert!(!may(a, named, proof), "a name may lead anywhere");
        assert!(!may(a, a, proof), "who says so runs");
    }
}

#[test]
fn who_has_bound_the_address_of_a_former_one_proves_its_death() {
    let mut register = in_places();
    let again = |register: &mut Register, place| {
        let address = "10.0.0.1:2".to_owned();
        let joined = register.join_in(place, NodeName::new("n"), address, at(0));
        joined.incarnation
    };
    let unplaced = again(&mut register, None);
    let elsewhere = again(&mut register, Some(Place::new(2)));
    let other = i(2);
    let successor = again(&mut register, Some(HERE));
    let proof = Proof::BoundAddress;
    for by in [unplaced, elsewhere, other] {
        let refused = NotDeclared::NoProof { by, proof };
        assert_eq!(register.prove_dead(by, i(3), proof), Err(refused));
    }
    let younger = NotDeclared::NoProof { by: i(3), proof };
    let backwards = register.prove_dead(i(3), successor, proof);
    assert_eq!(backwards, Err(younger));
    register.prove_dead(successor, i(3), proof).unwrap();
    let tombstone = register.tombstone(i(3)).unwrap();
    assert_eq!(tombstone.death, Death::Proven(proof));
    assert_eq!(tombstone.proven_by, Some(successor));
}

#[test]
fn nobody_is_believed_who_is_no_member_and_nobody_dies_who_is_none() {
    let mut register = in_places();
    let before = register.clone();
    let unknown = i(99);
    for proof in [Proof::Operator, Proof::RefusedHere] {
        assert_eq!(
            register.prove_dead(unknown, i(3), proof),
            Err(NotDeclared::ByNobody(unknown))
        );
        assert_eq!(
            register.prove_dead(i(2), unknown, proof),
            Err(NotAMember::Unknown(unknown).into())
        );
    }
    assert_eq!(register, before);
    register.prove_dead(i(2), i(3), Proof::RefusedHere).unwrap();
    let after = register.clone();
    assert_eq!(
        register.prove_dead(i(5), i(3), Proof::Operator),
        Err(NotAMember::Tombstoned(i(3)).into())
    );
    assert_eq!(
        register.prove_dead(i(3), i(2), Proof::Operator),
        Err(NotDeclared::ByNobody(i(3)))
    );
    assert_eq!(register, after);
}

#[test]
fn only_a_death_that_nobody_has_proven_leaves_a_doubt() {
    let mut register = in_places();
    let unproven = |register: &Register| register.layout().unproven;
    register.prove_dead(i(2), i(3), Proof::RefusedHere).unwrap();
    register.left(i(4), true).unwrap();
    assert_eq!(unproven(&register), LayoutVersion::ZERO);
    assert!(!register.expire(at(4_000)).is_empty());
    assert_eq!(unproven(&register), register.layout().version);
    let before = register.layout().clone();
    let joined = join(&mut register, "n6", at(4_000));
    assert!(register.layout().check_after(&before).is_ok());
    register.declare_dead(joined, Proof::Operator).unwrap();
    assert_eq!(unproven(&register), before.version);
}
