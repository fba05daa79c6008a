//! Frames of a handshake over a connection, read and written without a byte too many.
//!
//! What follows the handshake may be a raw stream, so nothing is read ahead. It bounds sizes; its
//! callers bound the time.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::handshake::{LIMIT, Malformed};
use crate::medium::Socket;

/// Why a handshake came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GreetingError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// Why nothing came of a connection that somebody opened.
pub(crate) struct Fruitless {
    pub(crate) why: String,
    /// Who opened it closed it, and may have had reasons that are none of this side's.
    pub(crate) was_given_up: bool,
}

impl Fruitless {
    pub(crate) fn of(why: &str) -> Self {
        Self {
            why: why.to_owned(),
            was_given_up: false,
        }
    }

    pub(crate) fn because(cause: &io::Error, why: String) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        let ends = [
            BrokenPipe,
            ConnectionAborted,
            ConnectionReset,
            UnexpectedEof,
        ];
        Self {
            why,
            was_given_up: ends.contains(&cause.kind()),
        }
    }
}

impl From<&GreetingError> for Fruitless {
    fn from(cause: &GreetingError) -> Self {
        match cause {
            GreetingError::Io(io) => Self::because(io, cause.to_string()),
            GreetingError::Malformed(_) => Self::of(&cause.to_string()),
        }
    }
}

/// A record of TLS begins with its type, of which a greeting uses none, and the major version 3.
const TLS: [u16; 2] = [0x1603, 0x1503];

/// Fatal, "access denied", as a record of TLS in the clear: a dialler that speaks TLS to a node
/// without a key learns more from it than from silence.
const ALERT: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 49];

impl GreetingError {
    /// Whether the other side speaks TLS, and this one does not.
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Self::Malformed(Malformed::Tls))
    }
}

/// Tells somebody who speaks TLS that nobody here does.
pub(crate) async fn answer_tls(socket: &mut Socket) -> io::Result<()> {
    socket.write_all(&ALERT).await?;
    socket.shutdown().await?;
    // To close with bytes unread would reset the connection, and the alert be lost.
    let mut rest = socket.take(LIMIT as u64);
    tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
    Ok(())
}

/// Writes one frame, and sends it.
pub(crate) async fn send(socket: &mut Socket, body: &Bytes) -> io::Result<()> {
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend_from_slice(body);
    socket.write_all(&frame).await?;
    socket.flush().await
}

/// Reads one frame's body.
pub(crate) async fn receive(socket: &mut Socket) -> Result<Vec<u8>, GreetingError> {
    let length = socket.read_u32().await?;
    if TLS.contains(&((length >> 16) as u16)) {
        return Err(Malformed::Tls.into());
    }
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > LIMIT {
        return Err(Malformed::TooLong(length).into());
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await?;
    Ok(body)
}
