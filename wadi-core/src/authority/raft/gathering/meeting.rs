//! Where two clusters of one name meet, the lower dissolves: its nodes join the higher, one by one, as
//! somebody new. They meet because each node asks now and then who is where it knows of somebody who is
//! no member of its own; and tells who is in the lower one, or has long been replaced, where its own are.
//!
//! No node leaves its cluster for one that it cannot join: that one may be unable to agree on anything.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time;

use super::around::Around;
use super::{Gathering, Here, MayFound};
use crate::authority::raft::asking::LONGEST_NAME;
use crate::authority::raft::message::{Body, Present};
use crate::authority::raft::node::RaftAuthority;
use crate::authority::{Answer, Command};
use crate::bucket::Layout;
use crate::member::Founding;

/// At most so many are asked at once.
const MOST_ASKED: usize = 32;

/// Of so many addresses it remembers that somebody was there.
const MOST_REMEMBERED: usize = 256;

impl Gathering {
    /// Until this node has joined a higher cluster than its own; as a rule that is never. Then call
    /// [`Gathering::dissolve`].
    pub(super) async fn meets(&self, part: &RaftAuthority) -> Arc<RaftAuthority> {
        let mut agreed = part.agreed();
        let mut since_agreed = 0_u32;
        let mut round = 0_u32;
        loop {
            time::sleep(self.timing.chunk()).await;
            round = round.wrapping_add(1);
            let before = std::mem::replace(&mut agreed, part.agreed());
            since_agreed = if before == agreed {
                since_agreed.saturating_add(1)
            } else {
                0
            };
            // Every member renews four times in a lease: there is nobody to agree with.
            let is_lost = since_agreed >= ROUNDS_LOST;
            if !is_lost && !round.is_multiple_of(ROUNDS_APART) {
                continue;
            }
            let Some(layout) = part.layouts().borrow().clone() else {
                continue;
            };
            let members: BTreeSet<_> = layout.members.values().map(|m| m.address.clone()).collect();
            let discovered = self.settings.discovery.addresses();
            let discovered = time::timeout(self.timing.attempt(), discovered).await;
            let discovered = discovered.ok().and_then(Result::ok);
            let discovered = discovered.into_iter().flatten();
            let seen = self.remember(members.iter().cloned().chain(discovered));
            let strangers = seen.iter().filter(|at| is_lost || !members.contains(*at));
            // All of them, some time.
            let (skip, count) = (round as usize * MOST_ASKED, strangers.clone().count());
            let some = strangers.clone().cycle().skip(skip % count.max(1));
            let around = self
                .ask_around(some.take(count.min(MOST_ASKED)).cloned())
                .await;
            let ours = (layout.version.generation(), part.founding());
            if let Some(joined) = self.join_higher(&around, ours).await {
                return joined;
            }
            self.tell_of_members(&around, &layout, part.founding())
                .await;
            if let Some(above) = around.to_be_above(ours).filter(|_| part.is_leased()) {
                // They join as soon as this one is the higher.
                let raise = Command::Raise { above };
                let raised = part.propose(raise, self.timing.change()).await;
                if let Ok(Answer::Raised(generation)) = raised {
                    self.has_reached(Some(generation));
                }
            }
        }
    }

    /// Remembers that somebody may be at these addresses; and where else somebody was.
    pub(super) fn remember(&self, addresses: impl Iterator<Item = String>) -> BTreeSet<String> {
        let mut past = self.past.lock();
        let own = &self.settings.raft.address;
        let others = addresses.filter(|address| address != own);
        past.known.extend(others.take(MOST_REMEMBERED));
        while past.known.len() > MOST_REMEMBERED {
            past.known.pop_first();
        }
        past.known.clone()
    }

    /// Others say that somebody is at these addresses.
    pub(super) fn hear_of_others(&self, mut addresses: Vec<String>) {
        addresses.retain(|address| address.len() <= LONGEST_NAME);
        addresses.truncate(MOST_ASKED);
        self.remember(addresses.iter().cloned());
        if let Here::Member(part) = &*self.here.lock() {
            part.hint(addresses);
        }
    }

