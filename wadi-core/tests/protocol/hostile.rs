//! A member that speaks nonsense, or out of its role: nobody panics, nothing changes owner, and
//! nothing is left behind.
//!
//! These tests run with the protocol's own invariants checked after every input.

use std::time::Duration;

use bytes::Bytes;
use wadi_core::bucket::{BucketId, LayoutVersion};
use wadi_core::member::Incarnation;
use wadi_core::message::{Answer, Body, CopyKind, Doubt, Place, Record, Scope, Sighting, Want};
use wadi_core::protocol::{Event, Found, Input, Output};
use wadi_core::session::SessionId;
use wadi_core::tenure::{Revision, Tenure};

use crate::world::{BUCKET, InMap, N1, N2, N3, N4, Node, S, World, hours, secs, stranger};

const LAST: LayoutVersion = LayoutVersion::from_u64(u64::MAX);
/// A tenure of an epoch that will never be.
const FAR: Tenure = Tenure::new(LAST, u64::MAX);
const NOBODY: Incarnation = Incarnation::new(u64::MAX);
const NO_BUCKET: BucketId = BucketId::new(u16::MAX);
/// So many lines of one message.
const MANY: u32 = 10_000;

/// n1 manages, n2 is the deputy, n3 holds the session, and n4 is the one that speaks.
fn settled() -> (World, Tenure) {
    let mut world = World::founded(&[N1, N2, N3, N4], &[N2]);
    world.create(N3);
    world.commit(N3, b"v1");
    let tenure = world.copies()[0].2.tenure;
    (world, tenure)
}

/// n1 managed, and n2 waits for its directory, which is under way.
fn pulling() -> World {
    let mut world = World::founded(&[N1, N2, N3, N4], &[N2]);
    world.create(N3);
    world.lose(|_, _, body| matches!(body, Body::Directory { .. }));
    world.agree(N2, &[N1]);
    world.deliver();
    world
}

/// n1 died, and n2 waits for what n4 has to report.
fn rebuilding() -> World {
    let mut world = World::founded(&[N1, N2, N3, N4], &[N2]);
    world.create(N3);
    world.stop(N1);
    world.lose(|from, _, body| from == N4 && matches!(body, Body::Report { .. }));
    world.agree(N2, &[N3]);
    world.deliver();
    world
}

/// Lets n4 say each of these to everybody, in a settled world of its own; every copy stays as it is
/// and the session is found where it was.
fn changes_nothing(bodies: impl Fn(Tenure) -> Vec<Body>) {
    let (_, tenure) = settled();
    for body in bodies(tenure) {
        for to in [N1, N2, N3] {
            let (mut world, _) = settled();
            let before = world.copies();
            world.tell(N4, to, body.clone());
            world.pass(secs(120));
            expect_unchanged(&mut world, &before, &body, to);
        }
    }
}

fn expect_unchanged(
    world: &mut World,
    before: &[(Incarnation, SessionId, InMap)],
    body: &Body,
    to: Incarnation,
) {
    assert_eq!(world.copies(), before, "{body:?} to {to:?}");
    assert_eq!(world.markers(), 0, "{body:?} to {to:?}");
    assert_eq!(world.locate(N2), [Found::At(N3)], "{body:?} to {to:?}");
    let events = world.events();
    assert!(!events.contains(&Event::Fork(S)), "{body:?} to {to:?}");
}

fn sighting(id: SessionId, kind: CopyKind, tenure: Tenure) -> Sighting {
    Sighting {
        id,
        kind,
        tenure,
        revision: Revision::new(u64::MAX),
    }
}

fn record(id: SessionId, place: Place) -> Record {
    Record {
        id,
        place,
        older: vec![NOBODY, N4],
    }
}

fn directory(bucket: BucketId, records: Vec<Record>) -> Body {
    Body::Directory {
        bucket,
        records,
        doubt_for: Duration::MAX,
        lost_for: Duration::MAX,
    }
}

/// Mostly the first, and now and then each of the others.
fn pick<T>(all: &[T], number: u32) -> &T {
    let index = number as usize / 100;
    all.get(if number.is_multiple_of(100) {
        index % all.len()
    } else {
        0
    })
    .expect("none of them is beyond the last")
}

fn moving(from: Incarnation, held: Tenure, to: Incarnation, tenure: Tenure) -> Place {
    Place::Moving {
        from,
        held,
        to,
        tenure,
    }
}

