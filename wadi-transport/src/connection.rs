//! One connection for messages: the dialler's end writes them, the acceptor's reads them, and both
//! show that they are alive.
//!
//! It ends by the first thing that goes wrong, and never begins again: links dial anew.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::timeout;
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};
use tokio_util::sync::CancellationToken;

use crate::config::Limits;
use crate::frame;
use crate::network::Socket;
use crate::notice::Ended;
use crate::peer::Peer;
use crate::shared::Shared;

/// How long the last bytes of a connection may take, its end included.
const FAREWELL: Duration = Duration::from_secs(1);
/// Bytes gathered before they are written.
const GATHER: usize = 64 * 1024;

/// An encoded message and its share of the bytes that may wait.
pub(crate) struct Queued {
    pub(crate) body: Bytes,
    pub(crate) _bytes: OwnedSemaphorePermit,
}

/// A received message and its share of the bytes that may wait.
pub(crate) struct Received<M> {
    pub(crate) peer: Arc<Peer>,
    pub(crate) message: M,
    pub(crate) _bytes: OwnedSemaphorePermit,
}

/// The dialler's end: writes what is queued until the queue or the connection ends.
pub(crate) async fn carry(
    shared: &Shared,
    socket: Socket,
    queue: &mut mpsc::Receiver<Queued>,
    closing: &CancellationToken,
    us: &mut watch::Receiver<Peer>,
) -> (Ended, bool) {
    let (read, write) = tokio::io::split(socket);
    let mut read = FramedRead::new(read, frame::codec(0));
    let mut write = gathering(write, shared.limits.frame_bytes);
    let mut heard = false;
    let ended = {
        let mut reading = pin!(async {
            loop {
                // Nothing but signs of life comes this way: the codec's limit is 0.
                match next(&mut read, shared.limits.silence).await {
                    Ok(_) => heard = true,
                    Err(ended) => return ended,
                }
            }
        });
        let mut writing = pin!(write_queued(&mut write, queue, closing, &shared.limits));
        tokio::select! {
            ended = &mut writing => ended,
            ended = &mut reading => ended,
            _ = us.changed() => Ended::Reintroduced,
        }
    };
    let patience = match ended {
        Ended::Closing => shared.limits.write,
        _ => FAREWELL,
    };
    // An end that cannot be said in time is understood from the connection's closing.
    let _ = timeout(patience, async {
        SinkExt::<Bytes>::close(&mut write).await?;
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
    peer: &Arc<Peer>,
    inbox: &mpsc::Sender<Received<M>>,
    us: &mut watch::Receiver<Peer>,
) -> Ended {
    let limits = &shared.limits;
    let (read, write) = tokio::io::split(socket);
    let mut read = FramedRead::new(read, frame::codec(limits.frame_bytes));
    let mut write = gathering(write, 0);
    let ended = {
        let mut reading = pin!(async {
            loop {
                let body = match next(&mut read, limits.silence).await {
                    Ok(body) if body.is_empty() => continue,
                    Ok(body) => body,
                    Err(ended) => return ended,
                };
                if let Err(ended) = hand_over(shared, peer, &body, inbox).await {
                    return ended;
                }
            }
        });
        let mut living = pin!(async {
            loop {
                if let Err(ended) = put(&mut write, Bytes::new(), limits.write).await {
                    return ended;
                }
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
    let _ = timeout(FAREWELL, SinkExt::<Bytes>::close(&mut write)).await;
    ended
}

/// Waits as long as the node does not take what is there: that is the back-pressure. The other side
/// bounds its writes, and the end of the endpoint ends this.
async fn hand_over<M: DeserializeOwned>(
    shared: &Shared,
    peer: &Arc<Peer>,
    body: &[u8],
    inbox: &mpsc::Sender<Received<M>>,
) -> Result<(), Ended> {
    let malformed = |cause: String| Ended::Malformed(cause);
    let share = u32::try_from(body.len()).map_err(|cause| malformed(cause.to_string()))?;
    let bytes = shared.incoming.clone().acquire_many_owned(share).await;
    let bytes = bytes.map_err(|_| Ended::Closing)?;
    let message = frame::decode(body).map_err(|cause| malformed(cause.to_string()))?;
    let received = Received {
        peer: peer.clone(),
        message,
        _bytes: bytes,
    };
    inbox.send(received).await.map_err(|_| Ended::Closing)
}

async fn write_queued<W: AsyncWrite + Unpin>(
    write: &mut FramedWrite<W, LengthDelimitedCodec>,
    queue: &mut mpsc::Receiver<Queued>,
    closing: &CancellationToken,
    limits: &Limits,
) -> Ended {
    let mut is_closing = false;
    loop {
        let queued = tokio::select! {
            biased;
            () = closing.cancelled(), if !is_closing => {
                // What is queued is still written, and nothing more is taken.
                is_closing = true;
                queue.close();
                continue;
            }
            queued = timeout(limits.sign_of_life, queue.recv()) => queued,
        };
        let written = match queued {
            Ok(Some(queued)) => put_all(write, queued, queue, limits.write).await,
            Ok(None) => return Ended::Closing,
            Err(_) => put(write, Bytes::new(), limits.write).await,
        };
        if let Err(ended) = written {
            return ended;
        }
    }
}

/// Writes this one and what already waits behind it, then sends it all.
async fn put_all<W: AsyncWrite + Unpin>(
    write: &mut FramedWrite<W, LengthDelimitedCodec>,
    first: Queued,
    queue: &mut mpsc::Receiver<Queued>,
    limit: Duration,
) -> Result<(), Ended> {
    let mut next = Some(first);
    while let Some(queued) = next {
        timely(limit, write.feed(queued.body)).await?;
        if write.write_buffer().len() >= GATHER {
            break;
        }
        next = queue.try_recv().ok();
    }
    timely(limit, SinkExt::<Bytes>::flush(write)).await
}

async fn put<W: AsyncWrite + Unpin>(
    write: &mut FramedWrite<W, LengthDelimitedCodec>,
    body: Bytes,
    limit: Duration,
) -> Result<(), Ended> {
    timely(limit, write.send(body)).await
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

fn gathering<W: AsyncWrite>(write: W, limit: usize) -> FramedWrite<W, LengthDelimitedCodec> {
    let mut write = FramedWrite::new(write, frame::codec(limit));
    write.set_backpressure_boundary(GATHER);
    write
}
