//! Who gets which bucket: pure functions from one layout to the next placements.
//!
//! The same input gives the same result on every machine: balanced within one bucket, with the
//! fewest changes of manager. Nothing here decides *when* to re-assign, or who is a member.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::layout::{BucketCount, Layout, LayoutVersion, Placement};
use crate::member::{Incarnation, Member, Standing};

/// What a re-assignment has to keep to. Weights and failure domains will stand here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AssignmentTerms {
    /// How many deputies each bucket has, if there are that many other eligible members.
    pub deputies: u8,
    /// At most so many buckets change manager, and as many deputies, for balance's sake alone in
    /// one step; `None`: no limit. A bucket whose manager is gone or leaving is never kept waiting.
    pub most_moves: Option<u16>,
}

impl Default for AssignmentTerms {
    /// One deputy, no limit.
    fn default() -> Self {
        Self {
            deputies: 1,
            most_moves: None,
        }
    }
}

impl AssignmentTerms {
    /// The same with `deputies` deputies per bucket.
    #[must_use]
    pub const fn with_deputies(mut self, deputies: u8) -> Self {
        self.deputies = deputies;
        self
    }

    /// The same with at most `most_moves` moves for balance in one step.
    #[must_use]
    pub const fn with_most_moves(mut self, most_moves: Option<u16>) -> Self {
        self.most_moves = most_moves;
        self
    }

    fn allowance(&self) -> usize {
        self.most_moves.map_or(usize::MAX, usize::from)
    }
}

impl Layout {
    /// The first layout of a generation: `founder` is the one member and manages every bucket.
    #[must_use]
    pub fn found(
        buckets: BucketCount,
        generation: u32,
        founder: Incarnation,
        member: Member,
    ) -> Self {
        let version = LayoutVersion::founding(generation).next();
        let placement = Placement {
            manager: founder,
            deputies: Vec::new(),
            since: version,
            previous: None,
        };
        Self {
            version,
            unproven: if generation > 0 {
                version
            } else {
                LayoutVersion::ZERO
            },
            members: BTreeMap::from([(founder, member)]),
            placements: vec![placement; usize::from(buckets.get())],
        }
    }

    /// Whether `incarnation` may be given buckets: a member that is [`Standing::Ready`].
    #[must_use]
    pub fn is_eligible(&self, incarnation: Incarnation) -> bool {
        self.members
            .get(&incarnation)
            .is_some_and(|member| member.standing == Standing::Ready)
    }

    /// The members that may be given buckets, in join order.
    pub fn eligible(&self) -> impl Iterator<Item = Incarnation> + Clone {
        self.members
            .iter()
            .filter(|(_, member)| member.standing == Standing::Ready)
            .map(|(incarnation, _)| *incarnation)
    }

    /// How many buckets `incarnation` manages.
    #[must_use]
    pub fn managed_by(&self, incarnation: Incarnation) -> usize {
        let managed = |placement: &&Placement| placement.manager == incarnation;
        self.placements.iter().filter(managed).count()
    }

    /// Whether some bucket's manager may not manage any more while somebody else may: such a
    /// bucket must not wait for a paced step.
    #[must_use]
    pub fn has_orphans(&self) -> bool {
        self.eligible().next().is_some()
            && (self.placements.iter()).any(|placement| !self.is_eligible(placement.manager))
    }

    /// The next layout with the same members and every bucket placed among the eligible ones;
    /// `None` when there is nothing to change, also when nobody is eligible: then managers stay.
    ///
    /// A bucket whose manager is gone or leaving goes to its first eligible deputy that has room,
    /// for a deputy holds its markers and replicas; a manager that is eligible and has no more than
    /// its share keeps its buckets. `previous` names the manager that a bucket came from, whether
    /// that one is leaving (and hands over) or gone (and the bucket is rebuilt).
    #[must_use]
    pub fn reassigned(&self, terms: &AssignmentTerms) -> Option<Self> {
        let eligible: Vec<Incarnation> = self.eligible().collect();
        if eligible.is_empty() {
            return None;
        }
        let managers = Managers::of(self, &eligible).assign(self, terms);
        let deputies = Deputies::of(self, &eligible, &managers, terms).assign(terms);
        let version = self.version.next();
        let old_and_new = self.placements.iter().zip(managers).zip(deputies);
        let placements: Vec<Placement> = old_and_new
            .map(|((old, manager), deputies)| {
                let stays = manager == old.manager;
                Placement {
                    manager,
                    deputies,
                    since: if stays { old.since } else { version },
                    previous: if stays {
                        old.previous
                    } else {
                        Some(old.manager)
                    },
                }
            })
            .collect();
        if placements == self.placements {
            return None;
        }
        let next = Self {
            unproven: self.unproven,
            version,
            members: self.members.clone(),
            placements,
        };
        debug_assert_eq!(next.check(), Ok(()));
        debug_assert_eq!(next.check_after(self), Ok(()));
        Some(next)
    }
}

