//! Asking other nodes what they are. Who does not answer in time is not there, which decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time;

use super::Gathering;
use crate::authority::raft::founding::Presence;
use crate::authority::raft::message::{Body, Message, Part, Present, Reply, decode, encode};
use crate::member::Founding;

/// What those said who answered just now, by address.
#[derive(Debug, Default)]
pub(super) struct Around(pub(super) BTreeMap<String, Present>);

impl Around {
    /// As the decision understands it. Who takes part in nothing is nobody to found with.
    pub(super) fn presences(&self) -> BTreeMap<String, Presence> {
        let presence = |present: &Present| match present {
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

    /// Through whom to join: `first`, and then whoever else is a member of the same cluster.
    pub(super) fn members(&self, first: &str) -> Vec<String> {
        let cluster = self.0.get(first).and_then(Present::member_of);
        let same = self.0.iter().filter(|(address, present)| {
            address.as_str() != first && cluster.is_some() && present.member_of() == cluster
        });
        let others = same.map(|(address, _)| address.clone());
        [first.to_owned()].into_iter().chain(others).collect()
    }

    /// Forgets the members of clusters that this node cannot join, because their layouts are not above
    /// those that it knows.
    pub(super) fn forget_older(&mut self, last: Option<(Founding, u32)>) {
        let Some((last, known)) = last else { return };
        let may_join = |present: &Present| match present {
            Present::Member { part, generation } => part.cluster == last || *generation > known,
            _ => true,
        };
        self.0.retain(|_, present| may_join(present));
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
