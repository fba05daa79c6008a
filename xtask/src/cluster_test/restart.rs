//! All nodes are told to leave at once, and are started again: every session is there, and every cookie good.

use std::time::Duration;

use rustix::process::Signal;

use super::below::Ways;
use super::check::Done;
use super::stage::{LEAVE_LIMIT, READY_LIMIT, Stage};
use crate::report::{Failure, clock};

/// How much of the load's time comes before it.
const BEFORE: f64 = 0.6;
const LOOK: Duration = Duration::from_millis(50);

pub(super) async fn play(stage: &mut Stage<'_>) -> Result<(), Failure> {
    tokio::time::sleep(stage.length.mul_f64(BEFORE)).await;
    let statuses = stage.statuses().await;
    let ways = Ways::of(statuses.iter().map(|(_, status)| status));
    let in_memory: u64 = statuses.iter().map(|(_, status)| status.held()).sum();
    stage.ledger.note(&format!(
        "{in_memory} sessions are in memory; {} went down, {} came up, {} calls of the store failed",
        ways.down, ways.up, ways.failed
    ));
    if ways.down == 0 || ways.up == 0 {
        let why = "no session went down and came up again: the store below is not used";
        return Err(Failure::failed(why));
    }
    stage.restart_all().await
}

impl Stage<'_> {
    async fn restart_all(&mut self) -> Result<(), Failure> {
        let all = self.fleet.running();
        let began = self.ledger.now();
        self.ledger.note("all nodes are told to leave at once");
        for index in &all {
            self.fleet.nodes[*index].signal(Signal::TERM);
        }
        let harm = self.ledger.harmed(Done::Stopped, all.clone(), began);
        for index in &all {
            self.fleet.left(*index, LEAVE_LIMIT).await?;
        }
        let gone = self.ledger.now();
        let took = clock(gone - began);
        self.ledger
            .note(&format!("all are gone after {took}, and start again"));
        self.fleet.start_all(&all).await?;
        while all.iter().any(|index| !self.balancer.is_ready(*index)) {
            if self.ledger.now() - gone > READY_LIMIT {
                return Err(Failure::failed("not all nodes are ready again"));
            }
            tokio::time::sleep(LOOK).await;
        }
        let ready = self.ledger.now();
        self.ledger.undone(harm, ready);
        let took = clock(ready - gone);
        self.ledger.note(&format!("all are ready after {took}"));
        Ok(())
    }
}
