//! What a node does while it leads: it takes over, proposes what it is asked, ends leases that ran
//! out, and picks the voters. It runs in every node and does nothing where another one leads.
//!
//! It answers nothing before it is agreed, so a leader that was deposed and does not know it
//! lengthens nothing. One entry is under way at a time; what is asked meanwhile goes with the next.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use openraft::error::{ClientWriteError, RaftError};
use openraft::raft::ClientWriteResponse;
use openraft::{BasicNode, ChangeMembers, Raft, ServerState};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time;

use super::acknowledged::Acknowledged;
use super::machine::Machine;
use super::message::{MOST_COMMANDS, Said};
use super::naming::{self, Naming};
use super::timing::Timing;
use super::types::{
    Found, Leadership, Metrics, Outcome, Proposal, RaftTypes, What, incarnation, raft_id,
};
use super::voters::{Step, Votes};
use crate::authority::{Command, Electorate};
use crate::bucket::LayoutVersion;
use crate::clock::{Clock, Moment};
use crate::member::{Incarnation, Standing};

/// One command, and who waits for what comes of it.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) command: Command,
    pub(super) reply: oneshot::Sender<Said>,
}

/// What a leader needs.
#[derive(Clone)]
pub(super) struct Leader {
    pub(super) raft: Raft<RaftTypes>,
    pub(super) machine: Machine,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) timing: Timing,
    /// What the register is founded with, at a founder.
    pub(super) found: Option<Found>,
    /// Who has acknowledged something lately, for as long as this node leads.
    pub(super) acknowledged: Arc<Mutex<Acknowledged>>,
}

/// The term in which this node leads, if it does.
pub(super) fn leads_in(metrics: &Metrics) -> Option<u64> {
    (metrics.state == ServerState::Leader).then_some(metrics.current_term)
}

/// Where the leader is, by what this node knows; `None` when it is this node, too.
pub(super) fn leader_elsewhere(metrics: &Metrics) -> Option<String> {
    let leader = metrics.current_leader.filter(|id| *id != metrics.id)?;
    let membership = metrics.membership_config.membership();
    Some(membership.get_node(&leader)?.addr.clone())
}

/// What picking the voters comes to next.
enum Duty {
    /// Who votes, or is told, changes.
    Change(Step),
    /// This is agreed in this term.
    Agree(u64, Command),
}

/// What is remembered between two looks at the voters.
#[derive(Default)]
struct Picking {
    waits_since: Option<Moment>,
    named: Option<Named>,
}

/// The electorates that hold, since when this leader knows.
struct Named {
    term: u64,
    electorates: Vec<Electorate>,
    /// Who holds this entry knows of all of them.
    index: u64,
}

type Written =
    Result<ClientWriteResponse<RaftTypes>, RaftError<u64, ClientWriteError<u64, BasicNode>>>;

/// An entry that is proposed and not yet agreed.
struct UnderWay {
    since: Moment,
    entry: Pin<Box<dyn Future<Output = Written> + Send>>,
    /// One for each command; nobody waits for what the leader proposes by itself.
    replies: Vec<Option<oneshot::Sender<Said>>>,
}

impl Leader {
    /// Proposes, whenever this node leads, until the node stops.
    pub(super) async fn propose(self, mut asked: mpsc::Receiver<Asked>) {
        let mut metrics = self.raft.metrics();
        loop {
            let leads = leads_in(&metrics.borrow_and_update());
            if let Some(term) = leads {
                if self.take_over(term, &mut metrics).await
                    && self.lead(term, &mut metrics, &mut asked).await.is_none()
                {
                    return;
                }
                continue;
            }
            tokio::select! {
                // Whoever asks here has seen that this node leads, perhaps just before this task does.
                biased;
                changed = metrics.changed() => if changed.is_err() { return },
                one = asked.recv() => {
                    let Some(one) = one else { return };
                    let elsewhere = leader_elsewhere(&metrics.borrow());
                    let _ = one.reply.send(Said::Elsewhere(elsewhere));
                }
            }
        }
    }

