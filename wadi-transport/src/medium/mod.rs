//! What connections are made of: TCP, or memory in tests.
//!
//! It carries bytes between addresses. It knows neither frames nor keys, and bounds no time: its
//! callers do.

#[cfg(any(test, feature = "test-util"))]
pub mod memory;
pub(crate) mod place;
mod tcp;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

pub use tcp::TcpMedium;
use wadi_core::member::Place;

/// A future that borrows for `'a`.
pub type Waiting<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// A connection's bytes, both ways.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A connection of any network.
pub type Socket = Box<dyn Wire>;

/// Makes connections for one node. Each call may be dropped while it waits; nothing is then left.
pub trait Medium: fmt::Debug + Send + Sync + 'static {
    /// Listens at this address; port 0 picks a free one.
    fn bind(&self, address: SocketAddr) -> Waiting<'_, Box<dyn Sockets>>;

    /// The addresses behind a host and port. At least one, or an error.
    fn resolve<'a>(&'a self, address: &'a str) -> Waiting<'a, Vec<SocketAddr>>;

    /// Connects to this address. `ConnectionRefused` means that the host answered and nobody
    /// listens there.
    fn connect(&self, address: SocketAddr) -> Waiting<'_, Socket>;

    /// Where this node is: whoever else is there is reached by it with nothing between, and refused only
    /// by what refuses here. `None`: not known.
    fn place(&self) -> Option<Place>;

    /// Whether this is an address of this node's own host.
    fn is_here(&self, address: IpAddr) -> bool;
}

/// A listening socket; closed when dropped.
pub trait Sockets: Send {
    /// Where it listens, with the port that was picked.
    fn local(&self) -> SocketAddr;

    /// The next connection, and whence it comes. May be dropped while it waits without losing one.
    fn accept(&mut self) -> Waiting<'_, (Socket, SocketAddr)>;
}
