//! A node's end of all its connections: it listens, dials, and shuts down.
//!
//! It is told whom to reach and hands over what comes. It never decides who is a member.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, broadcast, mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use wadi_core::lease::LeaseGate;
use wadi_core::member::{Incarnation, Place};

use crate::config::{Config, ConfigError};
use crate::dial::{DialError, Dialled, dial};
use crate::handshake::Purpose;
use crate::inbox::{Inbox, Queued, Take};
use crate::journal::Journal;
use crate::link::{self, Link};
use crate::listener::{self, Guarded};
use crate::medium::place;
use crate::medium::{Medium, Sockets, TcpMedium};
use crate::members::Members;
use crate::notice::{Notice, Observe};
use crate::peer::{Membership, Peer};
use crate::security::{Guard, Renewal, SecurityError};
use crate::shared::{ARRIVALS, Shared, Taker};
use crate::stream::{Audience, Stream, Streams};
use crate::witness::Watched;

/// A node's end of all its connections. `M` is what its messages are; dropped, everything ends.
pub struct Endpoint<M> {
    pub(crate) shared: Arc<Shared>,
    local: SocketAddr,
    place: Option<Place>,
    _alive: DropGuard,
    _messages: std::marker::PhantomData<fn(M)>,
}

/// The messages that come, of all peers: those of one connection in the order in which they were
/// sent, but that small ones may overtake large ones. Dropped, connections for messages are closed as soon as something comes.
pub struct Incoming<M> {
    inbox: mpsc::Receiver<Queued<M>>,
}

/// Why an endpoint did not start. Nothing is left open.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Keys or certificates cannot be used.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// Without a key only loopback is used.
    #[error(
        "without a key nodes talk to each other on loopback only, and {0} is not: give all nodes the same cluster key"
    )]
    NeedsKey(String),
    /// Others cannot reach the advertised address.
    #[error(
        "{0} cannot be advertised, because others do not reach this node by it: advertise an address of this machine, with its port"
    )]
    Advertise(String),
    /// It cannot listen there.
    #[error("it cannot listen at {address}: {cause}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        cause: io::Error,
    },
    /// The operating system gives no random bits.
    #[error("the operating system gives no random bits: {0}")]
    Random(getrandom::Error),
}

/// A shutdown that took longer than it may. Everything has been ended all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cut_off} connections were cut off")]
pub struct ShutdownError {
    /// Connections that were not done in time.
    pub cut_off: usize,
}

/// There are as many links as there may be, or streams of this kind are taken already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Taken {
    /// Nothing was opened. Drop links to nodes that are no longer members, or raise `links`.
    #[error("there are as many links as there may be: drop some, or raise the limit `links`")]
    Links,
    /// Nothing changed. One listener takes all streams of a kind.
    #[error("streams of this kind are taken already")]
    Kind,
}

