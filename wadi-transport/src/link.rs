//! A link: messages to one peer, over one connection at a time.
//!
//! It holds nothing back for better times. While there is no connection, or its queue is full, a
//! message is refused at once; when a connection ends, what waited for it is lost.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use wadi_core::clock::{BootClock, Clock};
use wadi_core::member::Incarnation;

use crate::connection;
use crate::dial::{DialError, Dialled, dial};
use crate::handshake::Purpose;
use crate::notice::Ended;
use crate::outgoing::{Outgoing, SendError};
use crate::peer::Peer;
use crate::shared::Shared;
use crate::witness::Watched;

/// Sends messages to one peer; its connection is made again whenever it ends.
///
/// Clones send over the same connection. When the last one is dropped, what is queued is written,
/// within the bounds of a write, and the connection is closed.
pub struct Link<M> {
    line: Arc<Line>,
    _open: Arc<DropGuard>,
    _messages: PhantomData<fn(M)>,
}

/// How it stands with a link's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// It is being made.
    Dialling,
    /// It is there; the peer is as it introduced itself.
    Up(Arc<Peer>),
    /// It could not be made; it is tried again after a wait.
    Unreachable(DialError),
    /// It ended; it is made again.
    Ended(Ended),
}

/// What the senders and the task of a link share.
struct Line {
    /// What waits for the present connection, if there is one. Each has its own, so nothing of an
    /// earlier one comes after something of a later one.
    outgoing: Mutex<Option<Arc<Outgoing>>>,
    /// Something was sent since it was last flushed.
    unflushed: AtomicBool,
    state: watch::Sender<LinkState>,
}

impl<M: Serialize> Link<M> {
    /// Queues a message for the present connection. That it is queued does not mean that it arrives.
    ///
    /// # Errors
    ///
    /// When it is not queued, because there is no connection or too much waits, or cannot be sent.
    pub fn send(&self, message: &M) -> Result<(), SendError> {
        let outgoing = self.line.outgoing.lock().clone();
        let outgoing = outgoing.ok_or(SendError::NotConnected)?;
        outgoing.push(message)?;
        outgoing.wake();
        Ok(())
    }

    /// As [`Link::send`], and it goes out with what is sent until [`Link::flush`].
    pub(crate) fn add(&self, message: &M) -> Result<(), SendError> {
        let outgoing = self.line.outgoing.lock().clone();
        outgoing.ok_or(SendError::NotConnected)?.push(message)?;
        self.line.unflushed.store(true, Relaxed);
        Ok(())
    }

    /// Nothing more is sent for now.
    pub(crate) fn flush(&self) {
        if !self.line.unflushed.swap(false, Relaxed) {
            return;
        }
        let outgoing = self.line.outgoing.lock().clone();
        if let Some(outgoing) = outgoing {
            outgoing.flush();
        }
    }
}

impl<M> Link<M> {
    /// How it stands with the connection, and every change of it.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<LinkState> {
        self.line.state.subscribe()
    }

    /// Waits until there is a connection. Cancelled, it changes nothing.
    ///
    /// # Errors
    ///
    /// The state after `limit`.
    pub async fn connected(&self, limit: Duration) -> Result<Arc<Peer>, LinkState> {
        let mut state = self.state();
        let up = state.wait_for(|state| matches!(state, LinkState::Up(_)));
        if let Ok(Ok(state)) = timeout(limit, up).await
            && let LinkState::Up(peer) = &*state
        {
            return Ok(peer.clone());
        }
        Err(self.line.state.borrow().clone())
    }
}

impl<M> Clone for Link<M> {
    fn clone(&self) -> Self {
        Self {
            line: self.line.clone(),
            _open: self._open.clone(),
            _messages: PhantomData,
        }
    }
}

impl<M> fmt::Debug for Link<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({:?})", *self.line.state.borrow())
    }
}

