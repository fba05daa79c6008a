//! The few words that the tests are told in.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};
use wadi_transport::{
    Config, Endpoint, Incoming, Link, LinkState, Notice, Security, SendError, TransportKey,
};

/// Far longer than anything takes, so that a slow machine fails nothing.
pub(crate) const LONG: Duration = Duration::from_secs(60);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Letter {
    pub(crate) number: u64,
    pub(crate) bytes: Bytes,
}

pub(crate) fn letter(number: u64, length: usize) -> Letter {
    Letter {
        number,
        bytes: vec![7; length].into(),
    }
}

pub(crate) struct Node {
    pub(crate) endpoint: Endpoint<Letter>,
    pub(crate) incoming: Incoming<Letter>,
    pub(crate) heard: Heard,
}

impl Node {
    pub(crate) async fn start(config: Config) -> Self {
        let heard = Heard::default();
        let notices = heard.0.clone();
        let observer = move |notice: &Notice| notices.lock().push(notice.clone());
        let started = Endpoint::start(config, observer).await;
        let (endpoint, incoming) = started.expect("it starts");
        Self {
            endpoint,
            incoming,
            heard,
        }
    }

    pub(crate) fn address(&self) -> String {
        self.endpoint.us().advertised
    }

    pub(crate) fn link_to(&self, other: &Self) -> Link<Letter> {
        self.endpoint.link(other.address(), None).expect("a link")
    }

    pub(crate) async fn next(&mut self) -> (String, Letter) {
        let next = timeout(LONG, self.incoming.next()).await;
        let (peer, letter) = next.expect("in time").expect("it is open");
        (peer.node.to_string(), letter)
    }
}

/// The notices of a node.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<Notice>>>);

impl Heard {
    /// Waits until a notice says `part`.
    pub(crate) async fn of(&self, part: &str) {
        for _ in 0..LONG.as_millis() / 5 {
            let told = |notice: &Notice| notice.to_string().contains(part);
            if self.0.lock().iter().any(told) {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
        panic!("nothing was heard of {part:?}: {:#?}", self.0.lock());
    }

    pub(crate) fn count(&self, part: &str) -> usize {
        let notices = self.0.lock();
        let told = notices.iter().map(ToString::to_string);
        told.filter(|told| told.contains(part)).count()
    }
}

pub(crate) fn key(byte: u8) -> TransportKey {
    TransportKey::from_secret(&[byte; 32]).expect("it is long enough")
}

/// A node of the cluster "shop" with the key that all of them have, and quick to try again.
pub(crate) fn config(node: &str) -> Config {
    let mut config = Config::on_loopback("shop", node);
    config.security = Security::Keys(vec![key(1)]);
    config.limits.retry_first = Duration::from_millis(5);
    config.limits.retry_longest = Duration::from_millis(50);
    // Two cores, all tests at once, unoptimised cryptography.
    config.limits.handshake = Duration::from_secs(20);
    config.limits.silence = LONG;
    config.limits.write = LONG;
    config
}

/// Sends it as soon as there is room, as the protocol above would: by asking again.
pub(crate) async fn send(link: &Link<Letter>, letter: &Letter) {
    loop {
        match link.send(letter) {
            Ok(()) => return,
            Err(SendError::Full) => sleep(Duration::from_millis(1)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Waits until the link's state is such.
pub(crate) async fn state(link: &Link<Letter>, such: impl FnMut(&LinkState) -> bool) -> LinkState {
    let mut states = link.state();
    let state = timeout(LONG, states.wait_for(such)).await;
    state.expect("in time").expect("the link is open").clone()
}

/// Waits until the link could not be made, and gives the reason as text.
pub(crate) async fn unreachable(link: &Link<Letter>) -> String {
    match state(link, |state| matches!(state, LinkState::Unreachable(_))).await {
        LinkState::Unreachable(why) => why.to_string(),
        other => unreachable!("{other:?}"),
    }
}
