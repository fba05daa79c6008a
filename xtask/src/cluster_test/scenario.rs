//! What happens to the nodes while the browsers are at work.
//!
//! Each scenario is a short script: somebody joins, leaves, dies, stands still, is cut off. What must hold
//! meanwhile is the same for all of them.

use std::time::Duration;

use clap::ValueEnum;

use super::check::Done;
use super::partition::{self, Shape};
use super::restart;
use super::stage::{Role, Stage};
use super::storm;
use crate::fleet::{Fleet, Part};
use crate::report::{Failure, clock};

/// The flag that holds a node to an older protocol.
const PROTOCOL: &str = "--protocol";
/// Longer than a new generation takes.
const REFOUNDED: Duration = Duration::from_secs(60);

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
    /// A node is killed, and started again at once.
    Crash,
    /// A node of the previous protocol joins and leaves.
    Upgrade,
    /// A node stands still for 0.5, 1.5 and 3 leases: a holder, the coordinator, the authority's leader.
    Pause,
    /// Nodes do not reach each other for a while: halves, one alone, one way only, two halves that both
    /// reach one node. Each node is in a network namespace of its own, so it takes root.
    Partition,
    /// Most of the voters are killed at once.
    KillMajority,
    /// Every browser has a session; then all nodes leave at once, and all are started again. They have a store that
    /// they share, and sessions go there soon.
    Restart,
    /// Nodes leave, die, stand still and are cut off at random, for `--seconds` (600 is a good length).
    Storm,
}

impl Scenario {
    /// How many nodes it needs, so that those who stay are a majority of the list.
    pub(super) fn least_nodes(self) -> usize {
        match self {
            Self::Steady | Self::Rolling => 1,
            Self::Restart => 2,
            Self::Join | Self::Leave | Self::Kill | Self::Crash | Self::Upgrade | Self::Pause => 3,
            Self::Partition | Self::KillMajority | Self::Storm => 5,
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

    /// Whether every browser is to have a session before anything happens.
    pub(super) fn needs_all_sessions(self) -> bool {
        self == Self::Restart
    }

    /// The nodes that run from the beginning.
    pub(super) fn founders(self, nodes: usize) -> Vec<usize> {
        match self {
            Self::Join | Self::Upgrade => (0..nodes - 1).collect(),
            _ => (0..nodes).collect(),
        }
    }

    /// The nodes' lease, where the command line says none: where leases run out, a short one says as
    /// much in less time.
    pub(super) const fn lease(self) -> Duration {
        match self {
            Self::Pause | Self::Partition | Self::KillMajority => Duration::from_secs(2),
            _ => Duration::from_secs(4),
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
                let began = stage.ledger.now();
                stage.kill(&[victim], Done::Killed).await?;
                stage.heal(began, stage.ledger.patience().whole()).await;
            }
            Self::Crash => {
                let victim = stage.anybody();
                let began = stage.ledger.now();
                stage.kill(&[victim], Done::Killed).await?;
                stage.join(victim, &[]).await?;
                stage.heal(began, stage.ledger.patience().whole()).await;
            }
            Self::Upgrade => {
                stage.join(last, &[format!("{PROTOCOL}=1")]).await?;
                stage.rest().await;
                stage.leave(&[last]).await?;
            }
            Self::Pause => pause(stage).await?,
            Self::Partition => {
                for shape in Shape::all(stage.brief) {
                    partition::play(shape, stage).await?;
                }
            }
            Self::KillMajority => kill_majority(stage).await?,
            Self::Restart => restart::play(stage).await?,
            Self::Storm => storm::play(stage).await?,
        }
        stage.rest().await;
        Ok(())
    }
}

async fn pause(stage: &mut Stage<'_>) -> Result<(), Failure> {
    if stage.brief {
        for (role, leases) in [(Role::Leader, 0.5), (Role::Holder, 3.0)] {
            let index = stage.who(role).await?;
            stage.pause(index, leases).await?;
        }
        return Ok(());
    }
    for leases in [0.5, 1.5, 3.0] {
        for role in [Role::Holder, Role::Coordinator, Role::Leader] {
            let index = stage.who(role).await?;
            let name = stage.name(index);
            stage.ledger.note(&format!("{name} is the {role:?}"));
            stage.pause(index, leases).await?;
        }
    }
    Ok(())
}

async fn kill_majority(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let leader = stage.who(Role::Leader).await?;
    let statuses = stage.statuses().await;
    let voters = statuses
        .iter()
        .filter(|(_, status)| matches!(status.part(), Some(Part::Leads | Part::Votes)));
    let mut others: Vec<usize> = voters.map(|(index, _)| *index).collect();
    let count = others.len() / 2 + 1;
    others.retain(|index| *index != leader);
    stage.random.shuffle(&mut others);
    others.truncate(count - 1);
    let victims: Vec<usize> = [leader].into_iter().chain(others).collect();
    let generation = |statuses: &[(usize, crate::fleet::Status)]| {
        let all = statuses
            .iter()
            .filter(|(_, status)| status.incarnation.is_some());
        all.map(|(_, status)| status.generation).min()
    };
    let before = generation(&statuses);
    let began = stage.ledger.now();
    stage.kill(&victims, Done::KilledMost).await?;
    loop {
        let statuses = stage.statuses().await;
        let all_are_members = statuses
            .iter()
            .all(|(_, status)| status.incarnation.is_some());
        if all_are_members && !statuses.is_empty() && generation(&statuses) > before {
            break;
        }
        let waited = stage.ledger.now() - began;
        if waited > REFOUNDED {
            let why = format!(
                "those who are left have founded no next generation after {}",
                clock(waited)
            );
            return Err(Failure::Failed(why));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let survivors = stage.fleet.running();
    stage.until_back(&survivors).await?;
    let took = clock(stage.ledger.now() - began);
    stage.ledger.note(&format!(
        "{} founded the next generation, and are ready {took} after the deaths",
        super::verdict::names(&survivors)
    ));
    stage.heal(began, stage.ledger.patience().whole()).await;
    Ok(())
}