    /// Makes the first entry of this leadership agreed. Says whether it is.
    async fn take_over(&self, term: u64, metrics: &mut watch::Receiver<Metrics>) -> bool {
        if let Some(found) = &self.found
            && !self.all_agree(term, found, metrics).await
        {
            return false;
        }
        let what = match &self.found {
            _ if self.machine.is_founded() => What::TakeOver,
            Some(found) => What::Found(found.clone()),
            // A voter has the register before it votes, so this cannot be; and nothing is harmed.
            None => What::TakeOver,
        };
        let mut entry = self.entry(term, self.clock.now(), what);
        loop {
            tokio::select! {
                written = &mut entry => {
                    let answered = written
                        .is_ok_and(|written| matches!(written.data, Outcome::Answers(_)));
                    if !answered {
                        // Deposed in between, as a rule; never spins where it is something else.
                        time::sleep(self.timing.look()).await;
                    }
                    return answered;
                }
                changed = metrics.changed() => {
                    if changed.is_err() || leads_in(&metrics.borrow_and_update()) != Some(term) {
                        return false;
                    }
                }
            }
        }
    }

    /// Waits until every one of the first members is known to hold the entry that says who votes: a
    /// majority of them could agree by itself, and whoever has not heard of it yet might found with
    /// others. Or until the register is there. Says whether this node still leads then.
    async fn all_agree(
        &self,
        term: u64,
        found: &Found,
        metrics: &mut watch::Receiver<Metrics>,
    ) -> bool {
        loop {
            {
                let metrics = metrics.borrow_and_update();
                if leads_in(&metrics) != Some(term) {
                    return false;
                }
                // Also when it is carried out only now what an earlier leader had agreed.
                if self.machine.is_founded() {
                    return true;
                }
                let holds = |id: u64| {
                    let replication = metrics.replication.as_ref();
                    id == metrics.id
                        || replication.is_some_and(|r| r.get(&id).is_some_and(Option::is_some))
                };
                if (0..found.first.len()).all(|place| holds(raft_id(found.incarnation(place)))) {
                    return true;
                }
            }
            if metrics.changed().await.is_err() {
                // The raft has ended, and this task is about to: never spins until then.
                time::sleep(self.timing.look()).await;
                return false;
            }
        }
    }

    /// Serves as the leader of `term`, until it is not; `None` when the node stops.
    async fn lead(
        &self,
        term: u64,
        metrics: &mut watch::Receiver<Metrics>,
        asked: &mut mpsc::Receiver<Asked>,
    ) -> Option<()> {
        let mut under_way: Option<UnderWay> = None;
        let mut batch = Vec::with_capacity(MOST_COMMANDS);
        let mut last = self.clock.now();
        let mut was_absent = false;
        let mut ahead = None;
        loop {
            if leads_in(&metrics.borrow_and_update()) != Some(term) {
                // Whoever waits for what is under way learns that its outcome is unknown.
                return Some(());
            }
            let now = self.clock.now();
            was_absent |= now.since(last) > self.timing.absence();
            last = now;
            if under_way.is_none() && was_absent {
                // As if it had been elected just now: waiting for longer is always safe.
                was_absent = false;
                under_way = Some(UnderWay {
                    since: now,
                    entry: self.entry(term, now, What::TakeOver),
                    replies: Vec::new(),
                });
            }
            if self.machine.next_expiry().is_none_or(|expiry| expiry > now) {
                ahead = None;
            } else if under_way.is_none() {
                // Whoever has renewed before is not dead: all that has come until now goes first.
                let waiting = ahead.unwrap_or_else(|| asked.len());
                while batch.len() < MOST_COMMANDS - 1
                    && let Ok(one) = asked.try_recv()
                {
                    batch.push(one);
                }
                let waiting = waiting.saturating_sub(batch.len());
                ahead = (waiting > 0).then_some(waiting);
                let metrics = metrics.borrow();
                let last = self.expire(now, &metrics).filter(|_| waiting == 0);
                under_way = self.next_entry(term, batch.drain(..), last, &metrics);
            }
            tokio::select! {
                changed = metrics.changed() => changed.ok()?,
                written = agreed(&mut under_way), if under_way.is_some() => {
                    if let Some(done) = under_way.take() {
                        was_absent |= self.clock.now().since(done.since) > self.timing.absence();
                        done.answer(written, &self.machine);
                    }
                }
                count = asked.recv_many(&mut batch, MOST_COMMANDS), if under_way.is_none() => {
                    if count == 0 {
                        return None;
                    }
                    under_way = self.next_entry(term, batch.drain(..), None, &metrics.borrow());
                }
                () = time::sleep(self.until_duty(now)) => {}
            }
        }
    }

