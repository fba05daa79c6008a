//! A node takes over many buckets at once: their directories come in turn, first those that somebody waits
//! for, and who asked too early is answered as soon as anybody can.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use wadi_core::bucket::{BucketCount, BucketId, Layout, LayoutVersion, Placement};
use wadi_core::clock::Moment;
use wadi_core::member::{Incarnation, Member, NodeName, Standing};
use wadi_core::message::{Body, Message, Want};
use wadi_core::protocol::{Copy, Found, Holdings, Input, Output, Participant, Settings};
use wadi_core::session::SessionId;
use wadi_core::tenure::{Revision, Tenure};

use crate::world::{N1, N2, N3};

const BUCKETS: u16 = 8;
const NOW: Moment = Moment::from_nanos(1_000_000_000);

fn buckets() -> BucketCount {
    BucketCount::new(BUCKETS).expect("above zero")
}

fn session_in(bucket: u16) -> SessionId {
    let mut ids = (0..=u8::MAX).map(|number| SessionId::from_parts([number; 16], 1));
    let is_in = |id: &SessionId| id.bucket(buckets()) == BucketId::new(bucket);
    ids.find(is_in).expect("there are 256 for 8 buckets")
}

/// `from` manages everything up to version 1, and `to` from version 2 on.
fn layout(version: u64, from: Incarnation, to: Incarnation) -> Input {
    let version = LayoutVersion::from_u64(version);
    let first = LayoutVersion::from_u64(1);
    let placement = Placement {
        manager: if version == first { from } else { to },
        deputies: Vec::new(),
        since: version,
        previous: (version != first).then_some(from),
    };
    let member = |who: Incarnation| {
        let member = Member {
            node: NodeName::new(format!("n{}", who.get())),
            address: String::new(),
            place: None,
            standing: Standing::Ready,
        };
        (who, member)
    };
    Input::Layout(Arc::new(Layout {
        version,
        unproven: LayoutVersion::ZERO,
        members: [N1, N2, N3].map(member).into_iter().collect(),
        placements: vec![placement; BUCKETS.into()],
    }))
}

/// A node's session map.
#[derive(Default)]
struct Map(BTreeMap<SessionId, Copy>);

impl Holdings for Map {
    fn get(&self, id: &SessionId) -> Option<Copy> {
        self.0.get(id).copied()
    }

    fn for_each_in(&self, bucket: BucketId, each: &mut dyn FnMut(SessionId, Copy)) {
        for (id, copy) in &self.0 {
            if id.bucket(buckets()) == bucket {
                each(*id, *copy);
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// n1 has one session in each bucket and hands all buckets over to n2; n3 looks on.
struct Scene {
    nodes: BTreeMap<Incarnation, (Participant, Map)>,
    network: VecDeque<(Incarnation, Incarnation, Message)>,
    found: Vec<(Incarnation, SessionId, Found)>,
    /// Which buckets' directories were asked for, in order.
    pulled: Vec<u16>,
}

impl Scene {
    fn new() -> Self {
        let settings = Arc::new(Settings {
            hand_over_records: 1,
            ..Settings::default()
        });
        let node = |who| {
            (
                who,
                (Participant::new(who, settings.clone()), Map::default()),
            )
        };
        let mut scene = Self {
            nodes: [N1, N2, N3].map(node).into_iter().collect(),
            network: VecDeque::new(),
            found: Vec::new(),
            pulled: Vec::new(),
        };
        let copy = Copy {
            tenure: Tenure::new(LayoutVersion::from_u64(1), 0),
            revision: Revision::ZERO,
        };
        let sessions = (0..BUCKETS).map(|bucket| (session_in(bucket), copy));
        let (_, map) = scene.nodes.get_mut(&N1).expect("it is there");
        map.0.extend(sessions);
        for who in [N1, N2, N3] {
            scene.give(who, Input::Lease(Moment::from_nanos(u64::MAX)));
            scene.give(who, layout(1, N1, N2));
        }
        for who in [N1, N3, N2] {
            scene.give(who, layout(2, N1, N2));
        }
        scene
    }

    fn give(&mut self, who: Incarnation, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let (participant, map) = self.nodes.get_mut(&who).expect("it is there");
            let mut outputs = Vec::new();
            participant.handle(NOW, input, map, &mut outputs);
            assert_eq!(participant.check(), Ok(()));
            for output in outputs {
                match output {
                    Output::Send { to, message } if to == who => {
                        inputs.push_back(Input::Message { from: who, message });
                    }
                    Output::Send { to, message } => {
                        if let Body::Pull { bucket } = message.body {
                            self.pulled.push(bucket.get());
                        }
                        self.network.push_back((who, to, message));
                    }
                    Output::Found { id, found } => self.found.push((who, id, found)),
                    _ => {}
                }
            }
        }
    }

    fn find(&mut self, who: Incarnation, bucket: u16) {
        let (id, want) = (session_in(bucket), Want::Locate);
        self.give(who, Input::Find { id, want });
    }

    /// Delivers the next message, whatever it is.
    fn deliver_one(&mut self) -> bool {
        let Some((from, to, message)) = self.network.pop_front() else {
            return false;
        };
        self.give(to, Input::Message { from, message });
        true
    }
}

#[test]
fn directories_are_asked_for_in_turn_and_first_where_somebody_waits() {
    let mut scene = Scene::new();
    assert_eq!(scene.pulled, [0], "one at a time");
    scene.find(N2, 5);
    assert_eq!(scene.pulled, [0, 5]);
    // Another node's request waits, too, and nobody is asked twice.
    scene.find(N3, 6);
    scene.find(N2, 5);
    while scene.deliver_one() {}
    assert_eq!(scene.pulled, [0, 5, 6, 1, 2, 3, 4, 7]);
    let (participant, _) = &scene.nodes[&N2];
    assert_eq!(participant.displaced(), usize::from(BUCKETS), "all came");
}

#[test]
fn who_asked_too_early_is_answered_when_the_directory_comes() {
    let mut scene = Scene::new();
    scene.find(N2, 5);
    scene.find(N3, 6);
    // No time passes, so nobody asks again.
    while scene.deliver_one() {}
    let at = Found::At(N1);
    assert_eq!(
        scene.found,
        [(N2, session_in(5), at), (N3, session_in(6), at)]
    );
}
