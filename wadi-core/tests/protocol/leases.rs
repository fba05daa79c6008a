//! Without a valid lease nothing is confirmed, sent away or ended; what came in the meantime is done
//! under this incarnation's next lease or never.

use wadi_core::member::Incarnation;
use wadi_core::message::Body;
use wadi_core::protocol::{Found, Output};

use crate::world::{N1, N2, N3, N4, Node, S, World, secs};

/// n1 manages; `leased` has three seconds, the others endless leases.
fn with_a_short_lease(leased: Incarnation, members: &[Incarnation]) -> World {
    let mut world = World::of(&[]);
    for &me in members {
        if me == leased {
            world.start_unleased(Node::new(me));
            world.lease(me, secs(3));
        } else {
            world.start(Node::new(me));
        }
    }
    world.agree(N1, &[]);
    world
}

#[test]
fn a_manager_without_a_lease_confirms_no_arrival() {
    let mut world = with_a_short_lease(N1, &[N1, N2, N3, N4]);
    world.create(N2);
    world.lose(|from, _, body| {
        (from == N3 && matches!(body, Body::Arrived { .. }))
            || (from == N4 && matches!(body, Body::Report { .. }))
    });
    world.ask(N3);
    world.stop(N2);
    // It asks everybody, and n4 is silent.
    world.agree(N1, &[]);
    world.deliver();
    world.sleep(secs(9));
    let before = world.log().len();
    world.stop(N4);
    world.agree(N1, &[]);
    let confirms = |(who, said): &(_, Output)| {
        *who == N1
            && matches!(said, Output::Send { message, .. } if matches!(message.body, Body::Confirmed { .. }))
    };
    assert!(!world.log()[before..].iter().any(confirms));
    world.heal();
    world.pass(secs(2));
    assert_eq!(world.serving(), []);

    world.lease(N1, secs(60));
    world.pass(secs(2));
    assert_eq!(world.serving(), [N3], "the layout has waited for the lease");
}

#[test]
fn a_holder_without_a_lease_keeps_what_it_sealed() {
    let mut world = with_a_short_lease(N2, &[N1, N2, N3]);
    world.create(N2);
    world.let_seals_wait(N2, true);
    world.ask(N3);
    world.sleep(secs(5));
    let copy = world.node(N2).take_out();
    world.give(N2, copy.sealed(S));
    assert!(world.has(N2));
    assert_eq!(world.sealed(N2), 0);
    world.deliver();
    assert!(!world.has(N3));
}

#[test]
fn a_receiver_without_a_lease_installs_nothing() {
    let mut world = with_a_short_lease(N3, &[N1, N2, N3]);
    world.create(N2);
    world.let_seals_wait(N2, true);
    world.ask(N3);
    world.sleep(secs(5));
    let copy = world.node(N2).take_out();
    world.give(N2, copy.sealed(S));
    world.deliver();
    assert!(!world.has(N3));
}

#[test]
fn an_end_without_a_lease_ends_nothing_elsewhere() {
    let mut world = with_a_short_lease(N3, &[N1, N2, N3]);
    world.move_from_n2_to_n3_and_leave_a_sealed_copy();
    world.sleep(secs(5));
    let fenced = world.stop(N3);
    world.heal();
    world.agree(N1, &[]);
    world.pass(secs(32));
    world.commit(N2, b"v2");

    // n3's sweeper ends its copy before it learns that it was fenced.
    let node = world.start_unleased(fenced);
    world.end(node);
    let fenced = world.stop(node);
    world.lose_what_is_under_way();
    world.start(fenced.come_back(N4));
    world.agree(N1, &[]);
    world.pass(secs(5));
    assert_eq!(world.served(N2), Some(&b"v2"[..]));
}

#[test]
fn an_end_without_a_lease_counts_under_the_next_one() {
    let mut world = with_a_short_lease(N2, &[N1, N2, N3]);
    world.create(N2);
    world.sleep(secs(5));
    world.end(N2);
    world.pass(secs(5));
    assert!(!world.said(N2, &Output::Ended(S)));
    world.lease(N2, secs(60));
    world.pass(secs(2));
    assert!(world.said(N2, &Output::Ended(S)));
    assert_eq!(world.locate(N1), [Found::Absent { lost: false }]);
}

#[test]
fn a_copy_sealed_for_the_incarnation_before_is_offered_also_before_a_layout_is_known() {
    let mut world = World::founded(&[N1, N2, N3], &[]);
    world.create(N2);
    world.let_seals_wait(N2, true);
    world.ask(N3);
    let mut fenced = world.stop(N2);
    let copy = fenced.take_out();
    world.agree(N1, &[]);
    world.start(fenced.come_back(N4));
    world.give(N4, copy.sealed(S));
    world.agree(N1, &[]);
    world.pass(secs(60));
    assert_eq!(world.serving().len(), 1);
}

#[test]
fn a_copy_sealed_for_the_incarnation_before_is_not_held_without_a_lease() {
    let mut world = World::founded(&[N1, N2, N3], &[]);
    world.create(N2);
    world.let_seals_wait(N2, true);
    world.ask(N3);
    let mut fenced = world.stop(N2);
    let copy = fenced.take_out();
    world.agree(N1, &[]);
    let n4 = world.start_unleased(fenced.come_back(N4));
    world.lease(n4, secs(4));
    world.agree(N1, &[]);
    world.deliver();
    world.sleep(secs(5));
    world.give(N4, copy.sealed(S));
    assert!(!world.has(N4));
}
