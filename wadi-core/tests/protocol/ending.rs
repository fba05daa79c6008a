//! What has ended stays away: markers reach everybody who may have an older copy before the end is
//! answered, and are forgotten in their time.

use wadi_core::member::Incarnation;
use wadi_core::message::Body;
use wadi_core::protocol::{Event, Found, Output};

use crate::world::{N1, N2, N3, N4, N5, S, World, hours, secs};

#[test]
fn an_end_is_answered_once_the_deputy_keeps_a_marker() {
    let mut world = World::founded(&[N1, N2, N3], &[N3]);
    world.create(N2);
    world.lose(|_, to, body| to == N3 && matches!(body, Body::Mark { .. }));
    world.end(N2);
    world.pass(secs(10));
    assert!(!world.said(N2, &Output::Ended(S)));
    world.heal();
    world.pass(secs(2));
    assert!(world.said(N2, &Output::Ended(S)));
    assert!(world.participant(N3).keeps_marker(&S));
}

#[test]
fn an_ended_session_is_absent_and_not_lost() {
    let mut world = World::founded(&[N1, N2, N3], &[]);
    world.create(N2);
    world.end(N2);
    world.deliver();
    assert_eq!(world.locate(N3), [Found::Absent { lost: false }]);
}

#[test]
fn an_end_under_way_is_handed_over_with_its_bucket() {
    let mut world = World::founded(&[N1, N2, N3, N4], &[N4]);
    world.move_from_n2_to_n3_and_leave_a_sealed_copy();
    world.lose(|_, to, body| to == N2 && matches!(body, Body::Drop { .. } | Body::Mark { .. }));
    world.end(N3);
    world.deliver();
    world.heal();
    world.agree(N4, &[N1]);
    world.pass(secs(60));
    assert!(world.said(N3, &Output::Ended(S)));
    assert_eq!(world.sealed(N2), 0, "the former holder drops its copy");

    // All markers are forgotten, and a death makes everybody be asked.
    world.pass(hours(2) + secs(60));
    world.stop(N4);
    world.agree(N1, &[N3]);
    world.pass(secs(60));
    assert!(!world.has(N2), "what has ended does not come back");
}

#[test]
fn an_end_under_way_is_handed_over_to_the_former_holder_itself() {
    let mut world = World::founded(&[N1, N2, N3], &[N3]);
    world.move_from_n2_to_n3_and_leave_a_sealed_copy();
    world.lose(|_, to, body| to == N2 && matches!(body, Body::Drop { .. } | Body::Mark { .. }));
    world.end(N3);
    world.deliver();
    world.heal();
    world.agree(N2, &[N3]);
    world.pass(secs(60));
    assert_eq!(world.sealed(N2), 0);
}

/// n1 dies as the manager; n4 rebuilds and has no report of n2, which has a sealed copy; n3 ends the
/// session.
fn end_while_n4_rebuilds() -> World {
    let mut world = World::founded(&[N1, N2, N3, N4], &[N4]);
    world.move_from_n2_to_n3_and_leave_a_sealed_copy();
    world.stop(N1);
    world.lose(|from, _, body| from == N2 && matches!(body, Body::Report { .. }));
    world.agree(N4, &[N3]);
    world.deliver();
    world.end(N3);
    world
}

#[test]
fn an_end_during_a_rebuild_is_answered_when_nobody_has_a_copy() {
    let mut world = end_while_n4_rebuilds();
    world.lose(|from, to, body| {
        (from == N2 && matches!(body, Body::Report { .. }))
            || (to == N2 && matches!(body, Body::Mark { .. }))
    });
    world.pass(secs(10));
    assert!(!world.said(N3, &Output::Ended(S)), "n2 still has a copy");
    world.heal();
    world.pass(secs(60));
    assert!(world.said(N3, &Output::Ended(S)));
    assert_eq!(
        (world.sealed(N2), world.participant(N4).displaced()),
        (0, 0)
    );
}

#[test]
fn a_session_that_ended_during_a_rebuild_is_not_lost_with_its_holder() {
    let mut world = end_while_n4_rebuilds();
    world.deliver();
    world.heal();
    world.pass(secs(60));
    world.stop(N3);
    world.agree(N4, &[N2]);
    world.pass(secs(60));
    assert_eq!(world.events(), []);
}

#[test]
fn a_session_that_ended_during_a_rebuild_stays_away_when_its_holder_dies_too() {
    let mut world = end_while_n4_rebuilds();
    world.deliver();
    world.stop(N3);
    world.heal();
    world.agree(N4, &[N2]);
    world.pass(secs(60));
    assert!(!world.has(N2));
    assert!(!world.events().contains(&Event::Stale(S)));
    assert_eq!(world.sealed(N2), 0);
}

#[test]
fn markers_are_forgotten_in_time_however_often_the_bucket_moves() {
    let mut world = World::founded(&[N1, N2], &[]);
    world.create(N2);
    world.end(N2);
    world.pass(secs(1));
    assert_eq!(world.markers(), 2);
    for manager in [N2, N1, N2, N1, N2, N1, N2, N1] {
        world.pass(hours(1) + secs(1800));
        world.agree(manager, &[]);
        world.pass(secs(10));
    }
    assert_eq!(world.markers(), 0);
}

