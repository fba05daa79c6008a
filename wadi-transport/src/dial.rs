//! Dialling: from an address to a connection that both sides agreed upon.
//!
//! One attempt, bounded in time as a whole. It never goes on without TLS but to loopback, where no
//! key is given.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::timeout;
use wadi_core::member::Incarnation;

use crate::greeting::{self, GreetingError};
use crate::handshake::{Hello, Malformed, Purpose, Refusal, Reply};
use crate::medium::Socket;
use crate::peer::{Peer, is_plain};
use crate::security::Objection;
use crate::shared::Shared;

/// Why nobody could be reached. Nothing was carried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The endpoint is shutting down.
    #[error("this endpoint is shutting down")]
    Closing,
    /// The name has no address, or cannot be looked up now.
    #[error("{address} has no address that can be dialled: {cause}")]
    Unresolved {
        /// What was looked up.
        address: String,
        /// Why not.
        cause: String,
    },
    /// Without a key only loopback is dialled.
    #[error(
        "{0} is not on this machine, and without a key nodes talk to each other on loopback only: give all nodes the same cluster key"
    )]
    NeedsKey(SocketAddr),
    /// The host of a literal address answered that nobody listens there. Whether that proves a death
    /// is for others to say.
    #[error("nobody listens at {0}")]
    NobodyListens(SocketAddr),
    /// No connection, or it broke. Try again.
    #[error("no connection to {address}: {cause}")]
    Broken {
        /// Where to.
        address: String,
        /// Why not.
        cause: String,
    },
    /// It took longer than a handshake may. Try again.
    #[error("{0} did not answer in time")]
    TimedOut(String),
    /// One side does not accept the other's key or certificate.
    #[error(
        "this node and the one at {address} do not accept each other's key: give both the same cluster key, or certificates of the same authority ({cause})"
    )]
    WrongKey {
        /// Where to.
        address: String,
        /// What TLS says.
        cause: String,
    },
    /// A certificate is out of date, or not in force yet.
    #[error(
        "a certificate shown between this node and the one at {address} is not in force now: renew it, and look at both machines' clocks ({cause})"
    )]
    NotInForce {
        /// Where to.
        address: String,
        /// What TLS says.
        cause: String,
    },
    /// The other side would not have the connection, and says why.
    #[error("the node at {address} refused: {why}")]
    Refused {
        /// Where it is.
        address: String,
        /// Why.
        why: Refusal,
    },
    /// What answered is no node of ours, or a broken one.
    #[error("what answers at {address} is no node: {cause}")]
    Malformed {
        /// Where it is.
        address: String,
        /// What is wrong with its answer.
        cause: String,
    },
    /// A kind of stream is 1 to 255 bytes without control characters.
    #[error("{0:?} is no kind of stream: 1 to 255 bytes without control characters")]
    NoKind(String),
}

impl DialError {
    /// Whether somebody has to mend something before trying again is of use.
    #[must_use]
    pub fn needs_a_hand(&self) -> bool {
        match self {
            Self::NeedsKey(_)
            | Self::WrongKey { .. }
            | Self::NotInForce { .. }
            | Self::Malformed { .. }
            | Self::NoKind(_) => true,
            Self::Refused { why, .. } => why.needs_a_hand(),
            Self::Closing
            | Self::Unresolved { .. }
            | Self::NobodyListens(_)
            | Self::Broken { .. }
            | Self::TimedOut(_) => false,
        }
    }
}

/// A connection that both sides agreed upon.
pub(crate) struct Dialled {
    pub(crate) socket: Socket,
    pub(crate) peer: Arc<Peer>,
    pub(crate) version: u16,
}

