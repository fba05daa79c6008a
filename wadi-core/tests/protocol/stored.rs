//! A store below all nodes: a session goes there and comes back under its manager's word, and is in one place
//! at a time, whatever the store says, or does not say.

use bytes::Bytes;
use wadi_core::member::Incarnation;
use wadi_core::protocol::{Event, Found, Stored, ToStore};
use wadi_core::tenure::{Revision, Tenure};

use crate::world::{N1, N2, N3, World, secs};

/// The session is at n2, which does not manage its bucket, with one write.
fn displaced() -> World {
    let mut world = World::above_a_store(&[N1, N2, N3]);
    world.create(N2);
    world.commit(N2, b"v1");
    world
}

/// The row that was put there.
struct Row {
    tenure: Tenure,
    revision: Revision,
    state: Bytes,
}

impl Row {
    fn given_out(&self, given_out: Option<Tenure>) -> Stored {
        Stored::Row {
            tenure: self.tenure,
            revision: self.revision,
            given_out,
            state: self.state.clone(),
        }
    }
}

/// It goes to the store from `who`.
fn goes_down(world: &mut World, who: Incarnation) -> Row {
    world.demote(who);
    let (by, tenure, ask) = world.asked_store();
    let ToStore::Put { revision, state } = ask else {
        panic!("it is put: {ask:?}");
    };
    assert_eq!(by, who);
    assert!(world.serving().is_empty(), "it was sealed before");
    world.store_says(who, tenure, Stored::Done);
    assert_eq!(
        world.sealed(who),
        0,
        "the sealed copy went when the store had it"
    );
    Row {
        tenure,
        revision,
        state,
    }
}

#[test]
fn a_session_goes_to_the_store_from_whoever_has_it_and_comes_to_whoever_asks() {
    let mut world = displaced();
    let row = goes_down(&mut world, N2);
    assert_eq!(world.participant(N1).displaced(), 0, "it takes no memory");
    assert_eq!(&row.state[..], b"v1");

    world.begin_to_ask(N3);
    world.deliver();
    let (by, tenure, ask) = world.asked_store();
    assert_eq!((by, ask), (N1, ToStore::Take), "its manager takes it out");
    assert!(tenure > row.tenure);
    world.store_says(N1, tenure, row.given_out(None));
    assert_eq!(world.serving(), [N3]);
    assert_eq!(world.served(N3), Some(&b"v1"[..]));
    assert_eq!(world.found(N3), [Found::Here]);
    assert_eq!(world.events(), []);
    let askings = world.askings();
    world.pass(secs(60));
    assert_eq!(
        world.askings(),
        askings,
        "the row says already that it is old"
    );
}

#[test]
fn who_asks_where_it_is_has_it_too() {
    let mut world = displaced();
    let row = goes_down(&mut world, N2);
    assert_eq!(world.locate(N2), []);
    let (_, tenure, _) = world.asked_store();
    world.store_says(N1, tenure, row.given_out(None));
    assert_eq!(world.serving(), [N2]);
}

#[test]
fn what_the_store_does_not_have_either_is_absent() {
    let mut world = World::above_a_store(&[N1, N2]);
    world.ask(N2);
    assert_eq!(
        world.found(N2),
        [],
        "nobody knows before the store has answered"
    );
    let (_, tenure, _) = world.asked_store();
    world.store_says(N1, tenure, Stored::Nothing);
    assert_eq!(world.found(N2), [Found::Absent { lost: false }]);
    assert_eq!(world.participant(N1).displaced(), 0);
}

#[test]
fn a_silent_store_makes_nothing_absent() {
    let mut world = World::above_a_store(&[N1, N2]);
    world.ask(N2);
    for _ in 0..100 {
        let (who, tenure, _) = world.asked_store();
        world.store_says(who, tenure, Stored::Unknown);
        world.pass(secs(1) / 10);
    }
    assert_eq!(world.found(N2), [Found::Unavailable]);
    assert_eq!(world.participant(N1).displaced(), 0);
}

#[test]
fn what_the_store_refuses_goes_on_where_it_was() {
    let mut world = displaced();
    world.demote(N2);
    let (_, tenure, _) = world.asked_store();
    world.store_says(N2, tenure, Stored::Refused);
    assert_eq!(world.serving(), [N2]);
    world.commit(N2, b"v2");
    world.ask(N3);
    assert_eq!(world.served(N3), Some(&b"v2"[..]));
}

#[test]
fn a_refusal_after_two_askings_says_nothing() {
    let mut world = displaced();
    world.demote(N2);
    let (_, tenure, _) = world.asked_store();
    world.pass(secs(1) / 10);
    assert!(world.askings() > 1, "its manager has asked again");
    world.store_says(N2, tenure, Stored::Refused);
    assert!(world.serving().is_empty(), "the first may have been done");
    let (by, floor, ask) = world.asked_store();
    assert_eq!((by, ask), (N1, ToStore::Take));
    world.store_says(N1, floor, Stored::Nothing);
    assert_eq!(world.serving(), [N2]);
}

#[test]
fn what_may_be_in_the_store_is_made_stale_there_before_it_serves_elsewhere() {
    let mut world = displaced();
    world.demote(N2);
    let (_, tenure, _) = world.asked_store();
    world.store_says(N2, tenure, Stored::Unknown);
    let (by, floor, ask) = world.asked_store();
    assert_eq!((by, ask), (N1, ToStore::Take));
    assert!(floor > tenure);
    world.pass(secs(5));
    assert!(world.serving().is_empty(), "the store has not answered");
    world.store_says(N1, floor, Stored::Unknown);
    world.pass(secs(5));
    assert!(world.serving().is_empty());

    // It never came there.
    world.store_says(N1, floor, Stored::Nothing);
    assert_eq!(world.serving(), [N2]);
    assert_eq!(world.served(N2), Some(&b"v1"[..]));
    assert_eq!(world.events(), []);
}

