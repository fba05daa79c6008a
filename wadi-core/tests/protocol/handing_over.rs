//! A bucket changes hands, and in the middle of that somebody dies, or it changes hands again: after
//! each message of it, whatever its session is doing. The session is served again, once, as it was.

use std::time::Duration;

use wadi_core::member::Incarnation;
use wadi_core::message::Body;
use wadi_core::protocol::{Event, Found, Input, Output};

use crate::world::{N1, N2, N3, N4, N5, Node, S, World, secs};

const N6: Incarnation = Incarnation::new(6);

/// What the session does while its bucket goes from n1 to n2.
#[derive(Clone, Copy, Debug)]
enum Session {
    /// It is held by the bucket's manager.
    AtHome,
    /// It is held by n3.
    Displaced,
    /// n4 wants to have it of n3, and so many messages of that were heard.
    Moving(usize),
    /// The same, with a long request that holds its lock at n3.
    InUse(usize),
    /// n2, which is about to manage the bucket, wants to have it of n3.
    ComingHome(usize),
    /// It has ended at n4, and so many messages of that were heard; n3 has an older copy, of which
    /// nobody tells it.
    Ended(usize),
}

/// What else happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// Its process ends, and that is proven.
    Dies(Incarnation),
    /// It is gone without a proof.
    Vanishes(Incarnation),
    /// It stands still for longer than its lease, and then comes back as somebody new.
    Sleeps(Incarnation),
    /// The bucket goes on to this one.
    Goes(Incarnation),
    /// Everything that is under way is lost.
    Loses,
}

const FAULTS: [Fault; 14] = [
    Fault::Nothing,
    Fault::Dies(N1),
    Fault::Dies(N2),
    Fault::Dies(N3),
    Fault::Vanishes(N1),
    Fault::Vanishes(N2),
    Fault::Vanishes(N4),
    Fault::Sleeps(N1),
    Fault::Sleeps(N3),
    Fault::Sleeps(N4),
    Fault::Goes(N1),
    Fault::Goes(N3),
    Fault::Goes(N4),
    Fault::Loses,
];

const AND_THEN: [Fault; 6] = [
    Fault::Nothing,
    Fault::Dies(N2),
    Fault::Vanishes(N3),
    Fault::Sleeps(N4),
    Fault::Goes(N3),
    Fault::Loses,
];

fn scene(session: Session) -> World {
    let mut world = World::founded(&[N1, N2, N3, N4], &[]);
    let holder = match session {
        Session::AtHome => N1,
        _ => N3,
    };
    world.create(holder);
    world.commit(holder, b"v1");
    match session {
        Session::AtHome | Session::Displaced => {}
        Session::Moving(heard) => {
            world.begin_to_ask(N4);
            world.deliver_some(heard);
        }
        Session::InUse(heard) => {
            world.let_seals_wait(N3, true);
            world.begin_to_ask(N4);
            world.deliver_some(heard);
        }
        Session::ComingHome(heard) => {
            world.begin_to_ask(N2);
            world.deliver_some(heard);
        }
        Session::Ended(heard) => {
            world.lose(|_, to, body| to == N3 && matches!(body, Body::Drop { .. }));
            world.ask(N4);
            assert_eq!((world.serving(), world.sealed(N3)), (vec![N4], 1));
            world.end(N4);
            world.deliver_some(heard);
        }
    }
    world
}

struct Run {
    world: World,
    manager: Incarnation,
    gone: Vec<Incarnation>,
    asleep: Vec<Node>,
}

impl Run {
    fn strike(&mut self, fault: Fault) {
        let Self {
            world,
            manager,
            gone,
            asleep,
        } = self;
        match fault {
            Fault::Nothing => {}
            Fault::Loses => world.lose_what_is_under_way(),
            Fault::Goes(to) => {
                if world.is_there(to) && *manager != to {
                    *manager = to;
                    world.agree(to, &[]);
                }
            }
            Fault::Dies(who) | Fault::Vanishes(who) | Fault::Sleeps(who) => {
                if !world.is_there(who) {
                    return;
                }
                match fault {
                    Fault::Dies(_) => world.stop_proven(who),
                    Fault::Sleeps(_) => asleep.push(world.stop(who)),
                    _ => drop(world.stop(who)),
                }
                if !matches!(fault, Fault::Sleeps(_)) {
                    gone.push(who);
                }
                if *manager == who {
                    let others = [N1, N2, N3, N4];
                    let next = others.into_iter().find(|other| world.is_there(*other));
                    *manager = next.expect("two go at most");
                }
                world.agree(*manager, &[]);
            }
        }
    }
}

