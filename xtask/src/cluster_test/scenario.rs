//! What happens to the nodes while the browsers are at work.
//!
//! Each scenario is a short script: somebody joins, leaves, dies. What must hold meanwhile is the same
//! for all of them.

use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use rustix::process::Signal;

use super::check::{Death, Span};
use super::ledger::Ledger;
use crate::fleet::{Balancer, Fleet, POLL};
use crate::report::{Failure, clock};

/// Leaving is bounded by 25 s of its own.
pub(super) const LEAVE_LIMIT: Duration = Duration::from_secs(40);
const READY_LIMIT: Duration = Duration::from_secs(40);
/// Longer than a session in use goes without a request, at the usual rates.
const QUIET: Duration = Duration::from_secs(6);
/// The flag that holds a node to an older protocol.
const PROTOCOL: &str = "--protocol";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Nothing happens.
    Steady,
    /// A node joins.
    Join,
    /// A node leaves; then two at once.
    Leave,
    /// Each node leaves and is started again, one after another.
    Rolling,
    /// A node is killed.
    Kill,
    /// A node of the previous protocol joins and leaves.
    Upgrade,
}

/// What a scenario acts on.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    pub(super) fleet: &'a mut Fleet,
    pub(super) balancer: Arc<Balancer>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) random: fastrand::Rng,
    /// Between two things that happen.
    pub(super) beat: Duration,
}

impl Scenario {
    /// How many nodes it needs, so that those who stay are a majority of the list.
    pub(super) fn least_nodes(self) -> usize {
        match self {
            Self::Steady | Self::Rolling => 1,
            Self::Join | Self::Leave | Self::Kill | Self::Upgrade => 3,
        }
    }

    /// Why it cannot run with these nodes.
    pub(super) fn refused(self, fleet: &Fleet) -> Option<Failure> {
        let nodes = fleet.nodes.len();
        if nodes < self.least_nodes() {
            let least = self.least_nodes();
            let why = format!("this scenario needs --nodes {least} or more");
            return Some(Failure::Failed(why));
        }
        (self == Self::Upgrade && !fleet.has(PROTOCOL)).then(|| {
            let why = format!("the reference node knows no {PROTOCOL}: there is one protocol only");
            Failure::NotRun(why)
        })
    }

    /// The nodes that run from the beginning.
    pub(super) fn founders(self, nodes: usize) -> Vec<usize> {
        match self {
            Self::Join | Self::Upgrade => (0..nodes - 1).collect(),
            _ => (0..nodes).collect(),
        }
    }

    pub(super) async fn play(self, stage: &mut Stage<'_>) -> Result<(), Failure> {
        let last = stage.fleet.nodes.len() - 1;
        stage.rest().await;
        match self {
            Self::Steady => {}
            Self::Join => stage.join(last, &[]).await?,
            Self::Leave => {
                let one = stage.anybody();
                stage.leave(&[one]).await?;
                stage.rest().await;
                let pair = stage.two();
                stage.leave(&pair).await?;
            }
            Self::Rolling => {
                for index in 0..=last {
                    stage.leave(&[index]).await?;
                    stage.join(index, &[]).await?;
                    stage.rest().await;
                }
            }
            Self::Kill => {
                let victim = stage.anybody();
                stage.kill(victim).await?;
            }
            Self::Upgrade => {
                stage.join(last, &[format!("{PROTOCOL}=1")]).await?;
                stage.rest().await;
                stage.leave(&[last]).await?;
            }
        }
        stage.rest().await;
        Ok(())
    }
}

impl Stage<'_> {
    async fn rest(&self) {
        tokio::time::sleep(self.beat).await;
    }

    fn name(&self, index: usize) -> String {
        self.fleet.nodes[index].name.clone()
    }

    fn anybody(&mut self) -> usize {
        let running = self.fleet.running();
        running[self.random.usize(0..running.len())]
    }

    /// Two that run, or as many as can go so that one stays.
    fn two(&mut self) -> Vec<usize> {
        let mut running = self.fleet.running();
        self.random.shuffle(&mut running);
        running.truncate(2.min(running.len() - 1));
        running
    }

    async fn join(&mut self, index: usize, flags: &[String]) -> Result<(), Failure> {
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

    async fn leave(&mut self, indices: &[usize]) -> Result<(), Failure> {
        let began = self.ledger.now();
        let names: Vec<String> = indices.iter().map(|index| self.name(*index)).collect();
        let names = names.join(" and ");
        self.ledger.note(&format!("{names}: told to leave"));
        for index in indices {
            self.fleet.nodes[*index].signal(Signal::TERM);
        }
        for index in indices {
            self.fleet.left(*index, LEAVE_LIMIT).await?;
        }
        let took = clock(self.ledger.now() - began);
        self.ledger.note(&format!("{names}: gone after {took}"));
        Ok(())
    }

    /// Waits until nothing has failed for a while, or until nothing may fail any more; what comes after
    /// shows which of the two it was.
    async fn heal(&self, died: Duration) {
        let whole = self.ledger.patience().whole() + POLL;
        loop {
            tokio::time::sleep(POLL).await;
            let now = self.ledger.now();
            let seen = self.ledger.seen();
            let last = seen.tally.failed.last().map(|failed| failed.span.ended);
            let quiet = now.saturating_sub(last.unwrap_or(died).max(died));
            if quiet > QUIET || now - died > whole {
                return;
            }
        }
    }

    async fn kill(&mut self, index: usize) -> Result<(), Failure> {
        let name = self.name(index);
        let began = self.ledger.now();
        self.fleet.nodes[index].signal(Signal::KILL);
        let leash = &mut self.fleet.leash;
        self.fleet.nodes[index]
            .ended(leash, Duration::from_secs(5))
            .await?;
        let ended = self.ledger.now();
        let span = Span { began, ended };
        self.ledger.died(Death { node: index, span });
        self.ledger.note(&format!("{name}: killed"));
        self.heal(began).await;
        Ok(())
    }
}
