//! A request's body, which a client must keep sending while somebody waits for it.
//!
//! Time counts only while the application asks for more: a slow application is no fault of the
//! client's. And it does not count while the response is on its way: meanwhile the two sides may talk
//! as they like.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
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

/// The response to a request, as its body sees it: on its way or not.
#[derive(Clone, Debug)]
pub(super) struct Answer(Arc<AtomicBool>);

impl Answer {
    /// It is on its way until what is returned is dropped.
    pub(super) fn begins(self) -> Answering {
        self.0.store(true, Relaxed);
        Answering(self)
    }

    fn is_on_its_way(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// A response on its way.
#[derive(Debug)]
pub(super) struct Answering(Answer);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.0.store(false, Relaxed);
    }
}

/// `request`, whose body ends with an error when nothing comes for `patience`, and where it is told
/// of its answer. A request without a body has nobody to tell.
pub(super) fn impatient(
    request: Request<Incoming>,
    patience: Duration,
) -> (Request<Body>, Option<Answer>) {
    if http_body::Body::is_end_stream(request.body()) {
        return (request.map(|_| Body::empty()), None);
    }
    let answer = Answer(Arc::default());
    let request = request.map(|body| {
        Body::new(Impatient {
            body,
            patience,
            answer: answer.clone(),
            waiting: None,
        })
    });
    (request, Some(answer))
}

pin_project! {
    struct Impatient {
        #[pin]
        body: Incoming,
        patience: Duration,
        answer: Answer,
        // Since the application first waited for what comes next, or was last found answering.
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
        loop {
            if this.waiting.is_none() {
                this.waiting.set(Some(tokio::time::sleep(*this.patience)));
            }
            if let Some(waiting) = this.waiting.as_mut().as_pin_mut() {
                ready!(waiting.poll(context));
            }
            if !this.answer.is_on_its_way() {
                return Poll::Ready(Some(Err(Stalled(*this.patience).into())));
            }
            this.waiting.set(None);
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