/// What a manager, a previous manager or a holder would say of the session under `tenure`.
fn spoken_out_of_role(tenure: Tenure) -> Vec<Body> {
    let scope = Scope::Bucket(BUCKET);
    let next = Tenure::new(tenure.epoch(), tenure.count().saturating_add(1));
    let at_n4 = Answer::At { holder: N4, tenure };
    vec![
        Body::Answer {
            id: S,
            answer: at_n4,
        },
        Body::Answer {
            id: S,
            answer: Answer::Absent { lost: true },
        },
        Body::Release {
            id: S,
            held: tenure,
            to: N4,
            tenure: next,
        },
        Body::Busy { id: S, tenure },
        Body::NotHere { id: S, tenure },
        Body::Arrived { id: S, tenure },
        Body::Confirmed { id: S, tenure },
        Body::Drop {
            id: S,
            tenure: next,
        },
        Body::Dropped { id: S, tenure },
        Body::Register { id: S },
        Body::Registered { id: S, tenure },
        Body::Ended { id: S, tenure },
        Body::Mark {
            id: S,
            tenure: next,
            keep_for: Duration::MAX,
        },
        Body::Marked { id: S, tenure },
        Body::Offer {
            id: S,
            tenure,
            revision: Revision::new(u64::MAX),
            held: true,
            away_for: Duration::MAX,
        },
        Body::Entrust { id: S, kept: next },
        Body::Entrusted {
            id: S,
            tenure,
            revision: Revision::new(u64::MAX),
            state: Bytes::from_static(b"forged"),
        },
        Body::Refuse {
            id: S,
            tenure: next,
        },
        Body::Pull { bucket: BUCKET },
        directory(BUCKET, vec![record(S, Place::At(N4, tenure))]),
        Body::NotMine { bucket: BUCKET },
        Body::Pulled { bucket: BUCKET },
        Body::Inquire { scope },
        Body::Inquire {
            scope: Scope::Session(S, next),
        },
        Body::Report {
            scope,
            sightings: vec![sighting(S, CopyKind::Held, tenure)],
            doubt: Doubt::default(),
        },
        Body::Report {
            scope: Scope::Session(S, next),
            sightings: vec![sighting(S, CopyKind::Marker(Duration::MAX), tenure)],
            doubt: Doubt::default(),
        },
        Body::Stale {
            bucket: BUCKET,
            version: LAST,
        },
        Body::Find {
            id: S,
            to: NOBODY,
            want: Want::Move,
        },
    ]
}

#[test]
fn who_speaks_out_of_its_role_changes_nothing() {
    changes_nothing(spoken_out_of_role);
}

#[test]
fn who_speaks_out_of_its_role_of_far_tenures_changes_nothing() {
    changes_nothing(|_| spoken_out_of_role(FAR));
    changes_nothing(|tenure| spoken_out_of_role(Tenure::new(tenure.epoch(), u64::MAX)));
}

#[test]
fn a_message_of_a_far_epoch_only_asks_for_the_layout() {
    let (_, tenure) = settled();
    for body in spoken_out_of_role(tenure) {
        for to in [N1, N2, N3] {
            let (mut world, _) = settled();
            let before = (world.copies(), world.log().len());
            world.tell_under(LAST, N1, to, body.clone());
            assert_eq!(world.copies(), before.0, "{body:?} to {to:?}");
            assert_eq!(world.log()[before.1..], [(to, Output::WantLayout(LAST))]);
        }
    }
}

#[test]
fn a_message_of_an_epoch_gone_by_is_refused() {
    let mut world = World::founded(&[N1, N2, N3, N4], &[N2]);
    world.create(N3);
    world.agree(N2, &[N1]);
    world.pass(secs(1));
    let before = world.copies();
    let tenure = before[0].2.tenure;
    for body in spoken_out_of_role(tenure) {
        world.tell_under(LayoutVersion::ZERO, N2, N3, body);
        world.pass(secs(1));
    }
    assert_eq!(world.copies(), before);
}

#[test]
fn a_bucket_that_does_not_exist_is_nobodys() {
    let scope = Scope::Bucket(NO_BUCKET);
    let bodies = [
        Body::Pull { bucket: NO_BUCKET },
        directory(NO_BUCKET, vec![record(S, Place::At(N4, FAR))]),
        Body::NotMine { bucket: NO_BUCKET },
        Body::Pulled { bucket: NO_BUCKET },
        Body::Inquire { scope },
        Body::Report {
            scope,
            sightings: vec![sighting(S, CopyKind::Held, FAR)],
            doubt: Doubt::default(),
        },
        Body::Stale {
            bucket: NO_BUCKET,
            version: LAST,
        },
    ];
    for epoch in [LayoutVersion::ZERO, LayoutVersion::from_u64(1), LAST] {
        for body in &bodies {
            for from in [N1, N4] {
                let (mut world, _) = settled();
                let before = (world.copies(), world.log().len());
                for to in [N1, N2, N3] {
                    world.tell_under(epoch, from, to, body.clone());
                }
                assert_eq!((world.copies(), world.log().len()), before, "{body:?}");
            }
        }
    }
}

