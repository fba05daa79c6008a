//! One node as the product runs it: its driver, the agreement, and the network over TCP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use wadi_core::authority::Charter;
use wadi_core::clock::{BootClock, Clock};
use wadi_core::member::{Incarnation, NodeName};
use wadi_core::message::Want;
use wadi_core::node::{
    Agreement, AgreementSettings, Located, NobodyListens, Node, NodeSettings, OnQuorumLoss,
    Surroundings,
};
use wadi_core::session::{
    ClusterKey, Guard, Keyring, Limits, Look, Origin, PresentedId, SessionError, Sessions, Visit,
};
use wadi_core::transport::{AddressList, Connections, Network, NetworkSettings, Secret};
use wadi_transport::Tcp;

pub(crate) const STATE: usize = 1024;
pub(crate) const LIMIT: Duration = Duration::from_secs(600);

const SECRET: [u8; 32] = [7; 32];
/// So many sessions are made in one go.
const PART: usize = 256;

const FREEZE_AFTER: Duration = Duration::from_millis(1);

/// How nodes authenticate each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Key,
    /// On loopback there need not be a key, and then there is no TLS.
    Nothing,
}

impl From<&str> for By {
    fn from(word: &str) -> Self {
        if word == By::Key.word() {
            Self::Key
        } else {
            Self::Nothing
        }
    }
}

impl By {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Key => "TLS",
            Self::Nothing => "no TLS",
        }
    }
}

/// A node of the cluster.
pub(crate) struct Member {
    pub(crate) node: Node,
    pub(crate) connections: Connections,
    /// Kept for as long as the node is to agree with others.
    _agreement: Arc<Agreement>,
}

/// Where a request found its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Used {
    Here,
    /// Another member has it; a request would go there.
    Elsewhere,
    /// Nobody could say in time: it would be told to come again.
    Unavailable,
    Nowhere,
}

impl Used {
    const fn refused(error: &SessionError) -> Self {
        match error {
            SessionError::Ended => Self::Nowhere,
            _ => Self::Unavailable,
        }
    }
}

impl Member {
    /// Founds a cluster, or joins the one of the node at `founder`.
    pub(crate) async fn start(name: &str, founder: Option<&str>, by: By) -> Self {
        let charter = Charter::default();
        let clock: Arc<dyn Clock> = Arc::new(BootClock);
        let secrets = match by {
            By::Key => vec![Secret(SECRET)],
            By::Nothing => Vec::new(),
        };
        let network = NetworkSettings {
            cluster: "bench".to_owned(),
            buckets: charter.buckets,
            node: NodeName::new(name),
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertise: None,
            secrets,
            gate: None,
        };
        let connections = Tcp::new().open(network).await.expect("loopback is there");
        let addresses = founder.map(str::to_owned);
        let agreement = Agreement::new(AgreementSettings {
            node: NodeName::new(name),
            address: connections.address.clone(),
            place: connections.place,
            carrier: connections.carrier.clone(),
            clock: clock.clone(),
            charter,
            listener: Arc::new(NobodyListens),
            generation: 0,
            discovery: Arc::new(AddressList::new(addresses)),
            found_with: None,
            on_quorum_loss: OnQuorumLoss::Strict,
            store: None,
        });
        let mut settings = NodeSettings::new(NodeName::new(name), charter);
        // Buckets change hands before anything is measured.
        settings.pace.between_steps = Duration::from_millis(50);
        let limits = Limits {
            freeze_after: FREEZE_AFTER,
            ..Limits::default()
        };
        let key = ClusterKey::from_secret(&SECRET).expect("long enough");
        let sessions = Sessions::builder(Keyring::new(key)).limits(limits);
        let node = Node::new(settings, clock, sessions);
        node.start(
            connections.address.clone(),
            Surroundings {
                authority: agreement.clone(),
                place: connections.place,
                transport: connections.transport.clone(),
                listener: Arc::new(NobodyListens),
            },
        );
        node.ready(LIMIT).await.expect("it becomes a member");
        Self {
            node,
            connections,
            _agreement: agreement,
        }
    }

