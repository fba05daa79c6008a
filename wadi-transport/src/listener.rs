//! Accepting: from a stranger's bytes to a peer's connection, and whose it is then.
//!
//! Nobody is believed, waited for without a limit, or given more than a handshake's few bytes
//! before the handshake is done.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use serde::de::DeserializeOwned;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};
use wadi_core::lease::LeaseGate;

use crate::admission::{self, Admission};
use crate::connection::{self, Agreement};
use crate::greeting::{self, Fruitless};
use crate::handshake::{Hello, Purpose, Refusal, Reply};
use crate::inbox::Inbox;
use crate::medium::{Socket, Sockets, Waiting};
use crate::notice::Notice;
use crate::peer::Peer;
use crate::shared::Shared;
use crate::stream::{Audience, Stream};

/// How long to leave the system alone after it could not accept.
const PAUSE: Duration = Duration::from_millis(100);

/// A listening socket, and who may act only while it listens: to others, a node that does not listen any
/// more has ended. However it is closed, also with the runtime that everything here runs on, the gate is
/// revoked before.
pub(crate) struct Guarded {
    gate: Option<Arc<LeaseGate>>,
    sockets: Box<dyn Sockets>,
}

impl Guarded {
    pub(crate) fn by(gate: Option<Arc<LeaseGate>>, sockets: Box<dyn Sockets>) -> Self {
        Self { gate, sockets }
    }
}

impl Sockets for Guarded {
    fn local(&self) -> SocketAddr {
        self.sockets.local()
    }

    fn accept(&mut self) -> Waiting<'_, (Socket, SocketAddr)> {
        self.sockets.accept()
    }
}

impl Drop for Guarded {
    /// The sockets go after this.
    fn drop(&mut self) {
        if let Some(gate) = &self.gate {
            gate.revoke();
        }
    }
}

/// Listens until the endpoint closes, whatever becomes of the accepting: to others, a node that does not
/// listen any more has ended.
pub(crate) async fn listen<M: DeserializeOwned + Send + 'static>(
    shared: Arc<Shared>,
    mut sockets: Box<dyn Sockets>,
    inbox: Inbox<M>,
) {
    let accepting = AssertUnwindSafe(accept(shared.clone(), &mut *sockets, inbox));
    if accepting.catch_unwind().await.is_err() {
        shared.closing.cancelled().await;
    }
}

/// Accepts until the endpoint closes.
async fn accept<M: DeserializeOwned + Send + 'static>(
    shared: Arc<Shared>,
    sockets: &mut dyn Sockets,
    inbox: Inbox<M>,
) {
    let admission = Admission::new(shared.limits.handshakes);
    // Whose place was taken away is not gone before its task has run, so sockets are counted, too.
    let open = Arc::new(Semaphore::new(shared.limits.handshakes * 2));
    let closing = shared.closing.clone();
    loop {
        let counted = open.clone().acquire_owned();
        let Some(Ok(counted)) = closing.run_until_cancelled(counted).await else {
            return;
        };
        match closing.run_until_cancelled(sockets.accept()).await {
            None => return,
            Some(Ok((socket, from))) => {
                let unfinished = Unfinished {
                    place: admission.admit(from.ip()),
                    _counted: counted,
                };
                let served = serve(shared.clone(), socket, from, unfinished, inbox.clone());
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

/// What an unfinished handshake occupies.
struct Unfinished {
    place: admission::Place,
    _counted: OwnedSemaphorePermit,
}

async fn serve<M: DeserializeOwned + Send + 'static>(
    shared: Arc<Shared>,
    socket: Socket,
    from: SocketAddr,
    unfinished: Unfinished,
    inbox: Inbox<M>,
) {
    let mut us = shared.us.subscribe();
    let agreed = {
        let greeted = timeout(
            shared.limits.handshake,
            greet(&shared, socket, from, &mut us),
        );
        tokio::select! {
            biased;
            () = shared.closing.cancelled() => return,
            greeted = greeted => {
                greeted.unwrap_or_else(|_| Err(Fruitless::of("its handshake took too long")))
            }
            () = unfinished.place.taken_away() => {
                Err(Fruitless::of("its handshake was not done when newcomers needed the place"))
            }
        }
    };
    drop(unfinished);
    match agreed {
        Ok(None) => {}
        Err(Fruitless { why, was_given_up }) if was_given_up => {
            shared.tell(&Notice::GivenUp { from, why });
        }
        Err(Fruitless { why, .. }) => shared.tell(&Notice::Unfinished { from, why }),
        Ok(Some(agreed)) => {
            let peer = agreed.agreement.peer.clone();
            shared.accepted(&peer);
            match agreed.place {
                Place::Waiting(place) => {
                    place.send(agreed.stream);
                }
                Place::Messages => {
                    // The slot among the connections is held to the end of this one.
                    let (socket, slot) = agreed.stream.into_parts();
                    let agreement = &agreed.agreement;
                    let why =
                        connection::receive(&shared, socket, agreement, &inbox, &mut us).await;
                    drop(slot);
                    shared.tell(&Notice::Ended { peer, why });
                }
            }
        }
    }
}

/// A connection that both sides want, and what is to become of it.
struct Agreed {
    stream: Stream,
    agreement: Agreement,
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
    us: &mut watch::Receiver<Peer>,
) -> Result<Option<Agreed>, Fruitless> {
    let mut socket = shared.guard.accept(socket).await?;
    let hello = match greeting::receive(&mut socket).await {
        Ok(hello) => hello,
        Err(cause) => {
            if cause.is_tls() {
                // Its outcome is of no consequence: the other side then merely knows less.
                let _ = greeting::answer_tls(&mut socket).await;
            }
            return Err(Fruitless::from(&cause));
        }
    };
    let hello = Hello::decode(&hello).map_err(|cause| Fruitless::of(&cause.to_string()))?;
    // As this node is now: of a later change the peer has to learn, and of an earlier one it does.
    let us = us.borrow_and_update().clone();
    match admit(shared, &us, &hello) {
        Ok((version, slot, place)) => {
            let welcome = Reply::Welcome { version, peer: us };
            answer(&mut socket, &welcome).await?;
            let peer = Arc::new(hello.peer);
            Ok(Some(Agreed {
                stream: Stream::new(socket, peer.clone(), Some(slot), &shared.ended),
                agreement: Agreement {
                    peer,
                    version,
                    sought: hello.sought,
                },
                place,
            }))
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
            let taker = shared.kinds.lock().get(kind).cloned();
            let no_such_kind = || Refusal::NoSuchKind { kind: kind.clone() };
            let taker = taker.ok_or_else(no_such_kind)?;
            if taker.audience == Audience::Members && !shared.is_member(&hello.peer) {
                return Err(Refusal::NoMember);
            }
            let kept = shared.limits.connections / 4;
            if taker.audience == Audience::Members && shared.connections.available_permits() < kept
            {
                return Err(Refusal::Full);
            }
            let place = (taker.takes.try_reserve_owned()).map_err(|error| match error {
                TrySendError::Full(_) => Refusal::Full,
                TrySendError::Closed(_) => no_such_kind(),
            })?;
            Place::Waiting(place)
        }
    };
    Ok((version, slot, place))
}

async fn answer(socket: &mut Socket, reply: &Reply) -> Result<(), Fruitless> {
    let reply = reply.encode();
    let reply = reply.map_err(|cause| Fruitless::of(&cause.to_string()))?;
    let sent = greeting::send(socket, &reply).await;
    sent.map_err(|cause| Fruitless::because(&cause, cause.to_string()))
}
