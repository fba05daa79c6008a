//! How a node that is in no cluster comes into one: it founds alone, founds together with a majority
//! of its list, or joins; and what it says of itself meanwhile.
//!
//! It takes part in one thing at a time, and in one founding in one start. It never founds alone
//! where a list says that there are others, nor because nobody answers.

mod around;
mod deaths;
mod generation;
mod lost;
mod meeting;
mod succession;
mod together;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time;

use super::founding::{Decision, Founders};
use super::message::{Body, Invitation, Message, Part, Present, Reply, decode, encode};
use super::node::{RaftAuthority, RaftSettings};
use super::timing::Timing;
use super::types::StartId;
use crate::authority::{Charter, OnQuorumLoss};
use crate::bucket::Layout;
use crate::member::Founding;
use crate::transport::Discovery;
use around::Around;
use deaths::Deaths;
pub(crate) use generation::{Generations, Saying};
use succession::Founded;
pub(crate) use succession::Succession;

/// What a node brings along that is in no cluster.
#[derive(Clone, Debug)]
pub(crate) struct GatheringSettings {
    pub(crate) raft: RaftSettings,
    /// What it founds with.
    pub(crate) charter: Charter,
    /// What it founds is of this generation at least.
    pub(crate) generation: u32,
    pub(crate) discovery: Arc<dyn Discovery>,
    /// How many found together, where the addresses may be a part of them.
    pub(crate) found_with: Option<usize>,
    pub(crate) on_quorum_loss: OnQuorumLoss,
    /// Who says of which generation a new cluster is.
    pub(crate) generations: Option<Arc<dyn Generations>>,
}

/// One node on its way into a cluster, and in it.
#[derive(Debug)]
pub(crate) struct Gathering {
    settings: GatheringSettings,
    timing: Timing,
    here: Mutex<Here>,
    past: Mutex<Past>,
    deaths: Mutex<Deaths>,
    /// There is one more.
    heard_of_death: Notify,
    /// Somebody has invited it.
    invited: Notify,
    /// What it is has changed.
    changed: Notify,
}

/// What this node is.
#[derive(Debug)]
enum Here {
    /// In no cluster, and takes part in no founding: not begun, joining, or in between.
    Apart,
    /// Ready to found. Whoever it backs.
    Waiting {
        backs: Option<String>,
        start: StartId,
        /// Who it backs is about to found the next generation.
        is_due: bool,
    },
    /// Takes part in one founding, with its part of the raft as soon as that runs.
    Founding(Box<Invitation>, Option<Arc<RaftAuthority>>),
    /// A member.
    Member(Arc<RaftAuthority>),
    /// Gone for good.
    Closed,
}

/// What remains of former incarnations.
#[derive(Debug)]
struct Past {
    /// The generation of what it founds next.
    generation: u32,
    /// Where other members were.
    known: BTreeSet<String>,
    /// Of which cluster it was a member last, and that one's generation.
    last: Option<(Founding, u32)>,
    /// Its other members, as far as this node knew them, and where they were.
    others: Vec<(Part, String)>,
    may_found: MayFound,
    /// What it goes by as the heir of a generation that is over.
    succession: Option<Succession>,
    /// As such it has founded the cluster that it is a member of.
    founded: Option<Founded>,
}

/// Why a node is to be a member of its cluster no more.
#[derive(Debug)]
pub(crate) enum Over {
    /// It can agree on nothing any more; call [`Gathering::renounce`].
    Lost(MayFound),
    /// It has joined, and nobody tells it anything: they do not reach it where it says that it is. Call
    /// [`Gathering::renounce`].
    Untold(MayFound),
    /// The same, and this node is an heir, or goes on without being certain; call
    /// [`Gathering::inherit`].
    Inherited(Succession),
    /// It has joined a higher one; call [`Gathering::dissolve`].
    Met(Arc<RaftAuthority>),
}

/// With whom a node may found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MayFound {
    /// As its list says.
    AsListed,
    /// It was its cluster's only member and only voter: nobody else can go on with that.
    Alone,
    /// It was a member of a cluster that others go on with, unless all of them start anew.
    Never,
}

