//! Accepting: from a stranger's bytes to a peer's connection, and whose it is then.
//!
//! Nobody is believed, waited for without a limit, or given more than a handshake's few bytes
//! before the handshake is done.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};

use crate::connection::{self, Received};
use crate::greeting;
use crate::handshake::{Hello, Purpose, Refusal, Reply};
use crate::network::{Socket, Sockets};
use crate::notice::{Ended, Notice};
use crate::peer::Peer;
use crate::security::is_about_keys;
use crate::shared::Shared;
use crate::stream::Stream;

/// How long to leave the system alone after it could not accept.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the endpoint closes.
pub(crate) async fn accept<M: DeserializeOwned + Send + 'static>(
    shared: Arc<Shared>,
    mut sockets: Box<dyn Sockets>,
    inbox: mpsc::Sender<Received<M>>,
) {
    let handshakes = Arc::new(Semaphore::new(shared.limits.handshakes));
    let closing = shared.closing.clone();
    loop {
        let slot = handshakes.clone().acquire_owned();
        let Some(Ok(slot)) = closing.run_until_cancelled(slot).await else {
            return;
        };
        match closing.run_until_cancelled(sockets.accept()).await {
            None => return,
            Some(Ok((socket, from))) => {
                let served = serve(shared.clone(), socket, from, slot, inbox.clone());
                shared.spawn(served);
            }
            Some(Err(cause)) => {
                let why = cause.to_string();
                shared.tell(&Notice::CannotAccept { why });
                sleep(PAUSE).await;
            }
        }
    }
}

async fn serve<M: DeserializeOwned + Send + 'static>(
    shared: Arc<Shared>,
    socket: Socket,
    from: SocketAddr,
    slot: OwnedSemaphorePermit,
    inbox: mpsc::Sender<Received<M>>,
) {
    // Before the handshake tells the peer who we are, so that no change is missed.
    let mut us = shared.us.subscribe();
    let agreed = timeout(shared.limits.handshake, greet(&shared, socket, from));
    let Some(agreed) = shared.closing.run_until_cancelled(agreed).await else {
        return;
    };
    let agreed = agreed.unwrap_or_else(|_| Err("its handshake took too long".to_owned()));
    drop(slot);
    match agreed {
        Ok(None) => {}
        Err(why) => shared.tell(&Notice::Unfinished { from, why }),
        Ok(Some(Agreed { stream, place })) => {
            let peer = stream.peer.clone();
            shared.tell(&Notice::Accepted { peer: peer.clone() });
            match place {
                Place::Waiting(place) => {
                    place.send(stream);
                }
                Place::Messages => {
                    // The slot among the connections is held to the end of this one.
                    let Stream { socket, slot, .. } = stream;
                    let why = connection::receive(&shared, socket, &peer, &inbox, &mut us).await;
                    drop(slot);
                    if let Ended::Malformed(_) = why {
                        tracing::warn!("{peer} sent what is no message: {why}");
                    }
                    shared.tell(&Notice::Ended { peer, why });
                }
            }
        }
    }
}

/// A connection that both sides want, and what is to become of it.
struct Agreed {
    stream: Stream,
    place: Place,
}

enum Place {
    Messages,
    /// A place among the waiting streams of its kind.
    Waiting(mpsc::OwnedPermit<Stream>),
}

/// `None` when the other side was refused and has been told.
async fn greet(
    shared: &Shared,
    socket: Socket,
    from: SocketAddr,
) -> Result<Option<Agreed>, String> {
    let guarded = shared.guard.accept(socket).await;
    let mut socket = guarded.map_err(|cause| {
        if is_about_keys(&cause) {
            format!("it has not the cluster's key, or does not accept ours: {cause}")
        } else {
            cause.to_string()
        }
    })?;
    let hello = greeting::receive(&mut socket).await;
    let hello = hello.map_err(|cause| cause.to_string())?;
    let hello = Hello::decode(&hello).map_err(|cause| cause.to_string())?;
    let us = shared.us.borrow().clone();
    match admit(shared, &us, &hello) {
        Ok((version, slot, place)) => {
            let welcome = Reply::Welcome { version, peer: us };
            answer(&mut socket, &welcome).await?;
            let stream = Stream {
                socket,
                peer: Arc::new(hello.peer),
                slot: Some(slot),
            };
            Ok(Some(Agreed { stream, place }))
        }
        Err(why) => {
            let peer = Arc::new(hello.peer);
            shared.tell(&Notice::Refused {
                from,
                peer,
                why: why.clone(),
            });
            answer(&mut socket, &Reply::Refused(why)).await?;
            // Its end is of no consequence: the refusal is on its way.
            let _ = socket.shutdown().await;
            Ok(None)
        }
    }
}

fn admit(
    shared: &Shared,
    us: &Peer,
    hello: &Hello,
) -> Result<(u16, OwnedSemaphorePermit, Place), Refusal> {
    if shared.closing.is_cancelled() {
        return Err(Refusal::Closing);
    }
    let version = hello.judge(&shared.cluster, us, shared.versions)?;
    let slot = shared.connections.clone().try_acquire_owned();
    let slot = slot.map_err(|_| Refusal::Full)?;
    let place = match &hello.purpose {
        Purpose::Messages => Place::Messages,
        Purpose::Stream { kind } => {
            let takes = shared.kinds.lock().get(kind).cloned();
            let no_such_kind = || Refusal::NoSuchKind { kind: kind.clone() };
            let takes = takes.ok_or_else(no_such_kind)?;
            let place = takes.try_reserve_owned().map_err(|error| match error {
                TrySendError::Full(_) => Refusal::Full,
                TrySendError::Closed(_) => no_such_kind(),
            })?;
            Place::Waiting(place)
        }
    };
    Ok((version, slot, place))
}

async fn answer(socket: &mut Socket, reply: &Reply) -> Result<(), String> {
    let reply = reply.encode().map_err(|cause| cause.to_string())?;
    let sent = greeting::send(socket, &reply).await;
    sent.map_err(|cause| cause.to_string())
}
