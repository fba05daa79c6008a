//! From one generation to the next: a node that knows enough of the voters to be dead is out of the old
//! one for good, waits until no lease is left that it granted, and founds together with the other heirs.
//!
//! Nobody renounces before that is certain, and each does by what it knows itself. It takes part in one
//! founding at a time, as whoever founds for the first time; so it never backs two.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::time;

use super::around::Around;
use super::{Gathering, MayFound};
use crate::authority::raft::founding::{Decision, Founders, Presence};
use crate::authority::raft::message::{Former, Invitation, KnownDeath, Part, Present};
use crate::authority::raft::node::RaftAuthority;
use crate::authority::{Heirs, OnQuorumLoss};
use crate::bucket::Layout;
use crate::clock::Moment;
use crate::member::{Founding, Incarnation};

/// What a node goes by that is out of a generation which is over, until it is a member again.
#[derive(Clone, Debug)]
pub(crate) struct Succession {
    /// Who it was.
    pub(super) part: Part,
    /// Who was there, and where.
    pub(super) layout: Arc<Layout>,
    /// Who would have been asked for a next generation.
    asked: BTreeSet<Incarnation>,
    right: Right,
    /// From then on no lease of that generation is left.
    over_at: Moment,
}

/// By what right it founds.
#[derive(Clone, Debug)]
enum Right {
    /// Most voters are proven dead, and it is one of those who found then.
    Heirs(Heirs),
    /// It goes on without proof, with whom it reaches.
    Available,
}

impl Succession {
    /// Whether these found, if they do together.
    fn suffices(&self, together: &BTreeSet<Incarnation>, dead: &BTreeSet<Incarnation>) -> bool {
        match &self.right {
            Right::Heirs(heirs) => heirs.are_among(together, dead),
            Right::Available => true,
        }
    }

    /// How far above the generation that is over the next one is. Those who found without proof may be
    /// several, each of which has its own.
    fn step(&self) -> u32 {
        match self.right {
            Right::Heirs(_) => 1,
            Right::Available => {
                let older = self.layout.members.range(..self.part.incarnation);
                u32::try_from(older.count()).map_or(u32::MAX, |older| older.saturating_add(2))
            }
        }
    }
}

/// Who those were before that have founded together: whoever has a proof of the end of one has it of the
/// other, which is the same process.
#[derive(Clone, Debug)]
pub(super) struct Founded {
    former: Former,
    /// By place.
    now: Vec<Incarnation>,
    /// Whose the place of this node is.
    place: usize,
}

impl Founded {
    pub(super) fn by(invitation: &Invitation) -> Option<Self> {
        let former = invitation.former.clone()?;
        let places = 0..invitation.found.first.len();
        Some(Self {
            former,
            now: places
                .map(|place| invitation.found.incarnation(place))
                .collect(),
            place: invitation.place,
        })
    }

    pub(super) const fn former_cluster(&self) -> Founding {
        self.former.cluster
    }

    /// Who this node was before.
    pub(super) fn me_before(&self) -> Option<Incarnation> {
        self.former.first.get(self.place).copied()
    }

    /// This death, as it is named now; where both were heirs.
    pub(super) fn renamed(&self, death: KnownDeath) -> Option<KnownDeath> {
        let place = self
            .former
            .first
            .iter()
            .position(|who| *who == death.dead)?;
        let is_mine = self.former.first.get(self.place) == Some(&death.by);
        is_mine.then_some(KnownDeath {
            dead: *self.now.get(place)?,
            by: *self.now.get(self.place)?,
            proof: death.proof,
        })
    }
}