impl Gathering {
    pub(crate) fn new(settings: GatheringSettings) -> Self {
        let past = Past {
            generation: settings.generation,
            known: BTreeSet::new(),
            last: None,
            others: Vec::new(),
            may_found: MayFound::AsListed,
            succession: None,
            founded: None,
        };
        Self {
            timing: Timing::of(settings.charter.lease),
            settings,
            here: Mutex::new(Here::Apart),
            past: Mutex::new(past),
            deaths: Mutex::default(),
            heard_of_death: Notify::new(),
            invited: Notify::new(),
            changed: Notify::new(),
        }
    }

    /// Until this node is a member, however long that takes. One task at a time calls it; after it
    /// was cancelled, [`Gathering::close`] is all that is left to do.
    pub(crate) async fn take_part(&self) -> Arc<RaftAuthority> {
        let mut pause = self.timing.first_pause();
        loop {
            if let Some(part) = self.try_once().await {
                self.become_now(Here::Member(Arc::clone(&part)));
                self.past.lock().succession = None;
                self.rename_deaths(part.founding());
                return part;
            }
            let pause_now = self.until_over().map_or(pause, |until| until.min(pause));
            // An invitation is not waited with.
            let _ = time::timeout(pause_now, self.invited.notified()).await;
            pause = (pause * 2).min(self.timing.longest_pause());
        }
    }

    async fn try_once(&self) -> Option<Arc<RaftAuthority>> {
        if let Some(invitation) = self.invitation() {
            return self.see_through(invitation, Vec::new()).await;
        }
        self.wait_for_others();
        let (founders, around) = self.look_around().await;
        let as_heir = self.succeed(&around);
        let is_due = matches!(&as_heir, Some(Decision::Wait { backs: Some(_) }));
        let as_all = || founders.decide(&self.settings.raft.address, &around.presences());
        let goes_on = as_heir.is_some() || self.past.lock().may_found == MayFound::Alone;
        match as_heir.unwrap_or_else(as_all) {
            Decision::Join(address) => self.join(&around, &address).await,
            Decision::Found(backers) => {
                if !goes_on && !self.raise_generation(&around, &backers).await {
                    return None;
                }
                let founded = if backers.len() == 1 {
                    self.found_alone().await
                } else {
                    let (own, others) = self.found_with(&backers, &around)?;
                    self.see_through(own, others).await
                }?;
                if goes_on {
                    let layout = founded.layouts().borrow().clone();
                    self.has_reached(layout.map(|layout| layout.version.generation()));
                }
                Some(founded)
            }
            Decision::Wait { backs } => {
                self.back(backs, is_due);
                self.tell_heirs().await;
                None
            }
        }
    }

    /// Who is there, and who founds with whom.
    async fn look_around(&self) -> (Founders, Around) {
        let discovered = time::timeout(self.timing.attempt(), self.settings.discovery.addresses());
        let discovered = discovered.await.ok().and_then(Result::ok);
        let (known, last, over) = {
            let past = self.past.lock();
            let over = past
                .succession
                .as_ref()
                .map(|succession| succession.part.cluster);
            (past.known.clone(), past.last, over)
        };
        let asked = known
            .into_iter()
            .chain(discovered.iter().flatten().cloned());
        let mut around = self.ask_around(asked).await;
        let may_found = self.may_found(&around);
        // They become the higher once they know that somebody is here who was in another one.
        let unaware = around.forget_older(last);
        self.tell_of_me(unaware).await;
        if let Some(over) = over {
            around.forget(over);
        }
        let founders = match (may_found, discovered, self.settings.found_with) {
            (MayFound::Alone, ..) | (MayFound::AsListed, Some(_), Some(1)) => Founders::alone(),
            (MayFound::AsListed, Some(list), None) => Founders::of(list),
            (MayFound::AsListed, Some(list), Some(expected)) => {
                Founders::of(list).with_expected(expected)
            }
            // Not on this list: it joins, or waits.
            (MayFound::Never, ..) | (_, None, _) => Founders::nobody(),
        };
        (founders, around)
    }

    async fn join(&self, around: &Around, address: &str) -> Option<Arc<RaftAuthority>> {
        // Whoever joins is not invited meanwhile.
        self.leave_waiting(Here::Apart).then_some(())?;
        self.join_through(around, address).await
    }

    /// Joins the cluster that this node said it is a member of, and no other one.
    async fn join_through(&self, around: &Around, address: &str) -> Option<Arc<RaftAuthority>> {
        let settings = self.settings.raft.clone();
        let (cluster, seeds) = around.members(address)?;
        let within = self.settings.raft.lease;
        let joined = RaftAuthority::join_of(Some(cluster), settings, seeds, within).await;
        joined.ok().map(|(part, _)| part)
    }