/// Dials `address`, once. Dropped, it leaves nothing behind.
pub(crate) async fn dial(
    shared: &Shared,
    address: &str,
    sought: Option<Incarnation>,
    purpose: Purpose,
) -> Result<Dialled, DialError> {
    if shared.closing.is_cancelled() {
        return Err(DialError::Closing);
    }
    match &purpose {
        Purpose::Stream { kind } if !is_plain(kind) => return Err(DialError::NoKind(kind.clone())),
        _ => {}
    }
    let attempt = async {
        let socket = connect(shared, address).await?;
        let guarded = shared.guard.connect(socket).await;
        let mut socket = guarded.map_err(|cause| failed(address, &cause))?;
        let (peer, version) = introduce(shared, &mut socket, address, sought, purpose).await?;
        let peer = Arc::new(peer);
        Ok(Dialled {
            socket,
            peer,
            version,
        })
    };
    let attempt = timeout(shared.limits.handshake, attempt);
    let outcome = match shared.closing.run_until_cancelled(attempt).await {
        Some(Ok(outcome)) => outcome,
        Some(Err(_)) => Err(DialError::TimedOut(address.to_owned())),
        None => Err(DialError::Closing),
    };
    outcome.inspect_err(|why| shared.journal.failed(why, why.needs_a_hand()))
}

async fn connect(shared: &Shared, address: &str) -> Result<Socket, DialError> {
    let found = shared.medium.resolve(address).await;
    let found = found.map_err(|cause| DialError::Unresolved {
        address: address.to_owned(),
        cause: cause.to_string(),
    })?;
    let literal: Option<SocketAddr> = address.parse().ok();
    let mut last = DialError::Unresolved {
        address: address.to_owned(),
        cause: "the name has no address".to_owned(),
    };
    for to in found {
        if !shared.guard.keeps_out() && !to.ip().is_loopback() {
            return Err(DialError::NeedsKey(to));
        }
        last = match shared.medium.connect(to).await {
            Ok(socket) => return Ok(socket),
            Err(cause) if cause.kind() == io::ErrorKind::ConnectionRefused && literal.is_some() => {
                DialError::NobodyListens(to)
            }
            Err(cause) => failed(address, &cause),
        };
    }
    Err(last)
}

async fn introduce(
    shared: &Shared,
    socket: &mut Socket,
    address: &str,
    sought: Option<Incarnation>,
    purpose: Purpose,
) -> Result<(Peer, u16), DialError> {
    let us = shared.us.borrow().clone();
    let (start, membership) = (us.start, us.membership);
    let hello = Hello {
        versions: shared.versions,
        cluster: shared.cluster.name.clone(),
        buckets: shared.cluster.buckets,
        peer: us,
        sought,
        purpose,
    };
    let malformed = |cause: Malformed| {
        let (address, told) = (address.to_owned(), cause.to_string());
        match cause {
            Malformed::Tls => DialError::WrongKey {
                address,
                cause: told,
            },
            _ => DialError::Malformed {
                address,
                cause: told,
            },
        }
    };
    let refused = |why| DialError::Refused {
        address: address.to_owned(),
        why,
    };
    let hello = hello.encode().map_err(malformed)?;
    let sent = greeting::send(socket, &hello).await;
    sent.map_err(|cause| failed(address, &cause))?;
    let reply = greeting::receive(socket)
        .await
        .map_err(|error| match error {
            GreetingError::Io(cause) => failed(address, &cause),
            GreetingError::Malformed(cause) => malformed(cause),
        })?;
    match Reply::decode(&reply).map_err(malformed)? {
        Reply::Refused(why) => Err(refused(why)),
        Reply::Welcome { version, peer } => {
            if !(shared.versions.min..=shared.versions.max).contains(&version) {
                return Err(malformed(Malformed::Version(version)));
            }
            // Both sides look, so that neither depends on the other's having done so.
            if let Some(sought) = sought {
                peer.membership
                    .judge(sought, &membership)
                    .map_err(refused)?;
            }
            if peer.start == start {
                return Err(refused(Refusal::Itself));
            }
            Ok((peer, version))
        }
    }
}

fn failed(address: &str, cause: &io::Error) -> DialError {
    let (address, told) = (address.to_owned(), cause.to_string());
    match Objection::of(cause) {
        Some(Objection::Key) => DialError::WrongKey {
            address,
            cause: told,
        },
        Some(Objection::Time) => DialError::NotInForce {
            address,
            cause: told,
        },
        Some(Objection::NotTls) => DialError::Malformed {
            address,
            cause: told,
        },
        None => DialError::Broken {
            address,
            cause: told,
        },
    }
}
