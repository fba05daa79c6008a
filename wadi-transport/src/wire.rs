//! The writing end of one connection, which two write to: its own task, and whoever flushes a link that
//! has nothing else to write. So a single message costs no other task's turn.
//!
//! Whoever takes frames out of what waits holds the wire, or has said that it writes; so frames stay in
//! order and whole. The lock is held for one attempt, and across no await.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BytesMut};
use parking_lot::{Mutex, MutexGuard};
use tokio::io::{AsyncWrite, WriteHalf};

use crate::medium::Socket;

/// The writing end; see the module.
pub(crate) struct Wire(Mutex<End>);

/// The end itself, for one attempt.
pub(crate) struct End {
    /// `None` before there is a connection, and once its task has it for itself.
    write: Option<WriteHalf<Socket>>,
    /// What is left of frames that were begun here: nothing else goes before it.
    rest: BytesMut,
    /// Something was written, and is not sent off.
    unsent: bool,
    /// The connection's task has frames in its hands.
    task_writes: bool,
}

impl Wire {
    pub(crate) fn none() -> Self {
        Self(Mutex::new(End {
            write: None,
            rest: BytesMut::new(),
            unsent: false,
            task_writes: false,
        }))
    }

    pub(crate) fn connect(&self, write: WriteHalf<Socket>) {
        self.0.lock().write = Some(write);
    }

    /// From now on it is the caller's alone.
    pub(crate) fn disconnect(&self) -> Option<WriteHalf<Socket>> {
        self.0.lock().write.take()
    }

    /// The end, where nobody else writes at this moment.
    pub(crate) fn idle(&self) -> Option<MutexGuard<'_, End>> {
        let end = self.0.try_lock()?;
        let is_idle = !end.task_writes && end.rest.is_empty() && !end.unsent;
        (is_idle && end.write.is_some()).then_some(end)
    }

    /// For the connection's task: what it is to write next, of what was begun here, or else of what
    /// `take` gives. Until it calls this again, nobody else writes.
    pub(crate) fn claim(&self, take: impl FnOnce() -> Option<BytesMut>) -> Option<BytesMut> {
        let mut end = self.0.lock();
        let mut frames = std::mem::take(&mut end.rest);
        if frames.is_empty() {
            // Of no bytes, where something was written and only has to be sent off.
            let unsent = end.unsent.then(BytesMut::new);
            frames = match unsent.or_else(take) {
                Some(frames) => frames,
                None => {
                    end.task_writes = false;
                    return None;
                }
            };
        }
        end.unsent = false;
        end.task_writes = true;
        Some(frames)
    }

    /// Writes all of it.
    pub(crate) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        poll_fn(|context| {
            while !bytes.is_empty() {
                let written = ready!(self.0.lock().poll_write(context, bytes))?;
                bytes = &bytes[written..];
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Sends off what was written.
    pub(crate) async fn flush(&self) -> io::Result<()> {
        poll_fn(|context| self.0.lock().poll_flush(context)).await
    }
}

impl End {
    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(write) = &mut self.write else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        match ready!(Pin::new(write).poll_write(context, bytes))? {
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => Poll::Ready(Ok(written)),
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(write) = &mut self.write else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        Pin::new(write).poll_flush(context)
    }

    /// Writes these frames as far as that goes without waiting. Whether all of it was sent off; what was
    /// not, the connection's task goes on with, and meets what was wrong.
    pub(crate) fn try_write(&mut self, mut frames: BytesMut) -> bool {
        // Nobody waits here: whoever goes on has itself woken.
        let context = &mut Context::from_waker(Waker::noop());
        while !frames.is_empty() {
            match self.poll_write(context, &frames) {
                Poll::Ready(Ok(written)) => frames.advance(written),
                Poll::Ready(Err(_)) | Poll::Pending => {
                    self.rest = frames;
                    self.unsent = true;
                    return false;
                }
            }
        }
        self.unsent = !matches!(self.poll_flush(context), Poll::Ready(Ok(())));
        !self.unsent
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    fn frames(bytes: usize) -> BytesMut {
        BytesMut::from(&vec![7; bytes][..])
    }

    #[tokio::test]
    async fn what_cannot_be_written_at_once_is_left_to_the_task_and_nobody_writes_before_it() {
        let (here, mut there) = tokio::io::duplex(10);
        let (_read, write) = tokio::io::split(Box::new(here) as Socket);
        let wire = Wire::none();
        assert!(wire.idle().is_none(), "there is no connection");
        wire.connect(write);
        assert!(wire.idle().unwrap().try_write(frames(6)));
        let more = wire.idle().unwrap().try_write(frames(6));
        assert!(!more, "there is room for four more");
        assert!(wire.idle().is_none(), "two are left");
        let rest = wire.claim(|| panic!("what was begun goes first")).unwrap();
        assert_eq!(rest.len(), 2);
        assert!(wire.idle().is_none(), "the task writes");
        let mut read = [0; 12];
        let (written, read) = tokio::join!(wire.write_all(&rest), there.read_exact(&mut read));
        assert!(written.is_ok() && read.is_ok());
        wire.flush().await.unwrap();
        assert!(wire.idle().is_none(), "it may have more");
        assert_eq!(wire.claim(|| None), None);
        assert!(wire.idle().is_some());
        assert!(wire.disconnect().is_some());
        assert!(wire.idle().is_none());
    }

    #[tokio::test]
    async fn the_task_meets_what_was_wrong() {
        let (here, there) = tokio::io::duplex(10);
        let (_read, write) = tokio::io::split(Box::new(here) as Socket);
        let wire = Wire::none();
        wire.connect(write);
        drop(there);
        assert!(!wire.idle().unwrap().try_write(frames(6)));
        let rest = wire.claim(|| None).unwrap();
        assert_eq!(rest.len(), 6);
        assert!(wire.write_all(&rest).await.is_err());
    }
}
