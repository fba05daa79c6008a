//! Free ports that stay free: a node that is started again finds its own.
//!
//! They lie below those that the system hands out for outgoing connections, which would otherwise
//! take one between a node's end and its next start.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::report::Failure;

const FIRST: u16 = 20_000;
const LAST: u16 = 32_000;

/// Picks ports on loopback, each once.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    taken: BTreeSet<u16>,
}

impl Ports {
    pub(crate) fn pick(&mut self) -> Result<SocketAddr, Failure> {
        for _ in 0..1000 {
            let port = fastrand::u16(FIRST..LAST);
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            if self.taken.insert(port) && TcpListener::bind(address).is_ok() {
                return Ok(address);
            }
        }
        Err(Failure::not_run(format!(
            "no port between {FIRST} and {LAST} is free on 127.0.0.1"
        )))
    }
}