    /// What ends the leases that have run out. Nothing, for the moment, where one of them is of who has
    /// the only vote, and it is about to be somebody else's.
    fn expire(&self, now: Moment, metrics: &Metrics) -> Option<Command> {
        let overdue = self.machine.overdue(now);
        match overdue
            .into_iter()
            .find(|who| self.is_needed(*who, metrics))
        {
            None => Some(Command::Expire),
            Some(needed) => self.make_way(needed),
        }
    }

    /// Has the vote of a member that is about to be none taken over; nothing where that is agreed.
    fn make_way(&self, needed: Incarnation) -> Option<Command> {
        let layout = self.machine.layout()?;
        let leaves = layout.members.get(&needed)?.standing == Standing::Leaving;
        (!leaves).then_some(Command::Leave(needed))
    }

    /// Whether it has the only vote, and somebody else could have it.
    fn is_needed(&self, who: Incarnation, metrics: &Metrics) -> bool {
        let layout = self.machine.layout();
        layout.is_some_and(|layout| self.votes(metrics).is_needed(&layout, who))
    }

    /// Who votes, and who could: only those of whom it has heard lately.
    fn votes(&self, metrics: &Metrics) -> Votes {
        let mut votes = votes(metrics);
        let now = self.clock.now();
        let acknowledged = self.acknowledged.lock();
        let lately = self.timing.absence();
        let is_heard = |who: &Incarnation| acknowledged.within(lately, *who, now);
        votes.caught_up.retain(is_heard);
        let lease = self.timing.lease();
        let is_steady = |who: &Incarnation| {
            votes.voters.contains(who) || acknowledged.for_at_least(lease, *who, now)
        };
        let heard = votes.voters.union(&votes.caught_up).copied();
        let me = incarnation(metrics.id);
        votes.sure = heard
            .filter(|who| *who == me || (is_heard(who) && is_steady(who)))
            .collect();
        votes
    }

    /// How long nothing can be due; never long, because the clock may run while the sleeper does
    /// not.
    fn until_duty(&self, now: Moment) -> Duration {
        let most = self.timing.attempt();
        let wait = match self.machine.next_expiry() {
            None => most,
            // It waits for a change of the voters.
            Some(expiry) if expiry <= now => self.timing.look(),
            Some(expiry) => expiry.since(now),
        };
        // A millisecond more, so that it does not wake just before.
        wait.min(most) + Duration::from_millis(1)
    }

    fn next_entry(
        &self,
        term: u64,
        batch: impl Iterator<Item = Asked>,
        last: Option<Command>,
        metrics: &Metrics,
    ) -> Option<UnderWay> {
        let mut commands = Vec::new();
        let mut replies = Vec::new();
        for Asked { command, reply } in batch {
            // Whoever has given up waiting has not been promised anything.
            if reply.is_closed() {
                continue;
            }
            if self.still_votes(&command, metrics) {
                let _ = reply.send(Said::StillVotes);
                continue;
            }
            if let Command::Left { incarnation, .. } | Command::DeclareDead { incarnation, .. } =
                command
                && self.is_needed(incarnation, metrics)
            {
                let _ = reply.send(Said::StillVotes);
                let way = self.make_way(incarnation);
                replies.extend(way.is_some().then_some(None));
                commands.extend(way);
                continue;
            }
            commands.push(command);
            replies.push(Some(reply));
        }
        commands.extend(last);
        let now = self.clock.now();
        (!commands.is_empty()).then(|| UnderWay {
            since: now,
            entry: self.entry(term, now, What::Commands(commands)),
            replies,
        })
    }

