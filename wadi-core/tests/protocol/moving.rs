//! A session moves from node to node, and one owner serves it at any time: with seals that come
//! late, links that are cut and members that leave.

use wadi_core::message::Body;
use wadi_core::protocol::{Found, Input, Output};

use crate::world::{BUCKET, N1, N2, N3, N4, Node, S, World, secs};

#[test]
fn a_session_moves_to_who_asks() {
    let mut world = World::founded(&[N1, N2, N3], &[]);
    world.create(N2);
    assert_eq!(world.locate(N3), [Found::At(N2)]);
    world.commit(N2, b"v1");
    world.ask(N3);
    assert_eq!(world.serving(), [N3]);
    assert_eq!(world.served(N3), Some(&b"v1"[..]));
    world.pass(secs(1));
    assert_eq!(world.sealed(N2), 0);
    world.ask(N1);
    assert_eq!(world.serving(), [N1]);
    world.pass(secs(1));
    assert!(world.participant(N1).is_settled());
    assert_eq!(world.participant(N1).displaced(), 0, "it is at home");
}

#[test]
fn an_arrival_is_not_served_before_the_manager_confirms_it() {
    let mut world = World::founded(&[N1, N2, N3], &[]);
    world.create(N2);
    world.lose(|from, _, body| from == N3 && matches!(body, Body::Arrived { .. }));
    world.ask(N3);
    assert!(world.has(N3));
    assert_eq!(world.serving(), []);
    assert_eq!(world.sealed(N2), 1);
    world.heal();
    world.pass(secs(1));
    assert_eq!(world.serving(), [N3]);
}

#[test]
fn who_asks_while_a_session_is_on_its_way_hears_where_it_has_come_to() {
    let mut world = World::founded(&[N1, N2, N3, N4], &[]);
    world.create(N2);
    world.lose(|_, _, body| matches!(body, Body::State { .. }));
    world.ask(N3);
    assert_eq!(world.locate(N4), []);
    // It does not ask again.
    world.lose(|from, _, body| from == N4 && matches!(body, Body::Find { .. }));
    world.pass(secs(1));
    assert_eq!(world.found(N4), [Found::At(N3)]);
}

/// A session comes back to its manager in the very step in which who asked for it is answered.
#[test]
fn who_asks_while_a_session_comes_home_hears_that_it_is_there() {
    let mut world = World::founded(&[N1, N2, N3, N4], &[]);
    world.create(N1);
    world.lose(|_, _, body| matches!(body, Body::State { .. }));
    world.ask(N3);
    assert_eq!(world.sealed(N1), 1);
    assert_eq!(world.locate(N4), []);
    // It does not ask again.
    world.lose(|from, _, body| from == N4 && matches!(body, Body::Find { .. }));
    world.stop_proven(N3);
    world.agree(N1, &[]);
    world.pass(secs(1));
    assert_eq!(world.serving(), [N1]);
    assert_eq!(world.found(N4), [Found::At(N1)]);
}

#[test]
fn a_leaving_member_hands_its_session_on() {
    let mut world = World::founded(&[N1, N2, N3], &[]);
    world.create(N1);
    world.commit(N1, b"v1");
    world.leave(N1);
    world.agree(N2, &[]);
    world.give(N1, Input::Evacuate);
    world.pass(secs(2));
    assert_eq!(world.serving(), [N2]);
    assert!(world.said(N1, &Output::Evacuated));
    world.stop(N1);
    world.agree(N2, &[]);
    world.pass(secs(60));
    assert_eq!(world.served(N2), Some(&b"v1"[..]));
    assert_eq!(world.events(), []);
}

/// Nobody can be given its bucket: it closes it, and says that nothing is left only at the next look.
#[test]
fn where_everybody_leaves_who_has_nothing_is_done() {
    let mut world = World::founded(&[N1, N2], &[]);
    world.leave(N1);
    world.give(N1, Input::Evacuate);
    world.pass(secs(2));
    assert!(!world.said(N1, &Output::Evacuated), "n2 will take it");
    world.leave(N2);
    world.agree(N1, &[]);
    let is_closed = |world: &World| {
        let mut log = world.log().iter();
        log.any(|(who, output)| *who == N1 && matches!(output, Output::Close(_)))
    };
    assert!(is_closed(&world) && !world.said(N1, &Output::Evacuated));
    world.pass(secs(2));
    assert!(world.said(N1, &Output::Evacuated));
}

