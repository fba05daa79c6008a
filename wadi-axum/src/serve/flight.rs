//! Which requests of one connection are in flight: from their head to their response's last byte.
//!
//! A body may have ended long before its last bytes are taken by the client, so each part of it
//! counts by itself until it is written.

use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use http::Version;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Buf;
use pin_project_lite::pin_project;
use tokio::sync::{Notify, watch};

use super::request_body::Answering;

/// What a connection's requests tell the task that drives the connection.
#[derive(Debug, Default)]
pub(super) struct Flights {
    in_flight: watch::Sender<usize>,
    http2: Notify,
    is_http1: AtomicBool,
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

    /// A request came over this version.
    pub(super) fn over(&self, version: Version) {
        if version == Version::HTTP_2 {
            self.http2.notify_one();
        } else {
            self.is_http1.store(true, Relaxed);
        }
    }

    /// Resolves when a request came over HTTP/2; how to say goodbye differs.
    pub(super) async fn http2(&self) {
        self.http2.notified().await;
    }

    /// Whether silence after a goodbye means that the client does not want to go. Over HTTP/1.1
    /// there may be bytes that it has not taken yet, and hyper lets go by itself after them; a
    /// tunnel is in use beside requests.
    pub(super) fn may_be_cut(&self) -> bool {
        !self.is_http1.load(Relaxed) && !self.tunnel.load(Relaxed)
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
        answering: Option<Answering>,
    }
}

impl<B> InFlight<B> {
    pub(super) const fn new(body: B, flight: Flight, answering: Option<Answering>) -> Self {
        Self {
            body,
            flight,
            answering,
        }
    }
}

/// A part of a response's body, in flight until it is written.
#[derive(Debug)]
pub(crate) struct Part<D> {
    data: D,
    _flight: Flight,
}

impl<D: Buf> Buf for Part<D> {
    fn remaining(&self) -> usize {
        self.data.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.data.chunk()
    }

    fn chunks_vectored<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        self.data.chunks_vectored(into)
    }

    fn advance(&mut self, count: usize) {
        self.data.advance(count);
    }

    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        self.data.copy_to_bytes(len)
    }
}

impl<B: Body> Body for InFlight<B> {
    type Data = Part<B::Data>;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Part<B::Data>>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(context));
        Poll::Ready(frame.map(|frame| {
            frame.map(|frame| {
                frame.map_data(|data| Part {
                    data,
                    _flight: this.flight.0.begin(),
                })
            })
        }))
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