#[test]
fn who_is_no_member_is_not_heard() {
    let (mut world, tenure) = settled();
    let before = world.copies();
    let mut bodies = spoken_out_of_role(tenure);
    // What any member may say.
    bodies.extend([
        end(tenure),
        Body::Register { id: stranger(1) },
        Body::State {
            id: S,
            tenure: Tenure::new(tenure.epoch(), tenure.count() + 1),
            revision: Revision::ZERO,
            state: Bytes::from_static(b"forged"),
        },
    ]);
    for body in bodies {
        for to in [N1, N2, N3] {
            world.tell(Incarnation::new(0), to, body.clone());
            world.tell(NOBODY, to, body.clone());
        }
    }
    world.pass(secs(60));
    assert_eq!(world.copies(), before);
    assert_eq!(world.participant(N1).displaced(), 1);
    assert_eq!(world.locate(N2), [Found::At(N3)]);
}

#[test]
fn a_report_of_a_tenure_never_allotted_is_left_out() {
    for tenure in [FAR, Tenure::new(LayoutVersion::from_u64(2), u64::MAX)] {
        for kind in [
            CopyKind::Held,
            CopyKind::Arriving,
            CopyKind::Sealed(NOBODY),
            CopyKind::Returned {
                held: true,
                away_for: Duration::ZERO,
            },
            CopyKind::Marker(Duration::MAX),
        ] {
            let mut world = rebuilding();
            let report = Body::Report {
                scope: Scope::Bucket(BUCKET),
                sightings: vec![sighting(S, kind, tenure)],
                doubt: Doubt::default(),
            };
            world.tell(N4, N2, report);
            world.heal();
            world.pass(secs(60));
            assert_eq!(world.serving(), [N3], "{kind:?} {tenure:?}");
            assert_eq!(world.locate(N2), [Found::At(N3)], "{kind:?} {tenure:?}");
            assert_eq!(world.events(), []);
        }
    }
}

#[test]
fn a_report_of_another_inquiry_is_no_answer() {
    let mut world = rebuilding();
    let other = Tenure::new(LayoutVersion::from_u64(1), 1);
    for scope in [Scope::Session(S, other), Scope::Session(stranger(1), FAR)] {
        let sightings = vec![sighting(stranger(1), CopyKind::Held, Tenure::NONE)];
        let report = Body::Report {
            scope,
            sightings,
            doubt: Doubt::default(),
        };
        world.tell(N4, N2, report);
        assert!(!world.participant(N2).is_settled(), "{scope:?}");
    }
    assert_eq!(world.participant(N2).displaced(), 1);
}

#[test]
fn a_directory_of_tenures_never_allotted_is_left_out() {
    for tenure in [FAR, Tenure::new(LayoutVersion::from_u64(2), u64::MAX)] {
        let places = [
            Place::At(N4, tenure),
            moving(N3, Tenure::NONE, N4, tenure),
            Place::Unsettled(Some(tenure)),
            Place::Missing {
                latest: Some(tenure),
                wait_for: secs(30),
            },
            Place::Ended {
                tenure,
                keep_for: Duration::MAX,
            },
        ];
        for place in places {
            let mut world = pulling();
            world.tell(N1, N2, directory(BUCKET, vec![record(S, place)]));
            world.heal();
            world.pass(secs(60));
            assert_eq!(world.serving(), [N3], "{place:?}");
            assert_eq!(world.participant(N2).displaced(), 0, "{place:?}");
            assert_eq!(world.markers(), 0, "{place:?}");
        }
    }
}

#[test]
fn a_directory_that_names_nobody_relies_on_nobody() {
    let tenure = Tenure::new(LayoutVersion::from_u64(1), 1);
    let places = [
        Place::At(NOBODY, tenure),
        moving(NOBODY, tenure, N4, tenure),
        moving(N3, tenure, NOBODY, tenure),
        moving(NOBODY, tenure, NOBODY, tenure),
        Place::At(N4, tenure),
        moving(N4, tenure, N4, tenure),
        moving(N2, tenure, N2, tenure),
    ];
    for place in places {
        let mut world = pulling();
        world.tell(N1, N2, directory(BUCKET, vec![record(S, place)]));
        world.heal();
        world.pass(secs(60));
        assert_eq!(world.serving(), [N3], "{place:?}");
        assert!(world.participant(N2).is_settled(), "{place:?}");
    }
}