/// The work on managers: who has how many, and how many each should have.
struct Managers {
    /// Eligible member → the buckets it manages at the moment.
    load: BTreeMap<Incarnation, usize>,
    /// Eligible member → the buckets it ends with; they differ by at most one.
    share: BTreeMap<Incarnation, usize>,
}

impl Managers {
    fn of(layout: &Layout, eligible: &[Incarnation]) -> Self {
        let mut load: BTreeMap<_, usize> = eligible.iter().map(|member| (*member, 0)).collect();
        let mut claims = load.clone();
        for placement in &layout.placements {
            if let Some(kept) = load.get_mut(&placement.manager) {
                *kept += 1;
            } else if let Some(first) = placement.deputies.iter().find(|d| claims.contains_key(*d))
            {
                claims.entry(*first).and_modify(|claims| *claims += 1);
            }
        }
        // The larger share goes to those that already have it, which saves a move each; then to
        // the deputies with the most to take over.
        let floor = layout.placements.len() / eligible.len();
        let mut larger = layout.placements.len() % eligible.len();
        let mut by_claim = eligible.to_vec();
        by_claim.sort_by_key(|member| {
            let saves_a_move = load[member] > floor;
            (!saves_a_move, usize::MAX - claims[member], *member)
        });
        let share = by_claim
            .into_iter()
            .map(|member| {
                let extra = usize::from(larger > 0);
                larger -= extra;
                (member, floor + extra)
            })
            .collect();
        Self { load, share }
    }

    fn room(&self, member: Incarnation) -> usize {
        match (self.share.get(&member), self.load.get(&member)) {
            (Some(share), Some(load)) => share.saturating_sub(*load),
            _ => 0,
        }
    }

    fn excess(&self, member: Incarnation) -> usize {
        match (self.share.get(&member), self.load.get(&member)) {
            (Some(share), Some(load)) => load.saturating_sub(*share),
            _ => 0,
        }
    }

    /// The member with the most room, the oldest of several; there is one as long as a bucket is
    /// without manager or somebody has too many, because the shares add up to the buckets.
    fn roomiest(&self) -> Option<Incarnation> {
        let most_then_oldest =
            |member: &Incarnation| (self.room(*member), std::cmp::Reverse(*member));
        let found = self.share.keys().copied().max_by_key(most_then_oldest)?;
        (self.room(found) > 0).then_some(found)
    }

    fn take(&mut self, from: Incarnation) {
        self.load.entry(from).and_modify(|load| *load -= 1);
    }

    fn give(&mut self, to: Incarnation) -> Incarnation {
        *self.load.entry(to).or_default() += 1;
        to
    }

    fn assign(mut self, layout: &Layout, terms: &AssignmentTerms) -> Vec<Incarnation> {
        let mut managers: Vec<Incarnation> = layout.placements.iter().map(|p| p.manager).collect();
        self.place_orphans(layout, &mut managers);
        self.level(layout, &mut managers, terms.allowance());
        managers
    }

    fn place_orphans(&mut self, layout: &Layout, managers: &mut [Incarnation]) {
        let mut without_deputy = Vec::new();
        for (at, placement) in layout.placements.iter().enumerate() {
            if self.share.contains_key(&placement.manager) {
                continue;
            }
            match placement
                .deputies
                .iter()
                .find(|deputy| self.room(**deputy) > 0)
            {
                Some(deputy) => managers[at] = self.give(*deputy),
                None => without_deputy.push(at),
            }
        }
        for at in without_deputy {
            if let Some(to) = self.roomiest() {
                managers[at] = self.give(to);
            }
        }
    }

