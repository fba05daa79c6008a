//! Every question has an outcome in time, whatever is missing: a layout, a lease, an answer. What
//! was given up leaves nothing behind.

use std::time::Duration;

use wadi_core::message::{Body, Want};
use wadi_core::protocol::{Found, Input, Output};

use crate::world::{N1, N2, Node, S, World, secs, stranger};

#[test]
fn a_question_before_the_first_layout_is_answered_at_once() {
    let mut world = World::of(&[N1]);
    assert_eq!(world.locate(N1), [Found::Unavailable]);
    world.create(N1);
    assert_eq!(world.found(N1), [Found::Unavailable; 2]);
    assert!(!world.has(N1));
}

#[test]
fn a_question_without_a_lease_is_given_up_in_time() {
    let mut world = World::of(&[N2]);
    world.start_unleased(Node::new(N1));
    world.agree(N2, &[]);
    world.ask(N1);
    world.pass(secs(3));
    assert_eq!(world.found(N1), [Found::Unavailable]);
}

#[test]
fn a_question_asked_as_the_lease_runs_out_is_given_up_in_time() {
    let mut world = World::of(&[N2]);
    world.start_unleased(Node::new(N1));
    world.lease(N1, secs(1));
    world.agree(N2, &[]);
    world.lose(|_, _, _| true);
    world.ask(N1);
    world.pass(secs(4));
    assert_eq!(world.found(N1), [Found::Unavailable]);
}

#[test]
fn who_joins_a_question_does_not_lengthen_it() {
    let mut world = World::founded(&[N1, N2], &[]);
    world.lose(|_, _, _| true);
    for _ in 0..4 {
        world.ask(N2);
        world.pass(secs(1));
    }
    assert_eq!(world.found(N2).first(), Some(&Found::Unavailable));
}

#[test]
fn a_lost_question_is_asked_again() {
    let mut world = World::founded(&[N1, N2], &[]);
    world.create(N1);
    world.lose(|_, _, body| matches!(body, Body::Find { .. }));
    world.ask(N2);
    assert_eq!(world.found(N2), []);
    world.heal();
    world.pass(secs(1));
    assert_eq!(world.found(N2), [Found::Here]);
    assert_eq!(world.serving(), [N2]);
}

#[test]
fn who_can_answer_before_the_time_is_up_does() {
    for asks in [
        |world: &mut World| world.give(N2, Input::Register(stranger(1))),
        |world: &mut World| world.ask(N2),
    ] {
        let mut world = World::founded(&[N1, N2], &[]);
        world.create(N1);
        world.lose(|_, _, _| true);
        asks(&mut world);
        world.pass(Duration::from_millis(1600));
        assert_eq!(world.found(N2), []);
        world.heal();
        world.pass(secs(1));
        let found = world.found(N2);
        assert!(
            !found.is_empty() && !found.contains(&Found::Unavailable),
            "{found:?}"
        );
    }
}

#[test]
fn given_up_registrations_leave_nothing_behind() {
    let mut world = World::founded(&[N1, N2], &[]);
    world.lose(|from, to, _| from == N1 && to == N2);
    for number in 0..500 {
        world.give(N2, Input::Register(stranger(number)));
    }
    world.pass(secs(60));
    assert_eq!(world.found(N2), vec![Found::Unavailable; 500]);
    world.heal();
    world.pass(secs(60));
    assert_eq!((world.copies(), world.markers()), (vec![], 0));
    assert_eq!(world.participant(N1).displaced(), 0);
}

#[test]
fn two_who_want_the_session_at_once_both_hear() {
    let mut world = World::founded(&[N1, N2], &[]);
    world.create(N1);
    let want = Want::Move;
    world.give(N2, Input::Find { id: S, want });
    world.give(N2, Input::Find { id: S, want });
    world.pass(secs(3));
    assert!(world.said(
        N2,
        &Output::Found {
            id: S,
            found: Found::Here
        }
    ));
    assert_eq!(world.serving(), [N2]);
}
