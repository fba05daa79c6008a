//! The rounds over all buckets: who is to go down, and what has run out below.
//!
//! One batch at a time, so that whoever calls gives way between them.

use std::sync::Arc;

use super::tour::{Met, Pause, Tour};
use super::{Copies, Tier, Told};
use crate::bucket::BucketId;
use crate::evict::Evicter;
use crate::store::{Claim, Page, StoreError};

/// How many sessions that have run out come up at once to be ended.
const DUE: usize = 256;

/// Where the rounds are.
#[derive(Debug, Default)]
pub(super) struct Place {
    tour: Tour,
    /// After the store failed.
    pause: Pause,
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
        let met = {
            let mut place = self.round.lock();
            if place.pause.holds(now) {
                round.done = true;
                return round;
            }
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

    /// Has what has run out in the store come up, so that it ends as every session does; a batch at a time.
    /// Whether there may be more.
    pub async fn sweep(self: &Arc<Self>) -> bool {
        let _turn = self.turn.lock().await;
        if self.round.lock().pause.holds(self.sessions.now()) {
            return false;
        }
        self.settle_astray().await;
        let last = BucketId::new(self.sessions.map().buckets().get() - 1);
        let page = Page {
            buckets: BucketId::new(0)..=last,
            after: None,
            due: true,
            most: DUE,
        };
        let due = match self.store.page(page).await {
            Ok(due) => due,
            Err(error) => {
                self.counts.did_not();
                self.tell(Told::NotSwept(error.clone()));
                self.keep_pace(Err(error));
                return false;
            }
        };
        let mut ended = 0;
        let mut alive = Vec::new();
        for head in &due {
            self.promote(head.id).await;
            let Some(held) = self.sessions.map().get(&head.id) else {
                continue;
            };
            if self.sessions.expire(&held, self.sessions.now()) {
                ended += 1;
            } else {
                // What ran out is its copy, which is to live on as it does.
                alive.push(held);
            }
        }
        self.end_rows().await;
        if self.copies != Copies::Never {
            let outcome = self.copy_all(alive).await;
            self.keep_pace(outcome);
        }
        due.len() == DUE && ended > 0
    }

    /// Finds out whether the store has rows of sessions that it was given and said nothing about: such a row
    /// is nobody's.
    async fn settle_astray(&self) {
        let astray: Vec<_> = self.astray.lock().iter().copied().take(DUE).collect();
        for id in astray {
            match self.store.take(id, Claim::Own).await {
                Ok(_) => {
                    self.astray.lock().remove(&id);
                }
                Err(error) => {
                    self.keep_pace(Err(error));
                    return;
                }
            }
        }
    }

    fn keep_pace(&self, outcome: Result<(), StoreError>) {
        let now = self.sessions.now();
        let pause = &mut self.round.lock().pause;
        match outcome {
            Ok(()) => pause.worked(),
            Err(_) => pause.failed(now),
        }
    }
}
