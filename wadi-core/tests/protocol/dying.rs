//! Nodes die, in the middle of a rebuild or a hand-over too, and come back with what they had: the
//! newest copy serves, an older one only with an event, and nothing is absent too early.

use wadi_core::authority::{Charter, Proof, Register};
use wadi_core::bucket::{BucketCount, Layout, LayoutVersion};
use wadi_core::clock::Moment;
use wadi_core::member::{Founding, Incarnation, NodeName};
use wadi_core::message::Body;
use wadi_core::protocol::{Event, Found, Loser, Output};

use crate::world::{N1, N2, N3, N4, N5, Node, S, World, secs};

fn one_bucket() -> BucketCount {
    BucketCount::new(1).expect("one is no empty count")
}

#[test]
fn a_held_session_survives_the_death_of_its_manager() {
    let mut world = World::founded(&[N1, N2, N3], &[N3]);
    world.create(N2);
    world.stop(N1);
    world.agree(N3, &[N2]);
    world.pass(secs(1));
    assert_eq!(world.locate(N3), [Found::At(N2)]);
    assert_eq!(world.events(), []);
}

#[test]
fn a_session_that_died_with_its_holder_is_told_as_lost_once() {
    let mut world = World::founded(&[N1, N2, N3], &[]);
    world.create(N2);
    world.stop(N2);
    world.agree(N1, &[]);
    world.pass(secs(29));
    assert_eq!(world.locate(N3), [], "n2 may still come back with it");
    world.pass(secs(2));
    assert_eq!(world.locate(N3), [Found::Absent { lost: true }]);
    assert_eq!(world.events(), [Event::Lost(S)]);
}

#[test]
fn an_older_copy_that_serves_is_an_event_across_a_hand_over_too() {
    let mut world = World::founded(&[N1, N2, N3, N4], &[N4]);
    world.move_from_n2_to_n3_and_leave_a_sealed_copy();
    world.stop(N3);
    world.lose(|_, to, body| to == N1 && matches!(body, Body::Report { .. }));
    world.agree(N1, &[N4]);
    world.deliver();
    // n1 has not decided yet when it hands over.
    world.heal();
    world.agree(N4, &[N1]);
    world.pass(secs(60));
    assert_eq!(world.served(N2), Some(&b"v0"[..]));
    assert_eq!(world.events(), [Event::Stale(S)]);
}

#[test]
fn an_older_offer_waits_for_the_newer_copy() {
    let mut world = World::founded(&[N1, N2, N3], &[]);
    world.move_from_n2_to_n3_and_leave_a_sealed_copy();
    world.heal();
    let (older, newer) = (world.stop(N2), world.stop(N3));
    world.agree(N1, &[]);
    world.start(older.come_back(N4));
    world.agree(N1, &[]);
    world.pass(secs(1));
    assert_eq!(world.serving(), []);
    world.start(newer.come_back(N5));
    world.agree(N1, &[]);
    world.pass(secs(20));
    assert_eq!(world.serving(), [N5]);
    assert_eq!(world.served(N5), Some(&b"v1"[..]));
}

/// n1 manages; n2 has an older copy, n3 holds the session; both n1 and n3 are declared dead.
fn manager_and_holder_are_away() -> (World, Node) {
    let mut world = World::founded(&[N1, N2, N3, N4], &[N4]);
    world.move_from_n2_to_n3_and_leave_a_sealed_copy();
    world.heal();
    world.stop(N1);
    let newer = world.stop(N3);
    (world, newer)
}

#[test]
fn a_rebuild_lets_an_older_copy_wait_for_the_newer() {
    let (mut world, newer) = manager_and_holder_are_away();
    world.agree(N4, &[N2]);
    world.pass(secs(20));
    assert_eq!((world.serving(), world.locate(N2)), (vec![], vec![]));
    world.start(newer.come_back(N5));
    world.agree(N4, &[N2]);
    world.pass(secs(2));
    assert_eq!(world.served(N5), Some(&b"v1"[..]));
    assert!(!world.said(N5, &Output::Event(Event::Dropped(S, Loser::Outdated))));
    assert_eq!(world.sealed(N2), 0);
}

