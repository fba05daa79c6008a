//! How far this node is in its life: not started, serving, leaving, closing, closed.
//!
//! It only moves forward. It knows no session and does no I/O; readiness, the listener and the
//! background driver read it and act.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::watch;

/// A step in a node's life; each is after the one before it, and none comes twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Neither `start` nor `serve` was called: requests that need a session get 503.
    NotStarted = 0,
    /// Ready.
    Serving = 1,
    /// Not ready any more, still accepting: balancers are given time to notice.
    Leaving = 2,
    /// The listener is closed; requests in flight are being finished.
    Closing = 3,
    /// Nothing is served any more.
    Closed = 4,
}

impl Phase {
    const ALL: [Self; 5] = [
        Self::NotStarted,
        Self::Serving,
        Self::Leaving,
        Self::Closing,
        Self::Closed,
    ];

    fn from_number(number: u8) -> Self {
        Self::ALL[usize::from(number)]
    }
}

/// The phase, for reading on every request and for waiting.
#[derive(Clone, Debug)]
pub(crate) struct Lifecycle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    // The same number as in `changes`, for requests: one load, no lock. Written only under the
    // watch's own lock, so the two never disagree for a waiter.
    now: AtomicU8,
    changes: watch::Sender<Phase>,
}

impl Lifecycle {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared {
            now: AtomicU8::new(Phase::NotStarted as u8),
            changes: watch::Sender::new(Phase::NotStarted),
        }))
    }

    pub(crate) fn phase(&self) -> Phase {
        Phase::from_number(self.0.now.load(Ordering::Acquire))
    }

    /// Moves forward to `phase`; whether that changed anything.
    pub(crate) fn advance(&self, phase: Phase) -> bool {
        self.0.changes.send_if_modified(|now| {
            let forward = *now < phase;
            if forward {
                *now = phase;
                self.0.now.store(phase as u8, Ordering::Release);
            }
            forward
        })
    }

    /// Moves from `NotStarted` to `Serving`, once; the phase that stood in the way otherwise.
    pub(crate) fn start(&self) -> Result<(), Phase> {
        if self.0.changes.send_if_modified(|now| {
            let first = *now == Phase::NotStarted;
            if first {
                *now = Phase::Serving;
                self.0.now.store(Phase::Serving as u8, Ordering::Release);
            }
            first
        }) {
            Ok(())
        } else {
            Err(self.phase())
        }
    }

    /// Resolves once `phase` or a later one is reached. Safe to drop at any await.
    pub(crate) fn reached(&self, phase: Phase) -> impl Future<Output = ()> + Send + 'static {
        // The future keeps the sender alive, so that waiting cannot end for want of a sender.
        let shared = Arc::clone(&self.0);
        async move {
            shared
                .changes
                .subscribe()
                .wait_for(|now| *now >= phase)
                .await
                .expect("this future holds the sender");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_only_moves_forward() {
        let life = Lifecycle::new();
        assert_eq!(life.start(), Ok(()));
        assert_eq!(life.start(), Err(Phase::Serving));
        assert!(life.advance(Phase::Closing));
        assert!(!life.advance(Phase::Leaving));
        assert_eq!(life.phase(), Phase::Closing);
        assert!(life.advance(Phase::Closed));
        assert_eq!(life.start(), Err(Phase::Closed));
    }

    #[tokio::test]
    async fn waiting_sees_a_phase_that_was_passed_over() {
        let life = Lifecycle::new();
        let waiter = tokio::spawn(life.reached(Phase::Leaving));
        tokio::task::yield_now().await;
        life.advance(Phase::Closed);
        waiter.await.unwrap();
        life.reached(Phase::Serving).await;
    }
}
