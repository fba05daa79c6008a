//! What the fuzz target calls: everything that one node's part in the authority decodes of others' bytes,
//! and what comes of it without openraft in between.
//!
//! Only in test and fuzz builds. A replica here believes whoever speaks to lead, and to have agreed
//! what he says; it panics when a promise is broken.

use std::io::Cursor;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use openraft::storage::RaftStateMachine;
use openraft::{CommittedLeaderId, Entry, EntryPayload, LogId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use super::asking::may_be_asked;
use super::machine::Machine;
use super::message::{Body, Invitation, LARGEST_MESSAGE, Message, Reply, Said, decode, encode};
use super::types::{Found, Founder, Proposal, RaftTypes, What};
use crate::authority::{Answer, Charter, Command, Lease};
use crate::bucket::BucketCount;
use crate::clock::Moment;
use crate::member::{Founding, NodeName, Place};

/// More buckets than this take time, and show nothing else.
const MOST_BUCKETS: u16 = 64;

/// A moment of the asking node's clock.
const NOW: Moment = Moment::from_nanos(60_000_000_000);

/// One node's replica, which others tell of what is agreed.
#[derive(Debug)]
pub struct Told(Machine);

impl Told {
    /// Of nothing yet.
    #[must_use]
    pub fn nothing() -> Self {
        Self(Machine::new())
    }

    /// Of a cluster of three nodes, of which one is leaving and one has died.
    #[must_use]
    pub fn of_a_cluster() -> Self {
        let told = Self::nothing();
        let founder = |number: u32| Founder {
            node: NodeName::new(format!("n{number}")),
            address: format!("127.0.0.1:{number}"),
            place: Some(Place::new(1)),
        };
        let charter = Charter {
            buckets: BucketCount::new(6).expect("it is not zero"),
            ..Charter::default()
        };
        let found = Found {
            charter,
            founding: Founding::new(1),
            generation: 1,
            first: (1..=4).map(founder).collect(),
        };
        let numbered = |place| found.incarnation(place);
        let (by, leaves, dies) = (numbered(0), numbered(2), numbered(3));
        told.agreed(What::Found(found.clone()));
        let version = told.register().layout().version;
        let propose = Command::Propose {
            against: version,
            most_moves: None,
        };
        let dead = Command::DeclareDead {
            by,
            incarnation: dies,
            proof: crate::authority::Proof::Operator,
        };
        told.agreed(What::Commands(vec![propose, Command::Leave(leaves), dead]));
        told
    }

    /// A question of another node, or what a leader tells.
    pub fn question(&self, bytes: &[u8]) {
        let Some(message) = decode::<Message>(bytes) else {
            return;
        };
        travels::<Message>(&message);
        match message.body {
            Body::Append(_, rpc) => rpc.entries.into_iter().for_each(|entry| self.apply(entry)),
            Body::Snapshot(_, rpc) => {
                let mut machine = self.0.clone();
                let snapshot = Box::new(Cursor::new(rpc.data));
                // What cannot be read is refused, and whatever is not refused is whole.
                drop(at_once(machine.install_snapshot(&rpc.meta, snapshot)));
                self.check();
            }
            Body::Ask { by, command } => {
                if may_be_asked(&command, by) {
                    self.agreed(What::Commands(vec![command]));
                }
            }
            Body::Invite(Invitation { found, .. }) => self.agreed(What::Found(found)),
            Body::Vote(..) | Body::WhoIsThere | Body::Deaths(_) | Body::Known(_) => {}
        }
    }

    /// The register in a snapshot, whoever built it.
    pub fn snapshot(&self, bytes: &[u8]) {
        let mut machine = self.0.clone();
        let snapshot = Box::new(Cursor::new(bytes.to_vec()));
        if at_once(machine.install_snapshot(&Default::default(), snapshot)).is_ok() {
            self.check();
            // It goes on from there.
            let propose = self.0.register().map(|register| Command::Propose {
                against: register.layout().version,
                most_moves: None,
            });
            let join = Command::Join {
                node: NodeName::new("new"),
                address: "127.0.0.1:9".to_owned(),
                place: None,
            };
            self.agreed(What::TakeOver);
            self.agreed(What::Commands(
                propose.into_iter().chain([join, Command::Expire]).collect(),
            ));
        }
    }

    fn register(&self) -> crate::authority::Register {
        self.0.register().expect("it was founded")
    }

    /// A leader had this agreed, in the term in which it took over last.
    fn agreed(&self, what: What) {
        let led = self.0.led_by().unwrap_or(CommittedLeaderId::new(1, 1));
        let proposal = Proposal {
            term: led.term,
            now: NOW,
            what,
        };
        self.apply(Entry {
            log_id: LogId::new(led, 1),
            payload: EntryPayload::Normal(proposal),
        });
    }

    fn apply(&self, entry: Entry<RaftTypes>) {
        if let EntryPayload::Normal(Proposal {
            what: What::Found(found),
            ..
        }) = &entry.payload
            && found.charter.buckets.get() > MOST_BUCKETS
        {
            return;
        }
        let mut machine = self.0.clone();
        at_once(machine.apply([entry])).expect("it is in memory");
        self.check();
    }

    fn check(&self) {
        if let Some(register) = self.0.register() {
            assert_eq!(register.check(), Ok(()));
            let now = NOW;
            assert!(register.overdue(now).len() <= register.layout().members.len());
        }
    }
}

/// An answer to what this node asked.
pub fn answer(bytes: &[u8]) {
    let Some(reply) = decode::<Reply>(bytes) else {
        return;
    };
    travels::<Reply>(&reply);
    let length = match reply {
        Reply::Said(Said::Answered(Answer::Joined(joined), _)) => joined.lease,
        Reply::Said(Said::Answered(Answer::Renewed(Ok(length)), _)) => length,
        _ => return,
    };
    leased(length);
}

/// Whatever length is granted, the lease begins when it was asked for, and can be renewed.
fn leased(length: Duration) {
    let mut lease = Lease::joined(NOW, length, NOW);
    // Nine tenths of it count, in whole nanoseconds.
    let counts = length.as_nanos() * 9 / 10 > 0;
    assert_eq!(lease.is_valid(NOW), counts);
    assert!(lease.until() <= Some(NOW + length));
    let number = lease.renew(NOW);
    lease.granted(number, length, NOW);
    assert!(lease.renewal_due() >= Some(NOW));
}

/// The bytes of a question that `teller` tells, if it is one.
pub fn tell_question<'de>(teller: impl Deserializer<'de>) -> Option<Vec<u8>> {
    encode(&Message::deserialize(teller).ok()?)
}

