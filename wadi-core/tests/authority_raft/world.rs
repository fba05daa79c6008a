//! The nodes of a test, and what a script can have them do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use wadi_core::authority::raft::{AskFailed, RaftAuthority, RaftSettings};
use wadi_core::authority::{Answer, Charter, Command, Joined, Lease, LeftRefused};
use wadi_core::bucket::{BucketCount, Layout};
use wadi_core::clock::{BootClock, Clock, Moment};
use wadi_core::member::{Incarnation, NodeName};

use crate::net::{Net, Wire};

/// Short enough for a test, long enough that a busy machine still beats hearts in time.
pub(crate) const LEASE: Duration = Duration::from_secs(2);

/// Within this everything that must come about has come about, or the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

pub(crate) struct Node {
    pub(crate) authority: Arc<RaftAuthority>,
    pub(crate) me: Incarnation,
    pub(crate) lease: Arc<Mutex<Lease>>,
    renewing: JoinHandle<()>,
}

impl Node {
    pub(crate) fn layout(&self) -> Option<Arc<Layout>> {
        self.authority.layouts().borrow().clone()
    }

    pub(crate) fn voters(&self) -> BTreeSet<Incarnation> {
        self.authority.votes().voters
    }

    pub(crate) async fn ask(&self, command: Command) -> Answer {
        let answer = self.authority.propose(command, PATIENCE).await;
        answer.expect("the cluster answers")
    }

    pub(crate) fn stop_renewing(&self) {
        self.renewing.abort();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

pub(crate) struct World {
    clock: Arc<dyn Clock>,
    pub(crate) net: Arc<Net>,
    pub(crate) nodes: BTreeMap<&'static str, Node>,
}

pub(crate) fn now() -> Moment {
    BootClock.now()
}

/// Waits until `holds`.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "never came about: {what}");
}

impl World {
    /// One node that has founded alone.
    pub(crate) async fn founded_by(name: &'static str) -> Self {
        Self::founded_with(name, Arc::new(BootClock)).await
    }

    /// The same, and all its nodes read this clock.
    pub(crate) async fn founded_with(name: &'static str, clock: Arc<dyn Clock>) -> Self {
        let net = Arc::new(Net::default());
        let mut world = Self {
            net,
            clock,
            nodes: BTreeMap::new(),
        };
        let charter = Charter {
            buckets: BucketCount::new(16).expect("sixteen is not zero"),
            deputies: 1,
            lease: LEASE,
        };
        let sent = now();
        let founded = RaftAuthority::found(world.settings(name), charter, 0).await;
        let (authority, joined) = founded.expect("it founds alone");
        world.add(name, authority, joined, sent);
        world
    }