    /// Moves buckets from those above their share to those below, at most `allowance` of them;
    /// first such as a deputy can take over, then those whose going best spreads each manager's
    /// buckets over many deputies.
    fn level(&mut self, layout: &Layout, managers: &mut [Incarnation], allowance: usize) {
        let mut allowance = allowance;
        for (at, placement) in layout.placements.iter().enumerate() {
            if allowance > 0 && self.may_go(placement, managers[at]) {
                let with_room = |deputy: &&Incarnation| self.room(**deputy) > 0;
                if let Some(to) = placement.deputies.iter().find(with_room).copied() {
                    self.take(managers[at]);
                    managers[at] = self.give(to);
                    allowance -= 1;
                }
            }
        }
        let mut pairs: BTreeMap<(Incarnation, Incarnation), usize> = BTreeMap::new();
        for (placement, manager) in layout.placements.iter().zip(managers.iter()) {
            for deputy in &placement.deputies {
                *pairs.entry((*manager, *deputy)).or_default() += 1;
            }
        }
        while allowance > 0 {
            let Some(to) = self.roomiest() else { break };
            let common = |manager: Incarnation, placement: &Placement| -> usize {
                let deputies = placement.deputies.iter();
                deputies
                    .filter_map(|deputy| pairs.get(&(manager, *deputy)))
                    .sum()
            };
            let candidates = layout.placements.iter().enumerate();
            let best = candidates
                .filter(|(at, placement)| self.may_go(placement, managers[*at]))
                .max_by_key(|(at, placement)| {
                    // Offset so that the difference stays unsigned; of equals, the first.
                    let offset = layout.placements.len() * placement.deputies.len();
                    let spreads = offset + common(managers[*at], placement) - common(to, placement);
                    (spreads, std::cmp::Reverse(*at))
                });
            let Some((at, placement)) = best else { break };
            let from = managers[at];
            for deputy in &placement.deputies {
                pairs
                    .entry((from, *deputy))
                    .and_modify(|common| *common -= 1);
                *pairs.entry((to, *deputy)).or_default() += 1;
            }
            self.take(from);
            managers[at] = self.give(to);
            allowance -= 1;
        }
    }

    /// Whether a bucket may move for balance: its manager is above its share, and is the one it
    /// had before (an orphan placed just now stays where it was placed).
    fn may_go(&self, placement: &Placement, manager: Incarnation) -> bool {
        manager == placement.manager && self.excess(manager) > 0
    }
}

/// The work on deputies, once the managers are settled.
struct Deputies<'a> {
    managers: &'a [Incarnation],
    /// Per bucket, in order of succession.
    deputies: Vec<Vec<Incarnation>>,
    /// Eligible member → the buckets it is a deputy of.
    load: BTreeMap<Incarnation, usize>,
    /// (manager, deputy) → their common buckets: a dead manager's buckets should go to many.
    pairs: BTreeMap<(Incarnation, Incarnation), usize>,
}

impl<'a> Deputies<'a> {
    fn of(
        layout: &Layout,
        eligible: &[Incarnation],
        managers: &'a [Incarnation],
        terms: &AssignmentTerms,
    ) -> Self {
        let mut work = Self {
            managers,
            deputies: vec![Vec::new(); managers.len()],
            load: eligible.iter().map(|member| (*member, 0)).collect(),
            pairs: BTreeMap::new(),
        };
        let wanted = usize::from(terms.deputies).min(eligible.len() - 1);
        for (at, placement) in layout.placements.iter().enumerate() {
            for deputy in &placement.deputies {
                if work.deputies[at].len() < wanted && work.may_join(at, *deputy) {
                    work.add(at, *deputy);
                }
            }
        }
        // Rounded up, so that a former manager is not taken only to be moved away again.
        let share = (managers.len() * wanted).div_ceil(eligible.len());
        for (at, placement) in layout.placements.iter().enumerate() {
            while work.deputies[at].len() < wanted {
                let former = placement.manager;
                let next = if work.may_join(at, former) && work.load[&former] < share {
                    Some(former)
                } else {
                    work.least_loaded(at)
                };
                match next {
                    Some(next) => work.add(at, next),
                    None => break,
                }
            }
        }
        work
    }

