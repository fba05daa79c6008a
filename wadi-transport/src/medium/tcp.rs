//! TCP of the operating system.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use wadi_core::member::Place;

use super::place;
use super::{Medium, Socket, Sockets, Waiting};

/// A quiet connection is probed after this time, and this often; raw streams have nothing else that
/// would notice a peer whose machine is gone.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// TCP, without delay of small writes and with keep-alive probes.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpMedium;

impl Medium for TcpMedium {
    fn bind(&self, address: SocketAddr) -> Waiting<'_, Box<dyn Sockets>> {
        Box::pin(async move {
            let listener = TcpListener::bind(address).await?;
            let local = listener.local_addr()?;
            let sockets: Box<dyn Sockets> = Box::new(Listening { listener, local });
            Ok(sockets)
        })
    }

    fn resolve<'a>(&'a self, address: &'a str) -> Waiting<'a, Vec<SocketAddr>> {
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host(address).await?.collect();
            if found.is_empty() {
                return Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    "the name has no address",
                ));
            }
            Ok(found)
        })
    }

    fn connect(&self, address: SocketAddr) -> Waiting<'_, Socket> {
        Box::pin(async move { tuned(TcpStream::connect(address).await?) })
    }

    fn place(&self) -> Option<Place> {
        place::of_this_process()
    }

    fn is_here(&self, address: IpAddr) -> bool {
        place::is_of_this_host(address)
    }
}

struct Listening {
    listener: TcpListener,
    local: SocketAddr,
}

impl Sockets for Listening {
    fn local(&self) -> SocketAddr {
        self.local
    }

    fn accept(&mut self) -> Waiting<'_, (Socket, SocketAddr)> {
        Box::pin(async move {
            let (stream, from) = self.listener.accept().await?;
            Ok((tuned(stream)?, from))
        })
    }
}

fn tuned(stream: TcpStream) -> io::Result<Socket> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok(Box::new(stream))
}
