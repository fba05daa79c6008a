//! Calls of the store below all nodes: each within a time, and whatever becomes of it counts for whether the
//! store does what it is asked.
//!
//! A store's own code may panic, on the task of whoever serves everybody; that is an unknown outcome, too.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;

use super::Below;
use crate::clock::{Clock, Moment};
use crate::node::listen::{Listener, StoreTold, Told};
use crate::store::{SessionStore, StoreError, Storing};
use crate::tier::{LONGEST_PAUSE, Pause};

/// The longest pause while this node leaves: what is to go down has no other time.
const LONGEST_IN_HASTE: Duration = Duration::from_millis(500);

/// The store, and whether it does what it is asked.
pub(in crate::node) struct Reach {
    store: Arc<dyn SessionStore>,
    clock: Arc<dyn Clock>,
    listener: Arc<dyn Listener>,
    below: Arc<Below>,
    /// How long a call is waited for.
    wait: Duration,
    /// This node leaves.
    in_haste: AtomicBool,
    /// It was told that somebody else uses the store.
    superseded: AtomicBool,
    health: Mutex<Health>,
}

/// What a call does there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::node) enum Does {
    Read,
    Write,
}

#[derive(Debug, Default)]
struct Health {
    reads_fail: bool,
    writes_fail: bool,
    /// When one failed last.
    failed_at: Moment,
    /// Nothing new goes down until this is over.
    pause: Pause,
}

impl Reach {
    pub(in crate::node) fn new(
        store: Arc<dyn SessionStore>,
        clock: Arc<dyn Clock>,
        listener: Arc<dyn Listener>,
        below: Arc<Below>,
        wait: Duration,
    ) -> Self {
        Self {
            store,
            clock,
            listener,
            below,
            wait,
            in_haste: AtomicBool::new(false),
            superseded: AtomicBool::new(false),
            health: Mutex::default(),
        }
    }

    pub(in crate::node) fn now(&self) -> Moment {
        self.clock.now()
    }

    pub(in crate::node) const fn wait(&self) -> Duration {
        self.wait
    }

    pub(in crate::node) const fn below(&self) -> &Arc<Below> {
        &self.below
    }

    /// This node leaves: what failed is tried again soon.
    pub(in crate::node) fn make_haste(&self) {
        self.in_haste.store(true, Relaxed);
    }

    /// Whether something new may go down now.
    pub(in crate::node) fn takes_more(&self) -> bool {
        let now = self.now();
        let health = self.health.lock();
        let is_over =
            self.in_haste.load(Relaxed) && now.since(health.failed_at) >= LONGEST_IN_HASTE;
        is_over || !health.pause.holds(now)
    }

    /// One call, which is over at `until`.
    ///
    /// # Errors
    ///
    /// What the store says; [`StoreError::Unavailable`] where it says nothing.
    pub(in crate::node) async fn call<'a, T>(
        &'a self,
        does: Does,
        until: Moment,
        call: impl FnOnce(&'a dyn SessionStore) -> Storing<'a, T>,
    ) -> Result<T, StoreError> {
        let unwound = || Err(StoreError::Unavailable("its own code panicked".to_owned()));
        let asked = async {
            let begun = catch_unwind(AssertUnwindSafe(|| call(&*self.store)));
            let Ok(mut answer) = begun else {
                return unwound();
            };
            poll_fn(|context| {
                let polled = AssertUnwindSafe(|| answer.as_mut().poll(context));
                catch_unwind(polled).unwrap_or_else(|_| Poll::Ready(unwound()))
            })
            .await
        };
        let within = until.since(self.now());
        let answer = tokio::time::timeout(within, asked).await;
        let silent = || {
            Err(StoreError::Unavailable(
                "it gave no answer in time".to_owned(),
            ))
        };
        let answer = answer.unwrap_or_else(|_| silent());
        match &answer {
            Ok(_) => self.worked(does),
            // Of one session; it does what it is asked.
            Err(StoreError::Damaged(_)) if does == Does::Read => self.worked(does),
            Err(error) => self.failed(does, error),
        }
        answer
    }

    fn worked(&self, does: Does) {
        let now = self.now();
        let mut health = self.health.lock();
        let was_away = health.is_away();
        match does {
            Does::Read => {
                health.reads_fail = false;
                // Nobody has had anything to write since, so nobody would find out.
                if now.since(health.failed_at) >= 2 * LONGEST_PAUSE {
                    health.writes_fail = false;
                }
            }
            Does::Write => {
                health.writes_fail = false;
                health.pause.worked();
            }
        }
        if !health.writes_fail && !health.reads_fail {
            health.pause.worked();
        }
        let is_back = was_away && !health.is_away();
        if is_back {
            self.below.set_away(false);
        }
        drop(health);
        if is_back {
            self.tell(StoreTold::Back);
        }
    }

    fn failed(&self, does: Does, error: &StoreError) {
        self.below.did_not();
        let now = self.now();
        let mut health = self.health.lock();
        let was_away = health.is_away();
        match does {
            Does::Read => health.reads_fail = true,
            Does::Write => health.writes_fail = true,
        }
        health.failed_at = now;
        health.pause.failed(now);
        self.below.set_away(true);
        drop(health);
        if !was_away {
            self.tell(StoreTold::Away(error.clone()));
        }
    }

    /// It has given out a session under a later tenure than this cluster's.
    pub(in crate::node) fn is_superseded(&self) {
        if !self.superseded.swap(true, Relaxed) {
            self.tell(StoreTold::Superseded);
        }
    }

    /// The listener's own code may panic, and whoever waits for an answer gets it all the same.
    pub(in crate::node) fn tell(&self, what: StoreTold) {
        let told = catch_unwind(AssertUnwindSafe(|| {
            self.listener.told(Told::Store(what));
        }));
        drop(told);
    }
}

impl Health {
    const fn is_away(&self) -> bool {
        self.reads_fail || self.writes_fail
    }
}
