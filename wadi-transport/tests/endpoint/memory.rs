//! The same endpoints over the network in memory, whose ways are switched.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use wadi_transport::medium::memory::{Memory, Way};
use wadi_transport::{DialError, Endpoint, Incoming, LinkState};

use crate::scene::{LONG, Letter, config, letter, send, state};

const N1: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const N2: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

async fn start(memory: &Memory, host: IpAddr) -> (Endpoint<Letter>, Incoming<Letter>) {
    let mut config = config(&host.to_string());
    config.bind = SocketAddr::new(host, 7000);
    config.limits.sign_of_life = Duration::from_millis(50);
    config.limits.silence = Duration::from_millis(500);
    config.limits.handshake = Duration::from_secs(5);
    let started = Endpoint::start_on(memory.host(host), config, Arc::new(())).await;
    started.expect("it starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_way_loses_the_connection_and_an_open_one_brings_it_back() {
    let memory = Memory::default();
    let (n1, _) = start(&memory, N1).await;
    let (_n2, mut incoming) = start(&memory, N2).await;
    let link = n1.link("10.0.0.2:7000", None).unwrap();
    link.connected(LONG).await.unwrap();
    send(&link, &letter(1, 10)).await;
    assert_eq!(incoming.next().await.unwrap().1.number, 1);

    // One direction is enough: the dialler then hears no sign of life.
    memory.set(N2, N1, Way::Silent);
    state(&link, |state| !matches!(state, LinkState::Up(_))).await;
    memory.set(N2, N1, Way::Open);
    link.connected(LONG).await.unwrap();
    send(&link, &letter(2, 10)).await;
    assert_eq!(incoming.next().await.unwrap().1.number, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_way_breaks_at_once_and_refuses() {
    let memory = Memory::default();
    let (n1, _incoming1) = start(&memory, N1).await;
    let (_n2, _incoming2) = start(&memory, N2).await;
    let link = n1.link("10.0.0.2:7000", None).unwrap();
    link.connected(LONG).await.unwrap();
    memory.set_both(N1, N2, Way::Cut);
    let refused = LinkState::Unreachable(DialError::NobodyListens(SocketAddr::new(N2, 7000)));
    state(&link, |state| *state == refused).await;
    memory.set_both(N1, N2, Way::Open);
    link.connected(LONG).await.unwrap();
}
