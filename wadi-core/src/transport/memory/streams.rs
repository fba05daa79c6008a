//! Raw streams within one process.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::{Port, Somebody};
use crate::member::Incarnation;
use crate::transport::{Accepting, Bytestream, Dialling, NotDialled, Streams};

/// What is under way in one stream at most, each way.
const IN_FLIGHT: usize = 64 * 1024;
/// How many streams may wait to be accepted.
const BACKLOG: usize = 64;

type Stream = (Incarnation, Box<dyn Bytestream>);

/// Where streams of one kind wait to be accepted.
pub(super) type Waiting = mpsc::Sender<Stream>;

type Queue = Arc<tokio::sync::Mutex<mpsc::Receiver<Stream>>>;

/// One node's raw streams.
pub(super) struct Pipes {
    port: Arc<Port>,
    queues: Mutex<HashMap<&'static str, Queue>>,
}

impl Pipes {
    pub(super) fn new(port: Arc<Port>) -> Self {
        Self {
            port,
            queues: Mutex::default(),
        }
    }

    fn waiting(&self, to: Somebody, kind: &'static str) -> Option<Waiting> {
        let state = self.port.network.0.lock();
        let (name, _) = state.listening.get(&to)?;
        let is_cut = |from, to| state.condition(from, to).cut;
        if is_cut(&self.port.node, name) || is_cut(name, &self.port.node) {
            return None;
        }
        state.accepting.get(&(name.clone(), kind)).cloned()
    }

    /// From the first call on, streams of this kind are taken.
    fn queue(&self, kind: &'static str) -> Queue {
        let mut queues = self.queues.lock();
        let queue = queues.entry(kind).or_insert_with(|| {
            let (waiting, queue) = mpsc::channel(BACKLOG);
            let mut state = self.port.network.0.lock();
            let place = (self.port.node.clone(), kind);
            state.accepting.insert(place, waiting);
            Arc::new(tokio::sync::Mutex::new(queue))
        });
        Arc::clone(queue)
    }
}

impl Streams for Pipes {
    fn dial<'a>(
        &'a self,
        to: Incarnation,
        address: &'a str,
        kind: &'static str,
        within: Duration,
    ) -> Dialling<'a> {
        Box::pin(async move {
            let refused = || {
                NotDialled(format!(
                    "{address} is not on this network, or the link is cut"
                ))
            };
            let (of, me) = self.port.me.lock().ok_or_else(refused)?;
            let waiting = self.waiting((of, to), kind).ok_or_else(refused)?;
            let (here, there) = tokio::io::duplex(IN_FLIGHT);
            let there: Box<dyn Bytestream> = Box::new(there);
            let sent = tokio::time::timeout(within, waiting.send((me, there))).await;
            let sent = sent.map_err(|_| NotDialled(format!("{address} accepts nothing")))?;
            sent.map_err(|_| refused())?;
            Ok(Box::new(here) as Box<dyn Bytestream>)
        })
    }

    fn accept(&self, kind: &'static str) -> Accepting<'_> {
        Box::pin(async move { self.queue(kind).lock().await.recv().await })
    }
}

impl fmt::Debug for Pipes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pipes({:?})", self.port.node)
    }
}