    /// Whether somebody wants to be gone in good order who votes, and others are there.
    fn still_votes(&self, command: &Command, metrics: &Metrics) -> bool {
        let Command::Left {
            incarnation,
            force: false,
        } = command
        else {
            return false;
        };
        let votes = metrics
            .membership_config
            .voter_ids()
            .any(|id| id == raft_id(*incarnation));
        let layout = self.machine.layout();
        votes && layout.is_some_and(|layout| layout.members.len() > 1)
    }

    /// Begins to propose; `now` was read after it was known that this node leads in `term`.
    fn entry(
        &self,
        term: u64,
        now: Moment,
        what: What,
    ) -> Pin<Box<dyn Future<Output = Written> + Send + 'static>> {
        let raft = self.raft.clone();
        let proposal = Proposal { term, now, what };
        Box::pin(async move { raft.client_write(proposal).await })
    }

    /// Picks the voters, whenever this node leads and has taken over, until the node stops.
    pub(super) async fn pick_voters(self) {
        let mut metrics = self.raft.metrics();
        let mut so_far = Picking::default();
        loop {
            let duty = self.next_duty(&metrics.borrow_and_update(), &mut so_far);
            if let Some(duty) = duty {
                // What is not agreed in time, or refused, is decided anew.
                let done = time::timeout(self.timing.change(), self.perform(duty)).await;
                if !matches!(done, Ok(true)) {
                    time::sleep(self.timing.look()).await;
                }
                continue;
            }
            // A layout changes without the metrics telling in time, so it also looks by itself.
            let look = time::timeout(self.timing.look(), metrics.changed());
            if let Ok(Err(_)) = look.await {
                return;
            }
        }
    }

    fn next_duty(&self, metrics: &Metrics, so_far: &mut Picking) -> Option<Duty> {
        let now = self.clock.now();
        self.acknowledged.lock().note(metrics, now);
        let term = leads_in(metrics)?;
        if self.machine.led_by() != Some(Leadership::new(term, metrics.id)) {
            return None;
        }
        let layout = self.machine.layout()?;
        let mut votes = self.votes(metrics);
        if votes.waits(&layout) {
            let since = *so_far.waits_since.get_or_insert(now);
            votes.waited = now.since(since) >= self.timing.lease();
        } else {
            so_far.waits_since = None;
        }
        let step = votes.next_step(&layout, incarnation(metrics.id));
        let wanted = match &step {
            Some(Step::Vote(voters)) => voters.clone(),
            _ => votes.voters.clone(),
        };
        let (named, index) = self.machine.electorates();
        let is_same = so_far
            .named
            .as_ref()
            .is_some_and(|seen| (seen.term, &seen.electorates) == (term, &named));
        if !is_same {
            so_far.named = Some(Named {
                term,
                electorates: named.clone(),
                index,
            });
        }
        let index = so_far.named.as_ref().map_or(index, |seen| seen.index);
        let replication = metrics.replication.as_ref();
        let knows = |who: Incarnation| {
            let matching = replication.and_then(|all| all.get(&raft_id(who)).copied().flatten());
            raft_id(who) == metrics.id || matching.is_some_and(|matching| matching.index >= index)
        };
        let all_know = naming::concerned(&named, &layout).all(knows);
        let wanted = naming::electorate(wanted, &votes, &layout);
        match naming::next(&named, wanted, &votes, all_know) {
            Naming::Name(electorate) => Some(Duty::Agree(term, Command::Name(electorate))),
            Naming::Settle => Some(Duty::Agree(term, Command::Settle)),
            Naming::Vote(voters) => Some(Duty::Change(Step::Vote(voters))),
            // Whom to tell waits for nothing.
            Naming::Nothing | Naming::Wait => {
                let step = step.filter(|step| !matches!(step, Step::Vote(_)));
                step.map(Duty::Change)
            }
        }
    }

    async fn perform(&self, duty: Duty) -> bool {
        match duty {
            Duty::Change(step) => self.change(step).await,
            Duty::Agree(term, command) => {
                let what = What::Commands(vec![command]);
                let written = self.entry(term, self.clock.now(), what).await;
                written.is_ok_and(|written| matches!(written.data, Outcome::Answers(_)))
            }
        }
    }

    async fn change(&self, step: Step) -> bool {
        let raft_ids = |who: BTreeSet<Incarnation>| -> BTreeSet<u64> {
            who.into_iter().map(raft_id).collect()
        };
        match step {
            Step::Tell(member) => {
                let layout = self.machine.layout();
                let Some(address) =
                    layout.and_then(|l| Some(l.members.get(&member)?.address.clone()))
                else {
                    return false;
                };
                let node = BasicNode { addr: address };
                self.raft
                    .add_learner(raft_id(member), node, false)
                    .await
                    .is_ok()
            }
            // Who votes no more goes on being told, also of that.
            Step::Vote(voters) => {
                let change = ChangeMembers::ReplaceAllVoters(raft_ids(voters));
                self.raft.change_membership(change, true).await.is_ok()
            }
            Step::Forget(strangers) => {
                let change = ChangeMembers::RemoveNodes(raft_ids(strangers));
                self.raft.change_membership(change, false).await.is_ok()
            }
        }
    }
}

