//! Which requests of one connection are in flight: from their head to their response's last byte.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::sync::{Notify, watch};

/// What a connection's requests tell the task that drives the connection.
#[derive(Debug, Default)]
pub(super) struct Flights {
    in_flight: watch::Sender<usize>,
    /// A request came over HTTP/2; how to say goodbye differs.
    pub(super) http2: Notify,
    /// An HTTP/2 stream was given to the application, to be used in both directions: it is no
    /// request any more, and lasts as long as the application likes.
    tunnel: AtomicBool,
}

impl Flights {
    /// One more request, until what is returned is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Flight {
        self.in_flight.send_modify(|number| *number += 1);
        Flight(Arc::clone(self))
    }

    pub(super) fn has_tunnel(&self) -> bool {
        self.tunnel.load(Relaxed)
    }

    pub(super) fn opens_tunnel(&self) {
        self.tunnel.store(true, Relaxed);
    }

    /// Resolves when no request was in flight for as long as `time` without a break.
    pub(super) async fn silent_for(&self, time: Duration) {
        let mut in_flight = self.in_flight.subscribe();
        loop {
            if in_flight.wait_for(|number| *number == 0).await.is_err() {
                // The sender lives as long as this borrow of it.
                return;
            }
            if tokio::time::timeout(time, in_flight.changed())
                .await
                .is_err()
            {
                return;
            }
        }
    }
}

/// A request in flight.
#[derive(Debug)]
pub(super) struct Flight(Arc<Flights>);

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.in_flight.send_modify(|number| *number -= 1);
    }
}

pin_project! {
    /// A response's body; with its end, or when it is given up, its request's flight ends.
    pub(crate) struct InFlight<B> {
        #[pin]
        body: B,
        flight: Flight,
    }
}

impl<B> InFlight<B> {
    pub(super) const fn new(body: B, flight: Flight) -> Self {
        Self { body, flight }
    }
}

impl<B: Body> Body for InFlight<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn there_is_no_silence_while_a_request_is_in_flight() {
        let flights = Arc::new(Flights::default());
        let (one, other) = (flights.begin(), flights.begin());
        let time = Duration::from_millis(20);
        let mut silent = std::pin::pin!(flights.silent_for(time));
        let mut finishes = async || {
            let waited = tokio::time::timeout(time * 5, silent.as_mut()).await;
            waited.is_ok()
        };
        assert!(!finishes().await);
        drop(one);
        assert!(!finishes().await);
        drop(other);
        assert!(finishes().await);
    }
}