    /// Tells who is in no cluster or in a lower one, or is none of this one's members any more and does
    /// not know it, where this one's are.
    async fn tell_of_members(&self, around: &Around, layout: &Layout, cluster: Founding) {
        let ours = (layout.version.generation(), cluster);
        let is_behind = |present: &Present| match present {
            Present::Member {
                part, generation, ..
            } if part.cluster == cluster => {
                !layout.is_member(part.incarnation) && *generation == ours.0
            }
            Present::Member {
                part, generation, ..
            } => (*generation, part.cluster) < ours,
            Present::Waiting { .. } => true,
            Present::Founding { .. } | Present::Apart(_) => false,
        };
        let own = &self.settings.raft.address;
        let members = layout.members.values().map(|member| member.address.clone());
        let members = members
            .filter(|address| address != own)
            .take(MOST_ASKED - 1);
        let members: Vec<_> = members.chain([own.clone()]).collect();
        let behind = around.0.iter().filter(|(_, present)| is_behind(present));
        let telling = behind.map(|(at, _)| self.ask(at.clone(), Body::Known(members.clone())));
        let mut telling: JoinSet<_> = telling.collect();
        while telling.join_next().await.is_some() {}
    }

    /// Tells those at these addresses where this node is, which is in no cluster.
    pub(super) async fn tell_of_me(&self, unaware: Vec<String>) {
        let me = vec![self.settings.raft.address.clone()];
        let unaware = unaware.into_iter().take(MOST_ASKED);
        let telling = unaware.map(|at| self.ask(at, Body::Known(me.clone())));
        let mut telling: JoinSet<_> = telling.collect();
        while telling.join_next().await.is_some() {}
    }

    async fn join_higher(
        &self,
        around: &Around,
        ours: (u32, Founding),
    ) -> Option<Arc<RaftAuthority>> {
        let higher = around
            .0
            .iter()
            .filter_map(|(address, present)| match present {
                Present::Member {
                    part, generation, ..
                } if part.cluster != ours.1 && *generation > ours.0 => Some((generation, address)),
                _ => None,
            });
        let (_, address) = higher.max()?;
        let within = self.timing.change();
        let joining = self.join_through(around, address);
        time::timeout(within, joining).await.ok().flatten()
    }

    /// Is out of its cluster, and a member of the one that it has joined.
    pub(crate) async fn dissolve(&self, part: &RaftAuthority, into: &Arc<RaftAuthority>) {
        self.end(part, MayFound::Never).await;
        self.become_now(Here::Member(Arc::clone(into)));
    }
}

/// In so many rounds, of a quarter of a lease each, nothing was agreed.
const ROUNDS_LOST: u32 = 2;

/// Every two leases.
const ROUNDS_APART: u32 = 8;

impl Around {
    /// Above which generation this cluster has to be, so that those can join it who are there: in another
    /// one of the same generation, which is the lower of the two, or whose nodes cannot act, and so cannot
    /// become the higher one; or in none any more.
    fn to_be_above(&self, ours: (u32, Founding)) -> Option<u32> {
        let above = self.0.values().filter_map(|present| match present {
            Present::Member {
                part,
                generation,
                is_leased,
            } => {
                let is_other = part.cluster != ours.1 && *generation == ours.0;
                let is_lower = part.cluster < ours.1 || !is_leased;
                (is_other && is_lower).then_some(*generation)
            }
            Present::Waiting {
                last: Some((cluster, generation)),
                ..
            } => (*cluster != ours.1 && *generation >= ours.0).then_some(*generation),
            _ => None,
        });
        above.max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::raft::message::Part;
    use crate::member::Incarnation;

    fn member(cluster: u64, generation: u32, is_leased: bool) -> Present {
        Present::Member {
            part: Part {
                cluster: Founding::new(cluster),
                incarnation: Incarnation::new(1),
            },
            generation,
            is_leased,
        }
    }

    #[test]
    fn of_two_of_one_generation_exactly_one_becomes_the_higher() {
        let ours = (5, Founding::new(7));
        let above = |present| Around([("a".to_owned(), present)].into()).to_be_above(ours);
        assert_eq!(above(member(6, 5, true)), Some(5));
        assert_eq!(above(member(8, 5, true)), None);
        // It cannot become the higher.
        assert_eq!(above(member(8, 5, false)), Some(5));
        for generation in [4, 6] {
            assert_eq!(above(member(6, generation, false)), None);
        }
        assert_eq!(above(member(7, 5, false)), None);
    }
}
