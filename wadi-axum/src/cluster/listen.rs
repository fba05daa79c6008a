//! What a node tells, as log lines. None of them names a session.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use wadi_core::node::{Event, Listener, Loser, PartEnd, StoreTold, Told};

use super::burst::Burst;

/// Writes what happens into the log. What happens to one session happens to many at once, where it does
/// because of a node.
#[derive(Debug, Default)]
pub(super) struct Log {
    lost: Burst,
    older: Burst,
    outdated: Burst,
    refused: Burst,
    ended: Burst,
    /// It was told that nobody tells this node anything, which comes again for as long as it is so.
    untold: AtomicBool,
}

impl Listener for Log {
    fn told(&self, what: Told) {
        match what {
            Told::Joined(incarnation) => tracing::info!(?incarnation, "joined the cluster"),
            Told::Fenced { former, offers } => tracing::warn!(
                ?former,
                offers,
                "no member of the cluster any more; coming back as somebody new, with these sessions to offer"
            ),
            Told::PartEnded(PartEnd::Abandoned) => tracing::warn!(
                "most of the voters are gone for good; the cluster is founded again by those who are left"
            ),
            Told::PartEnded(PartEnd::Untold) => {
                if !self.untold.swap(true, Relaxed) {
                    tracing::error!(
                        "this node has joined the cluster, and the others do not reach it where it says that it is: \
                         another node may say the same of itself, or nobody listens there. It answers 503, and \
                         joins again and again. Give each node a `cluster` address, or an `advertise`, of its own"
                    );
                }
            }
            Told::PartEnded(PartEnd::Behind) => tracing::warn!(
                "what the cluster agrees upon has not reached this node for too long, though it reaches the \
                 cluster: look for a connection that is cut one way; coming back as somebody new"
            ),
            Told::PartEnded(PartEnd::Unreachable) => tracing::warn!(
                "those who agree cannot be reached; this node goes on without them, as on_quorum_loss = \
                 available has it"
            ),
            Told::PartEnded(PartEnd::Dissolved) => tracing::warn!(
                "there is a higher cluster of this name; this node has joined it, and offers it what it has"
            ),
            Told::PartEnded(_) => tracing::error!(
                "this node's part in the cluster's agreement failed; coming back as somebody new: please \
                 report this"
            ),
            // The layout without it may be on its way.
            Told::Proven {
                who,
                was_leaving: true,
                ..
            } => tracing::info!(?who, "a leaving member's process has ended"),
            Told::Proven { who, proof, .. } => tracing::warn!(
                ?who,
                ?proof,
                "a member's process has ended; the others go on without it at once"
            ),
            Told::Session(Event::Lost(_)) => {
                if let Some(so_far) = self.lost.again() {
                    tracing::warn!(so_far, "a session is lost: it died with its node");
                }
            }
            Told::Session(Event::Stale(_)) => {
                if let Some(so_far) = self.older.again() {
                    tracing::warn!(
                        so_far,
                        "a copy of a session serves that may not be the newest; no newer one is known"
                    );
                }
            }
            Told::Session(Event::Dropped(_, loser)) => self.dropped(loser),
            Told::Session(Event::Fork(_)) => {
                tracing::error!("two copies of a session were held at once; please report this");
            }
            Told::Unreadable { from } => tracing::error!(
                ?from,
                "a session that arrived cannot be read, and stays with its sender"
            ),
            Told::Unencodable { type_name, reason } => tracing::warn!(
                type_name,
                reason,
                "a session cannot leave this node, because a value in it cannot be encoded"
            ),
            Told::Store(what) => of_store(&what),
            Told::OtherCluster => tracing::error!(
                "this cluster has another number of buckets than this node was set up with: give \
                 all nodes the same `buckets`"
            ),
            Told::Died => tracing::error!(
                "this node's driver failed; it serves nothing any more: please report this, and restart it"
            ),
            Told::Left { .. } => {}
            _ => tracing::info!("{what:?}"),
        }
    }
}

fn of_store(what: &StoreTold) {
    match what {
        StoreTold::Away(error) => tracing::error!(
            %error,
            "the store below all nodes does not do what it is asked: sessions stay in memory and are served, and \
             requests for those that are there are answered 503; it is tried again by itself"
        ),
        StoreTold::Back => tracing::info!("the store below all nodes does what it is asked again"),
        StoreTold::Superseded => tracing::error!(
            "the store below all nodes has given sessions to a later cluster, and requests for those are answered \
             503 here: two clusters use it at once; give each a store of its own"
        ),
        StoreTold::Unreadable => tracing::error!(
            "a session in the store below all nodes is damaged, or of another version, and counts as lost; it stays \
             there"
        ),
        StoreTold::NotFounded(error) => tracing::error!(
            %error,
            "no cluster is founded, and this node answers 503, because the store below all nodes does not say of \
             which generation it may be: see that the store runs and is reached from here; it is asked again by \
             itself"
        ),
        other => tracing::info!("{other:?}"),
    }
}

impl Log {
    fn dropped(&self, loser: Loser) {
        match loser {
            Loser::Refused => {
                if let Some(so_far) = self.refused.again() {
                    tracing::warn!(
                        so_far,
                        "a copy of a session was dropped, as the policy for stale copies has it; nobody has another"
                    );
                }
            }
            Loser::Ended => {
                if let Some(so_far) = self.ended.again() {
                    tracing::info!(
                        so_far,
                        "a copy of a session was dropped, because the session has ended meanwhile"
                    );
                }
            }
            _ => {
                if let Some(so_far) = self.outdated.again() {
                    tracing::info!(
                        so_far,
                        "a copy of a session was dropped, because another one serves"
                    );
                }
            }
        }
    }
}
