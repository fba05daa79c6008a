//! Raw streams between two nodes: authenticated and encrypted bytes, and nothing else.
//!
//! Nothing here reads or writes by itself. Back-pressure is the socket's own, and a quiet stream may
//! be quiet for ever: its user bounds that. TCP's keep-alive notices a machine that is gone.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::medium::Socket;
use crate::peer::Peer;

/// A raw stream; closed when dropped, and in good order by `shutdown`. When the endpoint ends, it
/// breaks, and whoever waits for it is told.
///
/// An accepted one counts against [`crate::Limits::connections`] while it lives.
pub struct Stream {
    socket: Socket,
    peer: Arc<Peer>,
    slot: Option<OwnedSemaphorePermit>,
    ended: CancellationToken,
    // Reading and writing may be two tasks, and each is to be woken.
    read_end: Pin<Box<WaitForCancellationFutureOwned>>,
    write_end: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// Whose streams are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Those of any node that has the cluster's key, also before it has joined.
    Anybody,
    /// Those of members, by [`crate::Endpoint::members`]. One that joined after all of these may be
    /// one by now, and is taken for it.
    Members,
}

impl Stream {
    pub(crate) fn new(
        socket: Socket,
        peer: Arc<Peer>,
        slot: Option<OwnedSemaphorePermit>,
        ended: &CancellationToken,
    ) -> Self {
        Self {
            socket,
            peer,
            slot,
            ended: ended.clone(),
            read_end: Box::pin(ended.clone().cancelled_owned()),
            write_end: Box::pin(ended.clone().cancelled_owned()),
        }
    }

    /// Who is at the other end, as it introduced itself.
    #[must_use]
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// What a connection for messages is made of.
    pub(crate) fn into_parts(self) -> (Socket, Option<OwnedSemaphorePermit>) {
        (self.socket, self.slot)
    }

    fn check(&self) -> io::Result<()> {
        if self.ended.is_cancelled() {
            return Err(has_ended());
        }
        Ok(())
    }

    fn writing<T>(
        &mut self,
        context: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut Socket>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        self.check()?;
        let polled = poll(Pin::new(&mut self.socket), context);
        if polled.is_pending() {
            ready!(self.write_end.as_mut().poll(context));
            return Poll::Ready(Err(has_ended()));
        }
        polled
    }
}

fn has_ended() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionAborted,
        "this node's end of its connections has ended",
    )
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        let polled = Pin::new(&mut self.socket).poll_read(context, buffer);
        if polled.is_pending() {
            ready!(self.read_end.as_mut().poll(context));
            return Poll::Ready(Err(has_ended()));
        }
        polled
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writing(context, |socket, context| socket.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writing(context, |socket, context| {
            socket.poll_write_vectored(context, parts)
        })
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writing(context, |socket, context| socket.poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writing(context, |socket, context| socket.poll_shutdown(context))
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let accepted = if self.slot.is_some() { "from" } else { "to" };
        write!(f, "Stream({accepted} {})", self.peer)
    }
}

/// The accepted streams of one kind. Dropped, further ones of its kind are refused.
#[derive(Debug)]
pub struct Streams {
    pub(crate) accepted: mpsc::Receiver<Stream>,
}

impl Streams {
    /// The next one; `None` after the endpoint has shut down and none is left. Cancelled, it loses
    /// nothing.
    pub async fn next(&mut self) -> Option<Stream> {
        self.accepted.recv().await
    }
}
