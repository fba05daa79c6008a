//! Copies that serve nobody, and the policy that chooses among them: each loser is an event, told once, and
//! what nobody takes is lost and says so.

use std::sync::{Arc, Mutex};

use wadi_core::member::Incarnation;
use wadi_core::message::Body;
use wadi_core::protocol::{Event, Found, Loser, Output};
use wadi_core::stale::{Source, StaleCopy, StalePolicy, TakeLatest, TakeNothingBack};

use crate::world::{N1, N2, N3, N4, N5, Node, S, World, secs};

/// Takes the earliest, or nothing, and notes what it was asked about.
#[derive(Clone, Debug, Default)]
struct Noting {
    takes_none: bool,
    seen: Arc<Mutex<Vec<Vec<StaleCopy>>>>,
}

impl StalePolicy for Noting {
    fn choose(&self, copies: &[StaleCopy]) -> Option<usize> {
        let mut seen = self.seen.lock().expect("nobody panicked with it");
        seen.push(copies.to_vec());
        let places = 0..copies.len();
        let earliest = places.min_by_key(|place| copies[*place].tenure);
        earliest.filter(|_| !self.takes_none)
    }
}

fn told(world: &World, who: Incarnation, event: Event) -> bool {
    world.said(who, &Output::Event(event))
}

#[test]
fn what_was_held_and_comes_back_in_time_is_no_event() {
    let mut world = World::founded(&[N1, N2, N3], &[]);
    world.create(N2);
    let held = world.stop(N2);
    world.agree(N1, &[]);
    world.pass(secs(5));
    world.start(held.come_back(N4));
    world.agree(N1, &[]);
    world.pass(secs(1));
    assert_eq!(world.serving(), [N4]);
    assert_eq!(world.events(), [], "it is the newest for certain");
}

#[test]
fn a_copy_that_loses_is_told_once_by_who_had_it() {
    let mut world = World::founded(&[N1, N2, N3], &[]);
    world.move_from_n2_to_n3_and_leave_a_sealed_copy();
    world.heal();
    let older = world.stop(N2);
    world.agree(N1, &[]);
    world.lose(|from, _, body| from == N4 && matches!(body, Body::Dropped { .. }));
    world.start(older.come_back(N4));
    world.agree(N1, &[]);
    world.pass(secs(3));
    world.heal();
    world.pass(secs(3));
    assert_eq!(world.serving(), [N3]);
    assert_eq!(world.events(), [Event::Dropped(S, Loser::Outdated)]);
    assert!(told(&world, N4, Event::Dropped(S, Loser::Outdated)));
}

#[test]
fn a_copy_of_a_session_that_ended_meanwhile_is_told() {
    let mut world = World::founded(&[N1, N2, N3], &[]);
    world.move_from_n2_to_n3_and_leave_a_sealed_copy();
    world.heal();
    let older = world.stop(N2);
    world.agree(N1, &[]);
    world.end(N3);
    world.pass(secs(1));
    world.start(older.come_back(N4));
    world.agree(N1, &[]);
    world.pass(secs(1));
    assert_eq!(world.events(), [Event::Dropped(S, Loser::Ended)]);
    assert_eq!(world.sealed(N4), 0);
}

/// n2 held the session, was declared dead, and comes back as n4.
fn comes_back(mut world: World) -> World {
    world.create(N2);
    let held = world.stop(N2);
    world.agree(N1, &[]);
    world.pass(secs(2));
    world.start(held.come_back(N4));
    world.agree(N1, &[]);
    world.pass(secs(2));
    world
}

#[test]
fn where_nothing_is_taken_back_a_session_is_lost_at_once_and_its_copy_dropped() {
    let mut world = comes_back(World::choosing(&[N1, N2, N3], TakeNothingBack));
    assert_eq!((world.serving(), world.sealed(N4)), (vec![], 0));
    assert_eq!(
        world.events(),
        [Event::Lost(S), Event::Dropped(S, Loser::Refused)]
    );
    assert_eq!(world.locate(N3), [Found::Absent { lost: true }]);
    world.pass(secs(60));
    assert_eq!(world.events().len(), 2);
    assert!(world.participant(N4).is_settled());
}

#[test]
fn where_nothing_is_taken_back_a_move_that_came_to_nothing_is() {
    let mut world = World::choosing(&[N1, N2, N3], TakeNothingBack);
    world.create(N2);
    world.lose(|_, to, body| to == N3 && matches!(body, Body::State { .. }));
    world.ask(N3);
    assert_eq!(world.serving(), []);
    drop(world.stop(N3));
    world.heal();
    world.agree(N1, &[]);
    world.pass(secs(1));
    assert_eq!((world.serving(), world.events()), (vec![N2], vec![]));
}

#[test]
fn a_policy_of_ones_own_sees_what_is_known_and_chooses() {
    let policy = Noting::default();
    let mut world = World::choosing(&[N1, N2, N3, N4], policy.clone());
    world.move_from_n2_to_n3_and_leave_a_sealed_copy();
    world.heal();
    let (older, newer) = (world.stop(N2), world.stop(N3));
    world.agree(N1, &[]);
    world.start(older.come_back(N5));
    let n6 = Incarnation::new(6);
    world.lose(move |from, _, body| from == n6 && matches!(body, Body::Offer { .. }));
    world.agree(N1, &[]);
    world.pass(secs(20));
    world.start(newer.come_back(n6));
    world.agree(N1, &[]);
    world.pass(secs(20));
    assert_eq!(world.served(N5), Some(&b"v0"[..]), "it takes the earliest");
    let seen = policy.seen.lock().unwrap().clone();
    let [both] = &seen[..] else {
        panic!("it is asked once: {seen:?}");
    };
    assert_eq!(both.len(), 2);
    let newest = TakeLatest.choose(both).unwrap();
    let (newest, oldest) = (both[newest], both[1 - newest]);
    assert!(newest.tenure > oldest.tenure && newest.revision > oldest.revision);
    assert!(newest.is_latest && !oldest.is_latest);
    assert!(both.iter().all(|copy| copy.source == Source::Returned));
    assert!(both.iter().all(|copy| copy.away_for.is_some()));
    assert_eq!(
        world.events(),
        [Event::Stale(S), Event::Dropped(S, Loser::Outdated)]
    );
}

#[test]
fn what_a_policy_takes_none_of_is_lost_and_goes_however_often_that_must_be_said() {
    let policy = Noting {
        takes_none: true,
        ..Noting::default()
    };
    let mut world = World::choosing(&[N1, N2, N3, N4], policy);
    world.move_from_n2_to_n3_and_leave_a_sealed_copy();
    world.lose(|_, to, body| to == N2 && matches!(body, Body::Refuse { .. }));
    world.stop_proven(N3);
    world.agree(N1, &[]);
    world.pass(secs(1));
    assert_eq!(world.events(), [Event::Lost(S)]);
    assert_eq!(world.locate(N4), [Found::Absent { lost: true }]);
    assert_eq!(world.sealed(N2), 1);
    world.heal();
    world.pass(secs(2));
    assert_eq!(world.sealed(N2), 0);
    assert_eq!(
        world.events(),
        [Event::Lost(S), Event::Dropped(S, Loser::Refused)]
    );
    let node = Node::new(N5);
    world.start(node);
    world.agree(N1, &[]);
    assert_eq!(world.locate(N5), [Found::Absent { lost: true }]);
}
