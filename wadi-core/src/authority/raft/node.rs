//! One node's part in the authority: its replica, its vote where it has one, and its questions.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::{BasicNode, Raft};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time;

use super::asker::{AskFailed, Asker, Directions};
use super::asking::may_be_asked;
use super::leader::{Asked, Leader, leader_elsewhere, leads_in, votes};
use super::log::Log;
use super::machine::Machine;
use super::message::{Body, LARGEST_SNAPSHOT, Message, Part, Reply, Said, decode, encode};
use super::network::Network;
use super::timing::Timing;
use super::types::{Found, Founder, RaftTypes, draw_founding, incarnation, raft_id};
use super::voters::Votes;
use crate::authority::{Answer, Charter, Command, Joined, Lease, NotAMember, Register};
use crate::bucket::{Layout, LayoutVersion};
use crate::clock::{Clock, Moment};
use crate::member::{Founding, Incarnation, NodeName, Place};
use crate::transport::Carrier;

/// What a node brings along.
#[derive(Clone, Debug)]
pub struct RaftSettings {
    /// The node's name.
    pub node: NodeName,
    /// Where other nodes reach it; at most 255 bytes, like the name.
    pub address: String,
    /// Where it listens at exactly that address, if that is known.
    pub place: Option<Place>,
    /// The way to other nodes.
    pub carrier: Arc<dyn Carrier>,
    /// This node's clock: while it leads, the register's moments are its readings.
    pub clock: Arc<dyn Clock>,
    /// How long a lease is expected to last: how patiently it joins. Once it has founded or joined,
    /// the cluster's own lease counts, and every timer follows from that.
    pub lease: Duration,
}

/// Why a node has no part in the authority.
#[derive(Debug, thiserror::Error)]
pub enum StartFailed {
    /// The cluster did not answer the join. Where that is [`AskFailed::Unknown`], an incarnation may
    /// have been given that nobody uses; it ends with its lease.
    #[error("could not join: {0}")]
    NotJoined(#[from] AskFailed),
    /// The raft did not start. Nothing changed.
    #[error("the raft did not start: {0}")]
    NotStarted(String),
}

/// One incarnation's part in the authority. When it is refused as no member, or has left, close it;
/// whoever comes back joins anew.
pub struct RaftAuthority {
    me: Incarnation,
    cluster: Founding,
    raft: Raft<RaftTypes>,
    pub(super) machine: Machine,
    pub(super) log: Log,
    asker: Asker,
    pub(super) clock: Arc<dyn Clock>,
    /// Until when this incarnation may act, as its driver counts it: while it may, it is a member.
    pub(super) leased_until: Mutex<Moment>,
    /// The highest layout version that a leader has answered it under.
    answered_under: watch::Sender<LayoutVersion>,
    seeds: Vec<String>,
    /// Where it was told that others are.
    pub(super) hints: Mutex<Vec<String>>,
    asked: mpsc::Sender<Asked>,
    tasks: [JoinHandle<()>; 2],
}

/// How many commands wait for the leader of this node, at most; the next is told to come again.
const MOST_WAITING: usize = 1_024;

impl RaftAuthority {
    /// Founds a cluster alone: this node is its first member, is ready, and votes.
    ///
    /// The charter's lease is the one that counts; `generation` is above that of every cluster of
    /// this name that may still have copies.
    ///
    /// The first lease counts from before this was called. Dropping the future founds nothing that
    /// anybody could join.
    ///
    /// # Errors
    ///
    /// [`StartFailed`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with its timers enabled.
    pub async fn found(
        settings: RaftSettings,
        charter: Charter,
        generation: u32,
    ) -> Result<(Arc<Self>, Joined), StartFailed> {
        let found = Found {
            charter,
            founding: draw_founding().map_err(StartFailed::NotStarted)?,
            generation,
            first: vec![Founder {
                node: settings.node.clone(),
                address: settings.address.clone(),
                place: settings.place,
            }],
        };
        let me = found.incarnation(0);
        let authority = Self::stand_by(settings, &found, 0).await?;
        authority.begin(&found).await?;
        let mut layouts = authority.layouts();
        let founded = layouts.wait_for(Option::is_some);
        let founded = time::timeout(charter.lease.max(Timing::SHORTEST_LEASE), founded).await;
        if !matches!(founded, Ok(Ok(_))) {
            return Err(StartFailed::NotStarted(
                "it did not elect itself".to_owned(),
            ));
        }
        let joined = Joined {
            incarnation: me,
            founding: found.founding,
            lease: charter.lease,
        };
        Ok((authority, joined))
    }