impl<M: Serialize + DeserializeOwned + Send + 'static> Endpoint<M> {
    /// Listens over TCP and hands over what comes. Cancelled, nothing is left open.
    ///
    /// # Errors
    ///
    /// When the configuration, the keys or the addresses cannot be used.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn start(
        config: Config,
        observer: impl Observe + 'static,
    ) -> Result<(Self, Incoming<M>), StartError> {
        Self::start_on(Arc::new(TcpMedium), config, Arc::new(observer)).await
    }

    /// The same on any medium.
    ///
    /// # Errors
    ///
    /// As [`Endpoint::start`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn start_on(
        medium: Arc<dyn Medium>,
        config: Config,
        observer: Arc<dyn Observe>,
    ) -> Result<(Self, Incoming<M>), StartError> {
        let (sender, inbox) = mpsc::channel(config.limits.incoming_messages.max(1));
        let endpoint =
            Self::start_with(medium, config, observer, Inbox::Queue(sender), None).await?;
        Ok((endpoint, Incoming { inbox }))
    }

    /// The same, with messages given to `taker` by the tasks that read them. Before it stops listening
    /// `gate` is revoked.
    pub(crate) async fn start_for(
        taker: Arc<dyn Take<M>>,
        medium: Arc<dyn Medium>,
        config: Config,
        observer: Arc<dyn Observe>,
        gate: Option<Arc<LeaseGate>>,
    ) -> Result<Self, StartError> {
        Self::start_with(medium, config, observer, Inbox::taken_by(taker), gate).await
    }

    async fn start_with(
        medium: Arc<dyn Medium>,
        config: Config,
        observer: Arc<dyn Observe>,
        inbox: Inbox<M>,
        gate: Option<Arc<LeaseGate>>,
    ) -> Result<Self, StartError> {
        config.check()?;
        let (guard, renewal) = Guard::new(&config.security)?;
        if !guard.keeps_out() && !config.bind.ip().is_loopback() {
            return Err(StartError::NeedsKey(config.bind.to_string()));
        }
        let bound = medium.bind(config.bind).await;
        let sockets = bound.map_err(|cause| StartError::Bind {
            address: config.bind,
            cause,
        })?;
        let local = sockets.local();
        let sockets: Box<dyn Sockets> = Box::new(Guarded::by(gate, sockets));
        let us = Peer {
            node: config.node,
            membership: config.membership,
            start: getrandom::u64().map_err(StartError::Random)?,
            advertised: advertised(config.advertise.as_deref(), local, &guard)?,
        };
        let limits = config.limits;
        let place = place::of(&*medium, local, &us.advertised);
        let ended = CancellationToken::new();
        let shared = Arc::new(Shared {
            cluster: config.cluster,
            versions: config.versions,
            trusts_refusals: config.trusts_refusals,
            guard,
            medium,
            us: watch::Sender::new(us),
            members: RwLock::default(),
            came: broadcast::Sender::new(ARRIVALS),
            observer,
            journal: Journal::default(),
            connections: Arc::new(Semaphore::new(limits.connections)),
            links: Arc::new(Semaphore::new(limits.links)),
            incoming: Arc::new(Semaphore::new(limits.incoming_bytes)),
            kinds: Mutex::default(),
            tasks: TaskTracker::new(),
            closing: ended.child_token(),
            ended: ended.clone(),
            limits,
        });
        shared.spawn(listener::listen(shared.clone(), sockets, inbox));
        if let Some(renewal) = renewal {
            shared.spawn(keep_fresh(renewal, shared.clone()));
        }
        Ok(Self {
            shared,
            local,
            place,
            _alive: ended.drop_guard(),
            _messages: std::marker::PhantomData,
        })
    }
}

impl<M> Endpoint<M> {
    /// Where it listens, with the port that was picked.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Where it listens at exactly the address that it advertises, if that is known.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        self.place
    }

    /// How it introduces itself, with the address that others reach it by.
    #[must_use]
    pub fn us(&self) -> Peer {
        self.shared.us.borrow().clone()
    }

    /// Introduces itself anew as this incarnation: connections for messages, both ways, end and are
    /// made again at once. What waits for them is lost. Streams go on.
    pub fn join(&self, membership: Membership) {
        self.shared.join(membership);
    }

    /// These are the members now: whose streams are taken where they are for members.
    pub fn members(&self, members: Members) {
        *self.shared.members.write() = members;
    }

    /// A link to the node at `address` (host and port), which dials at once and goes on trying. With
    /// `sought`, only to that incarnation, whoever else may live at the address by then.
    ///
    /// # Errors
    ///
    /// When there are as many links as there may be.
    pub fn link(
        &self,
        address: impl Into<String>,
        sought: Option<Incarnation>,
    ) -> Result<Link<M>, Taken> {
        let slot = self.shared.links.clone().try_acquire_owned();
        let slot = slot.map_err(|_| Taken::Links)?;
        let watched = sought.map(Watched::by_nobody);
        Ok(link::open(&self.shared, address.into(), watched, slot))
    }

    /// The same to a member, whose end its witness is told of where there is a proof.
    pub(crate) fn link_to(&self, address: String, watched: Watched) -> Result<Link<M>, Taken> {
        let slot = self.shared.links.clone().try_acquire_owned();
        let slot = slot.map_err(|_| Taken::Links)?;
        Ok(link::open(&self.shared, address, Some(watched), slot))
    }

    /// A raw stream to whoever listens for this kind on the node at `address`. One attempt, within
    /// the time of a handshake. Cancelled, nothing is left open.
    ///
    /// # Errors
    ///
    /// When nobody can be reached, or the node refuses.
    pub async fn open(
        &self,
        address: &str,
        sought: Option<Incarnation>,
        kind: &str,
    ) -> Result<Stream, DialError> {
        open_stream(&self.shared, address, sought, kind).await
    }

    /// Takes the streams of this kind that others of this audience open to this node from now on.
    ///
    /// # Errors
    ///
    /// When somebody takes them already.
    pub fn streams(&self, kind: &str, audience: Audience) -> Result<Streams, Taken> {
        let mut kinds = self.shared.kinds.lock();
        if (kinds.get(kind)).is_some_and(|taker| !taker.takes.is_closed()) {
            return Err(Taken::Kind);
        }
        let (takes, accepted) = mpsc::channel(self.shared.limits.streams);
        kinds.insert(kind.to_owned(), Taker { takes, audience });
        Ok(Streams { accepted })
    }

    /// Accepts nothing more, writes what is queued, and closes all connections, within `limit`; then
    /// streams that were handed out break, too, and whoever waits for them is told. Cancelled,
    /// everything ends at once.
    ///
    /// # Errors
    ///
    /// When some were not done by then and were cut off.
    pub async fn shutdown(self, limit: Duration) -> Result<(), ShutdownError> {
        let shared = &self.shared;
        shared.closing.cancel();
        shared.kinds.lock().clear();
        shared.tasks.close();
        match timeout(limit, shared.tasks.wait()).await {
            Ok(()) => Ok(()),
            Err(_) => Err(ShutdownError {
                cut_off: shared.tasks.len(),
            }),
        }
    }
}

