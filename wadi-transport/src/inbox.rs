//! Where received messages go: into a queue that somebody reads, or straight to who takes them.
//!
//! Whatever waits is bounded, and while it waits nothing more is read: that is the back-pressure.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::sleep;
use wadi_core::member::Incarnation;

use crate::peer::Peer;
use crate::shared::Shared;

/// How long a taker without room is waited for before messages are dropped.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often it is asked meanwhile.
const LOOK: Duration = Duration::from_millis(1);

/// A received message.
pub(crate) struct Received<M> {
    pub(crate) peer: Arc<Peer>,
    pub(crate) to: Option<Incarnation>,
    pub(crate) message: M,
}

/// Takes messages at once, on the task that reads them.
pub(crate) trait Take<M>: Send + Sync {
    /// Takes it, or finds that nobody is to have it.
    ///
    /// # Errors
    ///
    /// The message, where there is no room for it now.
    fn take(&self, shared: &Shared, received: Received<M>) -> Result<(), Received<M>>;
}

/// Where received messages go.
pub(crate) enum Inbox<M> {
    Queue(mpsc::Sender<Queued<M>>),
    Taker(Arc<dyn Take<M>>, Arc<Patience>),
}

/// A message that waits in a queue, and its share of the bytes that may wait.
pub(crate) struct Queued<M> {
    pub(crate) received: Received<M>,
    _bytes: OwnedSemaphorePermit,
}

/// Whether a taker without room is waited for; the same for all connections.
pub(crate) struct Patience(AtomicBool);

/// Nobody is there any more who could have it.
pub(crate) struct Gone;

impl<M> Inbox<M> {
    pub(crate) fn taken_by(taker: Arc<dyn Take<M>>) -> Self {
        Self::Taker(taker, Arc::new(Patience(AtomicBool::new(true))))
    }

    /// Makes room for a message of so many bytes, and then hands over what `decode` makes of them.
    pub(crate) async fn put<E: From<Gone>>(
        &self,
        shared: &Shared,
        bytes: u32,
        decode: impl FnOnce() -> Result<Received<M>, E>,
    ) -> Result<(), E> {
        match self {
            Self::Queue(queue) => {
                let room = shared.incoming.clone().acquire_many_owned(bytes);
                let bytes = room.await.map_err(|_| Gone)?;
                let queued = Queued {
                    received: decode()?,
                    _bytes: bytes,
                };
                queue.send(queued).await.map_err(|_| Gone.into())
            }
            Self::Taker(taker, patience) => {
                patience.give(&**taker, shared, decode()?).await;
                Ok(())
            }
        }
    }
}

impl Patience {
    /// While there is no room, nothing more is read, so the senders' queues fill and they ask again
    /// later. That is right for a moment. A taker that stays full is not waited for again before it has
    /// taken something, so nothing here stops for good.
    async fn give<M>(&self, taker: &dyn Take<M>, shared: &Shared, mut received: Received<M>) {
        let mut left = PATIENCE.as_millis() / LOOK.as_millis();
        while let Err(refused) = taker.take(shared, received) {
            if left == 0 {
                self.0.store(false, Relaxed);
            }
            if !self.0.load(Relaxed) {
                return;
            }
            received = refused;
            left -= 1;
            sleep(LOOK).await;
        }
        self.0.store(true, Relaxed);
    }
}

impl<M> Clone for Inbox<M> {
    fn clone(&self) -> Self {
        match self {
            Self::Queue(queue) => Self::Queue(queue.clone()),
            Self::Taker(taker, patience) => Self::Taker(taker.clone(), patience.clone()),
        }
    }
}
