//! Who is proven dead of the generation that this node is a member of, or was one of last.
//!
//! A proof is never taken back: a process that has ended stays so. But it counts for founding the next
//! generation only where this node may act when it learns of it, and so is a member and has missed no
//! electorate; or where the generation is over for it already. An operator's word counts always, and so
//! does what was agreed.

use std::collections::{BTreeMap, BTreeSet};

use super::{Gathering, Here};
use crate::authority::raft::message::{Body, KnownDeath, Message, Part, encode};
use crate::authority::raft::node::RaftAuthority;
use crate::bucket::Layout;
use crate::member::{Founding, Incarnation};
use crate::proof::Proof;

/// Of one cluster.
#[derive(Debug, Default)]
pub(super) struct Deaths {
    of: Option<Founding>,
    known: BTreeMap<Incarnation, Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    by: Incarnation,
    proof: Proof,
    counts: bool,
}

impl Deaths {
    /// Whether that is news.
    fn note(&mut self, of: Founding, death: KnownDeath, may_act: bool) -> bool {
        if self.of != Some(of) {
            self.of = Some(of);
            self.known.clear();
        }
        let KnownDeath { dead, by, proof } = death;
        let counts = may_act || proof == Proof::Operator;
        let is_news = |known: &Known| counts && !known.counts;
        if self.known.get(&dead).is_some_and(|known| !is_news(known)) {
            return false;
        }
        self.known.insert(dead, Known { by, proof, counts });
        true
    }

    /// Who is dead, of this cluster.
    pub(super) fn all(&self, of: Founding) -> BTreeSet<Incarnation> {
        let is_it = self.of == Some(of);
        let known = self.known.keys().filter(|_| is_it);
        known.copied().collect()
    }

    /// Those of them that count for founding the next generation.
    pub(super) fn counting(&self, of: Founding) -> BTreeSet<Incarnation> {
        let is_it = self.of == Some(of);
        let known = self.known.iter().filter(|(_, known)| is_it && known.counts);
        known.map(|(dead, _)| *dead).collect()
    }

    /// As others are told, of those among them whom it is about.
    fn told(&self, of: Founding, is_about: impl Fn(Incarnation) -> bool) -> Vec<KnownDeath> {
        let is_it = self.of == Some(of);
        let known = self.known.iter();
        let asked_for = known.filter(|(dead, _)| is_it && is_about(**dead));
        let told = asked_for.map(|(dead, known)| KnownDeath {
            dead: *dead,
            by: known.by,
            proof: known.proof,
        });
        told.take(MOST_TOLD).collect()
    }
}

/// Of so many deaths others are told at once.
const MOST_TOLD: usize = 256;

impl Gathering {
    /// This node has this proof of a member's death.
    pub(crate) fn died(&self, by: Incarnation, dead: Incarnation, proof: Proof) {
        let mut death = KnownDeath { dead, by, proof };
        let renamed = || self.past.lock().founded.as_ref()?.renamed(death);
        let cluster = match &*self.here.lock() {
            Here::Member(part) => {
                // The driver may not know yet whom this process is by now.
                if part.incarnation() != by
                    && let Some(renamed) = renamed()
                {
                    death = renamed;
                }
                (part.incarnation() == death.by).then(|| part.founding())
            }
            _ => None,
        };
        let former = || {
            let past = self.past.lock();
            let succession = past.succession.as_ref();
            let succession = succession.filter(|succession| succession.part.incarnation == by);
            succession.map(|succession| succession.part.cluster)
        };
        if let Some(cluster) = cluster.or_else(former) {
            self.hear_of_deaths(cluster, &[death]);
        }
    }

    /// This node is a member of what it has founded as an heir: of the others that founded some may have
    /// died in the middle of it.
    pub(super) fn rename_deaths(&self, cluster: Founding) {
        let Some(founded) = self.past.lock().founded.clone() else {
            return;
        };
        let known = self.deaths.lock().told(founded.former_cluster(), |_| true);
        let by = founded.me_before();
        let mine = known
            .into_iter()
            .filter_map(|death| Some(KnownDeath { by: by?, ..death }));
        let renamed: Vec<_> = mine.filter_map(|death| founded.renamed(death)).collect();
        self.hear_of_deaths(cluster, &renamed);
    }

