//! What the log says of a node on its way into its cluster: for as long as it is not there, that it is not, and
//! whether another one says that it is at the same address; and once it is there, whether another one is called as it is.
//!
//! It only looks. What a node needs in order to join is told by those who refuse it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;
use wadi_core::bucket::Layout;
use wadi_core::member::{Incarnation, NodeName, Standing};
use wadi_core::node::Status;

use super::Cluster;
use crate::config::WadiConfig;
use crate::lifecycle::{Lifecycle, Phase};

/// When it is said for the first time, and how seldom in the end; each time takes twice the one before.
const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(5 * 60);

impl Cluster {
    /// Says so in the log while this node, which has started, has not joined. Until it has, or leaves, or is
    /// no more.
    pub(crate) fn announce_coming(&self, config: &WadiConfig, lifecycle: &Lifecycle) {
        let Some(connections) = self.connections.get() else {
            return;
        };
        // Whoever holds a node keeps it running.
        let status = self.node.watch();
        let (address, join) = (connections.address.clone(), config.join().join(","));
        let leaving = lifecycle.reached(Phase::Leaving);
        tokio::spawn(async move {
            let come = come(status, &address, &join);
            let (mut come, mut leaving) = (pin!(come), pin!(leaving));
            // `select!` is of a feature that this crate does not always have.
            let status = poll_fn(|context| match leaving.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(None),
                Poll::Pending => come.as_mut().poll(context),
            });
            if let Some(status) = status.await {
                look_at_names(&status, &address);
            }
        });
    }
}

/// What the node says once it is a ready member; `None` when it says nothing any more.
async fn come(mut status: watch::Receiver<Status>, address: &str, join: &str) -> Option<Status> {
    let mut wait = FIRST;
    loop {
        let is_ready = |status: &Status| status.standing() == Some(Standing::Ready);
        match tokio::time::timeout(wait, status.wait_for(is_ready)).await {
            Ok(ready) => return ready.ok().map(|status| status.clone()),
            Err(_) => wait = (wait * 2).min(LONGEST),
        }
        if look_at_addresses(&status.borrow(), address) {
            continue;
        }
        tracing::warn!(
            join,
            advertised = address,
            "this node is no ready member of its cluster yet, and answers 503. Most nodes of the list have to \
             run; this one has to reach them there, and they have to reach this one, and no other, where it \
             says that it is"
        );
    }
}

/// Whether another member says that it is where this node says it is: then nobody reaches this one.
fn look_at_addresses(status: &Status, address: &str) -> bool {
    let known = status.layout.as_ref().zip(status.incarnation);
    let other = known.and_then(|(layout, me)| at_the_same_address(layout, me, address));
    if let Some(other) = other {
        tracing::warn!(
            advertised = address,
            ?other,
            "this node answers 503, because the others do not reach it: another member says that it is at \
             the same address. Give each node a `cluster` address, or an `advertise`, of its own"
        );
    }
    other.is_some()
}

/// The name of another node at this address. One of the same name was this one before it was started again.
fn at_the_same_address<'a>(
    layout: &'a Layout,
    me: Incarnation,
    address: &str,
) -> Option<&'a NodeName> {
    let own = layout.members.get(&me)?;
    let others = layout.members.values().map(|other| (&other.node, other));
    let mut others = others.filter(|(name, other)| **name != own.node && other.address == address);
    others.next().map(|(name, _)| name)
}

fn look_at_names(status: &Status, address: &str) {
    let Some((layout, me)) = status.layout.as_ref().zip(status.incarnation) else {
        return;
    };
    for other in namesakes(layout, me, address) {
        tracing::warn!(
            address,
            other,
            "two nodes have the same name, so neither route cookies nor people can tell them apart: give \
             each a `name` of its own"
        );
    }
}

/// Where other members are that have this one's name. Who was at this address has gone, or will be gone
/// soon.
fn namesakes<'a>(layout: &'a Layout, me: Incarnation, address: &str) -> Vec<&'a str> {
    let Some(own) = layout.members.get(&me) else {
        return Vec::new();
    };
    let others = layout.members.values();
    others
        .filter(|other| other.node == own.node && other.address != address)
        .map(|other| other.address.as_str())
        .collect()
}

#[cfg(test)]
mod tests {
    use wadi_core::bucket::BucketCount;
    use wadi_core::member::Member;

    use super::*;

    fn member(name: &str, address: &str) -> Member {
        Member {
            node: NodeName::new(name),
            address: address.to_owned(),
            place: None,
            standing: Standing::Ready,
        }
    }

    #[test]
    fn who_has_the_same_name_elsewhere_is_told_of_and_who_was_here_before_is_not() {
        let me = Incarnation::new(1);
        let buckets = BucketCount::new(4).unwrap();
        let mut layout = Layout::found(buckets, 0, me, member("n1", "here"));
        assert!(namesakes(&layout, me, "here").is_empty());
        let others = [("n1", "here"), ("n1", "there"), ("n2", "elsewhere")];
        for (number, (name, address)) in (2..).zip(others) {
            let other = Incarnation::new(number);
            layout.members.insert(other, member(name, address));
        }
        assert_eq!(namesakes(&layout, me, "here"), ["there"]);
        assert_eq!(at_the_same_address(&layout, me, "here"), None);
        assert_eq!(
            at_the_same_address(&layout, me, "elsewhere"),
            Some(&NodeName::new("n2"))
        );
        assert!(namesakes(&layout, Incarnation::new(9), "here").is_empty());
    }
}
