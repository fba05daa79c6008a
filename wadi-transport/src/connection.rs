//! One connection for messages: the dialler's end writes them, the acceptor's reads them, and both
//! show that they are alive.
//!
//! It ends by the first thing that goes wrong, and never begins again: links dial anew.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};
use tokio_util::sync::CancellationToken;
use wadi_core::member::Incarnation;
use wadi_core::message::frame::within;

use crate::config::Limits;
use crate::farewell::{self, Farewell};
use crate::frame;
use crate::inbox::{Gone, Inbox, Received};
use crate::medium::Socket;
use crate::notice::Ended;
use crate::outgoing::{GATHER, Outgoing};
use crate::peer::Peer;
use crate::shared::Shared;

/// How long the last bytes of a connection may take, its end included.
const PARTING: Duration = Duration::from_secs(1);

/// A frame without a body: its sender is alive.
const SIGN_OF_LIFE: &[u8] = &[0; frame::LENGTH_BYTES];

/// Who is at the other end of a connection for messages, and what was agreed with it.
#[derive(Clone, Debug)]
pub(crate) struct Agreement {
    pub(crate) peer: Arc<Peer>,
    pub(crate) version: u16,
    /// Which incarnation of the acceptor was dialled; the acceptor has checked that it is that.
    pub(crate) sought: Option<Incarnation>,
}

/// The dialler's end: writes what waits until the link or the connection ends. Tells whether the
/// other side was heard.
pub(crate) async fn carry(
    shared: &Shared,
    socket: Socket,
    version: u16,
    outgoing: &Outgoing,
    closing: &CancellationToken,
    us: &mut watch::Receiver<Peer>,
) -> (Ended, bool) {
    let (read, write) = tokio::io::split(socket);
    let wire = outgoing.wire();
    wire.connect(write);
    // Nothing but signs of life comes this way, and a farewell where they are said.
    let says_farewell = version >= farewell::SINCE;
    let longest = if says_farewell { farewell::LIMIT } else { 0 };
    let mut read = FramedRead::new(read, frame::codec(longest));
    let mut heard = false;
    let ended = {
        let mut reading = pin!(async {
            loop {
                match next(&mut read, shared.limits.silence).await {
                    Ok(body) if body.is_empty() => heard = true,
                    Ok(body) => return Ended::Farewell(Farewell::decode(&body)),
                    Err(ended) => return ended,
                }
            }
        });
        let mut writing = pin!(write_waiting(outgoing, closing, &shared.limits));
        tokio::select! {
            ended = &mut writing => ended,
            ended = &mut reading => ended,
            _ = us.changed() => Ended::Reintroduced,
        }
    };
    let patience = match ended {
        Ended::Closing => shared.limits.write,
        _ => PARTING,
    };
    let write = wire.disconnect();
    // An end that cannot be said in time is understood from the connection's closing.
    let _ = timeout(patience, async {
        if let Some(mut write) = write {
            write.shutdown().await?;
        }
        // Until the other side has read all and closed: to close with its signs of life unread would
        // reset the connection, and take with it what it has not read yet.
        while let Some(Ok(_)) = read.next().await {}
        std::io::Result::Ok(())
    })
    .await;
    (ended, heard)
}

/// The acceptor's end: hands over what comes until the connection ends.
pub(crate) async fn receive<M: DeserializeOwned>(
    shared: &Shared,
    socket: Socket,
    agreed: &Agreement,
    inbox: &Inbox<M>,
    us: &mut watch::Receiver<Peer>,
) -> Ended {
    let limits = &shared.limits;
    let (read, mut write) = tokio::io::split(socket);
    let mut read = FramedRead::with_capacity(read, frame::codec(limits.frame_bytes), GATHER);
    let mut writes_whole_frames = true;
    let ended = {
        let mut reading = pin!(async {
            loop {
                let body = match next(&mut read, limits.silence).await {
                    Ok(body) if body.is_empty() => continue,
                    Ok(body) => body,
                    Err(ended) => return ended,
                };
                if let Err(ended) = hand_over(shared, agreed, &body, inbox).await {
                    return ended;
                }
            }
        });
        let mut living = pin!(async {
            loop {
                writes_whole_frames = false;
                if let Err(ended) = put(&mut write, SIGN_OF_LIFE, limits.write).await {
                    return ended;
                }
                writes_whole_frames = true;
                tokio::time::sleep(limits.sign_of_life).await;
            }
        });
        tokio::select! {
            ended = &mut reading => ended,
            ended = &mut living => ended,
            _ = us.changed() => Ended::Reintroduced,
            () = shared.closing.cancelled() => Ended::Closing,
        }
    };
    // Its outcome is of no consequence: whoever hears nothing of it sees the connection end.
    let _ = timeout(PARTING, async {
        if let Some(farewell) = reason(&ended)
            && agreed.version >= farewell::SINCE
            && writes_whole_frames
        {
            let body = farewell.encode();
            let mut frame = BytesMut::new();
            frame.put_u32(body.len() as u32);
            frame.put(body);
            write.write_all(&frame).await?;
        }
        write.shutdown().await
    })
    .await;
    ended
}