    /// Somebody in this cluster has these proofs; each is looked at as the register would.
    pub(super) fn hear_of_deaths(&self, cluster: Founding, deaths: &[KnownDeath]) {
        let now = match &*self.here.lock() {
            Here::Member(part) if part.founding() == cluster => {
                let layout = part.layouts().borrow().clone();
                layout.map(|layout| (layout, part.is_leased()))
            }
            _ => None,
        };
        let before = || {
            let past = self.past.lock();
            let succession = past.succession.as_ref();
            let succession = succession.filter(|succession| succession.part.cluster == cluster);
            succession.map(|succession| (succession.layout.clone(), true))
        };
        let Some((layout, may_act)) = now.or_else(before) else {
            return;
        };
        let fits = |death: &&KnownDeath| {
            let dead = layout.members.get(&death.dead);
            let by = layout.members.get(&death.by);
            let both = dead.zip(by);
            both.is_some_and(|(dead, by)| death.proof.fits((death.by, by), (death.dead, dead)))
        };
        let mut known = self.deaths.lock();
        let mut is_news = false;
        for death in deaths.iter().filter(fits) {
            is_news |= known.note(cluster, *death, may_act);
        }
        if is_news {
            self.heard_of_death.notify_one();
        }
    }

    /// Tells the members of this layout of the deaths among them, and among those who would be `asked` for
    /// a next generation; not those who are dead, and nobody where there is none.
    pub(super) async fn tell_of_deaths(
        &self,
        part: Part,
        layout: &Layout,
        asked: &BTreeSet<Incarnation>,
    ) {
        let is_about = |dead| layout.is_member(dead) || asked.contains(&dead);
        let (deaths, dead) = {
            let known = self.deaths.lock();
            (known.told(part.cluster, is_about), known.all(part.cluster))
        };
        let message = Message {
            cluster: Some(part.cluster),
            body: Body::Deaths(deaths.clone()),
        };
        let Some(bytes) = encode(&message).filter(|_| !deaths.is_empty()) else {
            return;
        };
        let bytes = bytes::Bytes::from(bytes);
        let members = layout.members.iter();
        let others = members.filter(|(who, _)| **who != part.incarnation && !dead.contains(who));
        let mut telling = tokio::task::JoinSet::new();
        for (_, member) in others.filter(|(_, member)| member.address != self.own_address()) {
            let carrier = std::sync::Arc::clone(&self.settings.raft.carrier);
            let (address, bytes) = (member.address.clone(), bytes.clone());
            let within = self.timing.attempt();
            telling.spawn(async move {
                let carrying = carrier.carry(&address, bytes, within);
                // Who is not reached is told again.
                let _ = tokio::time::timeout(within, carrying).await;
            });
        }
        while telling.join_next().await.is_some() {}
    }

    fn own_address(&self) -> &str {
        &self.settings.raft.address
    }

    /// Who is dead of this node's own cluster, where that counts for founding the next generation.
    ///
    /// Deaths that were agreed count, whenever this node hears of that. They alone are never those of most
    /// who vote, for most agreed to them; and where they and others are, which it heard of while it
    /// was a member, nothing was agreed since.
    pub(super) fn counting_deaths(&self, part: &RaftAuthority) -> BTreeSet<Incarnation> {
        let mut known = self.deaths.lock();
        for death in part.agreed_deaths() {
            known.note(part.founding(), death, true);
        }
        known.counting(part.founding())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_counts_where_it_is_learned_of_with_a_lease_or_by_an_operators_word() {
        let cluster = Founding::new(7);
        let of = |dead: u64, proof| KnownDeath {
            dead: Incarnation::new(dead),
            by: Incarnation::new(9),
            proof,
        };
        let mut deaths = Deaths::default();
        assert!(deaths.note(cluster, of(1, Proof::RefusedHere), true));
        assert!(deaths.note(cluster, of(2, Proof::RefusedHere), false));
        assert!(!deaths.note(cluster, of(2, Proof::RefusedHere), false));
        assert!(deaths.note(cluster, of(3, Proof::Operator), false));
        let set = |all: &[u64]| all.iter().copied().map(Incarnation::new).collect();
        assert_eq!(deaths.counting(cluster), set(&[1, 3]));
        assert_eq!(deaths.all(cluster), set(&[1, 2, 3]));
        // Once it may act again it counts.
        assert!(deaths.note(cluster, of(2, Proof::RefusedHere), true));
        assert_eq!(deaths.counting(cluster), set(&[1, 2, 3]));
        // Of another cluster the same numbers are others.
        assert_eq!(deaths.all(Founding::new(8)), set(&[]));
        assert!(deaths.note(Founding::new(8), of(1, Proof::Operator), true));
        assert_eq!(deaths.all(cluster), set(&[]));
    }
}
