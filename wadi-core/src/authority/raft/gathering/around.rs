//! Asking other nodes what they are. Who does not answer in time is not there, which decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time;

use super::Gathering;
use crate::authority::raft::founding::Presence;
use crate::authority::raft::message::{Body, Message, Part, Present, Reply, decode, encode};
use crate::member::{Founding, Incarnation};

/// What those said who answered just now, by address.
#[derive(Debug, Default)]
pub(super) struct Around(pub(super) BTreeMap<String, Present>);

impl Around {
    /// As the decision understands it. Who takes part in nothing is nobody to found with.
    pub(super) fn presences(&self) -> BTreeMap<String, Presence> {
        let presence = |present: &Present| match present {
            // Whoever waited for it would wait for good.
            Present::Waiting {
                is_barred: true, ..
            } => None,
            Present::Waiting { is_due: true, .. } => Some(Presence::Succeeding),
            Present::Waiting { backs, .. } => Some(Presence::Waiting {
                backs: backs.clone(),
            }),
            Present::Founding { by, .. } => Some(Presence::Waiting {
                backs: Some(by.clone()),
            }),
            Present::Member { generation, .. } => Some(Presence::Member {
                generation: *generation,
            }),
            Present::Apart(_) => None,
        };
        let all = self.0.iter();
        all.filter_map(|(address, present)| Some((address.clone(), presence(present)?)))
            .collect()
    }

    /// Which cluster to join, and through whom: `first`, and then whoever else is a member of it.
    pub(super) fn members(&self, first: &str) -> Option<(Founding, Vec<String>)> {
        let cluster = self.0.get(first).and_then(Present::member_of)?;
        let same = self.0.iter().filter(|(address, present)| {
            address.as_str() != first && present.member_of() == Some(cluster)
        });
        let others = same.map(|(address, _)| address.clone());
        Some((
            cluster,
            [first.to_owned()].into_iter().chain(others).collect(),
        ))
    }

    /// Forgets the members of clusters that this node cannot join, because their layouts are not above
    /// those that it knows; and says where they are.
    pub(super) fn forget_older(&mut self, last: Option<(Founding, u32)>) -> Vec<String> {
        let Some((last, known)) = last else {
            return Vec::new();
        };
        let may_join = |present: &Present| match present {
            Present::Member {
                part, generation, ..
            } => part.cluster == last || *generation > known,
            _ => true,
        };
        let mut older = Vec::new();
        self.0.retain(|at, present| {
            let may_join = may_join(present);
            if !may_join {
                older.push(at.clone());
            }
            may_join
        });
        older
    }

    /// Forgets the members of this cluster, which is over.
    pub(super) fn forget(&mut self, cluster: Founding) {
        self.0
            .retain(|_, present| present.member_of() != Some(cluster));
    }

    /// The heirs of this cluster: who they were, where they are, and whom they back.
    pub(super) fn heirs_of(
        &self,
        cluster: Founding,
    ) -> impl Iterator<Item = (Incarnation, &String, Option<&str>)> {
        self.0
            .iter()
            .filter_map(move |(address, present)| match present {
                Present::Waiting {
                    heir: Some(part),
                    backs,
                    ..
                } if part.cluster == cluster => Some((part.incarnation, address, backs.as_deref())),
                _ => None,
            })
    }

    /// Whether the node there said itself that this part does not run there any more, also where a
    /// later one of the same cluster does.
    pub(super) fn is_gone(&self, address: &str, part: Part) -> bool {
        let present = self.0.get(address);
        present.is_some_and(|present| present.part() != Some(part))
    }
}

impl Present {
    fn member_of(&self) -> Option<Founding> {
        match self {
            Self::Member { part, .. } => Some(part.cluster),
            _ => None,
        }
    }

    const fn part(&self) -> Option<Part> {
        match self {
            Self::Founding { part, .. } | Self::Member { part, .. } => Some(*part),
            Self::Apart(part) => *part,
            Self::Waiting { .. } => None,
        }
    }
}

impl Gathering {
    /// Asks everybody at these addresses at once; not this node, also where another name of it is among
    /// them.
    pub(super) async fn ask_around(&self, addresses: impl IntoIterator<Item = String>) -> Around {
        let own = &self.settings.raft.address;
        let addresses: BTreeSet<_> = addresses.into_iter().collect();
        let mut asking = JoinSet::new();
        for address in addresses.into_iter().filter(|address| address != own) {
            let asked = self.ask(address.clone(), Body::WhoIsThere);
            asking.spawn(async move { (address, asked.await) });
        }
        let mut around = Around::default();
        while let Some(answered) = asking.join_next().await {
            if let Ok((address, Some(Reply::There(present)))) = answered
                && !self.is_me(&present)
            {
                around.0.insert(address, present);
            }
        }
        around
    }

    /// One question to the node at one address.
    pub(super) fn ask(
        &self,
        address: String,
        body: Body,
    ) -> impl Future<Output = Option<Reply>> + Send + 'static {
        let carrier = Arc::clone(&self.settings.raft.carrier);
        let within = self.timing.attempt();
        async move {
            let message = Message {
                cluster: None,
                body,
            };
            let bytes = encode(&message)?;
            let carrying = carrier.carry(&address, bytes.into(), within);
            let answer = time::timeout(within, carrying).await.ok()?.ok()?;
            decode(&answer)
        }
    }

    fn is_me(&self, present: &Present) -> bool {
        let Present::Waiting { start: theirs, .. } = present else {
            return false;
        };
        matches!(&*self.here.lock(), super::Here::Waiting { start, .. } if start == theirs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::raft::founding::{Decision, Founders};
    use crate::authority::raft::types::StartId;
    use crate::member::NodeName;

    fn waiting(backs: Option<&str>, is_due: bool, is_barred: bool) -> Present {
        Present::Waiting {
            node: NodeName::new("n"),
            backs: backs.map(str::to_owned),
            start: StartId::draw().expect("there are random bytes"),
            generation: 0,
            place: None,
            heir: None,
            is_due,
            is_barred,
            last: None,
        }
    }

    #[test]
    fn who_may_not_found_is_not_waited_for() {
        let around = [
            ("a", waiting(None, false, true)),
            ("c", waiting(Some("b"), false, false)),
        ];
        let around = around.map(|(at, present)| (at.to_owned(), present));
        let list = Founders::of(["a", "b", "c"].map(str::to_owned));
        let decision = list.decide("b", &Around(around.into()).presences());
        let both = ["b", "c"].map(str::to_owned);
        assert_eq!(decision, Decision::Found(both.into()));
    }
}