    /// Waits until each of so many members has its part of the buckets, and some more for what they
    /// tell each other of that.
    pub(crate) async fn balanced(&self, members: usize) {
        loop {
            let layout = self.node.status().layout;
            let is_balanced = layout.is_some_and(|layout| {
                let least = layout.placements.len() / members;
                let managed = |who: Incarnation| {
                    let placements = layout.placements.iter();
                    placements
                        .filter(|placement| placement.manager == who)
                        .count()
                };
                layout.members.len() == members
                    && layout.members.keys().all(|who| managed(*who) >= least)
            });
            if is_balanced {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
        sleep(Duration::from_secs(1)).await;
    }

    fn sessions(&self) -> &Arc<Sessions> {
        self.node.sessions()
    }

    /// Makes so many sessions as handlers do, at home here; the cookies' ids.
    pub(crate) async fn create(&self, count: usize) -> Vec<String> {
        let create = |_| {
            let visit = Visit::without(self.sessions().clone(), Origin::New);
            let profile = "x".repeat(STATE);
            visit.insert("profile", profile).expect("within its budget");
            let id = visit.id().expect("it was created");
            visit.commit().expect("it manages buckets");
            self.sessions().text(&id).expose().to_owned()
        };
        let mut ids = Vec::with_capacity(count);
        while ids.len() < count {
            let part = (count - ids.len()).min(PART);
            ids.extend((0..part).map(create));
            // The node's own tasks renew its lease.
            tokio::task::yield_now().await;
        }
        ids
    }

    /// Freezes what nobody used just now.
    pub(crate) async fn freeze(&self) {
        sleep(FREEZE_AFTER * 5).await;
        while !self.sessions().sweep(BootClock.now(), 10_000).round_done {
            tokio::task::yield_now().await;
        }
    }

    /// A request as far as its session: found here and used, or found elsewhere.
    pub(crate) async fn request(&self, id: &PresentedId) -> Used {
        loop {
            let looked = match self.look(id).await {
                Ok(guard) => guard,
                Err(SessionError::Moved) => continue,
                Err(error) => return Used::refused(&error),
            };
            if let Some(guard) = looked {
                match self.use_it(&self.visit(guard, id)).await {
                    Ok(()) => return Used::Here,
                    Err(SessionError::Moved) => continue,
                    Err(error) => return Used::refused(&error),
                }
            }
            match self.node.locate(*id.unverified(), Want::Locate).await {
                Located::Here | Located::Came(_) => {}
                Located::At(_) => return Used::Elsewhere,
                Located::Absent { .. } => return Used::Nowhere,
                Located::Unavailable => return Used::Unavailable,
            }
        }
    }

    /// Has a session come here, and uses it as a request does. How long it took until a handler could
    /// run, and until its head could go out: between the two its manager confirms that it is here.
    pub(crate) async fn migrate(&self, id: &PresentedId) -> (Duration, Duration) {
        let clock = BootClock;
        let began = clock.now();
        let located = self.node.locate(*id.unverified(), Want::Move).await;
        assert!(matches!(located, Located::Came(_)), "{located:?}");
        let guard = self.look(id).await.expect("it stays");
        let runs = clock.now().since(began);
        let visit = self.visit(guard.expect("it came"), id);
        self.use_it(&visit).await.expect("it is confirmed");
        let answers = clock.now().since(began);
        (runs, answers)
    }

    /// A session of this node, once it may be used; `None` where it is not here.
    async fn look(&self, id: &PresentedId) -> Result<Option<Guard>, SessionError> {
        match self.sessions().look(id, BootClock.now()) {
            Look::Here(guard) => Ok(Some(guard)),
            Look::Busy(held) => self.sessions().share(&held).await.map(Some),
            Look::NotHere(_) => Ok(None),
        }
    }

    fn visit(&self, guard: Guard, id: &PresentedId) -> Visit {
        Visit::holding(self.sessions().clone(), guard, *id.unverified())
    }

    async fn use_it(&self, visit: &Visit) -> Result<(), SessionError> {
        visit.update("count", |count: &mut u64| *count += 1)?;
        let committed = visit.commit();
        if !matches!(committed, Err(SessionError::Unconfirmed)) {
            return committed.map(drop);
        }
        visit.confirmed().await?;
        visit.commit().map(drop)
    }
}

pub(crate) fn parse(ids: &[String]) -> Vec<PresentedId> {
    let parse = |id: &String| PresentedId::parse(id.as_bytes()).expect("an id");
    ids.iter().map(parse).collect()
}
