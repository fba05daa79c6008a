//! A network in memory, whose links a test cuts, delays and doubles.
//!
//! It is no part of a product: every node on it is in this process.

mod carrier;
mod open;
mod streams;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use self::streams::Waiting;
use super::{Answers, Inbox, Transport};
use crate::bucket::Layout;
use crate::member::{Founding, Incarnation, NodeName};
use crate::message::Message;
use crate::proof::Proof;

/// The network of one process; clones are the same one.
#[derive(Clone, Default)]
pub struct Network(Arc<Mutex<State>>);

/// One incarnation of one cluster.
type Somebody = (Founding, Incarnation);

#[derive(Default)]
struct State {
    listening: HashMap<Somebody, (NodeName, Arc<dyn Inbox>)>,
    links: HashMap<(NodeName, NodeName), Condition>,
    /// Who takes raw streams, by node and kind.
    accepting: HashMap<(NodeName, &'static str), Waiting>,
    /// Who answers questions.
    answering: HashMap<NodeName, Arc<dyn Answers>>,
    carried: u64,
}

impl State {
    fn condition(&self, from: &NodeName, to: &NodeName) -> Condition {
        let link = (from.clone(), to.clone());
        self.links.get(&link).copied().unwrap_or_default()
    }
}

/// What happens to the messages from one node to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// None arrives.
    pub cut: bool,
    /// Each arrives so much later.
    pub delay: Duration,
    /// Each arrives twice.
    pub doubled: bool,
}

impl Network {
    /// A network on which every link is good.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The transport of the node with this name.
    #[must_use]
    pub fn port(&self, node: NodeName) -> Arc<dyn Transport> {
        Arc::new(self.port_of(node))
    }

    fn port_of(&self, node: NodeName) -> Port {
        Port {
            network: self.clone(),
            node,
            me: Mutex::new(None),
        }
    }

    /// Sets the condition of the link from one node to another; that of the way back stays.
    pub fn set(&self, from: &NodeName, to: &NodeName, condition: Condition) {
        let mut state = self.0.lock();
        state.links.insert((from.clone(), to.clone()), condition);
    }

    /// The node takes nothing any more: who dials or asks it is refused, as after the end of a process.
    pub fn remove(&self, node: &NodeName) {
        let mut state = self.0.lock();
        state.listening.retain(|_, (name, _)| name != node);
        state.accepting.retain(|(name, _), _| name != node);
        state.answering.remove(node);
    }

    /// The node's process has ended, and every other has this proof of it.
    pub fn end(&self, node: &NodeName, proof: Proof) {
        let mut told = Vec::new();
        {
            let state = self.0.lock();
            let dead = state.listening.iter().filter(|(_, (name, _))| name == node);
            for ((of, who), _) in dead {
                let others = state.listening.iter();
                let others = others.filter(|((theirs, _), (name, _))| theirs == of && name != node);
                told.extend(others.map(|(_, (_, inbox))| (*who, Arc::clone(inbox))));
            }
        }
        self.remove(node);
        for (who, inbox) in told {
            inbox.died(who, proof);
        }
    }

    /// The node takes no raw streams any more.
    pub fn accept_nothing(&self, node: &NodeName) {
        let mut state = self.0.lock();
        state.accepting.retain(|(name, _), _| name != node);
    }

    /// Makes every link good.
    pub fn heal(&self) {
        self.0.lock().links.clear();
    }

    /// How many messages have arrived.
    #[must_use]
    pub fn carried(&self) -> u64 {
        self.0.lock().carried
    }

    fn arrive(&self, from: Incarnation, to: Somebody, message: Message) -> bool {
        let inbox = {
            let mut state = self.0.lock();
            state.carried += 1;
            (state.listening.get(&to)).map(|(_, inbox)| Arc::clone(inbox))
        };
        inbox.is_some_and(|inbox| inbox.arrived(from, message).is_ok())
    }

    fn carry(&self, node: &NodeName, from: Incarnation, to: Somebody, message: Message) -> bool {
        let condition = {
            let state = self.0.lock();
            let Some((target, _)) = state.listening.get(&to) else {
                return false;
            };
            state.condition(node, target)
        };
        let copies = match condition {
            Condition { cut: true, .. } => 0,
            Condition { doubled: true, .. } => 2,
            _ => 1,
        };
        let mut taken = true;
        for _ in 0..copies {
            let message = message.clone();
            if condition.delay.is_zero() {
                taken &= self.arrive(from, to, message);
            } else {
                let network = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(condition.delay).await;
                    network.arrive(from, to, message);
                });
            }
        }
        taken
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Network")
    }
}

#[derive(Debug)]
struct Port {
    network: Network,
    node: NodeName,
    me: Mutex<Option<Somebody>>,
}

impl Transport for Port {
    fn listen(&self, me: Incarnation, of: Founding, inbox: Arc<dyn Inbox>) {
        let me = (of, me);
        let former = self.me.lock().replace(me);
        let mut state = self.network.0.lock();
        if let Some(former) = former {
            state.listening.remove(&former);
        }
        state.listening.insert(me, (self.node.clone(), inbox));
    }

    fn members(&self, _: &Arc<Layout>) {}

    fn send(&self, to: Incarnation, message: Message) -> bool {
        let me = *self.me.lock();
        me.is_some_and(|(of, me)| self.network.carry(&self.node, me, (of, to), message))
    }

    fn is_connected(&self, to: Incarnation) -> bool {
        let me = *self.me.lock();
        let state = self.network.0.lock();
        let target = me.and_then(|(of, _)| state.listening.get(&(of, to)));
        target.is_some_and(|(target, _)| !state.condition(&self.node, target).cut)
    }
}
