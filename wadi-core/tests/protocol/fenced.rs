//! A node is fenced, comes back, and is fenced again before everything from the first time is offered: each
//! copy is offered by when it served last itself.

use std::sync::Arc;

use bytes::Bytes;
use wadi_core::bucket::{BucketId, Layout, LayoutVersion, Placement};
use wadi_core::clock::Moment;
use wadi_core::member::{Incarnation, Member, NodeName, Standing};
use wadi_core::message::Body;
use wadi_core::protocol::{Copy, Holdings, Input, Output, Participant, ReturnedCopy, Settings};
use wadi_core::session::SessionId;
use wadi_core::tenure::{Revision, Tenure};

use crate::world::{N1, N2, N3, N4, S, secs, stranger};

struct Nothing;

impl Holdings for Nothing {
    fn get(&self, _: &SessionId) -> Option<Copy> {
        None
    }

    fn for_each_in(&self, _: BucketId, _: &mut dyn FnMut(SessionId, Copy)) {}

    fn is_empty(&self) -> bool {
        true
    }
}

fn at(seconds: u64) -> Moment {
    Moment::ZERO + secs(seconds)
}

/// n1 has the only bucket, and this is the other member.
fn layout(version: u64, other: Incarnation) -> Arc<Layout> {
    let first = LayoutVersion::from_u64(1);
    let member = |who: Incarnation| Member {
        node: NodeName::new(format!("n{}", who.get())),
        address: String::new(),
        place: None,
        standing: Standing::Ready,
    };
    Arc::new(Layout {
        version: LayoutVersion::from_u64(version),
        unproven: LayoutVersion::ZERO,
        members: [N1, other].map(|who| (who, member(who))).into(),
        placements: vec![Placement {
            manager: N1,
            deputies: Vec::new(),
            since: first,
            previous: None,
        }],
    })
}

fn held(id: SessionId) -> ReturnedCopy {
    ReturnedCopy {
        id,
        tenure: Tenure::new(LayoutVersion::from_u64(1), 1),
        revision: Revision::ZERO,
        held: true,
        away_since: None,
        state: Bytes::from_static(b"v0"),
    }
}

/// Gives the lease and the layout, and what is due at that moment; which copies are offered, whether each
/// was held last, and for how many seconds it has served nobody.
fn offers(
    node: &mut Participant,
    version: u64,
    seconds: u64,
    lease: u64,
) -> Vec<(SessionId, bool, u64)> {
    let (now, mut out) = (at(seconds), Vec::new());
    let me = node.me();
    let inputs = [Input::Lease(at(lease)), Input::Layout(layout(version, me))];
    for input in inputs {
        node.handle(now, input, &Nothing, &mut out);
    }
    while let Some((_, timer)) = node.next_timer().filter(|(due, _)| *due <= now) {
        node.handle(now, Input::Timer(timer), &Nothing, &mut out);
    }
    let bodies = out.into_iter().flat_map(|output| match output {
        Output::Send { message, .. } => message.into_bodies().collect(),
        _ => Vec::new(),
    });
    let offers = bodies.filter_map(|body| match body {
        Body::Offer {
            id, held, away_for, ..
        } => Some((id, held, away_for.as_secs())),
        _ => None,
    });
    let mut offers: Vec<_> = offers.collect();
    offers.sort_unstable();
    offers
}

#[test]
fn what_a_node_held_until_lately_is_the_newest_whatever_waits_from_before() {
    let mut node = Participant::new(N2, Arc::new(Settings::default()));
    assert!(offers(&mut node, 1, 0, 1).is_empty());
    let mut node = node.come_back(N3, vec![held(S)]);
    assert_eq!(offers(&mut node, 2, 5, 20), [(S, true, 4)]);
    // Nobody has answered yet.
    let later = stranger(1);
    let mut node = node.come_back(N4, vec![held(later)]);
    assert_eq!(
        offers(&mut node, 3, 26, 30),
        [(S, false, 25), (later, true, 6)]
    );
}