    async fn found_alone(&self) -> Option<Arc<RaftAuthority>> {
        self.leave_waiting(Here::Apart).then_some(())?;
        let generation = self.past.lock().generation;
        let settings = self.settings.raft.clone();
        let founded = RaftAuthority::found(settings, self.settings.charter, generation).await;
        founded.ok().map(|(part, _)| part)
    }

    /// This node's part, which is no member's any more, ends: it gives its vote away first, where that
    /// is possible. Afterwards [`Gathering::take_part`] is called again.
    pub(crate) async fn retire(&self, part: &RaftAuthority) {
        let votes_alone = || {
            let votes = part.votes();
            !votes.is_changing && votes.voters.iter().eq([&part.incarnation()])
        };
        // The others live by the only replica that counts, until each of them can be asked or is dead.
        let within = if votes_alone() {
            part.lease().saturating_mul(2)
        } else {
            self.timing.change()
        };
        part.hand_over_vote(within).await;
        self.end(
            part,
            if votes_alone() && !part.has_others() {
                MayFound::Alone
            } else {
                MayFound::Never
            },
        )
        .await;
    }

    /// Until this node is to be a member of this cluster no more; as a rule that is never.
    pub(crate) async fn over(&self, part: &RaftAuthority) -> Over {
        tokio::select! {
            over = self.lost(part) => over,
            succession = self.inherits(part) => Over::Inherited(succession),
            succession = self.goes_on(part) => Over::Inherited(succession),
            joined = self.meets(part) => Over::Met(joined),
        }
    }

    async fn end(&self, part: &RaftAuthority, may_found: MayFound) {
        let layout = part.layouts().borrow().clone();
        if let Some(layout) = layout {
            let generation = layout.version.generation();
            let addresses = layout.members.values().map(|member| member.address.clone());
            self.remember(addresses);
            let mut past = self.past.lock();
            past.last = Some((part.part().cluster, generation));
            past.others = self.other_members(part, &layout);
            past.generation = past.generation.max(generation.saturating_add(1));
        }
        self.past.lock().may_found = may_found;
        part.close().await;
        self.become_now(Here::Apart);
    }

    /// Takes part in nothing any more, and answers nobody. What has to be closed.
    pub(crate) fn close(&self) -> Option<Arc<RaftAuthority>> {
        let was = std::mem::replace(&mut *self.here.lock(), Here::Closed);
        // Or who was asked to stand by would wait for good.
        self.changed.notify_waiters();
        match was {
            Here::Member(part) | Here::Founding(_, Some(part)) => Some(part),
            _ => None,
        }
    }

    /// Answers what another node sent.
    pub(crate) async fn answer(&self, message: Bytes) -> Bytes {
        let Some(message) = decode::<Message>(&message) else {
            return RaftAuthority::not_here();
        };
        let reply = match message.body {
            Body::WhoIsThere => self.present().map(Reply::There),
            Body::Invite(invitation) => Some(Reply::Invited(
                self.accept(invitation) && self.stands_by().await,
            )),
            Body::Deaths(deaths) => message.cluster.map(|cluster| {
                self.hear_of_deaths(cluster, &deaths);
                Reply::Noted
            }),
            Body::Known(addresses) => {
                self.hear_of_others(addresses);
                Some(Reply::Noted)
            }
            _ => match self.part_for(&message) {
                Some(part) => Some(part.reply(message).await),
                None => None,
            },
        };
        let reply = reply.unwrap_or(Reply::NotHere);
        encode(&reply).map_or_else(RaftAuthority::not_here, Bytes::from)
    }

    fn part_for(&self, message: &Message) -> Option<Arc<RaftAuthority>> {
        match &*self.here.lock() {
            Here::Member(part) => Some(Arc::clone(part)),
            // Nobody joins what is not founded.
            Here::Founding(invitation, Some(part)) => {
                (message.cluster == Some(invitation.found.founding)).then(|| Arc::clone(part))
            }
            _ => None,
        }
    }

