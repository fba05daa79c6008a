//! Raw streams between two nodes: authenticated and encrypted bytes, and nothing else.
//!
//! Nothing here reads or writes by itself. Back-pressure is the socket's own, and a quiet stream may
//! be quiet for ever: its user bounds that. TCP's keep-alive notices a machine that is gone.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::network::Socket;
use crate::peer::Peer;

/// A raw stream; closed when dropped, and in good order by `shutdown`.
///
/// An accepted one counts against [`crate::Limits::connections`] while it lives.
pub struct Stream {
    pub(crate) socket: Socket,
    pub(crate) peer: Arc<Peer>,
    pub(crate) slot: Option<OwnedSemaphorePermit>,
}

impl Stream {
    /// Who is at the other end, as it introduced itself.
    #[must_use]
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
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