/// A link to `address`, and the task that keeps it up.
pub(crate) fn open<M>(
    shared: &Arc<Shared>,
    address: String,
    watched: Option<Watched>,
    slot: OwnedSemaphorePermit,
) -> Link<M> {
    let line = Arc::new(Line {
        outgoing: Mutex::new(None),
        unflushed: AtomicBool::new(false),
        state: watch::Sender::new(LinkState::Dialling),
    });
    let closing = shared.closing.child_token();
    let kept = keep(
        shared.clone(),
        line.clone(),
        address,
        watched,
        closing.clone(),
    );
    shared.spawn(async move {
        kept.await;
        drop(slot);
    });
    Link {
        line,
        _open: Arc::new(closing.drop_guard()),
        _messages: PhantomData,
    }
}

/// Dials, carries, and dials again, until the link is closed.
async fn keep(
    shared: Arc<Shared>,
    line: Arc<Line>,
    address: String,
    mut watched: Option<Watched>,
    closing: CancellationToken,
) {
    let sought = watched.as_ref().map(Watched::who);
    let mut failures = 0;
    while !closing.is_cancelled() {
        line.state.send_replace(LinkState::Dialling);
        let mut us = shared.us.subscribe();
        // Before it is dialled, so that nobody comes unnoticed in between.
        let came = shared.came.subscribe();
        let dialled = dial(&shared, &address, sought, Purpose::Messages);
        let Some(dialled) = closing.run_until_cancelled(dialled).await else {
            break;
        };
        let mut at_once = false;
        let after = match dialled {
            Err(why) => {
                failures += 1;
                if let Some(watched) = &watched {
                    watched.failed(&shared, &address, &why);
                }
                LinkState::Unreachable(why)
            }
            Ok(dialled) => {
                let Dialled {
                    socket,
                    peer,
                    version,
                } = dialled;
                if let Some(watched) = &mut watched {
                    watched.connected();
                }
                let began = BootClock.now();
                let outgoing = Arc::new(Outgoing::new(shared.limits.room()));
                *line.outgoing.lock() = Some(outgoing.clone());
                line.state.send_replace(LinkState::Up(peer));
                let (ended, heard) =
                    connection::carry(&shared, socket, version, &outgoing, &closing, &mut us).await;
                *line.outgoing.lock() = None;
                outgoing.close();
                // A peer that accepts and hangs up at once is not dialled ever faster. What has lasted is
                // made again at once: should its process have ended, others wait to know.
                let lasted = BootClock.now().since(began) > shared.limits.retry_longest;
                failures = if heard { 1 } else { failures + 1 };
                at_once = ended == Ended::Reintroduced || (heard && lasted);
                LinkState::Ended(ended)
            }
        };
        // Who ended a connection that it had is not dialled sooner because it dials, or two that will not
        // have each other would never rest.
        let was_unreachable = matches!(after, LinkState::Unreachable(_));
        line.state.send_replace(after);
        if !at_once {
            let wait = backoff(&shared, failures);
            let is_sought = sought.filter(|_| was_unreachable);
            let waited = async {
                tokio::select! {
                    () = sleep(wait) => {}
                    () = comes(came, is_sought) => {}
                }
            };
            closing.run_until_cancelled(waited).await;
        }
    }
    line.state.send_replace(LinkState::Ended(Ended::Closing));
}

/// Until whoever is sought has come by a connection of its own. A newcomer is sought as soon as others
/// hear of it, which may be before it knows itself who it is: then it is in vain for a while, and from the
/// moment when it comes it must not be.
async fn comes(mut came: broadcast::Receiver<Incarnation>, sought: Option<Incarnation>) {
    loop {
        match came.recv().await {
            Ok(who) if Some(who) == sought => return,
            Ok(_) => {}
            // It may be among those that were missed.
            Err(RecvError::Lagged(_)) if sought.is_some() => return,
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Doubled after each failure, and shortened by up to half at random, so that many links that were
/// lost together do not come back together.
fn backoff(shared: &Shared, failures: u32) -> Duration {
    let limits = &shared.limits;
    let doubled = 1_u32 << failures.saturating_sub(1).min(20);
    let longest = limits
        .retry_first
        .saturating_mul(doubled)
        .min(limits.retry_longest);
    // Without a random source the wait is merely not spread.
    let random = getrandom::u32().unwrap_or(u32::MAX);
    longest / 2 + (longest / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}