    fn present(&self) -> Option<Present> {
        let (generation, heir, is_barred, last) = {
            let past = self.past.lock();
            let heir = past.succession.as_ref().map(|succession| succession.part);
            let is_barred = past.may_found == MayFound::Never;
            (past.generation, heir, is_barred, past.last)
        };
        Some(match &*self.here.lock() {
            Here::Apart => Present::Apart(None),
            Here::Waiting {
                backs,
                start,
                is_due,
            } => Present::Waiting {
                node: self.settings.raft.node.clone(),
                backs: backs.clone(),
                start: *start,
                generation,
                place: self.settings.raft.place,
                heir,
                is_due: *is_due,
                is_barred,
                last,
            },
            Here::Founding(invitation, _) => Present::Founding {
                part: invitation.part(invitation.place),
                by: invitation.found.first.first()?.address.clone(),
            },
            Here::Member(part) => {
                let layout = part.layouts().borrow().clone();
                match layout {
                    Some(layout) if layout.is_member(part.incarnation()) => Present::Member {
                        part: part.part(),
                        generation: layout.version.generation(),
                        is_leased: part.is_leased(),
                    },
                    _ => Present::Apart(Some(part.part())),
                }
            }
            Here::Closed => return None,
        })
    }

    /// Whether this node stands by in somebody's founding: in the first that asks, for as long as that
    /// may come about.
    fn accept(&self, invitation: Invitation) -> bool {
        let own = &self.settings.raft;
        let (buckets, invited_as) = (
            self.settings.charter.buckets,
            invitation.found.first.get(invitation.place),
        );
        let is_for_me =
            invited_as.is_some_and(|me| me.address == own.address && me.node == own.node);
        if !is_for_me || invitation.place == 0 || invitation.found.charter.buckets != buckets {
            return false;
        }
        let mut here = self.here.lock();
        match &*here {
            // Asked again.
            Here::Founding(accepted, _) => **accepted == invitation,
            Here::Waiting { start, .. } if *start == invitation.start => {
                *here = Here::Founding(Box::new(invitation), None);
                self.invited.notify_one();
                true
            }
            _ => false,
        }
    }

    /// Waits until its part in a founding runs, so that nobody asks it in vain; whether it does.
    async fn stands_by(&self) -> bool {
        loop {
            let changed = self.changed.notified();
            match &*self.here.lock() {
                Here::Founding(_, None) => {}
                Here::Founding(_, Some(_)) => return true,
                _ => return false,
            }
            changed.await;
        }
    }

    fn invitation(&self) -> Option<Invitation> {
        match &*self.here.lock() {
            Here::Founding(invitation, None) => Some(Invitation::clone(invitation)),
            _ => None,
        }
    }

    /// Whoever was apart may found from now on, as somebody new.
    fn wait_for_others(&self) {
        let mut here = self.here.lock();
        // Without random bits it stays apart, and tries again.
        if matches!(*here, Here::Apart)
            && let Ok(start) = StartId::draw()
        {
            *here = Here::Waiting {
                backs: None,
                start,
                is_due: false,
            };
        }
    }

    fn back(&self, whom: Option<String>, soon: bool) {
        if let Here::Waiting { backs, is_due, .. } = &mut *self.here.lock() {
            (*backs, *is_due) = (whom, soon);
        }
    }

    /// Does something else than waiting, if nobody was faster.
    fn leave_waiting(&self, next: Here) -> bool {
        let mut here = self.here.lock();
        let waits = matches!(*here, Here::Waiting { .. });
        if waits {
            *here = next;
        }
        waits
    }

    /// With whom it may found, by what those say who are there.
    fn may_found(&self, around: &Around) -> MayFound {
        let mut past = self.past.lock();
        let mut others = past.others.iter();
        let all_are_gone = others.all(|(part, at)| around.is_gone(at, *part));
        if past.may_found == MayFound::Never && !past.others.is_empty() && all_are_gone {
            // Nobody is left who could go on.
            past.may_found = MayFound::AsListed;
        }
        past.may_found
    }

    /// The members of this layout at other addresses.
    fn other_members(&self, part: &RaftAuthority, layout: &Layout) -> Vec<(Part, String)> {
        let members = layout.members.iter();
        let others = members.filter(|(_, member)| member.address != self.settings.raft.address);
        let named = others.map(|(incarnation, member)| {
            let part = Part {
                incarnation: *incarnation,
                ..part.part()
            };
            (part, member.address.clone())
        });
        named.collect()
    }

    fn become_now(&self, next: Here) {
        let mut here = self.here.lock();
        if !matches!(*here, Here::Closed) {
            *here = next;
            self.changed.notify_waiters();
        }
    }
}