impl Gathering {
    /// Until this node is to go on without the generation that it is a member of; as a rule that is
    /// never. Then call [`Gathering::inherit`].
    pub(super) async fn inherits(&self, part: &RaftAuthority) -> Succession {
        let mut layouts = part.layouts();
        let clock = &self.settings.raft.clock;
        let mut agreed = part.agreed();
        let mut since: Option<Moment> = None;
        loop {
            // Who was told nothing knows of nobody.
            drop(layouts.wait_for(Option::is_some).await);
            let Some(layout) = layouts.borrow_and_update().clone() else {
                // Its replica has ended, and this with it; never spins until then.
                time::sleep(self.timing.attempt()).await;
                continue;
            };
            let heirs = self.heirs(part);
            let before = std::mem::replace(&mut agreed, part.agreed());
            if heirs.is_none() || before != agreed {
                // Whom an operator takes for dead by mistake goes on agreeing.
                since = None;
            }
            if let Some(heirs) = heirs {
                let now = clock.now();
                // Most voters have been dead since before that.
                let since = *since.get_or_insert(now);
                if now.since(since) >= self.timing.change() {
                    return Succession {
                        part: part.part(),
                        layout,
                        asked: part.asked(),
                        right: Right::Heirs(heirs),
                        over_at: since + part.lease(),
                    };
                }
            }
            let heard = self.heard_of_death.notified();
            if time::timeout(self.timing.attempt(), heard).await.is_err() {
                self.tell_of_deaths(part.part(), &layout, &part.asked())
                    .await;
            }
        }
    }

    fn heirs(&self, part: &RaftAuthority) -> Option<Heirs> {
        let dead = self.counting_deaths(part);
        let heirs = (!dead.is_empty())
            .then(|| Heirs::of(&part.electorates(), part.incarnation(), &dead))??;
        heirs.include(part.incarnation()).then_some(heirs)
    }

    /// Until this node, which need not be certain, has reached nobody who agrees for longer than a lease,
    /// and nobody that it reaches has; never where it has to be certain.
    pub(super) async fn goes_on(&self, part: &RaftAuthority) -> Succession {
        if self.settings.on_quorum_loss == OnQuorumLoss::Strict {
            return std::future::pending().await;
        }
        loop {
            time::sleep(self.timing.attempt()).await;
            let until = part.leased_until();
            let layout = part.layouts().borrow().clone();
            let now = self.settings.raft.clock.now();
            // A node counts nine tenths of what was granted.
            let is_late = now >= until + part.lease() / 10;
            let Some(layout) = layout.filter(|_| is_late) else {
                continue;
            };
            let addresses = layout.members.values().map(|member| member.address.clone());
            let around = self.ask_around(addresses).await;
            // It goes on, and this node with it, as soon as they hear each other.
            let agrees = |present: &Present| {
                matches!(
                    present,
                    Present::Member {
                        is_leased: true,
                        ..
                    }
                )
            };
            if !part.is_leased() && !around.0.values().any(agrees) {
                return Succession {
                    part: part.part(),
                    layout,
                    asked: part.asked(),
                    right: Right::Available,
                    over_at: now,
                };
            }
        }
    }

    /// Is out of a generation that is over. Afterwards [`Gathering::take_part`] is called again; only
    /// what comes of that is to be acted by.
    pub(crate) async fn inherit(&self, part: &RaftAuthority, mut succession: Succession) {
        part.close().await;
        if let Right::Heirs(heirs) = &succession.right
            && heirs.only_without_me()
        {
            succession.over_at = self.settings.raft.clock.now() + part.lease();
        }
        {
            let mut past = self.past.lock();
            let generation = succession
                .part_generation()
                .saturating_add(succession.step());
            past.generation = past.generation.max(generation);
            past.succession = Some(succession);
        }
        self.end(part, MayFound::AsListed).await;
    }