#[test]
fn after_a_rebuild_an_older_copy_serves_when_the_newer_stays_away() {
    let (mut world, _) = manager_and_holder_are_away();
    world.agree(N4, &[N2]);
    world.pass(secs(32));
    assert_eq!(world.served(N2), Some(&b"v0"[..]));
    assert_eq!(world.events(), [Event::Stale(S)]);
}

#[test]
fn after_a_rebuild_an_older_offer_waits_for_the_newer_copy() {
    let (mut world, newer) = manager_and_holder_are_away();
    let older = world.stop(N2);
    world.agree(N4, &[]);
    world.pass(secs(1));
    world.start(older.come_back(N5));
    world.agree(N4, &[]);
    world.pass(secs(5));
    assert_eq!(world.serving(), []);
    let n6 = Incarnation::new(6);
    world.start(newer.come_back(n6));
    world.agree(N4, &[]);
    world.pass(secs(2));
    assert_eq!(world.served(n6), Some(&b"v1"[..]));
}

#[test]
fn an_older_copy_that_dies_while_it_waits_may_come_back_too() {
    let (mut world, _) = manager_and_holder_are_away();
    world.agree(N4, &[N2]);
    world.pass(secs(20));
    let older = world.stop(N2);
    world.agree(N4, &[]);
    world.pass(secs(20));
    assert_eq!(world.locate(N4), [], "n2 may still come back with it");
    world.start(older.come_back(N5));
    world.agree(N4, &[]);
    world.pass(secs(20));
    assert_eq!(world.served(N5), Some(&b"v0"[..]));
}

#[test]
fn an_older_copy_waits_for_its_holder_to_come_back() {
    let mut world = World::founded(&[N1, N2, N3], &[]);
    world.move_from_n2_to_n3_and_leave_a_sealed_copy();
    let newer = world.stop(N3);
    world.agree(N1, &[]);
    world.heal();
    world.pass(secs(20));
    assert_eq!(world.serving(), []);
    world.start(newer.come_back(N4));
    world.agree(N1, &[]);
    world.pass(secs(2));
    assert_eq!(world.served(N4), Some(&b"v1"[..]));
}

#[test]
fn what_was_held_serves_as_soon_as_its_node_is_back() {
    let mut world = World::founded(&[N1, N2, N3], &[N3]);
    world.create(N1);
    let fenced = world.stop(N1);
    world.agree(N3, &[N2]);
    world.pass(secs(1));
    world.start(fenced.come_back(N4));
    world.agree(N3, &[N2]);
    world.pass(secs(1));
    assert_eq!(world.serving(), [N4]);
}

#[test]
fn an_older_offer_serves_when_the_newer_copy_stays_away() {
    let mut world = World::founded(&[N1, N2, N3], &[]);
    world.move_from_n2_to_n3_and_leave_a_sealed_copy();
    world.heal();
    let older = world.stop(N2);
    world.stop(N3);
    world.agree(N1, &[]);
    world.start(older.come_back(N4));
    world.agree(N1, &[]);
    world.pass(secs(60));
    assert_eq!(world.served(N4), Some(&b"v0"[..]));
    assert!(world.events().contains(&Event::Stale(S)));
}

#[test]
fn a_death_late_in_a_rebuild_is_doubted_in_full() {
    let mut world = World::founded(&[N1, N2, N3], &[]);
    world.create(N3);
    world.stop(N1);
    world.lose(|from, _, _| from == N3);
    world.agree(N2, &[]);
    world.pass(secs(31));
    world.stop(N3);
    world.agree(N2, &[]);
    world.deliver();
    assert_eq!(world.locate(N2), [], "n3 may still come back with it");
}

#[test]
fn the_next_generation_says_absent_only_after_a_time() {
    let me = Incarnation::new(LayoutVersion::founding(1).as_u64() + 1);
    let mut world = World::of(&[N1]);
    world.agree(N1, &[]);
    world.create(N1);
    let survivor = world.stop(N1).come_back(me);
    world.start(survivor);
    world.adopt(Layout::found(one_bucket(), 1, me, world.member(me)));
    assert_eq!(world.locate(me), [], "it has the copy itself");
    world.pass(secs(1));
    assert_eq!(world.serving(), [me]);
}

