//! A network in memory: questions take a moment, and between nodes that are cut off they vanish.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use wadi_core::authority::raft::RaftAuthority;
use wadi_core::transport::{Answers, Carrier, Carrying, NotCarried};

/// The wires between all nodes.
#[derive(Debug, Default)]
pub(crate) struct Net {
    at: Mutex<BTreeMap<String, Arc<dyn Answers>>>,
    cut: Mutex<BTreeSet<(String, String)>>,
    cannot_ask: Mutex<BTreeSet<(String, String)>>,
    /// Whose processes stand still: what they are asked waits for them, also once nobody waits for the answer.
    paused: Mutex<BTreeSet<String>>,
    /// How often somebody was asked who was not there yet, or not any more.
    in_vain: AtomicUsize,
}

impl Net {
    pub(crate) fn wire(self: &Arc<Self>, from: &str) -> Arc<dyn Carrier> {
        Arc::new(Wire {
            net: Arc::clone(self),
            from: from.to_owned(),
        })
    }

    /// Nobody listens at this address any more.
    pub(crate) fn detach(&self, address: &str) {
        self.at.lock().remove(address);
    }

    /// Nothing gets from one side to the other any more, in either direction.
    pub(crate) fn cut(&self, one: &[&str], other: &[&str]) {
        let mut cut = self.cut.lock();
        for a in one {
            for b in other {
                cut.insert(((*a).to_owned(), (*b).to_owned()));
                cut.insert(((*b).to_owned(), (*a).to_owned()));
            }
        }
    }

    /// One side cannot ask the other any more; it still hears its questions, and answers them.
    pub(crate) fn silence(&self, one: &[&str], other: &[&str]) {
        let mut cannot_ask = self.cannot_ask.lock();
        for from in one {
            cannot_ask.extend(
                other
                    .iter()
                    .map(|to| ((*from).to_owned(), (*to).to_owned())),
            );
        }
    }

    /// The process at this address stands still from now on, or goes on.
    pub(crate) fn pause(&self, address: &str, paused: bool) {
        let mut all = self.paused.lock();
        if paused {
            all.insert(address.to_owned());
        } else {
            all.remove(address);
        }
    }

    fn is_paused(&self, address: &str) -> bool {
        self.paused.lock().contains(address)
    }

    /// What is asked of a process that stands still.
    async fn ask_later(
        self: Arc<Self>,
        address: String,
        answers: Arc<dyn Answers>,
        message: Bytes,
    ) -> Bytes {
        while self.is_paused(&address) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        answers.answer(message).await
    }

    pub(crate) fn asked_in_vain(&self) -> usize {
        self.in_vain.load(Relaxed)
    }

    fn may_ask(&self, from: &str, to: &str) -> bool {
        let way = (from.to_owned(), to.to_owned());
        !self.cannot_ask.lock().contains(&way)
    }

    pub(crate) fn heal(&self) {
        self.cannot_ask.lock().clear();
        self.cut.lock().clear();
    }

    fn passes(&self, from: &str, to: &str) -> bool {
        !self.cut.lock().contains(&(from.to_owned(), to.to_owned()))
    }
}

#[derive(Debug)]
struct Wire {
    net: Arc<Net>,
    from: String,
}

impl Carrier for Wire {
    fn carry<'a>(&'a self, address: &'a str, message: Bytes, within: Duration) -> Carrying<'a> {
        assert_ne!(self.from, address, "it asks itself");
        Box::pin(async move {
            let carrying = async {
                tokio::time::sleep(Duration::from_millis(2)).await;
                if !self.net.passes(&self.from, address) || !self.net.may_ask(&self.from, address) {
                    return std::future::pending().await;
                }
                let answers = self.net.at.lock().get(address).cloned();
                let Some(answers) = answers else {
                    return Err(NotCarried::NotDelivered);
                };
                let answer = if self.net.is_paused(address) {
                    let net = Arc::clone(&self.net);
                    let later = net.ask_later(address.to_owned(), answers, message);
                    tokio::spawn(later).await.expect("nobody panics with it")
                } else {
                    answers.answer(message).await
                };
                if answer == RaftAuthority::not_here() {
                    self.net.in_vain.fetch_add(1, Relaxed);
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
                if !self.net.passes(address, &self.from) {
                    return std::future::pending().await;
                }
                Ok(answer)
            };
            let carried = tokio::time::timeout(within, carrying).await;
            carried.unwrap_or(Err(NotCarried::NoAnswer))
        })
    }

    fn serve(&self, answers: Arc<dyn Answers>) {
        self.net.at.lock().insert(self.from.clone(), answers);
    }
}