    /// What an heir does next, by what those say who are there. `None`: what everybody does.
    pub(super) fn succeed(&self, around: &Around) -> Option<Decision> {
        let succession = self.past.lock().succession.clone()?;
        let (me, cluster) = (succession.part.incarnation, succession.part.cluster);
        let own = &self.settings.raft.address;
        let presences = around.presences();
        if presences
            .values()
            .any(|presence| matches!(presence, Presence::Member { .. }))
        {
            return Some(Founders::nobody().decide(own, &presences));
        }
        let dead = self.deaths.lock().all(cluster);
        let heirs = around.heirs_of(cluster);
        let heirs = heirs.filter(|(who, ..)| !dead.contains(who) && *who != me);
        let heirs: BTreeMap<_, _> = heirs.map(|(who, at, backs)| (who, (at, backs))).collect();
        let together = |heirs: &mut dyn Iterator<Item = Incarnation>| -> BTreeSet<Incarnation> {
            heirs.chain([me]).collect()
        };
        let is_over = self.settings.raft.clock.now() >= succession.over_at;
        let all = together(&mut heirs.keys().copied());
        if !succession.suffices(&all, &dead) {
            // Most who vote are gone for good; from then on also as listed.
            return (!is_over).then_some(Decision::Wait { backs: None });
        }
        let lowest = all
            .first()
            .and_then(|first| heirs.get(first))
            .filter(|_| all.first() < Some(&me));
        if let Some((at, _)) = lowest {
            return Some(Decision::Wait {
                backs: Some((*at).clone()),
            });
        }
        let backs_me = |(_, (_, backs)): &(&Incarnation, &(&String, Option<&str>))| {
            *backs == Some(own.as_str())
        };
        let backing: Vec<_> = heirs.iter().filter(backs_me).collect();
        let backed = together(&mut backing.iter().map(|(who, _)| **who));
        let is_backed = match succession.right {
            Right::Heirs(_) => succession.suffices(&backed, &dead),
            // Whom it reaches it founds with.
            Right::Available => backed == all,
        };
        if is_backed && is_over {
            let others = backing.iter().map(|(_, (at, _))| (*at).clone());
            return Some(Decision::Found(others.chain([own.clone()]).collect()));
        }
        Some(Decision::Wait {
            backs: Some(own.clone()),
        })
    }

    /// Tells those who do not know it yet that the generation is over; where this node is an heir.
    pub(super) async fn tell_heirs(&self) {
        let succession = self.past.lock().succession.clone();
        if let Some(Succession {
            part,
            layout,
            asked,
            ..
        }) = succession
        {
            self.tell_of_deaths(part, &layout, &asked).await;
        }
    }

    /// How long an heir has to wait at least, if it is one.
    pub(super) fn until_over(&self) -> Option<time::Duration> {
        let over_at = self.past.lock().succession.as_ref()?.over_at;
        let wait = over_at.since(self.settings.raft.clock.now());
        (!wait.is_zero()).then_some(wait)
    }

    /// Who the first members were in the generation before, where all of these are heirs of one.
    pub(super) fn former(&self, first: &[String], around: &Around) -> Option<Former> {
        let (cluster, me) = {
            let past = self.past.lock();
            let part = past.succession.as_ref()?.part;
            (part.cluster, part.incarnation)
        };
        let by_address: BTreeMap<_, _> = around
            .heirs_of(cluster)
            .map(|(who, at, _)| (at.as_str(), who))
            .collect();
        let own = self.settings.raft.address.as_str();
        let who = |at: &String| {
            if at == own {
                Some(me)
            } else {
                by_address.get(at.as_str()).copied()
            }
        };
        let first = first.iter().map(who).collect::<Option<_>>()?;
        Some(Former { cluster, first })
    }

    /// Whether it is proven that who is at this place of a founding has ended.
    pub(super) fn is_proven(&self, former: Option<&Former>, place: usize) -> bool {
        former.is_some_and(|former| {
            let who = former.first.get(place);
            who.is_some_and(|who| self.deaths.lock().all(former.cluster).contains(who))
        })
    }
}

impl Succession {
    /// Whether it is proven that the generation is over.
    pub(crate) const fn is_certain(&self) -> bool {
        matches!(self.right, Right::Heirs(_))
    }

    fn part_generation(&self) -> u32 {
        self.layout.version.generation()
    }
}
