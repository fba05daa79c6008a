//! A node's end, as others see it: they take a closed listener for it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use wadi_core::clock::{BootClock, Clock};
use wadi_core::lease::LeaseGate;
use wadi_core::member::Place;
use wadi_core::transport::{Network, NetworkSettings};
use wadi_transport::medium::{Medium, Socket, Sockets, TcpMedium, Waiting};

use crate::scene::{KEY, LONG, settings, tcp};

/// TCP, which notes whether its node might act when its listener was closed.
#[derive(Clone, Debug)]
struct Noting {
    gate: Arc<LeaseGate>,
    could_act: Arc<Mutex<Option<bool>>>,
}

struct Noted {
    by: Noting,
    sockets: Box<dyn Sockets>,
}

impl Medium for Noting {
    fn bind(&self, address: SocketAddr) -> Waiting<'_, Box<dyn Sockets>> {
        Box::pin(async move {
            let sockets = TcpMedium.bind(address).await?;
            let by = self.clone();
            Ok(Box::new(Noted { by, sockets }) as Box<dyn Sockets>)
        })
    }

    fn resolve<'a>(&'a self, address: &'a str) -> Waiting<'a, Vec<SocketAddr>> {
        TcpMedium.resolve(address)
    }

    fn connect(&self, address: SocketAddr) -> Waiting<'_, Socket> {
        TcpMedium.connect(address)
    }

    fn place(&self) -> Option<Place> {
        TcpMedium.place()
    }

    fn is_here(&self, address: IpAddr) -> bool {
        TcpMedium.is_here(address)
    }
}

impl Sockets for Noted {
    fn local(&self) -> SocketAddr {
        self.sockets.local()
    }

    fn accept(&mut self) -> Waiting<'_, (Socket, SocketAddr)> {
        self.sockets.accept()
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        *self.by.could_act.lock() = Some(self.by.gate.is_open(&BootClock));
    }
}

#[test]
fn a_runtime_that_goes_takes_the_right_to_act_before_the_listener() {
    let gate = Arc::new(LeaseGate::leased(BootClock.now() + LONG));
    let could_act = Arc::new(Mutex::new(None));
    let medium = Noting {
        gate: Arc::clone(&gate),
        could_act: Arc::clone(&could_act),
    };
    let network = tcp().over(Arc::new(medium));
    let settings = NetworkSettings {
        gate: Some(Arc::clone(&gate)),
        ..settings("n1", KEY)
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // Somebody outside of it still has the network, and serves.
    let open = runtime.block_on(network.open(settings)).unwrap();
    assert!(gate.is_open(&BootClock));
    drop(runtime);
    assert_eq!(*could_act.lock(), Some(false));
    assert!(!gate.extend(BootClock.now() + LONG), "for good");
    drop(open);
}