    /// These nodes, all of them ready; the first has founded.
    pub(crate) async fn of(names: &[&'static str]) -> Self {
        let mut world = Self::founded_by(names[0]).await;
        for name in &names[1..] {
            world.join(name).await;
            world.ready(name).await;
        }
        world
    }

    fn settings(&self, name: &'static str) -> RaftSettings {
        RaftSettings {
            node: NodeName::new(name),
            address: name.to_owned(),
            place: None,
            carrier: Arc::new(Wire {
                net: Arc::clone(&self.net),
                from: name.to_owned(),
            }),
            clock: Arc::clone(&self.clock),
            lease: LEASE,
        }
    }

    pub(crate) async fn join(&mut self, name: &'static str) {
        let seeds = self.nodes.keys().map(|seed| (*seed).to_owned()).collect();
        let sent = now();
        let joined = RaftAuthority::join(self.settings(name), seeds, PATIENCE).await;
        let (authority, joined) = joined.expect("it joins");
        self.add(name, authority, joined, sent);
    }

    fn add(
        &mut self,
        name: &'static str,
        authority: Arc<RaftAuthority>,
        joined: Joined,
        sent: Moment,
    ) {
        self.net.attach(name, Arc::clone(&authority));
        let lease = Arc::new(Mutex::new(Lease::joined(sent, joined.lease, now())));
        let renewing = tokio::spawn(renew(Arc::clone(&authority), Arc::clone(&lease)));
        let node = Node {
            me: authority.incarnation(),
            authority,
            lease,
            renewing,
        };
        self.nodes.insert(name, node);
    }

    pub(crate) fn node(&self, name: &str) -> &Node {
        &self.nodes[name]
    }

    pub(crate) async fn ready(&self, name: &str) {
        let node = self.node(name);
        let answer = node.ask(Command::Ready(node.me)).await;
        assert_eq!(answer, Answer::Recorded(Ok(())));
    }

    pub(crate) async fn leave(&self, name: &str) {
        let node = self.node(name);
        let answer = node.ask(Command::Leave(node.me)).await;
        assert_eq!(answer, Answer::Recorded(Ok(())));
    }

    /// Has the buckets of who leaves given to others, as the coordinator would.
    pub(crate) async fn reassign(&self, name: &str) {
        let node = self.node(name);
        let settled = async {
            loop {
                let Some(against) = node.layout().map(|layout| layout.version) else {
                    continue;
                };
                let command = Command::Propose {
                    against,
                    most_moves: None,
                };
                if let Ok(Answer::Proposed(Ok(_))) = node.authority.propose(command, LEASE).await {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let settled = tokio::time::timeout(PATIENCE, settled).await;
        assert!(settled.is_ok(), "the buckets were never re-assigned");
    }

    /// Says that it has left, until that is agreed, and is gone then.
    pub(crate) async fn left(&mut self, name: &'static str) {
        let node = self.nodes.remove(name).expect("it is a node");
        node.stop_renewing();
        let left = async {
            loop {
                let command = Command::Left {
                    incarnation: node.me,
                    force: false,
                };
                match node.authority.propose(command, LEASE).await {
                    Ok(Answer::Left(Ok(()) | Err(LeftRefused::NotAMember(_)))) => return,
                    Ok(Answer::Left(Err(LeftRefused::StillManages(_)))) => {
                        let layout = node.layout();
                        let command = Command::Propose {
                            against: layout.map_or_else(Default::default, |l| l.version),
                            most_moves: None,
                        };
                        let _ = node.authority.propose(command, LEASE).await;
                    }
                    Ok(other) => panic!("it cannot leave: {other:?}"),
                    Err(AskFailed::Unknown | AskFailed::NoLeader | AskFailed::StillVotes) => {}
                    Err(AskFailed::NotForYou) => panic!("everybody may leave"),
                }
                let renewed = node.authority.renew(LEASE / 4).await;
                if matches!(renewed, Ok(Err(_))) {
                    return;
                }
            }
        };
        let left = tokio::time::timeout(PATIENCE, left).await;
        assert!(left.is_ok(), "{name} never left");
        self.net.detach(name);
        node.authority.close().await;
    }

    /// Ends a node as a crash would.
    pub(crate) async fn kill(&mut self, name: &str) -> Node {
        let node = self.nodes.remove(name).expect("it is a node");
        node.stop_renewing();
        self.net.detach(name);
        node.authority.close().await;
        node
    }

    /// Who leads, once somebody does whom a majority of the voters follows.
    pub(crate) async fn leader_among(&self, names: &[&'static str]) -> &'static str {
        let mut leader = None;
        until("a leader", || {
            let mut leading = names.iter().filter(|n| self.node(n).authority.leads());
            leader = leading.next().copied();
            leader.is_some()
        })
        .await;
        leader.expect("it was waited for")
    }

    pub(crate) async fn leader(&self) -> &'static str {
        let names: Vec<_> = self.nodes.keys().copied().collect();
        self.leader_among(&names).await
    }

    pub(crate) fn set(&self, names: &[&str]) -> BTreeSet<Incarnation> {
        names.iter().map(|name| self.node(name).me).collect()
    }

    /// Waits until these vote, as every node sees it.
    pub(crate) async fn voters_are(&self, names: &[&str]) {
        let expected = self.set(names);
        until("the voters", || {
            self.nodes.values().all(|node| {
                let votes = node.authority.votes();
                votes.voters == expected && !votes.is_changing
            })
        })
        .await;
    }

    /// Waits until no change of the voters is under way, or about to be.
    pub(crate) async fn voters_are_settled(&self) {
        until("the voters are settled", || {
            self.nodes.values().all(|node| {
                let register = node.authority.register();
                let votes = node.authority.votes();
                register.is_some_and(|register| match register.electorates() {
                    [only] => !votes.is_changing && only.voters == votes.voters,
                    _ => false,
                })
            })
        })
        .await;
    }

    pub(crate) async fn voters_count(&self, count: usize) {
        until("the number of voters", || {
            self.nodes.values().all(|node| {
                let votes = node.authority.votes();
                votes.voters.len() == count && !votes.is_changing
            })
        })
        .await;
    }

    /// Waits until every node has the same layout with exactly these members.
    pub(crate) async fn all_see(&self, names: &[&str]) -> Arc<Layout> {
        let expected = self.set(names);
        let mut seen = None;
        until("one layout everywhere", || {
            let layouts: Vec<_> = self.nodes.values().map(Node::layout).collect();
            seen = layouts[0].clone();
            layouts.iter().all(|layout| *layout == layouts[0])
                && seen
                    .as_ref()
                    .is_some_and(|layout| layout.members.keys().eq(&expected))
        })
        .await;
        seen.expect("it was waited for")
    }
}

async fn renew(authority: Arc<RaftAuthority>, lease: Arc<Mutex<Lease>>) {
    loop {
        let number = lease.lock().expect("nobody panicked").renew(now());
        let renewed = authority.renew(LEASE / 4).await;
        {
            let mut lease = lease.lock().expect("nobody panicked");
            match renewed {
                Ok(Ok(length)) => lease.granted(number, length, now()),
                Ok(Err(_)) => lease.refused(),
                Err(_) => {}
            }
            if lease.has_ended() {
                return;
            }
        }
        tokio::time::sleep(LEASE / 8).await;
    }
}
