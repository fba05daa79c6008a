//! A request whose session is not here, or which needs one that this node cannot create.
//!
//! It looks here, asks the cluster, and brings request and session together: the session comes, or
//! the request goes. Every wait is bounded, so is the number of looks, and whatever nobody can say
//! ends in 503: never in a new session in the place of one that may exist.

use std::sync::Arc;

use tracing::Instrument;
use wadi_core::member::Incarnation;
use wadi_core::node::{Located, Want};
use wadi_core::relocate::{Choice, Stray};
use wadi_core::session::{Held, Look, Origin, PresentedId, SessionError, SessionId, Visit};

use crate::cluster::Cluster;
use crate::cluster::proxy::{Answer, Arrived, Load, Sent, Verdict, Wants};
use crate::mode::Wanted;
use crate::served::How;
use crate::shared::Shared;
use crate::way::Way;
use crate::why::Why;

/// How often one session is looked for before the request is refused.
const LOOKS: usize = 8;
/// How many steps one look takes at most: questions to managers, and requests sent.
const STEPS: usize = 6;
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
    let mut seeker = Seeker {
        shared: &shared,
        cluster,
        how: How::Local,
        hops: 0,
        unreachable: Vec::new(),
        quest,
        load,
    };
    let outcome = seeker.run().await;
    if let Outcome::Refuse(why) = outcome {
        tracing::debug!(why = why.as_str(), "a request cannot have its session now");
        cluster.counts().unavailable.one();
    }
    (outcome, seeker.load)
}

impl Seeker<'_> {
    async fn run(&mut self) -> Outcome {
        if self.quest.arrived.is_some() {
            self.cluster.counts().proxied_in.one();
        }
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
        for _ in 0..LOOKS {
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
                Next::Absent(origin) => return Err(origin),
            }
        }
        Ok(Outcome::Refuse(Why::Moving))
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
            Some(arrived) => Way::of_guest(arrived, &visit, restick, self.quest.stray),
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
        self.cluster.node().locate(id, want).instrument(span).await
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
        let mut hops = 1;
        let mut asked_to_move = false;
        let mut step = match self.first_step(manager, view.me).await {
            Ok(step) => step,
            Err(answer) => return Next::Done(Outcome::Answer(answer)),
        };
        for _ in 0..STEPS {
            step = match step {
                Step::Ask(want) => {
                    asked_to_move |= want == Want::Move;
                    match self.locate(id, want).await {
                        Located::Here => return Next::Look,
                        Located::Came(from) => {
                            self.how = How::Migrated;
                            self.hops = if from == manager || view.me == manager {
                                1
                            } else {
                                2
                            };
                            self.cluster.counts().migrated.one();
                            return Next::Look;
                        }
                        Located::Absent { lost } => return Next::Absent(self.became(id, lost)),
                        Located::Unavailable => {
                            return Next::Done(Outcome::Refuse(Why::NobodySays));
                        }
                        Located::At(holder) if holder == view.me => return Next::Look,
                        Located::At(holder) if self.can_send_to(holder) => {
                            hops = if holder == manager || view.me == manager {
                                1
                            } else {
                                2
                            };
                            Step::Send(holder)
                        }
                        Located::At(_) if asked_to_move => {
                            return Next::Done(Outcome::Refuse(Why::NoWay));
                        }
                        Located::At(_) => Step::Ask(Want::Move),
                    }
                }
                Step::Send(to) => match self.send(to, Wants::Session, hops).await {
                    Sent::Answered { answer, follow } => {
                        if follow && !self.cluster.is_draining() {
                            self.cluster.fetch(id);
                        }
                        return Next::Done(Outcome::Answer(answer));
                    }
                    Sent::Refused(Verdict::At(holder)) if holder == view.me => return Next::Look,
                    Sent::Refused(Verdict::At(holder)) if self.can_send_to(holder) => {
                        hops += 1;
                        Step::Send(holder)
                    }
                    Sent::Refused(Verdict::At(_)) if self.has_request() && !asked_to_move => {
                        Step::Ask(Want::Move)
                    }
                    Sent::Refused(Verdict::Absent(origin)) if self.has_request() => {
                        return Next::Absent(origin);
                    }
                    Sent::Unsent => {
                        self.unreachable.push(to);
                        if asked_to_move {
                            return Next::Done(Outcome::Refuse(Why::NoWay));
                        }
                        Step::Ask(Want::Move)
                    }
                    // It may have been executed there: only the client may send it again.
                    Sent::Failed => return Next::Done(Outcome::Refuse(Why::NoAnswer)),
                    // That node is leaving, perhaps: its sessions are with others now, who can be asked.
                    Sent::Refused(Verdict::Unable | Verdict::Unavailable) if self.has_request() => {
                        self.unreachable.push(to);
                        Step::Ask(Want::Locate)
                    }
                    Sent::Refused(_) => return Next::Done(Outcome::Refuse(Why::NoWay)),
                },
            };
        }
        Next::Done(Outcome::Refuse(Why::Moving))
    }

    /// Where the way to the session begins. A request that can be sent again goes straight to where
    /// its session probably is.
    async fn first_step(&mut self, manager: Incarnation, me: Incarnation) -> Result<Step, Answer> {
        if self.cluster.choose(&self.quest.stray) == Choice::Migrate {
            return Ok(Step::Ask(Want::Move));
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

    /// There is no session. The request goes on without, where one can be created.
    async fn without(&mut self, origin: Origin) -> Outcome {
        match origin {
            Origin::New => {}
            Origin::Lost => {
                self.cluster.counts().absent.one();
                self.cluster.counts().lost.one();
            }
            _ => self.cluster.counts().absent.one(),
        }
        let sessions = &self.shared.sessions;
        let node = self.cluster.node();
        let may_create = node.may_create();
        match &self.quest.arrived {
            // It is not for this node to serve: whoever sent it can do so with fewer hops.
            Some(arrived) if arrived.wants == Wants::Session => {
                return self.misdirected(arrived, Verdict::Absent(origin));
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
                if (repeated || !may_create)
                    && let Some(outcome) = self.created_elsewhere(may_create).await
                {
                    return outcome;
                }
            }
        }
        if may_create {
            return self.serve(Visit::without(Arc::clone(sessions), origin));
        }
        match node.register().await {
            Ok(guard) => {
                self.hops = self.hops.max(1);
                let visit = Visit::registered(Arc::clone(sessions), guard, origin);
                self.serve(visit)
            }
            Err(_) => Outcome::Refuse(Why::NoCreator),
        }
    }

    /// The request goes to a node that can create its session; `None` when it did not, and this node
    /// had better do so.
    async fn created_elsewhere(&mut self, may_create: bool) -> Option<Outcome> {
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
                    Sent::Refused(_) if may_create && self.has_request() => return None,
                    Sent::Refused(_) => return Some(Outcome::Refuse(Why::NoCreator)),
                }
            }
        }
        None
    }
}
