//! What a scenario can do to nodes, one thing after another: each is waited for, told, and written into
//! the ledger, so that the verdict knows what may be because of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;

use super::check::Done;
use super::ledger::{HarmNumber, Ledger};
use super::verdict::names;
use crate::fleet::{Balancer, Client, Fleet, POLL, Part, Status, Way};
use crate::report::{Failure, clock};

/// Leaving is bounded by 25 s of its own.
pub(super) const LEAVE_LIMIT: Duration = Duration::from_secs(40);
pub(super) const READY_LIMIT: Duration = Duration::from_secs(40);
/// Longer than a session in use goes without a request, at the usual rates.
const QUIET: Duration = Duration::from_secs(4);
const LOOK: Duration = Duration::from_millis(100);
/// On a busy machine, whatever the lease: nothing that is waited for is late before that.
const BUSY: Duration = Duration::from_secs(30);

/// What a scenario acts on.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    pub(super) fleet: &'a mut Fleet,
    pub(super) balancer: Arc<Balancer>,
    pub(super) client: Client,
    pub(super) ledger: Arc<Ledger>,
    pub(super) random: fastrand::Rng,
    /// Between two things that happen.
    pub(super) beat: Duration,
    /// How long a node may act that hears nothing.
    pub(super) lease: Duration,
    /// For how long a scenario goes on that has no end of its own.
    pub(super) length: Duration,
    /// Only the shortest form of it.
    pub(super) brief: bool,
    /// What is cut now, and why.
    pub(super) cuts: BTreeMap<HarmNumber, BTreeSet<Way>>,
}

/// A node by what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It has sessions and buckets, as every node.
    Holder,
    Coordinator,
    /// Of the authority.
    Leader,
}