fn play(session: Session, first: (usize, Fault), second: (usize, Fault)) {
    let what = format!("{session:?}, {first:?}, {second:?}");
    let mut run = Run {
        world: scene(session),
        manager: N2,
        gone: Vec::new(),
        asleep: Vec::new(),
    };
    run.world.agree(N2, &[]);
    for (heard, fault) in [first, second] {
        run.world.deliver_some(heard);
        run.strike(fault);
    }
    let Run {
        mut world,
        manager,
        gone,
        asleep,
    } = run;
    // The long request ends.
    world.pass(Duration::from_millis(700));
    if matches!(session, Session::InUse(_)) && world.is_there(N3) {
        world.let_seals_wait(N3, false);
        if world.said(N3, &Output::Seal(S)) {
            let sealed = match world.has(N3) {
                true => world.node(N3).take_out().sealed(S),
                false => Input::Gone(S),
            };
            world.give(N3, sealed);
        }
    }
    world.heal();
    for (node, me) in asleep.into_iter().zip([N5, N6]) {
        world.pass(secs(5));
        world.start(node.come_back(me));
        world.agree(manager, &[]);
    }
    world.pass(secs(240));
    assert!(!world.events().contains(&Event::Fork(S)), "{what}");
    let had = match session {
        Session::AtHome => [N1, N1],
        Session::Displaced => [N3, N3],
        Session::Moving(_) | Session::InUse(_) => [N3, N4],
        Session::ComingHome(_) => [N3, N2],
        Session::Ended(_) => [N4, N4],
    };
    let serving = world.serving();
    assert!(serving.len() <= 1, "{what}: {serving:?}");
    let has_ended = matches!(session, Session::Ended(_));
    if has_ended && (!gone.contains(&N4) || world.said(N4, &Output::Ended(S))) {
        assert!(serving.is_empty(), "{what}: {serving:?}");
    }
    if !has_ended && !had.iter().any(|who| gone.contains(who)) {
        assert_eq!(serving.len(), 1, "{what}");
        assert_eq!(world.served(serving[0]), Some(&b"v1"[..]), "{what}");
    }
    let all = [N1, N2, N3, N4, N5, N6].into_iter();
    let there: Vec<_> = all.filter(|who| world.is_there(*who)).collect();
    for who in there {
        let found = world.locate(who);
        let expected = match serving.first() {
            Some(one) if *one == who => Found::Here,
            Some(one) => Found::At(*one),
            None if has_ended && matches!(found[..], [Found::Absent { .. }]) => found[0],
            None => Found::Absent { lost: true },
        };
        assert_eq!(found, [expected], "{what}, asked by {who:?}");
        assert_eq!(world.participant(who).check(), Ok(()), "{what}");
        assert!(world.participant(who).is_settled(), "{what}: {who:?}");
    }
}

#[test]
fn whatever_happens_in_the_middle_of_a_hand_over_the_session_is_served_once() {
    let mut sessions = vec![Session::AtHome, Session::Displaced];
    for heard in 0..6 {
        sessions.push(Session::Moving(heard));
        sessions.push(Session::InUse(heard));
        sessions.push(Session::ComingHome(heard));
        sessions.push(Session::Ended(heard));
    }
    for session in sessions {
        for heard in 0..7 {
            for fault in FAULTS {
                for then in [0, 2] {
                    for second in AND_THEN {
                        if fault == Fault::Nothing && second == Fault::Nothing && then > 0 {
                            continue;
                        }
                        play(session, (heard, fault), (then, second));
                    }
                }
            }
        }
    }
}
