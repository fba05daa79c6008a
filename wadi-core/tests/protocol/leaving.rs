//! A node leaves while copies that it has wait for a newer one: they stay in the cluster, serve nobody
//! before their time, and lose to the newer one when it comes.

use wadi_core::message::Body;
use wadi_core::protocol::{Event, Input, Output};

use crate::world::{N1, N2, N3, N4, N5, Node, World, secs};

/// n1 manages; n2 has an older copy, and is leaving; n3 held the session, and may come back with it.
fn an_older_copy_waits_at_who_leaves() -> (World, Node) {
    let mut world = World::founded(&[N1, N2, N3], &[]);
    world.move_from_n2_to_n3_and_leave_a_sealed_copy();
    world.heal();
    let newer = world.stop(N3);
    world.agree(N1, &[]);
    world.pass(secs(1));
    assert_eq!((world.serving(), world.sealed(N2)), (vec![], 1));
    world.leave(N2);
    world.agree(N1, &[]);
    (world, newer)
}

fn leaves(world: &mut World) {
    world.pass(secs(2));
    world.give(N2, Input::Evacuate);
    assert!(world.said(N2, &Output::Evacuated));
    world.stop_proven(N2);
    world.agree(N1, &[]);
}

#[test]
fn an_older_copy_outlives_the_leaving_of_its_node() {
    let (mut world, _) = an_older_copy_waits_at_who_leaves();
    leaves(&mut world);
    assert_eq!((world.serving(), world.sealed(N1)), (vec![], 1));
    world.pass(secs(40));
    assert_eq!(world.served(N1), Some(&b"v0"[..]));
    assert_eq!(world.events(), [Event::Stale(crate::world::S)]);
    assert_eq!(world.sealed(N1), 0);
}

#[test]
fn what_is_kept_for_who_left_loses_to_the_newer_copy() {
    let (mut world, newer) = an_older_copy_waits_at_who_leaves();
    leaves(&mut world);
    world.pass(secs(5));
    world.start(newer.come_back(N4));
    world.agree(N1, &[]);
    world.pass(secs(2));
    assert_eq!(world.served(N4), Some(&b"v1"[..]));
    assert_eq!((world.serving(), world.sealed(N1)), (vec![N4], 0));
}

/// An offer, too, may come from somebody who leaves at once.
#[test]
fn what_a_leaver_offers_is_kept_until_the_newer_copy_has_had_its_time() {
    let mut world = World::founded(&[N1, N2, N3], &[]);
    world.move_from_n2_to_n3_and_leave_a_sealed_copy();
    world.heal();
    let (older, newer) = (world.stop(N2), world.stop(N3));
    world.agree(N1, &[]);
    world.start(older.come_back(N4));
    world.leave(N4);
    world.agree(N1, &[]);
    world.pass(secs(2));
    assert_eq!((world.sealed(N4), world.sealed(N1)), (0, 1));
    assert_eq!(world.serving(), []);
    world.start(newer.come_back(N5));
    world.agree(N1, &[]);
    world.pass(secs(2));
    assert_eq!(world.served(N5), Some(&b"v1"[..]));
    assert_eq!(world.sealed(N1), 0);
}

#[test]
fn a_copy_goes_from_the_leaver_only_when_it_is_kept() {
    let (mut world, _) = an_older_copy_waits_at_who_leaves();
    world.lose(|_, to, body| to == N1 && matches!(body, Body::Entrusted { .. }));
    world.pass(secs(2));
    assert_eq!((world.sealed(N1), world.sealed(N2)), (0, 1));
    // Its manager keeps it, and the leaver does not hear of that at first.
    world.lose(|_, to, body| to == N2 && matches!(body, Body::Entrust { .. }));
    world.heal();
    world.pass(secs(2));
    assert_eq!((world.sealed(N1), world.sealed(N2)), (1, 0));
}

/// Who keeps it may leave, too.
#[test]
fn what_is_kept_goes_on_to_the_next_manager() {
    let mut world = World::founded(&[N1, N2, N3, N4], &[N4]);
    world.move_from_n2_to_n3_and_leave_a_sealed_copy();
    world.heal();
    drop(world.stop(N3));
    world.leave(N2);
    world.agree(N1, &[N4]);
    world.pass(secs(1));
    assert_eq!((world.sealed(N1), world.sealed(N2)), (1, 0));
    world.leave(N1);
    world.agree(N4, &[]);
    world.pass(secs(2));
    assert_eq!((world.sealed(N1), world.sealed(N4)), (0, 1));
    world.stop_proven(N1);
    world.stop_proven(N2);
    world.agree(N4, &[]);
    world.pass(secs(60));
    assert_eq!(world.served(N4), Some(&b"v0"[..]));
}

#[test]
fn a_session_that_ended_is_not_kept() {
    let (mut world, _) = an_older_copy_waits_at_who_leaves();
    world.pass(secs(1));
    let tenure = wadi_core::tenure::Tenure::NONE;
    let keep_for = secs(3600);
    let id = crate::world::S;
    world.tell(
        N2,
        N1,
        Body::End {
            id,
            tenure,
            keep_for,
        },
    );
    world.pass(secs(40));
    assert_eq!((world.serving(), world.sealed(N1)), (vec![], 0));
}
