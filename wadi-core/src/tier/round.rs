//! The rounds over all buckets: who is to go down.
//!
//! One batch at a time, so that whoever calls gives way between them.

use std::sync::atomic::Ordering::SeqCst;

use super::sweep::Swept;
use super::tour::{Met, Pause, Tour};
use super::{Tier, Told};
use crate::evict::Evicter;
use crate::store::StoreError;

/// Where the rounds are.
#[derive(Debug, Default)]
pub(super) struct Place {
    tour: Tour,
    /// After the store failed.
    pause: Pause,
    pub(super) swept: Swept,
}

/// What one batch did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Sessions looked at.
    pub looked_at: usize,
    /// Sessions that went down.
    pub demoted: usize,
    /// Whether this batch came to the end of the last bucket.
    pub done: bool,
}

impl Tier {
    /// Looks at whole buckets until so many sessions were looked at, and has those go down that the policy
    /// chooses. Called by one task, again and again, and not cancelled.
    pub async fn evict(&self, batch: usize) -> Round {
        self.evict_by(&*self.evicter, batch).await
    }

    /// As [`Tier::evict`], by another policy.
    pub async fn evict_by(&self, evicter: &dyn Evicter, batch: usize) -> Round {
        let _turn = self.turn.lock().await;
        let now = self.sessions.now();
        let mut round = Round::default();
        if self.is_left_alone() || !self.is_settled().await {
            round.done = true;
            return round;
        }
        let met = {
            let mut place = self.round.lock();
            place.tour.go_on(&self.sessions, evicter, batch, now)
        };
        let Met {
            chosen,
            others,
            done,
        } = met;
        round.done = done;
        round.looked_at = chosen.len() + others.len();
        let behind = self.behind(others, now);
        let demoted = self.demote(chosen).await;
        round.demoted = demoted.as_ref().map_or(0, |demoted| *demoted);
        let outcome = match demoted {
            Ok(_) => self.copy_all(behind).await,
            Err(error) => Err(error),
        };
        self.keep_pace(outcome);
        round
    }

    /// Whether the store failed a moment ago, or is given nothing more by rounds.
    pub(super) fn is_left_alone(&self) -> bool {
        self.closed.load(SeqCst) || self.round.lock().pause.holds(self.sessions.now())
    }

    /// Whether the store has no rows that are nobody's, but for what may come late.
    pub(super) async fn is_settled(&self) -> bool {
        let settled = self.settle_astray().await;
        if let Err(error) = &settled {
            self.counts.did_not();
            self.tell(Told::NotDemoted(error.clone()));
            self.keep_pace(Err(error.clone()));
        }
        settled.is_ok()
    }

    pub(super) fn keep_pace(&self, outcome: Result<(), StoreError>) {
        let now = self.sessions.now();
        let pause = &mut self.round.lock().pause;
        match outcome {
            Ok(()) => pause.worked(),
            Err(_) => pause.failed(now),
        }
    }
}