    fn may_join(&self, at: usize, member: Incarnation) -> bool {
        self.load.contains_key(&member)
            && self.managers[at] != member
            && !self.deputies[at].contains(&member)
    }

    fn pair(&self, at: usize, member: Incarnation) -> usize {
        self.pairs
            .get(&(self.managers[at], member))
            .copied()
            .unwrap_or(0)
    }

    fn add(&mut self, at: usize, member: Incarnation) {
        self.deputies[at].push(member);
        self.count(at, member);
    }

    fn count(&mut self, at: usize, member: Incarnation) {
        *self.load.entry(member).or_default() += 1;
        *self.pairs.entry((self.managers[at], member)).or_default() += 1;
    }

    fn replace(&mut self, at: usize, from: Incarnation, to: Incarnation) {
        for deputy in &mut self.deputies[at] {
            if *deputy == from {
                *deputy = to;
            }
        }
        self.load.entry(from).and_modify(|load| *load -= 1);
        self.pairs
            .entry((self.managers[at], from))
            .and_modify(|load| *load -= 1);
        self.count(at, to);
    }

    fn least_loaded(&self, at: usize) -> Option<Incarnation> {
        let members = self
            .load
            .iter()
            .filter(|(member, _)| self.may_join(at, **member));
        members
            .min_by_key(|(member, load)| (**load, self.pair(at, **member), **member))
            .map(|(member, _)| *member)
    }

    /// Levels the loads to within one, by replacing single deputies.
    fn assign(mut self, terms: &AssignmentTerms) -> Vec<Vec<Incarnation>> {
        let mut allowance = terms.allowance();
        while allowance > 0 {
            let Some(chain) = self.relief() else { break };
            // A chain is done whole, or the loads would not get level.
            allowance = allowance.saturating_sub(chain.len());
            for (at, from, to) in chain {
                self.replace(at, from, to);
            }
        }
        self.deputies
    }

    /// Replacements that take one bucket from the most loaded to the least loaded; usually one,
    /// more where the two have no bucket in common that the one could leave to the other.
    fn relief(&self) -> Option<Vec<(usize, Incarnation, Incarnation)>> {
        let least = *self.load.values().min()?;
        let most = *self.load.values().max()?;
        if most <= least + 1 {
            return None;
        }
        let with = |load: usize| {
            self.load
                .iter()
                .filter(move |(_, l)| **l == load)
                .map(|(m, _)| *m)
        };
        with(most).find_map(|from| self.chain(from, |to| self.load[&to] <= most - 2))
    }

    /// The shortest chain of replacements from `from` to a member that `takes` one more.
    fn chain(
        &self,
        from: Incarnation,
        takes: impl Fn(Incarnation) -> bool,
    ) -> Option<Vec<(usize, Incarnation, Incarnation)>> {
        let mut takers: Vec<Incarnation> = self.load.keys().copied().collect();
        takers.sort_by_key(|taker| self.load[taker]);
        let mut step_to: BTreeMap<Incarnation, (usize, Incarnation)> = BTreeMap::new();
        let mut seen = BTreeSet::from([from]);
        let mut queue = VecDeque::from([from]);
        while let Some(giver) = queue.pop_front() {
            for &taker in &takers {
                if seen.contains(&taker) {
                    continue;
                }
                let Some(at) = self.best_bucket(giver, taker) else {
                    continue;
                };
                seen.insert(taker);
                step_to.insert(taker, (at, giver));
                if takes(taker) {
                    let mut chain = Vec::new();
                    let mut to = taker;
                    while let Some((at, giver)) = step_to.get(&to) {
                        chain.push((*at, *giver, to));
                        to = *giver;
                    }
                    return Some(chain);
                }
                queue.push_back(taker);
            }
        }
        None
    }

    /// The bucket that `giver` best leaves to `taker`: where that spreads its manager's buckets.
    fn best_bucket(&self, giver: Incarnation, taker: Incarnation) -> Option<usize> {
        (0..self.deputies.len())
            .filter(|at| self.deputies[*at].contains(&giver) && self.may_join(*at, taker))
            .min_by_key(|at| {
                // Offset so that the difference stays unsigned.
                (self.deputies.len() + self.pair(*at, taker)) - self.pair(*at, giver)
            })
    }
}

#[cfg(test)]
#[path = "assignment_tests.rs"]
mod tests;