    /// Joins a cluster through the nodes at `seeds`, as somebody new, `within` at most. It knows no
    /// layout before the leader has told it of one.
    ///
    /// The first lease counts from before this was called. Until it returns, whatever arrives for
    /// this node is answered by [`RaftAuthority::not_here`].
    ///
    /// # Errors
    ///
    /// [`StartFailed`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with its timers enabled.
    pub async fn join(
        settings: RaftSettings,
        seeds: Vec<String>,
        within: Duration,
    ) -> Result<(Arc<Self>, Joined), StartFailed> {
        Self::join_of(None, settings, seeds, within).await
    }

    /// The same where it is known which cluster it is to be: another one may be there by now.
    pub(super) async fn join_of(
        cluster: Option<Founding>,
        settings: RaftSettings,
        seeds: Vec<String>,
        within: Duration,
    ) -> Result<(Arc<Self>, Joined), StartFailed> {
        let asker = Asker {
            own: settings.address.clone(),
            carrier: Arc::clone(&settings.carrier),
            timing: Timing::of(settings.lease),
        };
        let command = Command::Join {
            node: settings.node.clone(),
            address: settings.address.clone(),
            place: settings.place,
        };
        let sent = settings.clock.now();
        let (answer, _) = asker
            .ask(command, &Outside(cluster, &seeds), within)
            .await?;
        let Answer::Joined(joined) = answer else {
            return Err(StartFailed::NotStarted(
                "a join was answered otherwise".to_owned(),
            ));
        };
        let settings = RaftSettings {
            lease: joined.lease,
            ..settings
        };
        let (me, cluster) = (joined.incarnation, joined.founding);
        let authority = Self::start(settings, sent, (me, cluster), seeds, None).await?;
        Ok((authority, joined))
    }

    /// Takes part in a founding as the first member at `place`, and waits for somebody to
    /// [`RaftAuthority::begin`]. It is a member once there is a layout.
    pub(super) async fn stand_by(
        settings: RaftSettings,
        found: &Found,
        place: usize,
    ) -> Result<Arc<Self>, StartFailed> {
        let settings = RaftSettings {
            lease: found.charter.lease,
            ..settings
        };
        let others = found.first.iter().map(|founder| founder.address.clone());
        let others = others.filter(|address| *address != settings.address);
        let seeds = others.collect();
        let me = found.incarnation(place);
        // Nobody founds before everybody stands by, so the first leases are younger than this.
        let now = settings.clock.now();
        Self::start(
            settings,
            now,
            (me, found.founding),
            seeds,
            Some(found.clone()),
        )
        .await
    }

    /// Has the first members vote. Called by whoever founds, once all of them stand by.
    pub(super) async fn begin(&self, found: &Found) -> Result<(), StartFailed> {
        let voters: BTreeMap<u64, BasicNode> = (found.first.iter().enumerate())
            .map(|(place, founder)| {
                let addr = founder.address.clone();
                (raft_id(found.incarnation(place)), BasicNode { addr })
            })
            .collect();
        let begun = self.raft.initialize(voters).await;
        begun.map_err(|error| StartFailed::NotStarted(error.to_string()))
    }

    /// Its first lease counts from `since`.
    async fn start(
        settings: RaftSettings,
        since: Moment,
        (me, cluster): (Incarnation, Founding),
        seeds: Vec<String>,
        found: Option<Found>,
    ) -> Result<Arc<Self>, StartFailed> {
        let timing = Timing::of(settings.lease);
        let not_started = |error: String| StartFailed::NotStarted(error);
        let config = timing.config().validate();
        let config = config.map_err(|error| not_started(error.to_string()))?;
        let network = Network {
            own: settings.address.clone(),
            carrier: Arc::clone(&settings.carrier),
            cluster,
            timing,
        };
        let machine = Machine::new();
        let log = Log::default();
        let id = raft_id(me);
        let raft = Raft::new(id, Arc::new(config), network, log.clone(), machine.clone()).await;
        let raft = raft.map_err(|error| not_started(error.to_string()))?;
        let leader = Leader {
            raft: raft.clone(),
            machine: machine.clone(),
            clock: Arc::clone(&settings.clock),
            timing,
            found,
            acknowledged: Arc::default(),
        };
        let (asked, waiting) = mpsc::channel(MOST_WAITING);
        let tasks = [
            tokio::spawn(leader.clone().propose(waiting)),
            tokio::spawn(leader.pick_voters()),
        ];
        let asker = Asker {
            own: settings.address,
            carrier: settings.carrier,
            timing,
        };
        Ok(Arc::new(Self {
            me,
            cluster,
            raft,
            machine,
            log,
            asker,
            clock: settings.clock,
            leased_until: Mutex::new(counted(since, settings.lease)),
            answered_under: watch::Sender::new(LayoutVersion::ZERO),
            seeds,
            hints: Mutex::default(),
            asked,
            tasks,
        }))
    }

