//! Requests that come whether those before are answered or not, so that one that is held up counts
//! from when it came.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval};
use wadi_core::clock::{BootClock, Clock};
use wadi_core::session::PresentedId;

use crate::figures::Times;
use crate::member::{Member, Used};

/// Of each of two processes.
pub(crate) const A_SECOND: u64 = 250;

/// What a request counts for that has to come again; longer than any other takes.
const UNAVAILABLE: Duration = Duration::from_secs(60);

/// A load that lasts until it is dropped.
pub(crate) struct Load {
    seen: Arc<Seen>,
    task: AbortHandle,
}

#[derive(Default)]
struct Seen {
    times: Mutex<Times>,
    lost: AtomicU64,
}

impl Load {
    /// Requests for any of these.
    pub(crate) fn start(member: Arc<Member>, ids: Vec<PresentedId>) -> Self {
        let seen = Arc::new(Seen::default());
        let task = tokio::spawn(come(member, ids, seen.clone())).abort_handle();
        Self { seen, task }
    }

    /// What has been answered since the last time.
    pub(crate) fn take(&self) -> Times {
        let lost = self.seen.lost.load(Relaxed);
        assert_eq!(lost, 0, "no session is lost, and each can be found");
        std::mem::take(&mut *self.seen.times.lock())
    }
}

async fn come(member: Arc<Member>, ids: Vec<PresentedId>, seen: Arc<Seen>) {
    let clock = BootClock;
    let every = Duration::from_secs(1) / A_SECOND as u32;
    let mut ticks = interval(every);
    // Those that are late come all at once, as they would from outside.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let began = clock.now();
    for number in 0.. {
        ticks.tick().await;
        let due = began + every * number;
        let id = ids[number as usize * 7919 % ids.len()];
        let (member, seen) = (member.clone(), seen.clone());
        tokio::spawn(async move {
            match member.request(&id).await {
                Used::Nowhere => {
                    seen.lost.fetch_add(1, Relaxed);
                }
                Used::Unavailable => seen.times.lock().add(UNAVAILABLE),
                Used::Here | Used::Elsewhere => {
                    let took = BootClock.now().since(due);
                    seen.times.lock().add(took);
                }
            }
        });
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.task.abort();
    }
}