#[test]
fn a_later_generation_is_never_below_an_earlier() {
    let last = LayoutVersion::founding(LayoutVersion::LAST_GENERATION);
    assert!(last > LayoutVersion::founding(LayoutVersion::LAST_GENERATION - 1));
    for above in [LayoutVersion::LAST_GENERATION + 1, u32::MAX] {
        assert_eq!(LayoutVersion::founding(above), last);
    }
}

#[test]
fn a_holder_that_died_before_the_hand_over_leaves_the_older_copy_to_serve() {
    let mut world = World::founded(&[N1, N2, N3, N4], &[N4]);
    world.move_from_n2_to_n3_and_leave_a_sealed_copy();
    world.heal();
    world.stop(N3);
    // n1 learns of the death and of the hand-over at once.
    world.agree(N4, &[N1]);
    world.pass(secs(60));
    assert_eq!(world.serving(), [N2]);
    assert_eq!(world.events(), [Event::Stale(S)]);
}

/// n1 dies, n4 rebuilds: n3, which holds the session, has reported, and n5 is silent.
fn half_rebuilt_at_n4() -> World {
    let mut world = World::founded(&[N1, N2, N3, N4, N5], &[N4]);
    world.move_from_n2_to_n3_and_leave_a_sealed_copy();
    world.stop(N1);
    world.lose(|from, _, _| from == N5);
    world.agree(N4, &[N2]);
    world.deliver();
    assert_eq!(
        world.locate(N4),
        [Found::At(N3)],
        "a held copy serves at once"
    );
    world
}

#[test]
fn a_rebuild_that_the_holders_death_concludes_leaves_the_older_copy_to_serve() {
    let mut world = half_rebuilt_at_n4();
    world.stop(N3);
    world.stop(N5);
    world.agree(N4, &[N2]);
    world.pass(secs(60));
    assert_eq!(world.serving(), [N2]);
}

#[test]
fn a_holder_that_dies_within_a_rebuild_leaves_the_older_copy_to_serve() {
    let mut world = half_rebuilt_at_n4();
    world.stop(N3);
    world.agree(N4, &[N2]);
    world.deliver();
    world.stop(N5);
    world.agree(N4, &[N2]);
    world.pass(secs(60));
    assert_eq!(world.serving(), [N2]);
}

#[test]
fn the_latest_death_is_remembered_however_old_its_incarnation() {
    let charter = Charter {
        buckets: one_bucket(),
        ..Charter::default()
    };
    let name = NodeName::new;
    let now = Moment::ZERO;
    let (mut register, _) = Register::found(
        charter,
        Founding::IN_PROCESS,
        0,
        name("n1"),
        String::new(),
        now,
    );
    let eldest = register.join(name("n2"), String::new(), now).incarnation;
    for _ in 0..Register::TOMBSTONES_KEPT {
        let younger = register.join(name("n3"), String::new(), now).incarnation;
        register.declare_dead(younger, Proof::Operator).unwrap();
    }
    register.declare_dead(eldest, Proof::Operator).unwrap();
    assert!(register.tombstone(eldest).is_some());
}

#[test]
fn a_node_that_starts_empty_offers_nothing() {
    let mut world = World::founded(&[N1], &[]);
    world.start(Node::new(N2).come_back(N3));
    world.agree(N1, &[]);
    world.pass(secs(60));
    assert_eq!((world.copies(), world.events()), (vec![], vec![]));
}

/// n3 was away for so long that an older copy serves; what was written to that is with n2 when the
/// manager dies, too.
#[test]
fn what_was_held_by_who_was_away_for_long_waits_for_what_was_written_since() {
    let mut world = World::of(&[N1, N2, N4]);
    world.start_unleased(Node::new(N3));
    world.lease(N3, secs(4));
    world.agree(N1, &[N4]);
    world.move_from_n2_to_n3_and_leave_a_sealed_copy();
    world.heal();
    let older = world.stop(N3);
    world.agree(N1, &[N4]);
    world.pass(secs(32));
    assert_eq!(world.served(N2), Some(&b"v0"[..]));
    world.commit(N2, b"v2");
    world.lose(|from, _, body| from == N5 && matches!(body, Body::Offer { .. }));
    world.start(older.come_back(N5));
    world.agree(N1, &[N4]);
    world.heal();
    world.stop(N1);
    let newer = world.stop(N2);
    world.agree(N4, &[N5]);
    world.pass(secs(5));
    assert_eq!(
        (world.serving(), world.events()),
        (vec![], vec![Event::Stale(S)])
    );
    let n6 = Incarnation::new(6);
    world.start(newer.come_back(n6));
    world.agree(N4, &[N5]);
    world.pass(secs(20));
    assert_eq!(world.served(n6), Some(&b"v2"[..]));
}

