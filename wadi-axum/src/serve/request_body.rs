//! A request's body, which a client must keep sending while somebody waits for it.
//!
//! Time counts only while the application asks for more: a slow application is no fault of the
//! client's.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http::Request;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tokio::time::Sleep;

/// Why a request's body ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client sent nothing more of the request's body for {0:?}")]
struct Stalled(Duration);

/// `request`, whose body ends with an error when nothing comes for `patience`.
pub(super) fn impatient(request: Request<Incoming>, patience: Duration) -> Request<Body> {
    request.map(|body| {
        if http_body::Body::is_end_stream(&body) {
            return Body::empty();
        }
        Body::new(Impatient {
            body,
            patience,
            waiting: None,
        })
    })
}

pin_project! {
    struct Impatient {
        #[pin]
        body: Incoming,
        patience: Duration,
        // Since the application first waited for what comes next.
        #[pin]
        waiting: Option<Sleep>,
    }
}

impl http_body::Body for Impatient {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let mut this = self.project();
        if let Poll::Ready(frame) = this.body.poll_frame(context) {
            this.waiting.set(None);
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        if this.waiting.is_none() {
            this.waiting.set(Some(tokio::time::sleep(*this.patience)));
        }
        if let Some(waiting) = this.waiting.as_mut().as_pin_mut() {
            ready!(waiting.poll(context));
        }
        Poll::Ready(Some(Err(Stalled(*this.patience).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
