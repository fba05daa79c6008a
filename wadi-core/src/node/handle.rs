//! A node as the program sees it: made, started, asked, and left.

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

use super::below::Below;
use super::driver::Driver;
use super::given::Given;
use super::lanes::{Entrance, Lanes, lanes};
use super::locate::Located;
use super::open::OpenBuckets;
use super::settings::NodeSettings;
use super::status::{Aftermath, Left, Migrations, NotDeclaredDead, Status};
use super::surroundings::Surroundings;
use crate::bucket::BucketId;
use crate::clock::{Clock, Moment};
use crate::evict::Evicter;
use crate::lease::LeaseGate;
use crate::member::{Incarnation, Standing};
use crate::message::Want;
use crate::session::{
    Departures, Guard, Managed, Others, Recalling, Registered, Registering, SessionError,
    SessionId, Sessions, SessionsBuilder,
};
use crate::stale::StalePolicy;
use crate::store::SessionStore;

/// A node of a cluster; clones are the same one. When the last clone is dropped it stops, as by
/// [`Node::stop`].
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    settings: Arc<NodeSettings>,
    clock: Arc<dyn Clock>,
    sessions: Arc<Sessions>,
    gate: Arc<LeaseGate>,
    open: Arc<OpenBuckets>,
    queue: Entrance,
    status: watch::Receiver<Status>,
    migrations: Arc<Migrations>,
    aftermath: Arc<Aftermath>,
    below: Arc<Below>,
    /// The driver's, until it starts.
    seat: Mutex<Option<Seat>>,
    task: OnceLock<AbortHandle>,
}

/// What the driver brings along from before its start.
struct Seat {
    departures: Arc<Departures>,
    given: Lanes,
    status: watch::Sender<Status>,
    /// The policy for stale copies, where it is not that of the settings.
    stale: Option<Arc<dyn StalePolicy>>,
    /// The store below all nodes, and who chooses what goes there.
    store: Option<(Arc<dyn SessionStore>, Arc<dyn Evicter>)>,
}

/// The node did not become ready in time; it goes on trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node has not become a ready member of its cluster yet")]
pub struct NotReady;

impl Node {
    /// A node that has not started: nobody tells it anything yet, and its sessions serve nothing.
    /// `sessions` says what its sessions are made with; the lease, and the buckets in which they are
    /// created, are the node's.
    #[must_use]
    pub fn new(settings: NodeSettings, clock: Arc<dyn Clock>, sessions: SessionsBuilder) -> Self {
        let settings = Arc::new(settings);
        let (queue, given) = lanes(settings.queue);
        let gate = Arc::new(LeaseGate::leased(Moment::ZERO));
        let buckets = settings.charter.buckets;
        let open = Arc::new(OpenBuckets::new(buckets));
        let waking = queue.rest().downgrade();
        let departures = Arc::new(Departures::new(move || {
            // Where the queue is full the driver looks at the departures before what is in it.
            if let Some(queue) = waking.upgrade() {
                let _ = queue.try_send(Given::Departed);
            }
        }));
        let sessions = sessions
            .clock(Arc::clone(&clock))
            .gate(Arc::clone(&gate))
            .managed(buckets, Arc::clone(&open) as Arc<_>)
            .departures(Arc::clone(&departures))
            .build();
        let (status, watched) = watch::channel(Status::default());
        let seat = Seat {
            departures,
            given,
            status,
            stale: None,
            store: None,
        };
        let inner = Arc::new(Inner {
            settings,
            clock,
            sessions: Arc::new(sessions),
            gate,
            open,
            queue,
            status: watched,
            migrations: Arc::default(),
            aftermath: Arc::default(),
            below: Arc::default(),
            seat: Mutex::new(Some(seat)),
            task: OnceLock::new(),
        });
        let cluster = ByCluster(Arc::downgrade(&inner));
        inner.sessions.among(Arc::new(cluster));
        Self(inner)
    }

