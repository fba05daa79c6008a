//! Ending what ran out and freezing what is idle, a bounded batch at a time.
//!
//! It never waits: a session that somebody uses is not idle, and is left for the next round.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::endings::Ending;
use super::held::{Held, Phase};
use super::sessions::Sessions;
use crate::bucket::BucketId;
use crate::clock::Moment;

/// What one batch did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Sessions looked at.
    pub looked_at: usize,
    /// Sessions that ran out.
    pub expired: usize,
    /// Sessions that were frozen.
    pub frozen: usize,
    /// Sessions that stay live because an attribute has no encoding.
    pub unencodable: usize,
    /// Whether this batch came to the end of the last bucket; the next begins at the first.
    pub round_done: bool,
}

impl Sessions {
    /// Looks at whole buckets until at least `batch` sessions were looked at, or a round is done;
    /// goes on where the last batch stopped. Called by one driver, again and again.
    pub fn sweep(&self, now: Moment, batch: usize) -> Swept {
        let mut swept = Swept::default();
        let buckets = usize::from(self.map.buckets().get());
        let mut due: Vec<Arc<Held>> = Vec::new();
        while swept.looked_at < batch {
            let at = self.swept_to.load(Relaxed);
            self.map.for_each(BucketId::new(at as u16), |_, held| {
                swept.looked_at += 1;
                if self.is_due(held, now) {
                    due.push(Arc::clone(held));
                }
            });
            for held in due.drain(..) {
                self.sweep_one(&held, now, &mut swept);
            }
            swept.round_done = at + 1 >= buckets;
            self.swept_to
                .store(if swept.round_done { 0 } else { at + 1 }, Relaxed);
            if swept.round_done {
                break;
            }
        }
        swept
    }

    fn is_due(&self, held: &Held, now: Moment) -> bool {
        if held.is_overdue(now) {
            return held.is_serving();
        }
        // Whoever has the body's lock uses the session.
        held.try_body().is_some_and(|body| {
            now.since(body.touched) >= self.limits.freeze_after
                && !body.stays_live
                && !body.attributes.is_frozen()
        })
    }

    fn sweep_one(&self, held: &Arc<Held>, now: Moment, swept: &mut Swept) {
        let Some(_alone) = held.try_alone() else {
            // Its absolute end comes also to a session in use.
            if held.is_serving() && held.body().lifetime.ends <= now {
                self.end(held, Ending::Expired);
                swept.expired += 1;
            }
            return;
        };
        if !held.is_serving() {
            return;
        }
        if held.is_overdue(now) {
            self.end(held, Ending::Expired);
            swept.expired += 1;
            return;
        }
        let mut body = held.body();
        if body.phase != Phase::Serving || now.since(body.touched) < self.limits.freeze_after {
            return;
        }
        let frozen = body.freeze();
        drop(body);
        match frozen {
            Ok(_) => swept.frozen += 1,
            Err(_) => swept.unencodable += 1,
        }
    }
}