impl Stage<'_> {
    pub(super) async fn rest(&self) {
        tokio::time::sleep(self.beat).await;
    }

    pub(super) fn name(&self, index: usize) -> String {
        self.fleet.nodes[index].name.clone()
    }

    pub(super) fn anybody(&mut self) -> usize {
        let running = self.fleet.running();
        running[self.random.usize(0..running.len())]
    }

    /// Two that run, or as many as can go so that one stays.
    pub(super) fn two(&mut self) -> Vec<usize> {
        let mut running = self.fleet.running();
        self.random.shuffle(&mut running);
        running.truncate(2.min(running.len() - 1));
        running
    }

    pub(super) async fn join(&mut self, index: usize, flags: &[String]) -> Result<(), Failure> {
        let began = self.ledger.now();
        let name = self.name(index);
        self.ledger
            .note(&format!("{name} starts {}", flags.join(" ")));
        self.fleet.start(index, flags)?;
        self.fleet.ready(index).await?;
        while !self.balancer.is_ready(index) {
            if self.ledger.now() - began > READY_LIMIT {
                return Err(Failure::Failed(format!("{name} never became ready")));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let took = clock(self.ledger.now() - began);
        self.ledger.note(&format!("{name} is ready after {took}"));
        Ok(())
    }

    pub(super) async fn leave(&mut self, indices: &[usize]) -> Result<(), Failure> {
        let began = self.ledger.now();
        let names = names(indices);
        self.ledger.note(&format!("{names}: told to leave"));
        for index in indices {
            self.ledger.departs(*index);
            self.fleet.nodes[*index].signal(Signal::TERM);
        }
        for index in indices {
            self.fleet.left(*index, LEAVE_LIMIT).await?;
            self.ledger.departed(*index);
        }
        let took = clock(self.ledger.now() - began);
        self.ledger.note(&format!("{names}: gone after {took}"));
        Ok(())
    }

    /// Kills these at once.
    pub(super) async fn kill(&mut self, indices: &[usize], done: Done) -> Result<(), Failure> {
        let began = self.ledger.now();
        for index in indices {
            self.fleet.nodes[*index].signal(Signal::KILL);
        }
        for index in indices {
            let leash = &mut self.fleet.leash;
            let node = &mut self.fleet.nodes[*index];
            node.ended(leash, Duration::from_secs(5)).await?;
        }
        self.ledger.harmed(done, indices.iter().copied(), began);
        self.ledger.note(&format!("{}: killed", names(indices)));
        Ok(())
    }

    /// Stops a node for so many leases, and longer where the others need longer to miss it.
    pub(super) async fn pause(&mut self, index: usize, leases: f64) -> Result<(), Failure> {
        let name = self.name(index);
        let before = self
            .status(index)
            .await
            .and_then(|status| status.incarnation);
        let length = self.lease.mul_f64(leases);
        self.ledger
            .note(&format!("{name} stands still for {}", clock(length)));
        let began = self.ledger.now();
        self.fleet.nodes[index].signal(Signal::STOP);
        let harm = self.ledger.harmed(Done::Paused, [index], began);
        tokio::time::sleep(length).await;
        let is_missed = leases >= 2.0;
        if is_missed {
            self.until_missed(&[index]).await?;
        }
        let woken = self.ledger.now();
        self.fleet.nodes[index].signal(Signal::CONT);
        self.ledger.undone(harm, woken);
        let now = self.until_back(&[index]).await?;
        let is_new = now != vec![before];
        if is_missed && !is_new {
            let why = "was declared dead, and came back as the same incarnation";
            return Err(Failure::Failed(format!("{name} {why}")));
        }
        let as_whom = if is_new {
            "as somebody new"
        } else {
            "as the same"
        };
        let offers = match self.offered(index) {
            Some(offers) if is_new => format!(", and offered {offers} sessions"),
            _ => String::new(),
        };
        let took = clock(self.ledger.now() - woken);
        self.ledger
            .note(&format!("{name} is back after {took} {as_whom}{offers}"));
        self.heal(woken, self.ledger.patience().heal).await;
        Ok(())
    }

    /// How many sessions it said that it offers, since its last start: the last time.
    fn offered(&self, index: usize) -> Option<u64> {
        let said = self.fleet.nodes[index].said();
        said.lines().rev().find_map(|line| {
            let (_, rest) = line.split_once("offers=")?;
            rest.split_whitespace().next()?.parse().ok()
        })
    }

    /// These ways are cut, until it is undone; others that are cut stay so.
    pub(super) fn cut(
        &mut self,
        done: Done,
        nodes: &[usize],
        ways: BTreeSet<Way>,
    ) -> Result<HarmNumber, Failure> {
        let began = self.ledger.now();
        let before = self.cuts.values().flatten().copied();
        self.wire(before.chain(ways.iter().copied()).collect())?;
        let harm = self.ledger.harmed(done, nodes.iter().copied(), began);
        self.cuts.insert(harm, ways);
        Ok(harm)
    }

    /// Its ways are open again, but for what else cuts them. When that began.
    pub(super) fn mend(&mut self, harm: HarmNumber) -> Result<Duration, Failure> {
        let began = self.ledger.now();
        self.cuts.remove(&harm);
        self.wire(self.cuts.values().flatten().copied().collect())?;
        self.ledger.undone(harm, began);
        Ok(began)
    }

    fn wire(&mut self, ways: BTreeSet<Way>) -> Result<(), Failure> {
        let wires = self.fleet.wires.as_mut();
        let wires = wires.ok_or_else(|| Failure::failed("the nodes have no networks to cut"))?;
        wires.cut(ways)
    }

    pub(super) async fn status(&self, index: usize) -> Option<Status> {
        self.fleet.nodes[index].pid()?;
        Status::ask(&self.client, self.fleet.nodes[index].addresses.admin).await
    }

    pub(super) async fn statuses(&self) -> Vec<(usize, Status)> {
        let mut statuses = Vec::new();
        for index in self.fleet.running() {
            statuses.extend(self.status(index).await.map(|status| (index, status)));
        }
        statuses
    }

    /// Who is that now, by what the nodes say themselves.
    pub(super) async fn who(&mut self, role: Role) -> Result<usize, Failure> {
        let until = self.ledger.now() + BUSY;
        loop {
            let statuses = self.statuses().await;
            let latest = statuses
                .iter()
                .max_by_key(|(_, s)| (s.generation, s.version));
            let name = latest.and_then(|(_, status)| status.coordinator.clone());
            let coordinator = (0..self.fleet.nodes.len())
                .find(|index| Some(&self.fleet.nodes[*index].name) == name.as_ref());
            let mut leaders = statuses
                .iter()
                .filter(|(_, s)| s.part() == Some(Part::Leads));
            let leader = match (leaders.next(), leaders.next()) {
                (Some((index, _)), None) => Some(*index),
                // An election is under way.
                _ => None,
            };
            let others: Vec<usize> = statuses
                .iter()
                .filter(|(index, status)| {
                    Some(*index) != coordinator && Some(*index) != leader && status.held() > 0
                })
                .map(|(index, _)| *index)
                .collect();
            let found = match (role, leader) {
                (_, None) => None,
                (Role::Leader, leader) => leader,
                (Role::Coordinator, _) => coordinator,
                (Role::Holder, _) => self.random.choice(others),
            };
            if let Some(index) = found {
                return Ok(index);
            }
            if self.ledger.now() > until {
                let why = format!("there is no {role:?} after {}", clock(BUSY));
                return Err(Failure::Failed(why));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until one of the others has these among its members no more.
    pub(super) async fn until_missed(&self, nodes: &[usize]) -> Result<(), Failure> {
        let until = self.ledger.now() + self.lease * 5 + BUSY;
        let others = self.fleet.running();
        let others = others.into_iter().filter(|index| !nodes.contains(index));
        let others: Vec<usize> = others.collect();
        loop {
            for other in &others {
                let Some(status) = self.status(*other).await else {
                    continue;
                };
                let mut names = nodes.iter().map(|index| self.name(*index));
                if status.incarnation.is_some() && !names.any(|name| status.member(&name).is_some())
                {
                    return Ok(());
                }
            }
            if self.ledger.now() > until {
                let names = names(nodes);
                let why = format!("{names} was never declared dead");
                return Err(Failure::Failed(why));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until these say that they are ready again, and gives who they are now.
    pub(super) async fn until_back(&self, nodes: &[usize]) -> Result<Vec<Option<u64>>, Failure> {
        let until = self.ledger.now() + self.lease * 5 + BUSY;
        let mut back = Vec::new();
        for index in nodes {
            let node = &self.fleet.nodes[*index];
            loop {
                let http = node.addresses.http;
                let ready = self.client.get(http, "/readyz", POLL * 2).await;
                let ready = ready.is_ok_and(|ready| ready.status.is_success());
                let status = self.status(*index).await;
                if let Some(status) = status.filter(|_| ready)
                    && status.incarnation.is_some()
                {
                    back.push(status.incarnation);
                    break;
                }
                if self.ledger.now() > until {
                    let why = format!("{} is not ready again", node.name);
                    return Err(Failure::Failed(why));
                }
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(back)
    }

    /// Waits until none of these says that it is ready.
    pub(super) async fn until_unready(&self, nodes: &[usize]) -> Result<(), Failure> {
        let until = self.ledger.now() + self.lease + BUSY;
        while nodes.iter().any(|index| self.balancer.is_ready(*index)) {
            if self.ledger.now() > until {
                let who = names(nodes);
                let why = format!("{who} went on without the others");
                return Err(Failure::Failed(why));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Waits until nothing has failed for a while, or until nothing may fail any more; what comes after
    /// shows which of the two it was.
    pub(super) async fn heal(&self, since: Duration, limit: Duration) {
        loop {
            tokio::time::sleep(POLL).await;
            let now = self.ledger.now();
            let seen = self.ledger.seen();
            let last = seen.tally.failed.last().map(|failed| failed.span.ended);
            let quiet = now.saturating_sub(last.unwrap_or(since).max(since));
            if quiet > QUIET || now - since > limit + POLL {
                return;
            }
        }
    }
}