/// n2's copy is out of its map, and not given back as sealed, when the session ends elsewhere.
fn ended_while_n2_seals() -> World {
    let mut world = World::founded(&[N1, N2, N3, N4], &[]);
    world.create(N2);
    world.let_seals_wait(N2, true);
    world.ask(N3);
    let copy = world.node(N2).take_out();
    let end = Body::End {
        id: S,
        tenure: copy.tenure,
        keep_for: hours(2),
    };
    world.tell(N4, N1, end);
    world.deliver();
    assert!(world.participant(N2).keeps_marker(&S));
    world.give(N2, copy.sealed(S));
    world
}

#[test]
fn a_marker_that_comes_while_a_copy_is_sealed_ends_that_copy_too() {
    let mut world = ended_while_n2_seals();
    world.pass(secs(600));
    assert_eq!(world.serving(), []);
    assert_eq!(world.sealed(N2), 0);
}

#[test]
fn what_ended_while_it_was_sealed_does_not_come_back_after_its_markers() {
    let mut world = ended_while_n2_seals();
    world.pass(hours(3));
    world.stop(N1);
    world.agree(N3, &[]);
    world.pass(secs(100));
    assert_eq!(world.serving(), []);
}

#[test]
fn markers_are_forgotten_in_time_however_often_managers_come_back() {
    let mut world = World::founded(&[N1, N2], &[N2]);
    world.create(N2);
    world.end(N2);
    world.pass(secs(1));
    let (mut manager, mut other) = (N1, N2);
    for again in 10..26 {
        world.pass(hours(1) + secs(1800));
        let fenced = world.stop(manager);
        world.agree(other, &[]);
        let new = Incarnation::new(again);
        world.start(fenced.come_back(new));
        world.agree(other, &[new]);
        world.pass(secs(10));
        (manager, other) = (other, new);
    }
    assert_eq!(world.markers(), 0);
}

/// What becomes of the manager of a session that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manager {
    Stays,
    /// Its bucket goes to its deputy, and comes back.
    HandsOver,
    /// Its process ends, and its deputy rebuilds the bucket.
    Dies,
    /// It is fenced, and comes back as somebody new who gets the bucket again.
    ComesBack,
}

/// n2 and n3 are declared dead with a copy each, the older one and the newer one; the session goes on at n4, and
/// ends there. They come back with what they have before or after something becomes of the manager.
fn come_back_after_the_end(manager: Manager, before: bool, order: [usize; 2]) {
    let what = format!("{manager:?}, before: {before}, {order:?}");
    let mut world = World::founded(&[N1, N2, N3, N4, N5], &[N5]);
    world.move_from_n2_to_n3_and_leave_a_sealed_copy();
    world.lose(|_, to, body| [N2, N3].contains(&to) && matches!(body, Body::Drop { .. }));
    world.ask(N4);
    world.commit(N4, b"v2");
    assert_eq!((world.sealed(N2), world.sealed(N3)), (1, 1), "{what}");
    let mut away = [N2, N3].map(|who| Some(world.stop(who)));
    world.heal();
    let (mut who, mut deputy) = (N1, N5);
    world.agree(who, &[deputy]);
    world.pass(secs(1));
    world.end(N4);
    world.pass(secs(1));
    assert!(world.said(N4, &Output::Ended(S)), "{what}");

    let mut come = |world: &mut World, who: Incarnation, deputy: Incarnation| {
        for place in order {
            let node = away[place].take().expect("it comes back once");
            world.start(node.come_back(Incarnation::new(20 + place as u64)));
            world.agree(who, &[deputy]);
            world.pass(secs(1));
        }
    };
    if before {
        come(&mut world, who, deputy);
    }
    match manager {
        Manager::Stays => {}
        Manager::HandsOver => {
            world.agree(deputy, &[who]);
            world.pass(secs(1));
            world.agree(who, &[deputy]);
        }
        Manager::Dies => {
            world.stop(who);
            (who, deputy) = (deputy, N4);
            world.agree(who, &[deputy]);
        }
        Manager::ComesBack => {
            let fenced = world.stop(who);
            world.agree(deputy, &[N4]);
            world.pass(secs(1));
            who = Incarnation::new(10);
            world.start(fenced.come_back(who));
            world.agree(deputy, &[who]);
            world.pass(secs(1));
            world.agree(who, &[deputy]);
        }
    }
    world.pass(secs(1));
    if !before {
        come(&mut world, who, deputy);
    }
    for _ in 0..60 {
        world.pass(secs(2));
        assert_eq!(world.copies(), [], "{what}");
        world.begin_to_ask(N4);
    }
    let told = world.events();
    let came_back = |event: &Event| matches!(event, Event::Stale(_) | Event::Fork(_));
    assert!(!told.iter().any(came_back), "{what}: {told:?}");
    for who in [20, 21].map(Incarnation::new) {
        assert_eq!(world.sealed(who), 0, "{what}: {who:?} has dropped its copy");
    }
    let found = world.locate(N4);
    assert_eq!(found, [Found::Absent { lost: false }], "{what}");
}

#[test]
fn a_destroyed_session_stays_away_whoever_comes_back_with_a_copy() {
    let managers = [
        Manager::Stays,
        Manager::HandsOver,
        Manager::Dies,
        Manager::ComesBack,
    ];
    for manager in managers {
        for before in [true, false] {
            for order in [[0, 1], [1, 0]] {
                come_back_after_the_end(manager, before, order);
            }
        }
    }
}
