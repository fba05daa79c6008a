//! Where a node listens, as far as a refused connection can say anything of it.
//!
//! A refusal proves that nobody listens only where this very kernel gives it, and where nothing stands
//! between: no other network namespace, no proxy, no translation of addresses. So a node names its place
//! only when it has itself bound the address that it advertises, and what is not certain is no place.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use wadi_core::member::Place;

use super::Medium;

/// What [`blake3`] keeps these numbers apart by from all others.
const CONTEXT: &str = "wadi 2025 place of a listener";

/// The place of who listens at `local` and advertises this; none where others may reach it otherwise.
pub(crate) fn of(medium: &dyn Medium, local: SocketAddr, advertised: &str) -> Option<Place> {
    let advertised: SocketAddr = advertised.parse().ok()?;
    let is_bound = local == advertised
        || (local.port() == advertised.port()
            && local.ip().is_unspecified()
            && local.is_ipv4() == advertised.is_ipv4());
    (is_bound && medium.is_here(advertised.ip())).then(|| medium.place())?
}

/// The network namespace of this process and the start of this kernel, which others on this machine see
/// alike, and nobody else.
#[cfg(target_os = "linux")]
pub(crate) fn of_this_process() -> Option<Place> {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let network = std::fs::read_link("/proc/self/ns/net").ok()?;
    let seen = format!("{} {}", kernel.trim(), network.display());
    let digest = blake3::derive_key(CONTEXT, seen.as_bytes());
    let (number, _) = digest.split_first_chunk()?;
    Some(Place::new(u64::from_le_bytes(*number)))
}

/// Not known: other systems also refuse when a queue is full, which says nothing of the process.
#[cfg(not(target_os = "linux"))]
pub(crate) fn of_this_process() -> Option<Place> {
    None
}

/// Whether this is an address of this host: a socket that is connected to it is given the same one.
/// Nothing is sent.
pub(crate) fn is_of_this_host(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        _ if address.is_loopback() => return true,
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let ask = || {
        let socket = UdpSocket::bind((any, 0))?;
        // Any port will do.
        socket.connect((address, 9))?;
        socket.local_addr()
    };
    ask().is_ok_and(|local| local.ip() == address)
}

#[cfg(test)]
mod tests {
    use super::super::TcpMedium;
    use super::super::memory::Memory;
    use super::*;

    fn socket(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }

    #[test]
    fn only_loopback_and_this_hosts_own_addresses_are_here() {
        assert!(is_of_this_host([127, 0, 0, 7].into()));
        assert!(is_of_this_host(std::net::Ipv6Addr::LOCALHOST.into()));
        // Kept for documentation, so nobody's.
        assert!(!is_of_this_host([192, 0, 2, 1].into()));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_in_one_place() {
        assert!(of_this_process().is_some());
        assert_eq!(of_this_process(), of_this_process());
        let local = socket("127.0.0.1:7");
        assert_eq!(of(&TcpMedium, local, "127.0.0.1:7"), of_this_process());
    }

    #[test]
    fn only_who_has_bound_what_it_advertises_has_a_place() {
        let host = Memory::default().host([10, 0, 0, 1].into());
        let place = |local: &str, advertised| of(&*host, socket(local), advertised);
        assert!(place("10.0.0.1:7", "10.0.0.1:7").is_some());
        assert!(place("0.0.0.0:7", "10.0.0.1:7").is_some());
        // A name, another port, an address of somebody else: something may stand between.
        assert_eq!(place("10.0.0.1:7", "n1.example:7"), None);
        assert_eq!(place("10.0.0.1:7", "10.0.0.1:8"), None);
        assert_eq!(place("10.0.0.1:7", "10.0.0.2:7"), None);
        assert_eq!(place("0.0.0.0:7", "10.0.0.2:7"), None);
        assert_eq!(place("127.0.0.1:7", "10.0.0.1:7"), None);
    }
}
