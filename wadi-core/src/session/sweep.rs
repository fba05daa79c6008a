//! Ending what ran out and freezing what is idle, a bounded batch at a time.
//!
//! It never waits: a session that somebody uses is not idle, and is left for the next round.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::endings::Ending;
use super::error::SessionError;
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
    /// The Rust type of the last such attribute, and why it has none; never its value.
    pub last_unencodable: Option<(&'static str, &'static str)>,
    /// Sessions in which a value's own `Drop` panicked when it was let go. They ended, or are
    /// frozen, all the same.
    pub panicked: usize,
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
            let mut frozen = 0;
            self.map.for_each(BucketId::new(at as u16), |held| {
                swept.looked_at += 1;
                match self.state_of(held, now) {
                    State::Due => due.push(Arc::clone(held)),
                    State::Frozen => frozen += 1,
                    State::Live => {}
                }
            });
            let frozen_before = swept.frozen;
            for held in due.drain(..) {
                // The values' own code runs in here, and a panic in one session must not keep the
                // others from being swept.
                let one = AssertUnwindSafe(|| self.sweep_one(held, now, &mut swept));
                if catch_unwind(one).is_err() {
                    swept.panicked += 1;
                }
            }
            self.frozen_so_far
                .fetch_add(frozen + swept.frozen - frozen_before, Relaxed);
            swept.round_done = at + 1 >= buckets;
            self.swept_to
                .store(if swept.round_done { 0 } else { at + 1 }, Relaxed);
            if swept.round_done {
                self.frozen
                    .store(self.frozen_so_far.swap(0, Relaxed), Relaxed);
                break;
            }
        }
        swept
    }

    fn state_of(&self, held: &Held, now: Moment) -> State {
        if held.is_overdue(now) {
            return if held.is_confirmed() {
                State::Due
            } else {
                State::Live
            };
        }
        // Whoever has the body's lock uses the session.
        match held.try_body() {
            Some(body) if body.attributes.is_frozen() => State::Frozen,
            Some(body)
                if !body.stays_live && now.since(body.touched) >= self.limits.freeze_after =>
            {
                State::Due
            }
            _ => State::Live,
        }
    }

    /// Ends a session whose time is over, if nobody uses it; whether it did.
    pub fn expire(&self, held: &Arc<Held>, now: Moment) -> bool {
        let Some(_alone) = held.try_alone() else {
            return false;
        };
        let ends = held.is_confirmed() && held.is_overdue(now);
        if ends {
            self.end(held, Ending::Expired);
        }
        ends
    }

    fn sweep_one(&self, held: Arc<Held>, now: Moment, swept: &mut Swept) {
        let Some(_alone) = held.try_alone() else {
            // Its absolute end comes also to a session in use.
            if held.is_confirmed() && held.body().lifetime.ends <= now {
                swept.expired += 1;
                self.end(&held, Ending::Expired);
            }
            return;
        };
        if !held.is_confirmed() {
            return;
        }
        if held.is_overdue(now) {
            swept.expired += 1;
            self.end(&held, Ending::Expired);
            return;
        }
        let mut body = held.body();
        if body.phase != Phase::Serving || now.since(body.touched) < self.limits.freeze_after {
            return;
        }
        let frozen = body.freeze();
        drop(body);
        match frozen {
            Ok(emptied) => {
                swept.frozen += 1;
                drop(emptied);
            }
            Err(SessionError::Unencodable {
                type_name, reason, ..
            }) => {
                swept.unencodable += 1;
                swept.last_unencodable = Some((type_name, reason));
            }
            Err(_) => swept.unencodable += 1,
        }
    }
}

/// What a look at a session found.
enum State {
    /// It is to be ended or frozen.
    Due,
    Frozen,
    Live,
}