/// What the dialler is told of the end; nothing where it knows as much.
fn reason(ended: &Ended) -> Option<Farewell> {
    match ended {
        Ended::Closing => Some(Farewell::Closing),
        Ended::Reintroduced => Some(Farewell::Reintroduced),
        Ended::Silent => Some(Farewell::Silent),
        Ended::Malformed(_) => Some(Farewell::NotUnderstood),
        Ended::Closed | Ended::Stuck | Ended::Broken(_) | Ended::Farewell(_) => None,
    }
}

/// Waits as long as the node does not take what is there: that is the back-pressure. The other side
/// bounds its writes, and the end of the endpoint ends this.
async fn hand_over<M: DeserializeOwned>(
    shared: &Shared,
    agreed: &Agreement,
    body: &Bytes,
    inbox: &Inbox<M>,
) -> Result<(), Ended> {
    let malformed = |cause: String| Ended::Malformed(cause);
    let share = u32::try_from(body.len()).map_err(|cause| malformed(cause.to_string()))?;
    let decode = || {
        let message = within(body, || frame::decode(body));
        let message = message.map_err(|cause| malformed(cause.to_string()))?;
        Ok(Received {
            peer: agreed.peer.clone(),
            to: agreed.sought,
            message,
        })
    };
    inbox.put(shared, share, decode).await
}

impl From<Gone> for Ended {
    fn from(_: Gone) -> Self {
        Self::Closing
    }
}

async fn write_waiting(outgoing: &Outgoing, closing: &CancellationToken, limits: &Limits) -> Ended {
    let mut is_closing = false;
    loop {
        let next = tokio::select! {
            biased;
            () = closing.cancelled(), if !is_closing => {
                // What waits is still written, and nothing more is taken.
                is_closing = true;
                outgoing.close();
                continue;
            }
            next = timeout(limits.sign_of_life, outgoing.next()) => next,
        };
        let written = match next {
            Ok(Some(frames)) => put_all(&frames, outgoing, limits.write).await,
            Ok(None) => return Ended::Closing,
            // It goes with what is sent.
            Err(_) => {
                outgoing.show_life();
                Ok(())
            }
        };
        if let Err(ended) = written {
            return ended;
        }
    }
}

/// Writes these frames, and sends them off unless more wait that may go with them.
async fn put_all(frames: &[u8], outgoing: &Outgoing, limit: Duration) -> Result<(), Ended> {
    let wire = outgoing.wire();
    for part in frames.chunks(GATHER) {
        timely(limit, wire.write_all(part)).await?;
    }
    if outgoing.has_more() {
        return Ok(());
    }
    timely(limit, wire.flush()).await
}

async fn put<W: AsyncWrite + Unpin>(
    write: &mut W,
    bytes: &[u8],
    limit: Duration,
) -> Result<(), Ended> {
    timely(limit, async {
        write.write_all(bytes).await?;
        write.flush().await
    })
    .await
}

async fn timely(
    limit: Duration,
    writing: impl Future<Output = std::io::Result<()>>,
) -> Result<(), Ended> {
    match timeout(limit, writing).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(cause)) => Err(Ended::Broken(cause.to_string())),
        Err(_) => Err(Ended::Stuck),
    }
}

async fn next<R: AsyncRead + Unpin>(
    read: &mut FramedRead<R, LengthDelimitedCodec>,
    silence: Duration,
) -> Result<Bytes, Ended> {
    match timeout(silence, read.next()).await {
        Ok(Some(Ok(body))) => Ok(body.freeze()),
        Ok(Some(Err(cause))) if cause.kind() == std::io::ErrorKind::InvalidData => {
            Err(Ended::Malformed(cause.to_string()))
        }
        Ok(Some(Err(cause))) => Err(Ended::Broken(cause.to_string())),
        Ok(None) => Err(Ended::Closed),
        Err(_) => Err(Ended::Silent),
    }
}
