//! A request whose session is not here, or without one where others had better create it.
//!
//! It looks here, asks the cluster, and brings request and session together: the session comes, or
//! the request goes. A session that is just moving is looked for again, for as long as a request
//! waits for its session at all. Whatever nobody can say then ends in 503: never in a new session in
//! the place of one that may exist.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tracing::Instrument;
use wadi_core::clock::Moment;
use wadi_core::member::Incarnation;
use wadi_core::node::{Located, Want};
use wadi_core::relocate::{Choice, Stray};
use wadi_core::session::{Ending, Held, Look, Origin, PresentedId, SessionError, SessionId, Visit};

use crate::cluster::Cluster;
use crate::cluster::proxy::{Answer, Arrived, Load, Sent, Verdict, Wants};
use crate::mode::Wanted;
use crate::served::How;
use crate::shared::Shared;
use crate::way::Way;
use crate::why::Why;

/// How often one session is looked for here without a pause.
const LOOKS: usize = 8;
/// How many other nodes a request is sent to without a pause.
const SENDS: u8 = 4;
/// The first pause before it is looked for again, and the longest; each is twice the one before.
const PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(320);
/// How long the answer to a question may take at least, however late it is asked.
const LEAST_ANSWER: Duration = Duration::from_secs(1);
/// How many other nodes are asked to create a session.
const CREATORS: usize = 2;

/// A request, as far as its session is concerned.
pub(crate) struct Quest {
    /// The ids that it shows and that are ours, none of them here.
    pub(crate) presented: Vec<PresentedId>,
    /// What became of other ids that it shows.
    pub(crate) origin: Origin,
    pub(crate) wanted: Wanted,
    /// Set when another node sent it here; then it goes no further.
    pub(crate) arrived: Option<Arrived>,
    /// The node that served the client last, as the client says.
    pub(crate) hint: Option<Incarnation>,
    pub(crate) restick: bool,
    pub(crate) stray: Stray,
}

/// What the quest came to.
pub(crate) enum Outcome {
    /// The handler runs here.
    Serve(Arc<Visit>, Box<Way>),
    /// Another node has answered.
    Answer(Answer),
    /// The node that sent the request here was told where it should go.
    Misdirected,
    /// Nobody can say, or it cannot be had: 503.
    Refuse(Why),
    /// It is on another node, and stays there: 503, with that node as the client's route.
    Apart(Option<HeaderValue>),
}

/// Where to go on.
enum Next {
    /// It may be here now.
    Look,
    Done(Outcome),
    Absent(Origin),
}

/// What to do next about a session that is not here.
enum Step {
    Ask(Want),
    Send(Incarnation),
}

struct Seeker<'a> {
    shared: &'a Arc<Shared>,
    cluster: &'a Cluster,
    quest: Quest,
    load: Option<Load>,
    /// How the request comes to its session.
    how: How,
    hops: u8,
    /// The nodes that could not be reached.
    unreachable: Vec<Incarnation>,
    /// When no further step is begun.
    until: Moment,
    pause: Duration,
}

/// Brings request and session together; the request comes back with the outcome.
pub(crate) async fn seek(
    shared: Arc<Shared>,
    quest: Quest,
    load: Option<Load>,
) -> (Outcome, Option<Load>) {
    let Some(cluster) = &shared.cluster else {
        return (Outcome::Refuse(Why::NoMember), load);
    };
    let sessions = &shared.sessions;
    let mut seeker = Seeker {
        until: sessions.now() + sessions.limits().lock_wait,
        pause: PAUSE,
        shared: &shared,
        cluster,
        how: How::Local,
        hops: 0,
        unreachable: Vec::new(),
        quest,
        load,
    };
    let outcome = match seeker.run().await {
        Outcome::Refuse(Why::NobodySays) if cluster.store_is_away() => Outcome::Refuse(Why::Store),
        outcome => outcome,
    };
    if let Outcome::Refuse(why) = outcome {
        tracing::debug!(why = why.as_str(), "a request cannot have its session now");
        cluster.counts().unavailable.one();
    }
    if let Outcome::Apart(_) = outcome {
        cluster.counts().unavailable.one();
    }
    (outcome, seeker.load)
}

