use super::*;
use crate::authority::{Charter, Register};
use crate::bucket::BucketCount;
use crate::member::{Founding, NodeName};

fn at(millis: u64) -> Moment {
    Moment::ZERO + Duration::from_millis(millis)
}

fn i(number: u64) -> Incarnation {
    Incarnation::new(number)
}

/// A register of 64 buckets with this many ready members and the first managing everything.
fn register(members: u64) -> Register {
    let charter = Charter {
        buckets: BucketCount::new(64).unwrap(),
        ..Charter::default()
    };
    let (mut register, _) = Register::found(
        charter,
        Founding::IN_PROCESS,
        0,
        NodeName::new("n"),
        "a".into(),
        at(0),
    );
    for _ in 1..members {
        let joined = register.join(NodeName::new("n"), "a".into(), at(0));
        register.ready(joined.incarnation).unwrap();
    }
    register
}

fn coordinator(me: u64, register: &Register) -> Coordinator {
    let pace = Pace {
        moves_per_step: 10,
        ..Pace::default()
    };
    Coordinator::new(i(me), Oldest, register.terms(), pace)
}

fn layout(register: &Register) -> Input {
    Input::Layout(Arc::new(register.layout().clone()))
}

fn propose(outputs: &[Output], register: &mut Register) -> Result<LayoutVersion, ProposeRefused> {
    match outputs {
        [
            Output::Propose {
                against,
                most_moves,
            },
        ] => register.propose(*against, *most_moves),
        other => panic!("no proposal: {other:?}"),
    }
}

#[test]
fn only_the_oldest_ready_member_proposes() {
    let mut register = register(3);
    assert_eq!(
        coordinator(2, &register).handle(layout(&register), at(0)),
        []
    );
    assert_eq!(
        coordinator(1, &register)
            .handle(layout(&register), at(0))
            .len(),
        1
    );
    register.leave(i(1)).unwrap();
    assert_eq!(
        coordinator(1, &register).handle(layout(&register), at(0)),
        []
    );
    let mut second = coordinator(2, &register);
    let outputs = second.handle(layout(&register), at(0));
    assert!(second.is_me());
    propose(&outputs, &mut register).unwrap();
    assert_eq!(register.layout().managed_by(i(1)), 0);
}

#[test]
fn a_joiner_is_filled_step_by_step() {
    let mut register = register(2);
    let mut first = coordinator(1, &register);
    let mut outputs = first.handle(layout(&register), at(0));
    let mut filled = Vec::new();
    let mut now = at(0);
    while filled.last() != Some(&32) {
        propose(&outputs, &mut register).unwrap();
        filled.push(register.layout().managed_by(i(2)));
        assert_eq!(
            first.handle(layout(&register), now),
            [],
            "not before the pause is over"
        );
        let Some(next) = first.wake_at() else { break };
        assert_eq!(next, now + Pace::default().between_steps);
        now = next;
        outputs = first.handle(Input::Wake, now);
    }
    assert_eq!(filled, [10, 20, 30, 32]);
    assert_eq!(first.wake_at(), None);
    assert_eq!(first.handle(Input::Wake, now), []);
}

#[test]
fn a_dead_managers_buckets_do_not_wait_for_the_next_step() {
    let mut register = register(3);
    let mut first = coordinator(1, &register);
    let outputs = first.handle(layout(&register), at(0));
    propose(&outputs, &mut register).unwrap();
    assert_eq!(first.handle(layout(&register), at(1)), []);
    register
        .declare_dead(i(2), crate::authority::Proof::Operator)
        .unwrap();
    let outputs = first.handle(layout(&register), at(2));
    let before = register.layout().managed_by(i(3));
    propose(&outputs, &mut register).unwrap();
    assert!(!register.layout().has_orphans());
    assert!(register.layout().managed_by(i(3)) >= before);
    assert_eq!(first.handle(layout(&register), at(3)), []);
    assert_eq!(
        first.wake_at(),
        Some(at(1_000)),
        "the next step comes when it is due"
    );
}

#[test]
fn an_unanswered_proposal_is_made_again_ever_more_slowly() {
    let register = register(2);
    let mut first = coordinator(1, &register);
    let made = first.handle(layout(&register), at(0));
    let mut waits = Vec::new();
    let mut now = at(0);
    for _ in 0..7 {
        let next = first.wake_at().unwrap();
        waits.push(next.since(now).as_millis());
        now = next;
        assert_eq!(first.handle(Input::Wake, now), made);
    }
    assert_eq!(waits, [100, 200, 400, 800, 1600, 2000, 2000]);
}

#[test]
fn a_conflict_waits_for_the_layout_that_won() {
    let mut register = register(2);
    let mut first = coordinator(1, &register);
    let outputs = first.handle(layout(&register), at(0));
    register.join(NodeName::new("n"), "a".into(), at(0));
    let refused = propose(&outputs, &mut register);
    let version = register.layout().version;
    assert_eq!(refused, Err(ProposeRefused::Conflict(version)));
    let outputs = first.handle(Input::Answer(refused), at(1));
    assert_eq!(outputs, [Output::WantLayout(version)]);
    let mut late = first.clone();
    let outputs = late.handle(layout(&register), at(2));
    propose(&outputs, &mut register).unwrap();
    assert_eq!(
        register.layout().managed_by(i(2)),
        0,
        "the refused step was counted"
    );
    late.handle(layout(&register), at(3));
    propose(&late.handle(Input::Wake, at(1_000)), &mut register).unwrap();
    assert_eq!(register.layout().managed_by(i(2)), 10);
    assert!(
        first.wake_at().is_some(),
        "the layout may never come by itself"
    );
}

#[test]
fn an_older_layout_is_ignored() {
    let mut register = register(2);
    let older = layout(&register);
    let mut first = coordinator(1, &register);
    register.leave(i(1)).unwrap();
    first.handle(layout(&register), at(0));
    assert_eq!(first.handle(older, at(0)), []);
    assert!(!first.is_me());
}

#[test]
fn the_answer_may_come_after_the_layout_that_it_made() {
    let mut register = register(2);
    let mut first = coordinator(1, &register);
    let outputs = first.handle(layout(&register), at(0));
    let answer = propose(&outputs, &mut register);
    first.handle(layout(&register), at(1));
    let next_step = first.wake_at();
    assert!(next_step.is_some());
    assert_eq!(first.handle(Input::Answer(answer), at(2)), []);
    assert_eq!(first.wake_at(), next_step, "there is more to level");
}