#[test]
fn a_directory_from_anybody_but_the_previous_manager_is_not_taken() {
    let tenure = Tenure::new(LayoutVersion::from_u64(1), 1);
    let mut world = pulling();
    for from in [N2, N3, N4] {
        world.tell(
            from,
            N2,
            directory(BUCKET, vec![record(S, Place::At(N4, tenure))]),
        );
        world.tell(from, N2, Body::NotMine { bucket: BUCKET });
    }
    assert_eq!(world.participant(N2).displaced(), 0);
    world.heal();
    world.pass(secs(60));
    assert_eq!(world.locate(N4), [Found::At(N3)]);
}

#[test]
fn a_huge_directory_is_worked_off() {
    let tenure = Tenure::new(LayoutVersion::from_u64(1), 1);
    let places = [
        Place::At(N4, tenure),
        Place::At(N4, FAR),
        Place::At(NOBODY, tenure),
        moving(N4, tenure, N3, tenure),
        Place::Unsettled(Some(tenure)),
        Place::Missing {
            latest: Some(tenure),
            wait_for: secs(30),
        },
        Place::Unsettled(None),
        Place::Missing {
            latest: None,
            wait_for: Duration::MAX,
        },
    ];
    let mut records: Vec<_> = (0..MANY)
        .map(|number| record(stranger(number), *pick(&places, number)))
        .collect();
    records.push(record(S, Place::At(N3, tenure)));
    let mut world = pulling();
    world.tell(N1, N2, directory(BUCKET, records));
    assert!(world.participant(N2).displaced() > 9000, "they are read");
    world.heal();
    world.pass(secs(10));
    assert_eq!(world.serving(), [N3]);
    assert_eq!(world.copies().len(), 1);
    assert_eq!(world.locate(N4), [Found::At(N3)]);
}

#[test]
fn a_huge_report_is_worked_off() {
    let tenure = Tenure::new(LayoutVersion::from_u64(1), 1);
    let kinds = [
        CopyKind::Held,
        CopyKind::Arriving,
        CopyKind::Sealed(NOBODY),
        CopyKind::Returned {
            held: true,
            away_for: Duration::ZERO,
        },
        CopyKind::Marker(Duration::MAX),
    ];
    let mut world = rebuilding();
    let report = Body::Report {
        scope: Scope::Bucket(BUCKET),
        doubt: Doubt::default(),
        sightings: (0..MANY)
            .map(|number| {
                let kind = *pick(&kinds, number);
                sighting(stranger(number), kind, tenure)
            })
            .collect(),
    };
    world.tell(N4, N2, report);
    assert!(world.participant(N2).displaced() > 9000, "they are read");
    world.heal();
    world.pass(secs(10));
    assert_eq!(world.serving(), [N3]);
    assert_eq!(world.copies().len(), 1);
    assert_eq!(world.locate(N4), [Found::At(N3)]);
}

#[test]
fn one_session_many_times_in_a_directory_has_one_owner() {
    let tenure = |count| Tenure::new(LayoutVersion::from_u64(1), count);
    let places = [
        Place::Missing {
            latest: Some(tenure(1)),
            wait_for: secs(30),
        },
        Place::Unsettled(Some(tenure(1))),
        moving(N3, tenure(1), N4, tenure(2)),
        Place::At(N4, tenure(3)),
        Place::At(N3, tenure(1)),
    ];
    let mut world = pulling();
    let records = places.map(|place| record(S, place));
    world.tell(N1, N2, directory(BUCKET, records.to_vec()));
    world.heal();
    world.pass(secs(60));
    assert_eq!(world.serving(), [N3]);
    assert!(!world.events().contains(&Event::Fork(S)));
}

#[test]
fn an_offer_of_a_tenure_never_allotted_is_ignored_and_never_served() {
    for tenure in [FAR, Tenure::new(LayoutVersion::from_u64(9), 1)] {
        let mut world = World::of(&[N1]);
        world.start(Node::returned(N2, tenure));
        world.agree(N1, &[]);
        world.pass(secs(600));
        assert_eq!(world.copies(), []);
        assert_eq!(world.sealed(N2), 1, "it is kept, and serves nobody");
        assert!(world.participant(N1).is_settled());
        assert_eq!(world.participant(N1).displaced(), 0);
        assert_eq!(world.events(), []);
    }
}

