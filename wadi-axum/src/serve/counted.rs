//! A client's connection, counted until whoever has it last lets it go, and over when the node is.
//!
//! An upgraded connection (a WebSocket) outlives the task that drove it as HTTP; leaving waits for
//! it too, and takes it away from whoever still has it then.

use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::task::task_tracker::{TaskTracker, TaskTrackerToken};

use crate::lifecycle::{Lifecycle, Phase};

/// A connection that `connections` counts while it exists. Once the node is closed every use of it
/// is an error, also one that waits.
pub(super) struct Counted<I> {
    /// `None` once somebody found the node closed; the client sees it go then.
    io: Option<I>,
    lifecycle: Lifecycle,
    // Two, because reading and writing may wait in two tasks.
    closed_for_reading: Closed,
    closed_for_writing: Closed,
    _counted: TaskTrackerToken,
}

type Closed = Pin<Box<dyn Future<Output = ()> + Send>>;

impl<I> Counted<I> {
    pub(super) fn new(io: I, connections: &TaskTracker, lifecycle: &Lifecycle) -> Self {
        Self {
            io: Some(io),
            lifecycle: lifecycle.clone(),
            closed_for_reading: Box::pin(lifecycle.reached(Phase::Closed)),
            closed_for_writing: Box::pin(lifecycle.reached(Phase::Closed)),
            _counted: connections.token(),
        }
    }

    fn open(&mut self) -> io::Result<&mut I> {
        if self.lifecycle.phase() == Phase::Closed {
            self.io = None;
        }
        self.io
            .as_mut()
            .ok_or_else(|| ErrorKind::ConnectionAborted.into())
    }

    /// What `io` answers, or an error once the node is closed.
    fn answer<R>(
        &mut self,
        waits_for: fn(&mut Self) -> &mut Closed,
        context: &mut Context<'_>,
        ask: impl FnOnce(Pin<&mut I>, &mut Context<'_>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>>
    where
        I: Unpin,
    {
        let answer = ask(Pin::new(self.open()?), context);
        if answer.is_pending() && waits_for(self).as_mut().poll(context).is_ready() {
            self.io = None;
            return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
        }
        answer
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Counted<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.answer(
            |this| &mut this.closed_for_reading,
            context,
            |io, context| io.poll_read(context, into),
        )
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Counted<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.answer(
            |this| &mut this.closed_for_writing,
            context,
            |io, context| io.poll_write(context, bytes),
        )
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.answer(|this| &mut this.closed_for_writing, context, I::poll_flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.answer(
            |this| &mut this.closed_for_writing,
            context,
            I::poll_shutdown,
        )
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.answer(
            |this| &mut this.closed_for_writing,
            context,
            |io, context| io.poll_write_vectored(context, slices),
        )
    }

    fn is_write_vectored(&self) -> bool {
        self.io.as_ref().is_some_and(I::is_write_vectored)
    }
}
