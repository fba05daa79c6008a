//! A network in memory: messages take a while, and between nodes that are cut off they vanish.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use wadi_core::authority::raft::RaftAuthority;
use wadi_core::transport::{Answers, Carrier, Carrying, NotCarried};

type Pair = (String, String);

/// The wires between all nodes.
#[derive(Debug, Default)]
pub(crate) struct Net {
    at: Mutex<BTreeMap<String, Arc<RaftAuthority>>>,
    cut: Mutex<BTreeSet<Pair>>,
    delay: Mutex<Duration>,
}

impl Net {
    pub(crate) fn attach(&self, address: &str, authority: Arc<RaftAuthority>) {
        let mut at = self.at.lock().expect("no test panicked holding it");
        at.insert(address.to_owned(), authority);
    }

    pub(crate) fn detach(&self, address: &str) {
        let mut at = self.at.lock().expect("no test panicked holding it");
        at.remove(address);
    }

    /// Nothing gets from one side to the other any more, in either direction.
    pub(crate) fn cut(&self, one: &[&str], other: &[&str]) {
        for a in one {
            for b in other {
                self.cut_way(a, b);
                self.cut_way(b, a);
            }
        }
    }

    /// Nothing gets from `from` to `to`.
    pub(crate) fn cut_way(&self, from: &str, to: &str) {
        let mut cut = self.cut.lock().expect("no test panicked holding it");
        cut.insert((from.to_owned(), to.to_owned()));
    }

    pub(crate) fn heal(&self) {
        self.cut
            .lock()
            .expect("no test panicked holding it")
            .clear();
    }

    pub(crate) fn slow(&self, delay: Duration) {
        *self.delay.lock().expect("no test panicked holding it") = delay;
    }

    fn passes(&self, from: &str, to: &str) -> bool {
        let cut = self.cut.lock().expect("no test panicked holding it");
        !cut.contains(&(from.to_owned(), to.to_owned()))
    }

    fn to(&self, address: &str) -> Option<Arc<RaftAuthority>> {
        let at = self.at.lock().expect("no test panicked holding it");
        at.get(address).cloned()
    }
}

/// One node's end.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) net: Arc<Net>,
    pub(crate) from: String,
}

impl Carrier for Wire {
    fn carry<'a>(&'a self, address: &'a str, message: Bytes, within: Duration) -> Carrying<'a> {
        assert_ne!(self.from, address, "it asks itself");
        Box::pin(async move {
            let carrying = async {
                let delay = *self.net.delay.lock().expect("no test panicked holding it");
                tokio::time::sleep(delay).await;
                if !self.net.passes(&self.from, address) {
                    return std::future::pending().await;
                }
                let Some(authority) = self.net.to(address) else {
                    return Err(NotCarried::NotDelivered);
                };
                let answer = authority.receive(message).await;
                tokio::time::sleep(delay).await;
                if !self.net.passes(address, &self.from) {
                    return std::future::pending().await;
                }
                Ok(answer)
            };
            let carried = tokio::time::timeout(within, carrying).await;
            carried.unwrap_or(Err(NotCarried::NoAnswer))
        })
    }

    /// Here the net looks up the authority itself.
    fn serve(&self, _: Arc<dyn Answers>) {}
}
