//! The few words that the tests are told in.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::{sleep, timeout};
use wadi_core::bucket::{BucketCount, BucketId, Layout, LayoutVersion, Placement};
use wadi_core::member::{Founding, Incarnation, Member, NodeName, Standing};
use wadi_core::message::{Body, Message};
use wadi_core::proof::Proof;
use wadi_core::session::SessionId;
use wadi_core::tenure::{Revision, Tenure};
use wadi_core::transport::{Connections, Inbox, Network, NetworkSettings, NotOpened, Secret};
use wadi_transport::{Limits, Tcp};

/// Far longer than anything takes, so that a slow machine fails nothing.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) const KEY: &[Secret] = &[Secret([1; 32])];
pub(crate) const NO_KEY: &[Secret] = &[];

pub(crate) fn settings(name: &str, secrets: &[Secret]) -> NetworkSettings {
    NetworkSettings {
        cluster: "shop".to_owned(),
        buckets: BucketCount::DEFAULT,
        node: NodeName::new(name),
        bind: SocketAddr::from(([127, 0, 0, 1], 0)),
        advertise: None,
        secrets: secrets.to_vec(),
        gate: None,
    }
}

/// Quick to try again, and patient with a slow machine.
pub(crate) fn limits() -> Limits {
    Limits {
        retry_first: Duration::from_millis(5),
        retry_longest: Duration::from_millis(50),
        handshake: Duration::from_secs(20),
        silence: LONG,
        write: LONG,
        ..Limits::default()
    }
}

pub(crate) fn tcp() -> Tcp {
    Tcp::new().limits(limits())
}

pub(crate) struct Node {
    pub(crate) name: NodeName,
    pub(crate) me: Incarnation,
    pub(crate) open: Connections,
    pub(crate) inbox: Arc<Letters>,
}

impl Node {
    /// A node that is open and has not joined; `number` will be its incarnation.
    pub(crate) async fn open(number: u64, tcp: &Tcp, settings: NetworkSettings) -> Self {
        Self {
            name: settings.node.clone(),
            me: Incarnation::new(number),
            open: reopen(tcp, settings).await,
            inbox: Arc::default(),
        }
    }

    pub(crate) async fn start(number: u64, secrets: &[Secret]) -> Self {
        let node = Self::open(number, &tcp(), settings(&format!("n{number}"), secrets)).await;
        node.listen();
        node
    }

    pub(crate) fn listen(&self) {
        self.listen_as_of(Founding::new(1));
    }

    pub(crate) fn listen_as_of(&self, founding: Founding) {
        let transport = &self.open.transport;
        transport.listen(self.me, founding, self.inbox.clone());
    }

    pub(crate) fn address(&self) -> &str {
        &self.open.address
    }

    pub(crate) fn send(&self, to: &Self, message: Message) {
        self.open.transport.send(to.me, message);
        self.open.transport.flush();
    }

    /// Sends until the first has come, as the protocol above would; how it begins says which one it
    /// is. Links are made in the background.
    pub(crate) async fn reach(&self, to: &Self) {
        let knock = knock(self.me.get());
        for _ in 0..LONG.as_millis() / 5 {
            self.send(to, knock.clone());
            sleep(Duration::from_millis(5)).await;
            if to.inbox.has(self.me, &knock) {
                // What was sent in vain before it came is still on its way.
                sleep(Duration::from_millis(50)).await;
                to.inbox.empty();
                return;
            }
        }
        panic!("{:?} does not reach {:?}", self.name, to.name);
    }
}

/// Opens it, and waits while an earlier node still has the address.
pub(crate) async fn reopen(tcp: &Tcp, settings: NetworkSettings) -> Connections {
    for _ in 0..1000 {
        match tcp.open(settings.clone()).await {
            Ok(open) => return open,
            Err(NotOpened(cause)) if cause.to_string().contains("in use") => {
                sleep(Duration::from_millis(5)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the address stays in use");
}

/// These nodes are the members, at this version; all of them are told.
pub(crate) fn agree(version: u64, members: &[&Node]) -> Arc<Layout> {
    let layout = layout(version, members);
    for node in members {
        node.open.transport.members(&layout);
    }
    layout
}

pub(crate) fn layout(version: u64, members: &[&Node]) -> Arc<Layout> {
    let of = |node: &&Node| {
        let member = Member {
            node: node.name.clone(),
            address: node.open.address.clone(),
            place: node.open.place,
            standing: Standing::Ready,
        };
        (node.me, member)
    };
    let members: BTreeMap<_, _> = members.iter().map(of).collect();
    let manager = *members.keys().next().expect("somebody is a member");
    Arc::new(Layout {
        version: LayoutVersion::from_u64(version),
        unproven: LayoutVersion::ZERO,
        placements: vec![Placement {
            manager,
            deputies: Vec::new(),
            since: LayoutVersion::from_u64(1),
            previous: None,
        }],
        members,
    })
}

pub(crate) fn knock(number: u64) -> Message {
    let bucket = BucketId::new(7);
    Message::new(LayoutVersion::from_u64(number), Body::Pull { bucket })
}

/// A message with so many bytes of state.
pub(crate) fn state(number: u64, length: usize) -> Message {
    let epoch = LayoutVersion::from_u64(1);
    let body = Body::State {
        id: SessionId::from_parts([7; 16], 1),
        tenure: Tenure::new(epoch, 1),
        revision: Revision::new(number),
        state: Bytes::from(vec![7; length]),
    };
    Message::new(epoch, body)
}

pub(crate) fn number(message: &Message) -> u64 {
    match &message.body {
        Body::State { revision, .. } => revision.get(),
        _ => message.epoch.as_u64(),
    }
}

/// An inbox with room for so many.
#[derive(Debug)]
pub(crate) struct Letters {
    room: usize,
    came: Mutex<VecDeque<(Incarnation, Message)>>,
    died: Mutex<Vec<(Incarnation, Proof)>>,
}

impl Default for Letters {
    fn default() -> Self {
        Self::with_room(1_000_000)
    }
}

impl Letters {
    pub(crate) fn with_room(room: usize) -> Self {
        Self {
            room,
            came: Mutex::default(),
            died: Mutex::default(),
        }
    }

    pub(crate) fn has(&self, from: Incarnation, message: &Message) -> bool {
        let came = self.came.lock();
        came.iter().any(|(by, came)| *by == from && came == message)
    }

    /// Whose death was proven, and how, in the order in which it was told.
    pub(crate) fn died(&self) -> Vec<(Incarnation, Proof)> {
        self.died.lock().clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.came.lock().len()
    }

    pub(crate) fn empty(&self) {
        self.came.lock().clear();
    }

    pub(crate) fn take(&self) -> Option<(Incarnation, Message)> {
        self.came.lock().pop_front()
    }

    pub(crate) async fn next(&self) -> (Incarnation, Message) {
        let next = async {
            loop {
                if let Some(next) = self.take() {
                    return next;
                }
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LONG, next).await.expect("something comes in time")
    }
}

impl Inbox for Letters {
    fn arrived(&self, from: Incarnation, message: Message) -> Result<(), Message> {
        let mut came = self.came.lock();
        if came.len() >= self.room {
            return Err(message);
        }
        came.push_back((from, message));
        Ok(())
    }

    fn died(&self, who: Incarnation, proof: Proof) {
        self.died.lock().push((who, proof));
    }
}