    /// Starts it: it joins its cluster, where others reach it at `address`. Once only; later calls
    /// do nothing.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time.
    pub fn start(&self, address: impl Into<String>, surroundings: Surroundings) {
        let inner = &self.0;
        let Some(seat) = inner.seat.lock().take() else {
            return;
        };
        let driver = Driver::new(
            inner.settings.with(seat.stale, seat.store.is_some()),
            address.into(),
            (Arc::clone(&inner.clock), surroundings),
            Arc::clone(&inner.sessions),
            seat.departures,
            Arc::clone(&inner.gate),
            Arc::clone(&inner.open),
            (inner.queue.clone(), seat.given),
            seat.status,
            (Arc::clone(&inner.migrations), Arc::clone(&inner.aftermath)),
        );
        let below = Arc::clone(&inner.below);
        let task = tokio::spawn(driver.run(seat.store, below)).abort_handle();
        // The seat was taken once.
        let _ = inner.task.set(task);
    }

    /// An operator's word that the process of a member has ended: its sessions are lost and its buckets
    /// somebody else's at once, not only when its lease has run out. Should it run all the same, what it
    /// acknowledges until it hears of that is lost, so for one that this node is connected to it takes
    /// `force`. Returns when the cluster is being asked; that it is agreed shows in the layout.
    ///
    /// # Errors
    ///
    /// [`NotDeclaredDead`]: nothing changed.
    pub async fn declare_dead(&self, who: Incarnation, force: bool) -> Result<(), NotDeclaredDead> {
        let (reply, answer) = oneshot::channel();
        let given = Given::DeclareDead { who, force, reply };
        if !self.0.queue.send(given).await {
            return Err(NotDeclaredDead::NotReady);
        }
        answer.await.unwrap_or(Err(NotDeclaredDead::NotReady))
    }

