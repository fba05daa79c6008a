//! A network in memory: questions take a moment, and between nodes that are cut off they vanish.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use wadi_core::transport::{Answers, Carrier, Carrying, NotCarried};

/// The wires between all nodes.
#[derive(Debug, Default)]
pub(crate) struct Net {
    at: Mutex<BTreeMap<String, Arc<dyn Answers>>>,
    cut: Mutex<BTreeSet<(String, String)>>,
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

    pub(crate) fn heal(&self) {
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
        Box::pin(async move {
            let carrying = async {
                tokio::time::sleep(Duration::from_millis(2)).await;
                if !self.net.passes(&self.from, address) {
                    return std::future::pending().await;
                }
                let answers = self.net.at.lock().get(address).cloned();
                let Some(answers) = answers else {
                    return Err(NotCarried::NotDelivered);
                };
                let answer = answers.answer(message).await;
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