#[test]
fn what_died_with_a_process_that_is_proven_to_have_ended_is_lost_at_once() {
    let mut world = World::founded(&[N1, N2, N3], &[]);
    world.create(N2);
    world.stop_proven(N2);
    world.agree(N1, &[]);
    world.deliver();
    assert_eq!(world.locate(N3), [Found::Absent { lost: true }]);
    world.pass(secs(1));
    assert_eq!(world.events(), [Event::Lost(S)]);
}

#[test]
fn a_bucket_whose_manager_is_proven_dead_has_no_doubt() {
    let mut world = World::founded(&[N1, N2, N3], &[]);
    world.create(N1);
    world.stop_proven(N1);
    world.agree(N2, &[]);
    world.deliver();
    assert_eq!(world.locate(N3), [Found::Absent { lost: true }]);
}

#[test]
fn an_older_copy_waits_for_nobody_who_is_proven_dead() {
    let mut world = World::founded(&[N1, N2, N3, N4], &[N4]);
    world.move_from_n2_to_n3_and_leave_a_sealed_copy();
    world.heal();
    world.stop_proven(N3);
    world.agree(N1, &[N4]);
    world.pass(secs(1));
    assert_eq!(world.served(N2), Some(&b"v0"[..]));
    assert_eq!(world.events(), [Event::Stale(S)]);
}

/// n2 may come back with its session, whoever dies meanwhile and takes with it who had doubts.
#[test]
fn a_proven_death_ends_no_earlier_doubt() {
    let mut world = World::founded(&[N1, N2, N3], &[]);
    world.create(N2);
    let away = world.stop(N2);
    world.agree(N1, &[]);
    world.pass(secs(10));
    world.stop_proven(N1);
    world.agree(N3, &[]);
    world.pass(secs(10));
    assert_eq!(world.locate(N3), [], "n2 may still come back with it");
    world.start(away.come_back(N4));
    world.agree(N3, &[]);
    world.pass(secs(1));
    assert_eq!(world.serving(), [N4]);
}

/// Who joins later knows of the death, and not how long ago it was.
#[test]
fn a_newcomer_doubts_what_was_in_doubt_before_it_came() {
    let mut world = World::founded(&[N1, N2], &[]);
    world.create(N2);
    drop(world.stop(N2));
    world.agree(N1, &[]);
    world.pass(secs(10));
    world.start(Node::new(N3));
    world.agree(N1, &[N3]);
    world.stop_proven(N1);
    world.agree(N3, &[]);
    world.pass(secs(20));
    assert_eq!(world.locate(N3), [], "n2 may still come back with it");
    world.pass(secs(11));
    assert_eq!(world.locate(N3), [Found::Absent { lost: true }]);
}

/// n1 manages, n3 holds the session and dies without proof; 20 s later n5 does, who has nothing to do with it.
fn two_deaths() -> World {
    let mut world = World::founded(&[N1, N2, N3, N4, N5], &[N4]);
    world.create(N3);
    drop(world.stop(N3));
    world.agree(N1, &[N4]);
    world.pass(secs(20));
    drop(world.stop(N5));
    world.agree(N1, &[N4]);
    world.pass(secs(1));
    world
}