    /// This start of this node.
    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        self.me
    }

    /// Has a command agreed, `within` at most, wherever the leader is. Safe to drop: the command may
    /// then be carried out all the same.
    ///
    /// # Errors
    ///
    /// [`AskFailed`]; commands that may be repeated without harm are, the others are not.
    pub async fn propose(&self, command: Command, within: Duration) -> Result<Answer, AskFailed> {
        let renewal = (command == Command::Renew(self.me)).then(|| self.clock.now());
        let (answer, version) = match command {
            Command::DeclareDead { incarnation, .. } if self.may_succeed(incarnation) => {
                self.ask_successor(command, incarnation, within).await?
            }
            command => self.asker.ask(command, self, within).await?,
        };
        self.answered_under.send_if_modified(|highest| {
            let is_higher = version > *highest;
            *highest = version.max(*highest);
            is_higher
        });
        if let (Some(sent), Answer::Renewed(Ok(length))) = (renewal, &answer) {
            let mut until = self.leased_until.lock();
            *until = counted(sent, *length).max(*until);
        }
        Ok(answer)
    }

    /// Whether this one leads, and this node votes.
    fn may_succeed(&self, dead: Incarnation) -> bool {
        let led = self.machine.led_by();
        led.is_some_and(|led| led.node_id == raft_id(dead))
            && self.votes().voters.contains(&self.me)
    }

    /// Asks for the death of the one that leads.
    async fn ask_successor(
        &self,
        command: Command,
        dead: Incarnation,
        within: Duration,
    ) -> Result<(Answer, LayoutVersion), AskFailed> {
        let asking = async {
            // By an operator's word it may be one that runs. It agrees to that, and nobody has to stand.
            let soon = self.asker.timing.first_pause();
            if let Ok(answered) = self.asker.ask(command.clone(), self, soon).await {
                return Ok(answered);
            }
            // Where nobody is elected so soon it is asked for all the same.
            let _ = time::timeout(within / 2, self.succeed(dead)).await;
            self.asker.ask(command, self, within).await
        };
        let asked = time::timeout(within, asking).await;
        asked.unwrap_or(Err(AskFailed::Unknown))
    }

    /// Waits until somebody else leads than the one that is proven dead. Who votes stands for it at once,
    /// instead of when the leader has been silent for long enough: each that has a proof does, so nobody is
    /// left who keeps to that one. Whom to elect is the voters' own affair as always.
    async fn succeed(&self, dead: Incarnation) {
        let dead = raft_id(dead);
        let mut metrics = self.raft.metrics();
        let is_another = |leader: Option<u64>| leader.is_some_and(|leader| leader != dead);
        // The first may come before others have their proof, and a few are enough: who cannot win and goes
        // on standing lets nobody else lead.
        for pause in [1, 2, 4] {
            if is_another(metrics.borrow_and_update().current_leader) {
                return;
            }
            if self.raft.trigger().elect().await.is_err() {
                return;
            }
            let another = metrics.wait_for(|metrics| is_another(metrics.current_leader));
            let pause = self.asker.timing.look() * pause;
            if time::timeout(pause, another).await.is_ok() {
                return;
            }
        }
    }

    /// Renews this node's lease; the answer is its length. Note the renewal in the
    /// [`Lease`](crate::authority::Lease) first: it counts from then, however often this asks.
    ///
    /// # Errors
    ///
    /// [`AskFailed`]: the lease goes on as it was.
    pub async fn renew(&self, within: Duration) -> Result<Result<Duration, NotAMember>, AskFailed> {
        match self.propose(Command::Renew(self.me), within).await? {
            Answer::Renewed(renewed) => Ok(renewed),
            // No answer to a renewal; nothing is lengthened by it.
            _ => Err(AskFailed::Unknown),
        }
    }