/// How many entries somebody may lack who is to vote: what comes in within a round trip or two.
const LACKS_LITTLE: u64 = 64;

/// What a leader's metrics say about who votes.
pub(super) fn votes(metrics: &Metrics) -> Votes {
    let membership = metrics.membership_config.membership();
    let configs = membership.get_joint_config();
    let set = |ids: &BTreeSet<u64>| ids.iter().copied().map(incarnation).collect();
    let last = metrics.last_log_index.unwrap_or(0);
    let replication = metrics.replication.iter().flatten();
    Votes {
        voters: configs.last().map(set).unwrap_or_default(),
        is_changing: configs.len() > 1,
        told: membership.nodes().map(|(id, _)| incarnation(*id)).collect(),
        caught_up: replication
            .filter(|(_, matching)| matching.is_some_and(|m| m.index + LACKS_LITTLE >= last))
            .map(|(id, _)| incarnation(*id))
            .collect(),
        sure: BTreeSet::new(),
        waited: false,
    }
}

async fn agreed(under_way: &mut Option<UnderWay>) -> Written {
    match under_way {
        Some(under_way) => (&mut under_way.entry).await,
        None => std::future::pending().await,
    }
}

impl UnderWay {
    fn answer(self, written: Written, machine: &Machine) {
        match written.map(|written| written.data) {
            Ok(Outcome::Answers(answers)) => {
                let layout = machine.layout();
                let version = layout.map_or(LayoutVersion::ZERO, |layout| layout.version);
                for (reply, answer) in self.replies.into_iter().zip(answers) {
                    if let Some(reply) = reply {
                        let _ = reply.send(Said::Answered(answer, version));
                    }
                }
            }
            // The entry is agreed and void, or was never appended, or was cut off.
            Ok(Outcome::Void | Outcome::Nothing)
            | Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => {
                self.say(&Said::Elsewhere(None));
            }
            Err(_) => self.say(&Said::Unknown),
        }
    }

    fn say(self, said: &Said) {
        for reply in self.replies.into_iter().flatten() {
            let _ = reply.send(said.clone());
        }
    }
}
