use openraft::CommittedLeaderId;
use openraft::testing::{StoreBuilder, Suite};

use super::super::log::Log;
use super::super::message::LARGEST_SNAPSHOT;
use super::super::types::Found;
use super::*;
use crate::authority::{Answer, Charter, Command};
use crate::bucket::{BucketCount, LayoutVersion, Placement};
use crate::member::{Founding, NodeName};
use std::time::Duration;

struct Builder;

impl StoreBuilder<RaftTypes, Log, Machine> for Builder {
    async fn build(&self) -> Result<((), Log, Machine), StorageError<u64>> {
        Ok(((), Log::default(), Machine::new()))
    }
}

#[test]
fn openrafts_own_suite() {
    Suite::test_all(Builder).expect("the suite passes");
}

fn charter() -> Charter {
    Charter {
        buckets: BucketCount::new(16).expect("sixteen is not zero"),
        ..Charter::default()
    }
}

fn found() -> What {
    What::Found(Found {
        charter: charter(),
        founding: Founding::new(7),
        generation: 0,
        first: vec![Founder {
            node: NodeName::new("n1"),
            address: "n1".to_owned(),
            place: None,
        }],
    })
}

/// What it held comes back with those that are left of it.
#[test]
fn several_that_found_may_follow_another_cluster_and_one_alone_does_not() {
    for count in 1..=3_usize {
        let What::Found(mut found) = found() else {
            panic!("it is a founding")
        };
        found.first = vec![found.first[0].clone(); count];
        let mut replay = Replay {
            replica: Replica::default(),
        };
        replay.entry((1, 1), 1, at(0), What::Found(found));
        let layout = replay.replica.register.expect("it is founded");
        let layout = layout.layout();
        assert_eq!(layout.members.len(), count);
        let is_marked = layout.unproven >= layout.placements[0].since;
        assert_eq!(is_marked, count > 1);
    }
}

fn at(seconds: u64) -> Moment {
    Moment::ZERO + Duration::from_secs(seconds)
}

/// One entry after the other, each as (leader's id, term) append it.
struct Replay {
    replica: Replica,
}

impl Replay {
    fn founded() -> Self {
        let mut replay = Self {
            replica: Replica::default(),
        };
        let outcome = replay.entry((1, 1), 1, at(0), found());
        assert!(matches!(outcome, Outcome::Answers(_)));
        replay
    }

    fn entry(&mut self, appended: (u64, u64), term: u64, now: Moment, what: What) -> Outcome {
        let (term_of_entry, leader) = appended;
        let leadership = CommittedLeaderId::new(term_of_entry, leader);
        self.replica
            .carry_out(leadership, Proposal { term, now, what })
    }

    fn commands(&mut self, appended: (u64, u64), now: Moment, commands: &[Command]) -> Outcome {
        self.entry(appended, appended.0, now, What::Commands(commands.to_vec()))
    }
}

const FOUNDER: Incarnation = Incarnation::new(1);

#[test]
fn nothing_counts_before_the_leader_took_over() {
    let mut replay = Replay::founded();
    // The second leader's clock is far ahead: its Expire must not be held against the first's.
    let expire = [Command::Expire];
    assert_eq!(replay.commands((2, 7), at(900), &expire), Outcome::Void);
    let took_over = replay.entry((2, 7), 2, at(900), What::TakeOver);
    assert_eq!(took_over, Outcome::Answers(vec![Answer::TookOver]));
    let expired = replay.commands((2, 7), at(903), &expire);
    assert_eq!(expired, Outcome::Answers(vec![Answer::Expired(vec![])]));
    let expired = replay.commands((2, 7), at(904), &expire);
    assert_eq!(
        expired,
        Outcome::Answers(vec![Answer::Expired(vec![FOUNDER])])
    );
}

#[test]
fn a_deposed_leaders_entry_counts_for_nothing() {
    let mut replay = Replay::founded();
    replay.entry((2, 7), 2, at(900), What::TakeOver);
    let renewed = replay.commands((1, 1), at(1), &[Command::Renew(FOUNDER)]);
    assert_eq!(renewed, Outcome::Void);
}

#[test]
fn a_proposal_that_waited_through_another_leadership_is_void() {
    let mut replay = Replay::founded();
    replay.entry((2, 7), 2, at(900), What::TakeOver);
    // The first leader leads again, and brings a taking over that it meant for its first term.
    assert_eq!(
        replay.entry((3, 1), 1, at(1), What::TakeOver),
        Outcome::Void
    );
    let expire = [Command::Expire];
    assert_eq!(replay.commands((3, 1), at(10), &expire), Outcome::Void);
    let took_over = replay.entry((3, 1), 3, at(10), What::TakeOver);
    assert_eq!(took_over, Outcome::Answers(vec![Answer::TookOver]));
    let expired = replay.commands((3, 1), at(11), &expire);
    assert_eq!(expired, Outcome::Answers(vec![Answer::Expired(vec![])]));
}

#[test]
fn a_register_is_founded_once() {
    let mut replay = Replay::founded();
    assert_eq!(replay.entry((1, 1), 1, at(5), found()), Outcome::Void);
    let mut nothing = Replay {
        replica: Replica::default(),
    };
    assert_eq!(
        nothing.entry((1, 1), 1, at(5), What::TakeOver),
        Outcome::Void
    );
}

#[tokio::test]
async fn a_snapshot_brings_register_and_leadership_and_tells_the_watchers() {
    let mut one = Machine::new();
    {
        let mut state = one.state.lock();
        let leadership = CommittedLeaderId::new(1, 1);
        let proposal = Proposal {
            term: 1,
            now: at(0),
            what: found(),
        };
        let outcome = state.replica.carry_out(leadership, proposal);
        assert!(matches!(outcome, Outcome::Answers(_)));
    }
    let snapshot = one.build_snapshot().await.expect("it is built");
    let mut other = Machine::new();
    let mut layouts = other.layouts();
    other
        .install_snapshot(&snapshot.meta, snapshot.snapshot)
        .await
        .expect("it is installed");
    assert!(layouts.has_changed().expect("the machine is there"));
    let layout = layouts.borrow_and_update().clone().expect("a layout");
    assert!(layout.is_member(FOUNDER));
    assert_eq!(other.register(), one.register());
    assert_eq!(other.led_by(), Some(CommittedLeaderId::new(1, 1)));
}

#[tokio::test]
async fn a_broken_snapshot_is_refused_and_nothing_changes() {
    let mut machine = Machine::new();
    let meta = SnapshotMeta::default();
    let broken = Box::new(Cursor::new(vec![0xc1, 2, 3]));
    assert!(machine.install_snapshot(&meta, broken).await.is_err());
    assert!(!machine.is_founded());
}

#[test]
fn the_largest_snapshot_is_within_its_bound() {
    // The highest generation has the longest numbers.
    let version = LayoutVersion::founding(LayoutVersion::LAST_GENERATION).next();
    let member = Incarnation::new(version.as_u64());
    let placement = Placement {
        manager: member,
        deputies: vec![member; 12],
        since: version,
        previous: Some(member),
    };
    let bytes = rmp_serde::to_vec(&placement).expect("it is encoded");
    let all = bytes.len() as u64 * u64::from(u16::MAX);
    // Members and tombstones, some hundred bytes each, are the rest.
    assert!(all < LARGEST_SNAPSHOT * 3 / 4, "{all}");
}
