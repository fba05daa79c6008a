//! The rounds over all buckets: who is to go down.
//!
//! One batch at a time, so that whoever calls gives way between them.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::sweep::Swept;
use super::{Tier, Told, memory};
use crate::bucket::BucketId;
use crate::clock::Moment;
use crate::evict::{Candidate, Evicter, Load};
use crate::session::Resting;
use crate::store::StoreError;

/// The first pause after the store failed, and the longest; each is twice the one before.
const PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Where the rounds are.
#[derive(Debug, Default)]
pub(super) struct Place {
    next: u16,
    /// The bytes met in this round so far, and in all of the last one.
    bytes_so_far: usize,
    bytes: usize,
    /// How many are to go in this round for the sake of the others, of so many in memory.
    excess: usize,
    of: usize,
    /// After the store failed.
    until: Moment,
    pause: Duration,
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
        let mut resting = Vec::new();
        let behind;
        {
            let mut place = self.round.lock();
            let buckets = self.sessions.map().buckets().get();
            if place.next == 0 {
                let load = Load::new(self.sessions.map().len(), place.bytes, memory::taken());
                (place.excess, place.of) = (evicter.excess(&load), load.sessions);
            }
            while resting.len() < batch && !round.done {
                resting.extend(self.sessions.resting(BucketId::new(place.next), now));
                place.next += 1;
                round.done = place.next >= buckets;
            }
            place.bytes_so_far += resting.iter().map(|one: &Resting| one.bytes).sum::<usize>();
            if round.done {
                place.next = 0;
                place.bytes = std::mem::take(&mut place.bytes_so_far);
            }
            round.looked_at = resting.len();
            let share = share(resting.len(), place.excess, place.of);
            let (chosen, others) = choose(evicter, resting, share);
            resting = chosen;
            behind = self.behind(others, now);
        }
        let demoted = self.demote(resting).await;
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
        self.closed.load(SeqCst) || self.sessions.now() < self.round.lock().until
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
        let mut place = self.round.lock();
        if outcome.is_ok() {
            place.pause = Duration::ZERO;
        } else {
            place.pause = (place.pause * 2).clamp(PAUSE, LONGEST_PAUSE);
            place.until = now + place.pause;
        }
    }
}

/// Those that are to go for their own sake, and of the others as many, idle for longest, as there are still
/// too many; and who stays.
fn choose(
    evicter: &dyn Evicter,
    mut resting: Vec<Resting>,
    share: usize,
) -> (Vec<Resting>, Vec<Resting>) {
    resting.sort_by_key(|one| std::cmp::Reverse(one.idle));
    let evicts = |one: &Resting| {
        let candidate = Candidate::new(one.idle, one.bytes, one.frozen);
        evicter.evicts(&candidate)
    };
    let (mut chosen, mut others): (Vec<_>, Vec<_>) = resting.into_iter().partition(evicts);
    let more = share.saturating_sub(chosen.len()).min(others.len());
    chosen.extend(others.drain(..more));
    (chosen, others)
}

/// How many of `some` go where `excess` of `all` do, rounded up.
fn share(some: usize, excess: usize, all: usize) -> usize {
    if all == 0 {
        return 0;
    }
    let share = (some as u128 * excess as u128).div_ceil(all as u128);
    usize::try_from(share).unwrap_or(some)
}