    /// The layouts as they are agreed, the latest only; `None` before the first arrived. Versions
    /// only grow. Being told of one is no lease.
    #[must_use]
    pub fn layouts(&self) -> watch::Receiver<Option<Arc<Layout>>> {
        self.machine.layouts()
    }

    /// A copy of the whole register as this node's replica has it, tombstones included; it may lag
    /// behind. For the status page.
    #[must_use]
    pub fn register(&self) -> Option<Register> {
        self.machine.register()
    }

    /// Whether this node leads, by what it knows.
    #[must_use]
    pub fn leads(&self) -> bool {
        leads_in(&self.raft.metrics().borrow()).is_some()
    }

    /// Who votes and who is told, by what this node knows; who has caught up only the leader knows.
    #[must_use]
    pub fn votes(&self) -> Votes {
        votes(&self.raft.metrics().borrow())
    }

    /// Waits, `within` at most, until this node's vote is somebody else's: who goes with the only vote
    /// takes the register along. Returns at once where it does not vote, or nobody else is there.
    pub async fn hand_over_vote(&self, within: Duration) {
        let handed_over = async {
            while self.is_counted_on() && self.has_others() && !self.has_failed() {
                time::sleep(self.asker.timing.look()).await;
            }
        };
        // What is not handed over in time dies with this node.
        let _ = time::timeout(within, handed_over).await;
    }

    /// Whether it votes, or did before a change of the voters that may not be agreed yet.
    fn is_counted_on(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let votes = votes(&metrics);
        let is_agreed = metrics.last_applied >= *metrics.membership_config.log_id();
        votes.voters.contains(&self.me) || votes.is_changing || !is_agreed
    }

    /// Whether another one than this node is a member, by what it knows.
    #[must_use]
    pub fn has_others(&self) -> bool {
        let layout = self.machine.layout();
        layout.is_some_and(|layout| layout.members.keys().any(|who| *who != self.me))
    }

    /// How far it has carried out what is agreed. Goes on all the time, because members renew.
    pub(super) fn agreed(&self) -> Option<u64> {
        let applied = self.raft.metrics().borrow().last_applied;
        applied.map(|applied| applied.index)
    }

    /// Whether its replica has ended by itself.
    fn has_failed(&self) -> bool {
        let metrics = self.raft.metrics();
        let is_gone = metrics.has_changed().is_err();
        is_gone || metrics.borrow().running_state.is_err()
    }

    /// Until its replica has stayed, for longer than a lease, behind a layout that a leader answered it
    /// under: it would go on renewing, and act by what is long over. As where the leader hears it, and
    /// does not reach it.
    pub(crate) async fn left_behind(&self) {
        let mut layouts = self.layouts();
        let mut answered_under = self.answered_under.subscribe();
        loop {
            // Who knows nothing yet does not act.
            drop(layouts.wait_for(Option::is_some).await);
            let version = *answered_under.borrow_and_update();
            let is_there = |layout: &Option<Arc<Layout>>| {
                layout
                    .as_ref()
                    .is_some_and(|layout| layout.version >= version)
            };
            let is_there = time::timeout(self.lease(), layouts.wait_for(is_there));
            let is_late = is_there.await.is_err();
            if is_late || answered_under.changed().await.is_err() {
                return;
            }
        }
    }

    /// Until its replica has ended by itself: it would go on renewing, and learn of nothing.
    pub(crate) async fn failed(&self) {
        let mut metrics = self.raft.metrics();
        let failed = metrics.wait_for(|metrics| metrics.running_state.is_err());
        // Nobody tells any more: it has ended, too.
        let _ = failed.await;
    }

    /// The cluster's lease.
    pub(super) fn lease(&self) -> Duration {
        self.asker.timing.lease()
    }