    /// The node's own sessions.
    #[must_use]
    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.0.sessions
    }

    /// What it says of itself now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.0.status.borrow().clone()
    }

    /// What it says of itself, now and whenever that changes. It keeps no node: when that is gone, nothing
    /// comes any more.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.0.status.clone()
    }

    /// Whether this node may create sessions by itself at this moment. Costs one load.
    #[must_use]
    pub fn may_create(&self) -> bool {
        self.0.open.any()
    }

    /// How many sessions have come and gone since it started.
    #[must_use]
    pub fn migrations(&self) -> &Migrations {
        &self.0.migrations
    }

    /// What became of sessions of nodes that died or were away, since it started.
    #[must_use]
    pub fn aftermath(&self) -> &Aftermath {
        &self.0.aftermath
    }

    /// How many sessions have gone to the store below all nodes and come from there, since it started.
    #[must_use]
    pub fn below(&self) -> &Below {
        &self.0.below
    }

    /// Has a store below all nodes: what nobody asks for goes there, as `evicter` chooses, and comes from
    /// there to whichever node is asked for it. Every node of the cluster has the same one, of which the
    /// cluster's generation comes, too. Before its start; later it changes nothing.
    pub fn over(&self, store: Arc<dyn SessionStore>, evicter: Arc<dyn Evicter>) {
        if let Some(seat) = &mut *self.0.seat.lock() {
            seat.store = Some((store, evicter));
        }
    }

    /// Has this policy choose which copy of a session serves again, where none serves; instead of the one
    /// in the protocol's settings. Before its start; later it changes nothing.
    pub fn set_stale_policy(&self, policy: Arc<dyn StalePolicy>) {
        if let Some(seat) = &mut *self.0.seat.lock() {
            seat.stale = Some(policy);
        }
    }

    /// How many of the sessions here are displaced: another member manages their bucket. It looks at
    /// every bucket, so it is for people, and not for every request.
    #[must_use]
    pub fn displaced(&self) -> usize {
        let status = self.status();
        let (Some(me), Some(layout)) = (status.incarnation, status.layout) else {
            return 0;
        };
        let map = self.0.sessions.map();
        let away = |bucket: &BucketId| layout.placement(*bucket).manager != me;
        let others = map.buckets().iter().filter(away);
        others.map(|bucket| map.len_of(bucket)).sum()
    }

    /// Waits, at most `within`, until it is a ready member; who it is then.
    ///
    /// # Errors
    ///
    /// [`NotReady`]; it goes on trying.
    pub async fn ready(&self, within: Duration) -> Result<Incarnation, NotReady> {
        let mut status = self.0.status.clone();
        let is_ready = |status: &Status| status.standing() == Some(Standing::Ready);
        let ready = tokio::time::timeout(within, status.wait_for(is_ready)).await;
        let ready = ready.map_err(|_| NotReady)?.map_err(|_| NotReady)?;
        ready.incarnation.ok_or(NotReady)
    }

    /// Looks for a session that is not in this node's map; with [`Want::Move`] it is held here
    /// afterwards, unless its holder cannot let it go. Takes at most a little longer than the
    /// protocol's `ask_for`.
    ///
    /// # Cancellation
    ///
    /// The session may move here all the same.
    pub async fn locate(&self, id: SessionId, want: Want) -> Located {
        if !self.0.sessions.may_act() {
            return Located::Unavailable;
        }
        let (reply, located) = oneshot::channel();
        self.ask(Given::Find { id, want, reply }, located)
            .await
            .unwrap_or(Located::Unavailable)
    }

    /// Has a new id registered, as [`Others::register`] says.
    async fn register(&self, id: SessionId) -> Result<Guard, SessionError> {
        let (reply, registered) = oneshot::channel();
        let registered = self.ask(Given::Register { id, reply }, registered).await;
        let keeper = registered.and_then(Registered::take);
        keeper.ok_or(SessionError::Unregistered)
    }

    async fn ask<T>(&self, given: Given, answer: oneshot::Receiver<T>) -> Option<T> {
        let protocol = &self.0.settings.protocol;
        // The protocol gives up by itself, at a look at its timers; this bounds the queue too.
        let within = protocol.ask_for + 2 * protocol.retry_most;
        let asked = async {
            let is_taken = self.0.queue.send(given).await;
            is_taken.then_some(answer)?.await.ok()
        };
        tokio::time::timeout(within, asked).await.ok().flatten()
    }

    /// Moves everything to the other members, and takes nothing new; the node stays a member, which
    /// can say where everything is, until it leaves. After `within`, requests lose the sessions that
    /// they still use here. Says whether everything was moved; `false` where no other member is there
    /// to take it, after `within` also where all others are leaving.
    ///
    /// # Cancellation
    ///
    /// It goes on, and nothing undoes it.
    pub async fn evacuate(&self, within: Duration) -> bool {
        let (reply, moved) = oneshot::channel();
        let revoke_at = self.0.clock.now() + within;
        let asked = self.0.queue.send(Given::Evacuate { revoke_at, reply });
        asked.await && moved.await.unwrap_or(false)
    }

    /// Leaves in good order: hands over everything, then is gone. When nine tenths of `within` are
    /// over, requests lose the sessions that they still use here; after `within`, or where there is no
    /// other member, it goes with what is left. Where all others are leaving, too, it goes at once if it
    /// has nothing, and else waits for who comes in their place. Whoever asks it for something meanwhile
    /// is still answered.
    ///
    /// # Cancellation
    ///
    /// It goes on leaving.
    pub async fn leave(&self, within: Duration) -> Left {
        let (reply, left) = oneshot::channel();
        let until = self.0.clock.now() + within;
        let asked = self.0.queue.send(Given::Leave { until, reply }).await;
        let left = if asked { left.await.ok() } else { None };
        // Somebody else made it leave, or stopped it.
        let left = left.or(self.status().left);
        left.unwrap_or_else(|| Left {
            in_good_order: false,
            left_behind: self.0.sessions.map().len(),
        })
    }

    /// Stops at once: nothing is handed over, nobody is told, and this node serves nothing any more.
    pub fn stop(&self) {
        self.0.stop();
    }
}

impl Inner {
    fn stop(&self) {
        self.gate.revoke();
        self.open.close_all();
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

/// The node, as its own sessions know it: who asks the cluster for them.
struct ByCluster(Weak<Inner>);

impl Others for ByCluster {
    fn recall(&self, id: SessionId) -> Recalling<'_> {
        Box::pin(async move {
            let node = self.0.upgrade().map(Node).ok_or(SessionError::Moved)?;
            // The manager lets nothing move to a node that is leaving.
            match node.locate(id, Want::Move).await {
                Located::Here | Located::Came(_) => Ok(()),
                Located::At(_) | Located::Unavailable => Err(SessionError::Moved),
                Located::Absent { .. } => Err(SessionError::Ended),
            }
        })
    }

    fn register(&self, id: SessionId) -> Registering<'_> {
        Box::pin(async move {
            let node = self.0.upgrade().map(Node).ok_or(SessionError::NoBucket)?;
            node.register(id).await
        })
    }
}

impl fmt::Debug for ByCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByCluster")
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({:?})", self.0.settings.name)
    }
}
