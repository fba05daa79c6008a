//! A network in memory whose ways a test can silence and cut, each direction by itself.
//!
//! Everything above it (TLS where there is a key, handshake, frames, queues) is the same code as over
//! TCP. It never loses or reorders bytes of a connection: as with TCP, they come or the connection ends.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::mpsc;
use wadi_core::member::Place;

use super::{Medium, Socket, Sockets, Waiting};

/// Bytes on their way in one direction of a connection before its writer waits.
const BUFFER: usize = 64 * 1024;
const BACKLOG: usize = 128;
const MOST_WAITING: usize = 1024;

/// Whether bytes pass from one host to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// They do.
    Open,
    /// They wait, and so does a new connection, until the way is open or cut: a partition.
    Silent,
    /// Connections break at once, and new ones are refused: a host that is gone.
    Cut,
}

/// Hosts, by address, and the ways between them; all open at first.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    listening: HashMap<SocketAddr, mpsc::Sender<(Socket, SocketAddr)>>,
    ways: HashMap<(IpAddr, IpAddr), Arc<Switch>>,
    ports: u16,
}

impl Memory {
    /// The network as the host of this address has it.
    #[must_use]
    pub fn host(&self, address: IpAddr) -> Arc<dyn Medium> {
        Arc::new(Host {
            memory: self.clone(),
            address,
        })
    }

    /// Sets the way from one host to another; the way back is another.
    pub fn set(&self, from: IpAddr, to: IpAddr, way: Way) {
        self.switch(from, to).set(way);
    }

    /// Sets the ways between two hosts in both directions.
    pub fn set_both(&self, one: IpAddr, other: IpAddr, way: Way) {
        self.set(one, other, way);
        self.set(other, one, way);
    }

    fn switch(&self, from: IpAddr, to: IpAddr) -> Arc<Switch> {
        let mut state = self.state.lock();
        state.ways.entry((from, to)).or_default().clone()
    }

    fn free_port(&self) -> u16 {
        let mut state = self.state.lock();
        state.ports = state.ports % 16_000 + 1;
        49_152 + state.ports
    }
}

#[derive(Debug)]
struct Host {
    memory: Memory,
    address: IpAddr,
}

impl Medium for Host {
    fn bind(&self, mut address: SocketAddr) -> Waiting<'_, Box<dyn Sockets>> {
        Box::pin(async move {
            if address.ip() != self.address {
                return Err(io::ErrorKind::AddrNotAvailable.into());
            }
            if address.port() == 0 {
                address.set_port(self.memory.free_port());
            }
            let (sender, incoming) = mpsc::channel(BACKLOG);
            let mut state = self.memory.state.lock();
            let before = state.listening.get(&address);
            if before.is_some_and(|before| !before.is_closed()) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            state.listening.insert(address, sender);
            let sockets: Box<dyn Sockets> = Box::new(Listening {
                incoming,
                local: address,
            });
            Ok(sockets)
        })
    }

    fn resolve<'a>(&'a self, address: &'a str) -> Waiting<'a, Vec<SocketAddr>> {
        Box::pin(async move {
            let parsed = address.parse();
            let parsed =
                parsed.map_err(|_| io::Error::new(io::ErrorKind::NotFound, "not an address"))?;
            Ok(vec![parsed])
        })
    }

    fn connect(&self, address: SocketAddr) -> Waiting<'_, Socket> {
        Box::pin(async move {
            let there = self.memory.switch(self.address, address.ip());
            let back = self.memory.switch(address.ip(), self.address);
            let passable = async {
                there.passable().await?;
                back.passable().await
            };
            let passable: Result<(), Broken> = passable.await;
            passable.map_err(|Broken| io::ErrorKind::ConnectionRefused)?;
            let listening = self.memory.state.lock().listening.get(&address).cloned();
            let listening = listening.ok_or(io::ErrorKind::ConnectionRefused)?;
            let (near, far) = tokio::io::duplex(BUFFER);
            let far: Socket = Box::new(End {
                bytes: far,
                from_there: there.clone(),
                to_there: back.clone(),
            });
            let from = SocketAddr::new(self.address, self.memory.free_port());
            let handed = listening.send((far, from)).await;
            handed.map_err(|_| io::ErrorKind::ConnectionRefused)?;
            let near: Socket = Box::new(End {
                bytes: near,
                from_there: back,
                to_there: there,
            });
            Ok(near)
        })
    }

    fn place(&self) -> Option<Place> {
        let mut hasher = DefaultHasher::new();
        self.address.hash(&mut hasher);
        Some(Place::new(hasher.finish()))
    }

    fn is_here(&self, address: IpAddr) -> bool {
        address == self.address
    }
}

struct Listening {
    incoming: mpsc::Receiver<(Socket, SocketAddr)>,
    local: SocketAddr,
}

impl Sockets for Listening {
    fn local(&self) -> SocketAddr {
        self.local
    }

    fn accept(&mut self) -> Waiting<'_, (Socket, SocketAddr)> {
        Box::pin(async move {
            let next = self.incoming.recv().await;
            next.ok_or_else(|| io::ErrorKind::AddrInUse.into())
        })
    }
}

/// One way, and who waits for it to open.
#[derive(Debug)]
struct Switch(Mutex<(Way, Vec<Waker>)>);

/// The way is cut.
struct Broken;

impl Default for Switch {
    fn default() -> Self {
        Self(Mutex::new((Way::Open, Vec::new())))
    }
}

impl Switch {
    fn set(&self, way: Way) {
        let waiting = {
            let mut state = self.0.lock();
            state.0 = way;
            std::mem::take(&mut state.1)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Also when it passes, the waker is kept: who then waits for bytes hears of a cut.
    fn poll(&self, context: &Context<'_>) -> Poll<Result<(), Broken>> {
        let mut state = self.0.lock();
        if state.1.len() >= MOST_WAITING {
            // Most are of connections long gone. Waking somebody for nothing does no harm.
            std::mem::take(&mut state.1)
                .into_iter()
                .for_each(Waker::wake);
        }
        if !state.1.iter().any(|waker| waker.will_wake(context.waker())) {
            state.1.push(context.waker().clone());
        }
        match state.0 {
            Way::Open => Poll::Ready(Ok(())),
            Way::Silent => Poll::Pending,
            Way::Cut => Poll::Ready(Err(Broken)),
        }
    }

    async fn passable(&self) -> Result<(), Broken> {
        std::future::poll_fn(|context| self.poll(context)).await
    }
}

/// One end of a connection.
struct End {
    bytes: DuplexStream,
    from_there: Arc<Switch>,
    to_there: Arc<Switch>,
}

impl End {
    fn poll_ways(&self, context: &Context<'_>, wanted: &Switch) -> Poll<io::Result<()>> {
        for way in [&self.from_there, &self.to_there] {
            if let Poll::Ready(Err(Broken)) = way.poll(context) {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
        }
        wanted
            .poll(context)
            .map_err(|Broken| io::ErrorKind::ConnectionReset.into())
    }
}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_ways(context, &self.from_there))?;
        Pin::new(&mut self.bytes).poll_read(context, buffer)
    }
}

impl AsyncWrite for End {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.poll_ways(context, &self.to_there))?;
        Pin::new(&mut self.bytes).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.bytes).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.bytes).poll_shutdown(context)
    }
}
