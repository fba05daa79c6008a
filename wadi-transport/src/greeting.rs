//! Frames of a handshake over a connection, read and written without a byte too many.
//!
//! What follows the handshake may be a raw stream, so nothing is read ahead. It bounds sizes; its
//! callers bound the time.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::handshake::{LIMIT, Malformed};
use crate::network::Socket;

/// Why a handshake came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GreetingError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Malformed(#[from] Malformed),
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
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > LIMIT {
        return Err(Malformed::TooLong(length).into());
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await?;
    Ok(body)
}