#[test]
fn a_missing_session_waits_no_longer_because_its_bucket_changes_hands() {
    let mut world = two_deaths();
    world.agree(N4, &[N1]);
    world.pass(secs(8));
    assert_eq!(world.locate(N2), [], "n3 may still come back with it");
    world.pass(secs(2));
    assert_eq!(world.locate(N2), [Found::Absent { lost: true }]);
    assert_eq!(world.events(), [Event::Lost(S)]);
    world.agree(N1, &[N4]);
    world.pass(secs(1));
    assert_eq!(world.locate(N2), [Found::Absent { lost: true }]);
    assert_eq!(world.events(), [Event::Lost(S)], "it is told once");
}

#[test]
fn a_second_death_adds_its_own_time() {
    let mut world = two_deaths();
    drop(world.stop(N1));
    world.agree(N4, &[N2]);
    world.pass(secs(28));
    assert_eq!(world.locate(N2), [], "n1 may know where it is");
    world.pass(secs(3));
    assert_eq!(world.locate(N2), [Found::Absent { lost: true }]);
}

/// n3 dies without proof, and n2, who holds the session, with one.
fn a_proven_death_in_doubt(older_at_n3: bool) -> (World, Node) {
    let mut world = World::founded(&[N1, N2, N3, N4], &[]);
    let (away, dies) = if older_at_n3 {
        world.move_from_n2_to_n3_and_leave_a_sealed_copy();
        (N2, N3)
    } else {
        world.create(N2);
        (N3, N2)
    };
    let away = world.stop(away);
    world.agree(N1, &[]);
    world.pass(secs(5));
    world.stop_proven(dies);
    world.agree(N1, &[]);
    world.deliver();
    (world, away)
}

#[test]
fn what_died_by_a_proof_waits_for_who_may_come_back_with_an_older_copy() {
    let (mut world, older) = a_proven_death_in_doubt(true);
    assert_eq!(world.locate(N1), []);
    world.pass(secs(10));
    world.start(older.come_back(N5));
    world.agree(N1, &[]);
    world.pass(secs(20));
    assert_eq!(world.serving(), [N5]);
    assert_eq!(world.events(), [Event::Stale(S)]);
}

#[test]
fn what_died_by_a_proof_waits_no_longer_than_others_are_waited_for() {
    let (mut world, _) = a_proven_death_in_doubt(false);
    assert_eq!(world.locate(N1), []);
    world.pass(secs(24));
    assert_eq!(world.locate(N1), []);
    world.pass(secs(2));
    assert_eq!(world.locate(N1), [Found::Absent { lost: true }]);
}

/// Several founded the cluster, and do not know what was before: that is no doubt about what they hold.
#[test]
fn in_a_young_cluster_too_what_died_by_a_proof_is_lost_at_once() {
    let mut world = World::of(&[N1, N2, N3]);
    world.found_in_doubt();
    world.create(N2);
    world.stop_proven(N2);
    world.agree(N1, &[]);
    world.deliver();
    assert_eq!(world.locate(N1), [Found::Absent { lost: true }]);
    world.pass(secs(1));
    assert_eq!(world.events(), [Event::Lost(S)]);
}

#[test]
fn a_copy_that_left_in_good_order_makes_nobody_wait_longer() {
    let mut world = World::founded(&[N1, N2, N3, N4], &[]);
    world.move_from_n2_to_n3_and_leave_a_sealed_copy();
    drop(world.stop(N3));
    world.agree(N1, &[]);
    world.pass(secs(10));
    drop(world.stop(N4));
    world.agree(N1, &[]);
    world.pass(secs(10));
    world.stop_proven(N2);
    world.agree(N1, &[]);
    world.pass(secs(21));
    assert_eq!(world.locate(N1), [Found::Absent { lost: true }]);
}

/// How long ago somebody died, who has just come is told by who was there.
#[test]
fn a_newcomer_doubts_no_longer_than_who_was_there() {
    let mut world = World::founded(&[N1, N2, N4], &[]);
    world.create(N2);
    drop(world.stop(N2));
    world.agree(N1, &[]);
    world.pass(secs(25));
    world.start(Node::new(N3));
    world.agree(N1, &[N3]);
    world.stop_proven(N1);
    world.agree(N3, &[]);
    world.pass(secs(4));
    assert_eq!(world.locate(N4), [], "n2 may still come back with it");
    world.pass(secs(2));
    assert_eq!(world.locate(N4), [Found::Absent { lost: true }]);
}