#[test]
fn where_everybody_leaves_who_knows_of_sessions_elsewhere_stays() {
    let mut world = World::founded(&[N1, N2], &[]);
    world.create(N2);
    world.leave(N1);
    world.leave(N2);
    world.agree(N1, &[]);
    world.give(N1, Input::Evacuate);
    world.pass(secs(5));
    assert_eq!(world.serving(), [N2]);
    assert!(!world.said(N1, &Output::Evacuated));
}

/// A new manager that learns of its bucket before the previous one does has the directory as soon as that
/// one learns of it, too, and no wait is slept to its end first.
#[test]
fn a_directory_that_is_asked_for_too_early_is_given_when_its_time_has_come() {
    for newcomer in [false, true] {
        let mut world = World::founded(&[N1, N3], &[]);
        world.create(N3);
        world.late(N1);
        if !newcomer {
            world.start(Node::new(N2));
            world.agree(N1, &[]);
        } else {
            // n1 hears of it only by the layout that gives it the bucket.
            world.start(Node::new(N4));
        }
        let to = if newcomer { N4 } else { N2 };
        world.agree(to, &[]);
        world.deliver();
        let opened = Output::Open(BUCKET, world.epoch());
        assert!(world.said(to, &opened));
        world.ask(N1);
        assert_eq!(world.serving(), [N1]);
    }
}

#[test]
fn a_copy_sealed_for_the_incarnation_before_is_offered_and_not_held() {
    let mut world = World::founded(&[N1, N2, N3], &[]);
    world.create(N2);
    world.let_seals_wait(N2, true);
    world.ask(N3);
    let mut fenced = world.stop(N2);
    let copy = fenced.take_out();
    world.agree(N1, &[]);
    world.start(fenced.come_back(N4));
    world.agree(N1, &[]);
    world.deliver();
    world.give(N4, copy.sealed(S));
    assert!(!world.has(N4));
    assert_eq!(world.sealed(N4), 1);
    world.pass(secs(60));
    assert_eq!(world.serving().len(), 1, "it was offered and adopted");
}

#[test]
fn a_copy_that_is_being_sealed_is_not_taken_for_missing() {
    let mut world = World::founded(&[N1, N2, N3, N4], &[]);
    world.move_from_n2_to_n3_and_leave_a_sealed_copy();
    world.let_seals_wait(N3, true);
    world.ask(N4);
    let copy = world.node(N3).take_out();
    world.stop(N4);
    world.agree(N1, &[]);
    world.deliver();
    world.give(N3, copy.sealed(S));
    assert!(world.serving().len() <= 1, "{:?}", world.serving());
    world.heal();
    world.let_seals_wait(N3, false);
    world.pass(secs(60));
    assert_eq!(world.serving(), [N3]);
    assert_eq!(world.served(N3), Some(&b"v1"[..]));
}

#[test]
fn a_cut_link_between_two_holders_keeps_a_session_from_nobody_else() {
    let mut world = World::founded(&[N1, N2, N3, N4], &[]);
    world.create(N2);
    world.lose(|from, to, _| from == N2 && to == N3);
    world.ask(N3);
    world.pass(secs(600));
    world.locate(N4);
    world.pass(secs(3));
    assert_eq!(world.found(N4), [Found::At(N2)]);
    assert_eq!(world.serving(), [N2]);
}

#[test]
fn an_arrival_that_a_release_confirms_supersedes_the_older_sealed_copy() {
    let mut world = World::founded(&[N1, N2, N3], &[]);
    world.move_from_n2_to_n3_and_leave_a_sealed_copy();
    world
        .lose(|_, to, body| to == N2 && matches!(body, Body::Drop { .. } | Body::Confirmed { .. }));
    world.ask(N2);
    world.let_seals_wait(N2, true);
    world.ask(N3);
    world.give(N2, Input::Busy(S));
    world.deliver();
    world.heal();
    world.pass(secs(600));
    assert_eq!(world.serving(), [N2]);
    assert_eq!(world.sealed(N2), 0);
}