#[test]
fn what_came_to_the_store_without_a_word_serves_from_there() {
    let mut world = displaced();
    world.demote(N2);
    let (_, tenure, ask) = world.asked_store();
    let ToStore::Put { revision, state } = ask else {
        panic!("it is put")
    };
    // n2 dies, and nobody knows what became of it.
    drop(world.stop(N2));
    world.agree(N1, &[]);
    world.deliver();
    let (_, floor, _) = world.asked_store();
    let row = Row {
        tenure,
        revision,
        state,
    };
    world.store_says(N1, floor, row.given_out(None));
    let (_, again, _) = world.asked_store();
    world.store_says(N1, again, row.given_out(None));
    assert_eq!(world.serving(), [N1]);
    assert_eq!(world.events(), [], "it is the newest for certain");
}

#[test]
fn a_row_that_somebody_had_since_waits_for_him_and_says_so() {
    let mut world = displaced();
    let row = goes_down(&mut world, N2);
    world.ask(N3);
    let (_, given_out, _) = world.asked_store();
    world.store_says(N1, given_out, row.given_out(None));
    world.commit(N3, b"v2");
    // Whoever has it dies, and its manager too; neither death is proven.
    drop(world.stop(N3));
    drop(world.stop(N1));
    world.agree(N2, &[]);
    world.deliver();
    world.ask(N2);
    let (_, tenure, _) = world.asked_store();
    world.store_says(N2, tenure, row.given_out(Some(given_out)));
    let (_, floor, _) = world.asked_store();
    world.store_says(N2, floor, row.given_out(Some(given_out)));
    assert!(
        world.serving().is_empty(),
        "n3 may come back with the newest"
    );
    assert_eq!(world.events(), []);
    for _ in 0..40 {
        world.pass(secs(1));
        let (who, tenure, _) = world.asked_store();
        world.store_says(who, tenure, row.given_out(Some(given_out)));
    }
    assert_eq!(world.serving(), [N2]);
    assert!(
        matches!(world.events()[..], [Event::Stale(_)]),
        "{:?}",
        world.events()
    );
}

#[test]
fn an_end_counts_when_the_store_knows_it() {
    let mut world = displaced();
    let row = goes_down(&mut world, N2);
    world.ask(N2);
    let (_, tenure, _) = world.asked_store();
    world.store_says(N1, tenure, row.given_out(None));
    world.end(N2);
    world.deliver();
    let (by, tenure, ask) = world.asked_store();
    assert!(matches!(ask, ToStore::End { .. }), "{ask:?}");
    let is_answered = |world: &World| {
        let ended = wadi_core::protocol::Output::Ended(crate::world::S);
        world.said(N2, &ended)
    };
    assert!(!is_answered(&world));
    world.store_says(by, tenure, Stored::Unknown);
    world.pass(secs(1));
    assert!(!is_answered(&world));
    world.store_says(by, tenure, Stored::Done);
    assert!(is_answered(&world));
    world.ask(N3);
    assert_eq!(world.found(N3), [Found::Absent { lost: false }]);
}

#[test]
fn where_everybody_leaves_everything_goes_to_the_store() {
    let mut world = displaced();
    for who in [N1, N2, N3] {
        world.leave(who);
    }
    world.agree(N1, &[]);
    for who in [N1, N2, N3] {
        world.give(who, wadi_core::protocol::Input::Evacuate);
    }
    world.deliver();
    let (by, tenure, ask) = world.asked_store();
    assert_eq!(by, N2);
    assert!(matches!(ask, ToStore::Put { .. }));
    let has_gone = |world: &World, who| world.said(who, &wadi_core::protocol::Output::Evacuated);
    assert!(!has_gone(&world, N2));
    world.store_says(N2, tenure, Stored::Done);
    world.pass(secs(5));
    for who in [N1, N2, N3] {
        assert!(has_gone(&world, who), "{who:?}");
    }
}

#[test]
fn where_everybody_leaves_nothing_is_taken_out() {
    let mut world = displaced();
    goes_down(&mut world, N2);
    for who in [N1, N2, N3] {
        world.leave(who);
    }
    world.agree(N1, &[]);
    let askings = world.askings();
    world.ask(N3);
    world.pass(secs(5));
    assert_eq!(world.askings(), askings);
    assert_eq!(world.found(N3), [Found::Unavailable]);
}

#[test]
fn what_the_store_knows_to_have_ended_is_absent_also_where_somebody_may_come_back() {
    let mut world = World::above_a_store(&[N1, N2, N3]);
    drop(world.stop(N3));
    world.agree(N1, &[]);
    drop(world.stop(N1));
    world.agree(N2, &[]);
    world.deliver();
    world.ask(N2);
    let (_, tenure, _) = world.asked_store();
    world.store_says(N2, tenure, Stored::Nothing);
    assert_eq!(world.found(N2), [], "it may come back");
    world.pass(secs(1) / 10);
    let (_, tenure, _) = world.asked_store();
    world.store_says(N2, tenure, Stored::Ended);
    assert!(matches!(world.found(N2)[..], [Found::Absent { .. }]));
}