impl Seeker<'_> {
    async fn run(&mut self) -> Outcome {
        let mut origin = self.quest.origin;
        for presented in std::mem::take(&mut self.quest.presented) {
            match self.find(&presented).await {
                Ok(outcome) => return outcome,
                // Of several dead ids the first that was ours says what became of it.
                Err(gone) if origin == Origin::New => origin = gone,
                Err(_) => {}
            }
        }
        self.without(origin).await
    }

    /// Looks for one session until the request has it; else, what became of the session.
    async fn find(&mut self, presented: &PresentedId) -> Result<Outcome, Origin> {
        let sessions = &self.shared.sessions;
        let id = *presented.unverified();
        for look in 0.. {
            if look >= LOOKS && !self.pauses().await {
                break;
            }
            if !sessions.may_act() {
                return Ok(self.lapsed());
            }
            match sessions.look(presented, sessions.now()) {
                Look::Here(guard) => {
                    let visit = Visit::holding(Arc::clone(sessions), guard, id);
                    match self.prepared(visit).await {
                        Ok(outcome) => return Ok(outcome),
                        // It left, or ended, while it was waited for.
                        Err(SessionError::Moved | SessionError::Ended) => continue,
                        Err(_) => return Ok(Outcome::Refuse(Why::InUse)),
                    }
                }
                Look::Busy(held) => match self.wait(presented, held).await {
                    Ok(visit) if visit.origin() == Origin::Existing => {
                        match self.prepared(visit).await {
                            Ok(outcome) => return Ok(outcome),
                            Err(SessionError::Moved | SessionError::Ended) => continue,
                            Err(_) => return Ok(Outcome::Refuse(Why::InUse)),
                        }
                    }
                    Ok(visit) if visit.origin() == Origin::Lost => {}
                    Ok(visit) => return Err(visit.origin()),
                    Err(SessionError::Moved) => {}
                    Err(_) => return Ok(Outcome::Refuse(Why::InUse)),
                },
                // It was here, and it is known how it ended.
                Look::NotHere(Origin::Lost) => {}
                Look::NotHere(origin) => return Err(origin),
            }
            let next = match &self.quest.arrived {
                Some(arrived) => self.tell(arrived, id).await,
                None => self.relocate(id).await,
            };
            match next {
                Next::Look => {}
                Next::Done(outcome) => return Ok(outcome),
                Next::Absent(origin) => {
                    // It costs no other node a word again. What is lost may yet be offered.
                    match origin {
                        Origin::Destroyed => sessions.has_ended(id, Ending::Destroyed),
                        Origin::Expired => sessions.has_ended(id, Ending::Expired),
                        _ => {}
                    }
                    return Err(origin);
                }
            }
        }
        Ok(Outcome::Refuse(Why::Moving))
    }

    /// Waits a little longer than the last time; `false` when the request has waited for long enough.
    async fn pauses(&mut self) -> bool {
        let left = self.until.since(self.shared.sessions.now());
        if left.is_zero() {
            return false;
        }
        tokio::time::sleep(self.pause.min(left)).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        true
    }

    /// Nobody has executed the request: after a pause it is asked again where its session is, and who
    /// was not to be reached is tried again.
    async fn again(&mut self, why: Why) -> Result<Step, Next> {
        if !self.pauses().await {
            return Err(Next::Done(Outcome::Refuse(why)));
        }
        self.unreachable.clear();
        Ok(Step::Ask(Want::Locate))
    }

    fn lapsed(&self) -> Outcome {
        if let Some(arrived) = &self.quest.arrived {
            arrived.answer(Verdict::Unable);
        }
        Outcome::Refuse(Why::Lapsed)
    }

    async fn wait(&self, presented: &PresentedId, held: Arc<Held>) -> Result<Visit, SessionError> {
        let sessions = Arc::clone(&self.shared.sessions);
        if self.quest.wanted.exclusive {
            sessions.wait_alone(presented, held).await
        } else {
            sessions.wait(presented, held).await
        }
    }

    /// The visit in the route's mode.
    async fn prepared(&self, visit: Visit) -> Result<Outcome, SessionError> {
        if self.quest.wanted.exclusive && !visit.try_alone() {
            visit.alone().await?;
        }
        Ok(self.serve(visit))
    }

    fn serve(&self, visit: Visit) -> Outcome {
        if self.quest.wanted.read_only {
            visit.make_read_only();
        }
        let restick = self.quest.restick;
        let way = match &self.quest.arrived {
            Some(arrived) => Way::of_guest(arrived, &visit, restick, self.quest.stray.clone()),
            None => Way::new(self.how, self.hops, restick),
        };
        Outcome::Serve(Arc::new(visit), Box::new(way))
    }

    /// For a request that another node has sent here: says where it should have gone.
    async fn tell(&self, arrived: &Arrived, id: SessionId) -> Next {
        let verdict = match self.locate(id, Want::Locate).await {
            Located::Here | Located::Came(_) => return Next::Look,
            Located::Absent { lost } => return Next::Absent(self.became(id, lost)),
            Located::At(holder) => Verdict::At(holder),
            Located::Unavailable => Verdict::Unavailable,
        };
        Next::Done(self.misdirected(arrived, verdict))
    }

    fn misdirected(&self, arrived: &Arrived, verdict: Verdict) -> Outcome {
        self.cluster.counts().misdirected.one();
        arrived.answer(verdict);
        Outcome::Misdirected
    }

    async fn locate(&self, id: SessionId, want: Want) -> Located {
        let span = match want {
            Want::Locate => tracing::info_span!("wadi.locate"),
            Want::Move => tracing::info_span!("wadi.migrate"),
        };
        let left = self.until.since(self.shared.sessions.now());
        let located = self.cluster.node().locate(id, want).instrument(span);
        let located = tokio::time::timeout(left.max(LEAST_ANSWER), located).await;
        located.unwrap_or(Located::Unavailable)
    }

    /// What became of a session that is nowhere, as far as that is known.
    fn became(&self, id: SessionId, lost: bool) -> Origin {
        if lost {
            return Origin::Lost;
        }
        let sessions = &self.shared.sessions;
        let age = u64::from(sessions.unix_seconds().saturating_sub(id.issued()));
        // It was destroyed, or nobody came for as long as it lives idle; a young one was destroyed.
        if age < sessions.limits().idle.as_secs() {
            Origin::Destroyed
        } else {
            Origin::Expired
        }
    }

    /// Brings request and session together, as the policy says and as it can be had.
    async fn relocate(&mut self, id: SessionId) -> Next {
        let Some(view) = self.cluster.view() else {
            return Next::Done(Outcome::Refuse(Why::NoMember));
        };
        let manager = view.manager(&id);
        let hops_to = |holder: Incarnation| {
            if holder == manager || view.me == manager {
                1
            } else {
                2
            }
        };
        let mut hops = 1;
        let mut asked_to_move = false;
        self.quest.stray.asked = view.name(view.me);
        self.quest.stray.manager = view.name(manager);
        let choice = self.choose();
        let mut step = match self.first_step(choice, manager, view.me).await {
            Ok(step) => step,
            Err(answer) => return Next::Done(Outcome::Answer(answer)),
        };
        loop {
            let next = match step {
                Step::Ask(want) => {
                    asked_to_move |= want == Want::Move;
                    let located = self.locate(id, want).await;
                    if let Located::At(holder) = located
                        && holder != view.me
                        && let Some(outcome) = self.parted(choice, id, holder).await
                    {
                        return Next::Done(outcome);
                    }
                    match located {
                        Located::Here => return Next::Look,
                        Located::Came(Incarnation::STORE) => {
                            self.how = How::Promoted;
                            self.hops = u8::from(view.me != manager);
                            self.cluster.counts().promoted.one();
                            return Next::Look;
                        }
                        Located::Came(from) => {
                            self.how = How::Migrated;
                            self.hops = hops_to(from);
                            self.cluster.counts().migrated.one();
                            return Next::Look;
                        }
                        Located::Absent { lost } => return Next::Absent(self.became(id, lost)),
                        // It was waited for there, or it is known that nobody can say for long.
                        Located::Unavailable if self.pause > LONGEST_PAUSE / 4 => {
                            return Next::Done(Outcome::Refuse(Why::NobodySays));
                        }
                        Located::Unavailable => Err(Why::NobodySays),
                        Located::At(holder) if holder == view.me => return Next::Look,
                        Located::At(holder) if self.can_send_to(holder) => {
                            hops = hops_to(holder);
                            Ok(Step::Send(holder))
                        }
                        Located::At(_) if asked_to_move => Err(Why::NoWay),
                        Located::At(_) => Ok(Step::Ask(Want::Move)),
                    }
                }
                Step::Send(to) => match self.send(to, Wants::Session, hops).await {
                    Sent::Answered { answer, follow } => {
                        if follow && !self.cluster.is_draining() {
                            self.cluster.fetch(id);
                        }
                        return Next::Done(Outcome::Answer(answer));
                    }
                    // It may have been executed there: only the client may send it again.
                    Sent::Failed => return Next::Done(Outcome::Refuse(Why::NoAnswer)),
                    Sent::Unsent => {
                        self.unreachable.push(to);
                        Ok(if asked_to_move {
                            Step::Ask(Want::Locate)
                        } else {
                            Step::Ask(Want::Move)
                        })
                    }
                    // Not even this node has it any more.
                    Sent::Refused(_) if !self.has_request() => {
                        return Next::Done(Outcome::Refuse(Why::NoWay));
                    }
                    Sent::Refused(Verdict::At(holder)) if holder == view.me => return Next::Look,
                    Sent::Refused(Verdict::At(_)) if hops >= SENDS => Err(Why::Moving),
                    Sent::Refused(Verdict::At(holder)) if self.can_send_to(holder) => {
                        hops += 1;
                        Ok(Step::Send(holder))
                    }
                    Sent::Refused(Verdict::At(_)) if !asked_to_move => Ok(Step::Ask(Want::Move)),
                    Sent::Refused(Verdict::Absent(origin)) => return Next::Absent(origin),
                    // That node is leaving, perhaps: its sessions are with others now, who can be asked.
                    Sent::Refused(Verdict::Unable | Verdict::Unavailable) => {
                        self.unreachable.push(to);
                        Ok(Step::Ask(Want::Locate))
                    }
                    Sent::Refused(_) => Err(Why::NoWay),
                },
            };
            step = match next {
                Ok(step) => step,
                Err(why) => match self.again(why).await {
                    Ok(step) => {
                        asked_to_move = false;
                        step
                    }
                    Err(next) => return next,
                },
            };
        }
    }

    fn choose(&self) -> Choice {
        match self.cluster.choose(&self.quest.stray) {
            Choice::Redirect if !self.may_redirect() => Choice::Proxy,
            choice => choice,
        }
    }

    fn may_redirect(&self) -> bool {
        let load = self.load.as_ref();
        load.is_some_and(|load| self.cluster.may_redirect(load))
    }

    /// The request and its session do not come together here, as the policy says: the client is sent to
    /// `holder`, or at least told of it.
    async fn parted(&self, choice: Choice, id: SessionId, holder: Incarnation) -> Option<Outcome> {
        match choice {
            Choice::Redirect => {
                let served = &self.shared.node.served;
                let answer = self
                    .cluster
                    .redirect(self.load.as_ref()?, id, holder, served);
                Some(Outcome::Answer(answer.await?))
            }
            Choice::Refuse => {
                let name = self.cluster.view()?.ready(holder);
                let route = name.and_then(|name| self.cluster.route().set_to(name.as_str()));
                Some(Outcome::Apart(route))
            }
            _ => None,
        }
    }

    /// Where the way to the session begins. A request that can be sent again goes straight to where
    /// its session probably is.
    async fn first_step(
        &mut self,
        choice: Choice,
        manager: Incarnation,
        me: Incarnation,
    ) -> Result<Step, Answer> {
        match choice {
            Choice::Migrate => return Ok(Step::Ask(Want::Move)),
            // Only the manager's word says where to send a client.
            Choice::Redirect | Choice::Refuse => return Ok(Step::Ask(Want::Locate)),
            _ => {}
        }
        let Some(load) = &mut self.load else {
            return Ok(Step::Ask(Want::Move));
        };
        let Ok(repeated) = load.can_be_repeated().await else {
            return Err(Answer::unreadable());
        };
        let hint = self.quest.hint.take();
        let known = hint.filter(|hint| self.can_send_to(*hint));
        let likely = known.or_else(|| (manager != me).then_some(manager));
        Ok(
            match likely.filter(|likely| repeated && self.can_send_to(*likely)) {
                Some(likely) => Step::Send(likely),
                None => Step::Ask(Want::Locate),
            },
        )
    }

    fn can_send_to(&self, to: Incarnation) -> bool {
        let not = &self.unreachable;
        self.has_request() && !not.contains(&to) && !self.cluster.is_left_alone(to)
    }

    /// Whether the request is still here.
    fn has_request(&self) -> bool {
        self.load.as_ref().is_some_and(|load| !load.is_spent())
    }

    async fn send(&mut self, to: Incarnation, wants: Wants, hops: u8) -> Sent {
        let Some(load) = &mut self.load else {
            return Sent::Unsent;
        };
        let span = tracing::info_span!("wadi.proxy", ?to, hops);
        self.cluster
            .send(load, to, wants, hops)
            .instrument(span)
            .await
    }

    /// There is no session. The request goes on without, where one had better be created.
    async fn without(&mut self, origin: Origin) -> Outcome {
        match origin {
            Origin::New => {}
            Origin::Lost => {
                self.cluster.counts().absent.one();
                self.cluster.counts().lost.one();
            }
            _ => self.cluster.counts().absent.one(),
        }
        match &self.quest.arrived {
            // It is not for this node to serve: whoever sent it can do so with fewer hops.
            Some(arrived) if arrived.wants == Wants::Session => {
                return self.misdirected(arrived, Verdict::of_missing(origin));
            }
            // Who sent it asks another, and creates the session itself where nobody will.
            Some(arrived) if self.cluster.is_draining() => {
                return self.misdirected(arrived, Verdict::Unable);
            }
            Some(_) => {}
            None if self.shared.creates(self.cluster) => {}
            None => {
                let repeated = match &mut self.load {
                    Some(load) => load.can_be_repeated().await,
                    None => Ok(false),
                };
                let Ok(repeated) = repeated else {
                    return Outcome::Answer(Answer::unreadable());
                };
                // What can be sent only once might be sent to who will not have it.
                if (repeated || !self.cluster.node().may_create())
                    && let Some(outcome) = self.created_elsewhere().await
                {
                    return outcome;
                }
            }
        }
        // Should it create a session where no bucket is open for it, that is registered at its commit.
        self.serve(Visit::without(Arc::clone(&self.shared.sessions), origin))
    }

    /// The request goes to a node that can create its session; `None` when it did not, and this node
    /// has to.
    async fn created_elsewhere(&mut self) -> Option<Outcome> {
        for _ in 0..CREATORS {
            let mut to = self.cluster.creator(&self.unreachable);
            let mut hops = 1;
            while let Some(next) = to.take().filter(|to| self.can_send_to(*to)) {
                match self.send(next, Wants::Any, hops).await {
                    Sent::Answered { answer, .. } => return Some(Outcome::Answer(answer)),
                    Sent::Refused(Verdict::At(holder)) if hops < 3 => {
                        hops += 1;
                        to = Some(holder);
                    }
                    Sent::Unsent => self.unreachable.push(next),
                    Sent::Refused(Verdict::Unable) if self.has_request() => {
                        self.unreachable.push(next);
                    }
                    Sent::Failed => return Some(Outcome::Refuse(Why::NoAnswer)),
                    Sent::Refused(_) if self.has_request() => return None,
                    Sent::Refused(_) => return Some(Outcome::Refuse(Why::NoCreator)),
                }
            }
        }
        None
    }
}