impl<M> Incoming<M> {
    /// The next message, and who sent it; `None` after the endpoint has ended and none is left.
    /// Cancelled, it loses nothing.
    pub async fn next(&mut self) -> Option<(Arc<Peer>, M)> {
        let Queued { received, .. } = self.inbox.recv().await?;
        Some((received.peer, received.message))
    }
}

/// A raw stream, for who does not hold the endpoint.
pub(crate) async fn open_stream(
    shared: &Shared,
    address: &str,
    sought: Option<Incarnation>,
    kind: &str,
) -> Result<Stream, DialError> {
    let kind = kind.to_owned();
    let purpose = Purpose::Stream { kind };
    let Dialled { socket, peer, .. } = dial(shared, address, sought, purpose).await?;
    Ok(Stream::new(socket, peer, None, &shared.ended))
}

/// Says what becomes of new certificates, for as long as the endpoint lives.
async fn keep_fresh(mut renewal: Renewal, shared: Arc<Shared>) {
    loop {
        let notice = match renewal.next().await {
            Ok(()) => Notice::Renewed,
            Err(why) => Notice::NotRenewed {
                why: why.to_string(),
            },
        };
        shared.tell(&notice);
    }
}

/// The address that others are told.
fn advertised(given: Option<&str>, local: SocketAddr, guard: &Guard) -> Result<String, StartError> {
    let Some(given) = given else {
        if local.ip().is_unspecified() {
            return Err(StartError::Advertise(local.to_string()));
        }
        return Ok(local.to_string());
    };
    let refused = || StartError::Advertise(given.to_owned());
    let (host, port) = given.rsplit_once(':').ok_or_else(refused)?;
    let port: u16 = port.parse().map_err(|_| refused())?;
    let port = if port == 0 { local.port() } else { port };
    let literal: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
    let (unspecified, loopback) = match literal {
        Ok(address) => (address.is_unspecified(), address.is_loopback()),
        Err(_) => (false, host == "localhost"),
    };
    if host.is_empty() || unspecified || (literal.is_err() && host.contains(':')) {
        return Err(refused());
    }
    if !guard.keeps_out() && !loopback {
        return Err(StartError::NeedsKey(given.to_owned()));
    }
    Ok(format!("{host}:{port}"))
}

impl<M> fmt::Debug for Endpoint<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({}, listening at {})", self.us(), self.local)
    }
}

impl<M> fmt::Debug for Incoming<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Incoming({} waiting)", self.inbox.len())
    }
}
