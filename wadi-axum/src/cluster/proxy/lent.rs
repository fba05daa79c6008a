//! A body that goes with a request to another node, and is taken back when nothing was done there.
//!
//! What is read of it is kept, up to a limit, until it cannot be taken back any more. Only the latest
//! borrower reads: an earlier one finds its body withdrawn.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use axum::body::{Body, Bytes};
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use parking_lot::Mutex;

/// How much of one body is kept.
pub(super) const KEPT: usize = 64 * 1024;
/// In how many frames.
pub(super) const FRAMES: usize = 1024;

/// A body that may be lent.
pub(super) struct Lendable(Arc<Mutex<Shelf>>);

struct Shelf {
    body: Body,
    kept: Vec<Kept>,
    bytes: usize,
    /// More was read than is kept, or it is let go for good.
    is_broken: bool,
    /// Whose turn it is.
    turn: u32,
    /// Of who waits for more.
    waiting: Option<Waker>,
}

#[derive(Clone)]
enum Kept {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl From<Kept> for Frame<Bytes> {
    fn from(kept: Kept) -> Self {
        match kept {
            Kept::Data(data) => Self::data(data),
            Kept::Trailers(trailers) => Self::trailers(trailers),
        }
    }
}

/// A body on loan.
pub(super) struct Lent {
    shelf: Arc<Mutex<Shelf>>,
    turn: u32,
    /// How many of the kept frames were read.
    read: usize,
}

/// The body was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request's body was taken back")]
struct Withdrawn;

impl Lendable {
    pub(super) fn new(body: Body) -> Self {
        Self(Arc::new(Mutex::new(Shelf {
            body,
            kept: Vec::new(),
            bytes: 0,
            is_broken: false,
            turn: 0,
            waiting: None,
        })))
    }

    /// Whether all of it is still here.
    pub(super) fn is_whole(&self) -> bool {
        !self.0.lock().is_broken
    }

    /// How many bytes, and in how many frames, are kept.
    #[cfg(any(test, fuzzing))]
    pub(super) fn kept(&self) -> (usize, usize) {
        let shelf = self.0.lock();
        let bytes = shelf.kept.iter().map(|kept| match kept {
            Kept::Data(data) => data.len(),
            Kept::Trailers(_) => 0,
        });
        (bytes.sum(), shelf.kept.len())
    }

    /// Lends it from its beginning; whoever had it before has it no more.
    pub(super) fn lend(&self) -> Lent {
        let (turn, waiting) = {
            let mut shelf = self.0.lock();
            shelf.turn += 1;
            (shelf.turn, shelf.waiting.take())
        };
        if let Some(waiting) = waiting {
            waiting.wake();
        }
        Lent {
            shelf: Arc::clone(&self.0),
            turn,
            read: 0,
        }
    }

    /// Whoever has it now has it for good.
    pub(super) fn let_go(&self) {
        self.0.lock().is_broken = true;
    }

    /// The body for good, from its beginning.
    pub(super) fn give(self) -> Body {
        let lent = self.lend();
        let nothing_read = self.0.lock().kept.is_empty();
        if nothing_read {
            return std::mem::take(&mut self.0.lock().body);
        }
        Body::new(lent)
    }

    /// How long all of it is at most.
    pub(super) fn upper(&self) -> Option<u64> {
        let shelf = self.0.lock();
        let rest = shelf.body.size_hint().upper()?;
        Some(rest.saturating_add(shelf.bytes as u64))
    }
}

impl Shelf {
    fn keep(&mut self, frame: &Frame<Bytes>) {
        let kept = match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => Kept::Data(data.clone()),
            (None, Some(trailers)) => Kept::Trailers(trailers.clone()),
            (None, None) => return,
        };
        self.bytes += frame.data_ref().map_or(0, Bytes::len);
        if self.bytes > KEPT || self.kept.len() >= FRAMES {
            self.is_broken = true;
            self.kept.clear();
        }
        if !self.is_broken {
            self.kept.push(kept);
        }
    }
}

impl http_body::Body for Lent {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let this = &mut *self;
        let mut shelf = this.shelf.lock();
        if shelf.turn != this.turn {
            return Poll::Ready(Some(Err(Withdrawn.into())));
        }
        if let Some(kept) = shelf.kept.get(this.read) {
            this.read += 1;
            return Poll::Ready(Some(Ok(kept.clone().into())));
        }
        let frame = match Pin::new(&mut shelf.body).poll_frame(context) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                shelf.waiting = Some(context.waker().clone());
                return Poll::Pending;
            }
        };
        Poll::Ready(match frame {
            None => None,
            Some(Ok(frame)) => {
                shelf.keep(&frame);
                this.read = shelf.kept.len();
                Some(Ok(frame))
            }
            // It has failed for everybody.
            Some(Err(error)) => {
                shelf.is_broken = true;
                Some(Err(error.into()))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        let shelf = self.shelf.lock();
        shelf.turn == self.turn && self.read >= shelf.kept.len() && shelf.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let shelf = self.shelf.lock();
        let kept = shelf.kept.iter().skip(self.read).map(|kept| match kept {
            Kept::Data(data) => data.len() as u64,
            Kept::Trailers(_) => 0,
        });
        let kept: u64 = kept.sum();
        let rest = shelf.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(kept));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(kept));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    fn body(parts: &[usize]) -> Body {
        let parts: Vec<_> = parts
            .iter()
            .map(|size| Ok::<_, Infallible>(Frame::data(Bytes::from(vec![1; *size]))))
            .collect();
        Body::new(StreamBody::new(stream::iter(parts)))
    }

    #[tokio::test]
    async fn what_was_read_is_read_again_by_the_next_and_by_nobody_else() {
        let lendable = Lendable::new(body(&[10, 20, 30]));
        let mut first = lendable.lend();
        first.frame().await.unwrap().unwrap();
        first.frame().await.unwrap().unwrap();
        assert!(lendable.is_whole());
        let second = lendable.lend();
        assert!(first.frame().await.unwrap().is_err());
        let all = second.collect().await.unwrap().to_bytes();
        assert_eq!(all.len(), 60);
        let given = lendable.give().collect().await.unwrap().to_bytes();
        assert_eq!(given.len(), 60);
    }

    #[tokio::test]
    async fn no_more_than_the_limit_is_kept() {
        let lendable = Lendable::new(body(&[KEPT, 1, 5]));
        let mut lent = lendable.lend();
        lent.frame().await.unwrap().unwrap();
        assert!(lendable.is_whole());
        lent.frame().await.unwrap().unwrap();
        assert!(!lendable.is_whole());
        let rest = lent.collect().await.unwrap().to_bytes();
        assert_eq!(rest.len(), 5, "and who reads it goes on");
    }

    #[tokio::test]
    async fn who_waits_for_more_hears_that_it_was_taken_back() {
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let waits = stream::once(async move {
            receiver.await.ok();
            Ok::<_, Infallible>(Frame::data(Bytes::new()))
        });
        let lendable = Lendable::new(Body::new(StreamBody::new(Box::pin(waits))));
        let mut first = lendable.lend();
        let waiting = tokio::spawn(async move { first.frame().await.unwrap().is_err() });
        tokio::task::yield_now().await;
        let _second = lendable.lend();
        assert!(waiting.await.unwrap());
        drop(sender);
    }
}