    /// Who votes, and where they are; before and after, in the middle of a change.
    pub(super) fn voters_and_addresses(&self) -> Vec<Vec<(Incarnation, String)>> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let membership = metrics.membership_config.membership();
        let place = |id: &u64| {
            let node = membership.get_node(id)?;
            Some((incarnation(*id), node.addr.clone()))
        };
        let configs = membership.get_joint_config().iter();
        configs
            .map(|voters| voters.iter().filter_map(place).collect())
            .collect()
    }

    /// Which founding this node's cluster came of, a random number: it tells clusters apart that have
    /// one name, also where one was founded after the other.
    #[must_use]
    pub const fn founding(&self) -> Founding {
        self.cluster
    }

    pub(super) const fn part(&self) -> Part {
        Part {
            cluster: self.cluster,
            incarnation: self.me,
        }
    }

    /// Whether it was ever told anything: who votes comes first.
    pub(super) fn was_told(&self) -> bool {
        !self.log.is_untouched()
    }

    /// Answers what another node sent. Takes no longer than an attempt to ask
    /// ([`Timing::attempt`]); safe to drop.
    pub async fn receive(&self, message: Bytes) -> Bytes {
        let Some(message) = decode::<Message>(&message) else {
            return Self::not_here();
        };
        let reply = self.reply(message).await;
        encode(&reply).map_or_else(Self::not_here, Bytes::from)
    }

    /// What a node answers that has no part in any authority, or not yet.
    #[must_use]
    pub fn not_here() -> Bytes {
        encode(&Reply::NotHere).unwrap_or_default().into()
    }

    pub(super) async fn reply(&self, message: Message) -> Reply {
        let is_ours = message.cluster == Some(self.cluster);
        match message.body {
            Body::Append(to, rpc) if is_ours && to == self.me => {
                Reply::Append(self.raft.append_entries(rpc).await)
            }
            Body::Vote(to, rpc) if is_ours && to == self.me => {
                Reply::Vote(self.raft.vote(rpc).await)
            }
            Body::Snapshot(to, rpc) if is_ours && to == self.me => {
                let end = rpc.offset.saturating_add(rpc.data.len() as u64);
                if end > LARGEST_SNAPSHOT {
                    return Reply::NotHere;
                }
                Reply::Snapshot(self.raft.install_snapshot(rpc).await)
            }
            Body::Ask { by, command }
                if is_ours
                    || message.cluster.is_none() && matches!(command, Command::Join { .. }) =>
            {
                Reply::Said(self.hear(by, command).await)
            }
            _ => Reply::NotHere,
        }
    }

    /// Has the leader in this node propose, or says where the leader is.
    async fn hear(&self, by: Option<Incarnation>, command: Command) -> Said {
        if !may_be_asked(&command, by) {
            return Said::NotForYou;
        }
        {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow();
            if leads_in(&metrics).is_none() {
                return Said::Elsewhere(leader_elsewhere(&metrics));
            }
        }
        let (reply, said) = oneshot::channel();
        if self.asked.try_send(Asked { command, reply }).is_err() {
            return Said::Busy;
        }
        match time::timeout(self.asker.timing.attempt(), said).await {
            Ok(Ok(said)) => said,
            Ok(Err(_)) | Err(_) => Said::Unknown,
        }
    }

    /// Takes no more part: stops the replica and every task. The cluster is not told.
    pub async fn close(&self) {
        for task in &self.tasks {
            task.abort();
        }
        // A task of the raft that panicked has ended, too.
        let _ = self.raft.shutdown().await;
    }
}

impl Directions for RaftAuthority {
    async fn ask_here(&self, command: &Command) -> Option<Said> {
        match self.hear(Some(self.me), command.clone()).await {
            Said::Elsewhere(_) => None,
            said => Some(said),
        }
    }

    fn addresses(&self) -> Vec<String> {
        let mut addresses: Vec<String> = leader_elsewhere(&self.raft.metrics().borrow())
            .into_iter()
            .collect();
        let layout = self.machine.layout();
        let members = layout.iter().flat_map(|layout| &layout.members);
        let others = members.filter(|(who, _)| **who != self.me);
        let others = others.map(|(_, member)| &member.address);
        let hints = self.hints.lock();
        // Who was told where others are knows nobody who answers.
        for address in hints.iter().chain(others).chain(&self.seeds) {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        addresses
    }

    fn part(&self) -> Option<Part> {
        Some(self.part())
    }
}

/// Until when a node may act that was granted this for what it sent then.
fn counted(sent: Moment, length: Duration) -> Moment {
    Lease::joined(sent, length, sent).until().unwrap_or(sent)
}

/// Whoever is not in the cluster yet.
struct Outside<'a>(Option<Founding>, &'a [String]);

impl Directions for Outside<'_> {
    async fn ask_here(&self, _: &Command) -> Option<Said> {
        None
    }

    fn addresses(&self) -> Vec<String> {
        self.1.to_vec()
    }

    fn part(&self) -> Option<Part> {
        None
    }

    fn cluster(&self) -> Option<Founding> {
        self.0
    }
}

impl Drop for RaftAuthority {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl fmt::Debug for RaftAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RaftAuthority")
            .field("me", &self.me)
            .field("leads", &self.leads())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
