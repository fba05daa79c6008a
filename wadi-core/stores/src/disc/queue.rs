//! How calls come to a thread of the store's own: a queue with so many places, for which callers wait.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wadi_core::store::StoreError;

/// The callers' end.
pub(super) struct Calls<J> {
    sender: Mutex<Option<SyncSender<Waiting<J>>>>,
    room: Arc<Semaphore>,
}

/// The thread's end.
pub(super) struct Incoming<J>(Receiver<Waiting<J>>);

/// A call, with its place until it is answered.
pub(super) struct Waiting<J> {
    pub(super) call: J,
    _place: OwnedSemaphorePermit,
}

/// What waiting for a call came to.
pub(super) enum Next<J> {
    Call(Waiting<J>),
    None,
    Closed,
}

pub(super) fn queue<J>(places: usize) -> (Calls<J>, Incoming<J>) {
    let (sender, receiver) = sync_channel(places);
    let calls = Calls {
        sender: Mutex::new(Some(sender)),
        room: Arc::new(Semaphore::new(places)),
    };
    (calls, Incoming(receiver))
}

impl<J> Calls<J> {
    /// Waits for a place. Who stops waiting has asked for nothing.
    pub(super) async fn hand_over(&self, call: J) -> Result<(), StoreError> {
        let room = Arc::clone(&self.room);
        let place = room.acquire_owned().await.map_err(|_| closed())?;
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        // There are as many places as the channel has, so it is never full.
        let handed = sender.as_ref().map(|sender| {
            sender.try_send(Waiting {
                call,
                _place: place,
            })
        });
        match handed {
            Some(Ok(())) => Ok(()),
            _ => Err(closed()),
        }
    }

    /// No more come in; the thread does what is there, and ends.
    pub(super) fn close(&self) {
        self.room.close();
        self.sender
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }
}

impl<J> Incoming<J> {
    pub(super) fn wait(&self, most: Duration) -> Next<J> {
        match self.0.recv_timeout(most) {
            Ok(waiting) => Next::Call(waiting),
            Err(RecvTimeoutError::Timeout) => Next::None,
            Err(RecvTimeoutError::Disconnected) => Next::Closed,
        }
    }

    pub(super) fn look(&self) -> Option<Waiting<J>> {
        self.0.try_recv().ok()
    }
}

pub(super) fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed, or its thread has stopped".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_finds_no_place_waits_and_is_not_dropped() {
        let (calls, incoming) = queue(2);
        for call in 0..2 {
            calls.hand_over(call).await.expect("there is room");
        }
        let mut third = std::pin::pin!(calls.hand_over(2));
        let soon = tokio::time::timeout(Duration::from_millis(20), &mut third);
        assert!(soon.await.is_err(), "it waits");
        let first = incoming.look().expect("it was handed over");
        assert_eq!(first.call, 0);
        drop(first);
        third.await.expect("there is room again");
        let calls_left: Vec<i32> = std::iter::from_fn(|| incoming.look())
            .map(|waiting| waiting.call)
            .collect();
        assert_eq!(calls_left, [1, 2]);
        calls.close();
        assert_eq!(calls.hand_over(3).await, Err(closed()));
        assert!(matches!(incoming.wait(Duration::ZERO), Next::Closed));
    }
}