#[test]
fn arrivals_of_sessions_never_granted_leave_nothing_behind() {
    let mut world = World::founded(&[N1, N2], &[]);
    for number in 0..2000 {
        let id = stranger(number);
        world.tell(N2, N1, Body::Arrived { id, tenure: FAR });
        world.deliver();
    }
    assert_eq!(world.participant(N1).displaced(), 0);
    world.pass(secs(3600));
    assert_eq!(world.events(), []);
}

#[test]
fn a_state_of_an_older_tenure_replaces_nothing() {
    let (mut world, tenure) = settled();
    let before = world.copies();
    for tenure in [Tenure::NONE, tenure] {
        let state = Body::State {
            id: S,
            tenure,
            revision: Revision::new(u64::MAX),
            state: Bytes::from_static(b"forged"),
        };
        world.tell(N4, N3, state);
    }
    world.pass(secs(60));
    assert_eq!(world.copies(), before);
}

#[test]
fn a_manager_that_speaks_nonsense_makes_no_second_owner() {
    let (_, held) = settled();
    let mut bodies = spoken_out_of_role(FAR);
    bodies.push(Body::Release {
        id: S,
        held,
        to: N4,
        tenure: FAR,
    });
    bodies.push(Body::Release {
        id: S,
        held: FAR,
        to: NOBODY,
        tenure: held,
    });
    for body in bodies {
        for to in [N2, N3, N4] {
            let (mut world, _) = settled();
            world.tell(N1, to, body.clone());
            world.pass(secs(60));
            assert!(world.serving().len() <= 1, "{body:?} to {to:?}");
        }
    }
}

fn end(tenure: Tenure) -> Body {
    Body::End {
        id: S,
        tenure,
        keep_for: Duration::MAX,
    }
}

/// A state that nobody was granted.
fn forged(tenure: Tenure) -> Body {
    Body::State {
        id: S,
        tenure,
        revision: Revision::new(u64::MAX),
        state: Bytes::from_static(b"forged"),
    }
}

#[test]
fn a_state_of_an_epoch_to_come_is_not_installed() {
    for to in [N1, N2, N3] {
        let (mut world, _) = settled();
        let before = world.copies();
        world.tell(N4, to, forged(FAR));
        world.pass(secs(60));
        assert_eq!(world.copies(), before, "{to:?}");
    }
}

#[test]
fn a_held_copy_is_never_replaced() {
    let (mut world, _) = settled();
    let before = world.copies();
    let never_allotted = Tenure::new(LayoutVersion::from_u64(1), u64::MAX);
    world.tell(N4, N3, forged(never_allotted));
    world.pass(secs(60));
    assert_eq!(world.copies(), before);
}

#[test]
fn a_forged_state_does_not_block_later_moves() {
    let (mut world, _) = settled();
    world.tell(N4, N2, forged(FAR));
    world.pass(secs(60));
    world.ask(N2);
    world.pass(secs(60));
    assert_eq!(world.serving(), [N2]);
}

#[test]
fn an_end_under_a_tenure_never_allotted_ends_nothing() {
    let (mut world, _) = settled();
    let before = world.copies();
    world.tell(N4, N1, end(FAR));
    world.pass(secs(60));
    assert_eq!(world.copies(), before);
}

#[test]
fn a_directory_that_names_a_far_held_tenure_is_left_out() {
    let tenure = Tenure::new(LayoutVersion::from_u64(1), 5);
    let mut world = pulling();
    let places = vec![record(S, moving(N4, FAR, N3, tenure))];
    world.tell(N1, N2, directory(BUCKET, places));
    world.tell(N4, N2, Body::Busy { id: S, tenure });
    assert!(world.serving().len() <= 1);
}

#[test]
fn doubt_that_a_directory_claims_is_bounded() {
    let mut world = World::founded(&[N1, N2, N3, N4], &[N2]);
    world.create(N3);
    world.lose(|_, _, body| matches!(body, Body::Directory { .. }));
    world.agree(N2, &[N1]);
    world.deliver();
    let directory = Body::Directory {
        bucket: BUCKET,
        records: Vec::new(),
        doubt_for: Duration::MAX,
        lost_for: Duration::MAX,
    };
    world.tell(N1, N2, directory);
    world.heal();
    world.pass(hours(24));
    let id = stranger(3);
    let want = Want::Locate;
    world.give(N4, Input::Find { id, want });
    world.pass(secs(10));
    assert_eq!(world.found(N4), [Found::Absent { lost: false }]);
}
