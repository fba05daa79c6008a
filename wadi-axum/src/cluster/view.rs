//! Whom this node can turn to, as the latest layout that it knows says.

use std::sync::Arc;

use wadi_core::bucket::{BucketId, Layout};
use wadi_core::member::{Incarnation, NodeName, Standing};
use wadi_core::session::SessionId;

use super::Cluster;

/// One look at the cluster.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) me: Incarnation,
    layout: Arc<Layout>,
}

impl Cluster {
    /// What this node knows of its cluster; `None` while it is no member.
    pub(crate) fn view(&self) -> Option<View> {
        let status = self.node.status();
        Some(View {
            me: status.incarnation?,
            layout: status.layout?,
        })
    }
}

impl View {
    /// Who answers for this session's bucket.
    pub(crate) fn manager(&self, id: &SessionId) -> Incarnation {
        let bucket = id.bucket(self.layout.buckets());
        self.layout.placement(bucket).manager
    }

    /// Where that member is reached.
    #[cfg(feature = "serve")]
    pub(crate) fn address(&self, of: Incarnation) -> Option<&str> {
        let member = self.layout.members.get(&of)?;
        Some(&member.address)
    }

    #[cfg(feature = "serve")]
    pub(crate) fn is_member(&self, who: Incarnation) -> bool {
        self.layout.is_member(who)
    }

    pub(crate) fn is_ready(&self, who: Incarnation) -> bool {
        let member = self.layout.members.get(&who);
        member.is_some_and(|member| member.standing == Standing::Ready)
    }

    /// The name of that member, if it is ready.
    pub(crate) fn ready(&self, who: Incarnation) -> Option<NodeName> {
        let member = self.layout.members.get(&who)?;
        (member.standing == Standing::Ready).then(|| member.node.clone())
    }

    /// What that member is called.
    pub(crate) fn name(&self, who: Incarnation) -> Option<NodeName> {
        let member = self.layout.members.get(&who)?;
        Some(member.node.clone())
    }

    /// The other ready member that is called so; of several, the latest to join.
    pub(crate) fn named(&self, name: &[u8]) -> Option<Incarnation> {
        let others = self.layout.members.iter().rev();
        others
            .filter(|(who, member)| **who != self.me && member.standing == Standing::Ready)
            .find(|(_, member)| member.node.as_str().as_bytes() == name)
            .map(|(who, _)| *who)
    }

    /// Another ready member that can create sessions; a different one at each `turn`, each as often as
    /// it has buckets.
    pub(crate) fn creator(&self, turn: usize, not: &[Incarnation]) -> Option<Incarnation> {
        /// Further apart than neighbouring buckets, which may well be one member's.
        const STRIDE: usize = 7919;
        const LOOKS: usize = 64;
        let buckets = usize::from(self.layout.buckets().get());
        let suits =
            |who: &Incarnation| *who != self.me && self.is_ready(*who) && !not.contains(who);
        (turn..turn.saturating_add(LOOKS))
            .map(|turn| turn.wrapping_mul(STRIDE) % buckets)
            .filter_map(|number| u16::try_from(number).ok())
            .map(|number| self.layout.placement(BucketId::new(number)).manager)
            .find(suits)
    }
}