/// The bytes of an answer that `teller` tells, if it is one.
pub fn tell_answer<'de>(teller: impl Deserializer<'de>) -> Option<Vec<u8>> {
    encode(&Reply::deserialize(teller).ok()?)
}

/// What was decoded arrives elsewhere as the same.
fn travels<T: Serialize + DeserializeOwned>(value: &T) {
    let Some(bytes) = encode(value) else { return };
    assert!(bytes.len() <= LARGEST_MESSAGE);
    let again: T = decode(&bytes).expect("it is ours");
    assert!(encode(&again) == Some(bytes), "it arrived as another one");
}

/// What a replica in memory never waits for.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("a replica in memory waits for nothing"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::Incarnation;

    fn snapshot_of(told: &Told) -> Vec<u8> {
        use openraft::RaftSnapshotBuilder as _;
        let built = at_once(told.0.clone().build_snapshot()).expect("it can be encoded");
        built.snapshot.into_inner()
    }

    /// Every byte of a good snapshot, changed; the fuzz target goes on from here.
    #[test]
    fn a_snapshot_with_a_byte_changed_is_refused_or_whole() {
        let good = snapshot_of(&Told::of_a_cluster());
        Told::nothing().snapshot(&good);
        for at in 0..good.len() {
            for byte in 0..=255 {
                let mut changed = good.clone();
                changed[at] = byte;
                Told::of_a_cluster().snapshot(&changed);
            }
        }
    }

    #[test]
    fn a_lease_of_any_length_begins_when_it_was_asked_for() {
        let short = [0, 1, 2, 10].map(Duration::from_nanos);
        for length in short
            .into_iter()
            .chain([Duration::from_secs(4), Duration::MAX])
        {
            leased(length);
        }
    }

    #[test]
    fn one_who_was_never_given_a_number_changes_nothing() {
        let told = Told::of_a_cluster();
        let before = told.register();
        let by = Some(Incarnation::new(u64::MAX));
        let command = Command::Leave(Incarnation::new(u64::MAX));
        let body = Body::Ask { by, command };
        let cluster = Some(Founding::new(1));
        told.question(&encode(&Message { cluster, body }).expect("it is small"));
        assert_eq!(told.register(), before);
    }
}
