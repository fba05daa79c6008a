//! A bucket's manager dies, and its directory is rebuilt from those who are left. Who answers late is asked
//! again and waited for, however late; nothing is decided without it, but that it has died too.

use std::time::Duration;

use wadi_core::member::Incarnation;
use wadi_core::message::Body;
use wadi_core::protocol::{Event, Found};

use crate::world::{N1, N2, N3, N4, S, World, secs};

/// Far longer than everything that is waited for by time.
const LONG: Duration = Duration::from_secs(3600);

/// What of the talk between the new manager and a survivor does not get through.
#[derive(Clone, Copy, Debug)]
enum Deaf {
    /// It does not hear the question.
    ToIt,
    /// It is not heard.
    FromIt,
}

/// n1 dies, which n4 takes over from; the survivor is not heard.
fn rebuild_without(world: &mut World, survivor: Incarnation, deaf: Deaf) {
    world.stop(N1);
    world.lose(move |from, to, _| match deaf {
        Deaf::ToIt => (from, to) == (N4, survivor),
        Deaf::FromIt => (from, to) == (survivor, N4),
    });
    world.agree(N4, &[N3]);
}

fn says_absent(found: &[Found]) -> bool {
    found
        .iter()
        .any(|found| matches!(found, Found::Absent { .. }))
}

#[test]
fn a_survivor_that_answers_late_is_waited_for_however_late() {
    for deaf in [Deaf::ToIt, Deaf::FromIt] {
        for late in [secs(1), secs(31), LONG] {
            let mut world = World::founded(&[N1, N2, N3, N4], &[N4]);
            world.create(N2);
            world.commit(N2, b"v1");
            rebuild_without(&mut world, N2, deaf);
            let mut passed = Duration::ZERO;
            while passed < late {
                world.locate(N3);
                world.pass(late / 8);
                passed += late / 8;
            }
            let told = world.found(N3);
            assert!(!says_absent(&told), "{deaf:?}, {late:?}: {told:?}");
            assert_eq!(world.events(), [], "{deaf:?}, {late:?}");
            world.heal();
            // It is asked again by itself.
            world.pass(secs(2));
            assert_eq!(world.locate(N4), [Found::At(N2)], "{deaf:?}, {late:?}");
            assert_eq!(world.served(N2), Some(&b"v1"[..]));
            world.ask(N3);
            world.pass(secs(1));
            assert_eq!(world.serving(), [N3], "{deaf:?}, {late:?}");
            assert_eq!(world.served(N3), Some(&b"v1"[..]));
            assert_eq!(world.events(), []);
        }
    }
}

#[test]
fn an_older_copy_waits_for_a_survivor_that_answers_late() {
    for deaf in [Deaf::ToIt, Deaf::FromIt] {
        let mut world = World::founded(&[N1, N2, N3, N4], &[N4]);
        world.move_from_n2_to_n3_and_leave_a_sealed_copy();
        rebuild_without(&mut world, N3, deaf);
        world.pass(LONG);
        assert_eq!(
            world.serving(),
            [N3],
            "{deaf:?}: the older one serves nobody"
        );
        assert_eq!(world.events(), [], "{deaf:?}");
        world.heal();
        world.pass(secs(4));
        assert_eq!(world.locate(N2), [Found::At(N3)], "{deaf:?}");
        assert_eq!(world.served(N3), Some(&b"v1"[..]));
        assert_eq!((world.events(), world.sealed(N2)), (vec![], 0));
    }
}

#[test]
fn one_answer_that_is_lost_costs_a_moment() {
    let mut world = World::founded(&[N1, N2, N3, N4], &[N4]);
    world.create(N2);
    world.stop(N1);
    world.lose(|from, _, body| from == N2 && matches!(body, Body::Report { .. }));
    world.agree(N4, &[N3]);
    world.deliver();
    world.heal();
    world.pass(Duration::from_millis(500));
    assert_eq!(world.locate(N3), [Found::At(N2)]);
}

#[test]
fn a_survivor_that_dies_before_it_answers_is_waited_for_as_who_may_come_back() {
    for deaf in [Deaf::ToIt, Deaf::FromIt] {
        let mut world = World::founded(&[N1, N2, N3, N4], &[N4]);
        world.create(N2);
        rebuild_without(&mut world, N2, deaf);
        world.pass(LONG);
        world.stop(N2);
        world.heal();
        world.agree(N4, &[N3]);
        world.pass(secs(29));
        assert!(!says_absent(&world.locate(N3)), "{deaf:?}");
        world.pass(secs(2));
        // Nobody who is left has heard of it, so nobody can say that it was lost.
        assert!(says_absent(&world.locate(N3)), "{deaf:?}");
        assert!(!world.events().contains(&Event::Stale(S)));
        assert_eq!(world.serving(), []);
    }
}
