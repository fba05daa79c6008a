//! The report itself: this node's view of the cluster, as it serves it as JSON.

use serde::Serialize;
use wadi_core::bucket::Layout;
use wadi_core::member::{Incarnation, Standing};
use wadi_core::node::Status;
use wadi_core::store::SessionStore;

use crate::cluster::Cluster;
use crate::lifecycle::Phase;
use crate::{RequestCounts, WadiLayer};

/// What a node knows now. Another node may know more, or less.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StatusReport {
    /// The node's name.
    pub node: String,
    /// Which start of the node this is; `None` before it has joined.
    pub incarnation: Option<u64>,
    /// The layout's version within its generation; 0 before one is known.
    pub version: u64,
    /// The authority's generation.
    pub generation: u32,
    /// The name of the member that decides when buckets change hands; `None` before one is known.
    pub coordinator: Option<String>,
    /// The members, in join order.
    pub members: Vec<MemberReport>,
    /// The sessions of this node.
    pub sessions: SessionReport,
    /// The store below this node's memory, or below all nodes'; `None` where there is none.
    pub store: Option<StoreReport>,
    /// How many sessions are here whose bucket another member manages.
    pub displaced: usize,
    /// How many sessions came and went since the node's start.
    pub migrations: MigrationReport,
    /// What became of sessions of nodes that died or were away, as far as this node decided it.
    pub aftermath: AftermathReport,
    /// How far an evacuation is; `None` while there is none.
    pub evacuation: Option<Evacuation>,
    /// Whether new sessions are created by others.
    pub draining: bool,
    /// `strict` or `available`: what this node does when it cannot reach those who agree; `None` for a node
    /// that is alone.
    pub on_quorum_loss: Option<&'static str>,
    /// How requests were served whose session was not simply here; `None` for a node that is alone.
    pub requests: Option<RequestCounts>,
    /// This node's part in the authority; `None` for a node that is alone, while it has none, and where
    /// the authority is not that of the members.
    pub authority: Option<AuthorityReport>,
}

/// A node's part in the authority that the members are together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AuthorityReport {
    /// `leads`, `votes`, or `follows`, by what it knows: who was deposed a moment ago may not know it yet.
    pub part: &'static str,
    /// How many vote.
    pub voters: usize,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MemberReport {
    /// Its name.
    pub node: String,
    /// Which start of the node it is.
    pub incarnation: u64,
    /// Where other nodes reach it; `None` for a node that is alone.
    pub cluster: Option<String>,
    /// How many buckets it manages.
    pub buckets: usize,
    /// `joining`, `ready` or `leaving`; of this node itself also how far its serving is.
    pub state: &'static str,
}

/// How many sessions a node has, by where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SessionReport {
    /// In memory, as typed values.
    pub live: usize,
    /// In memory, as bytes.
    pub frozen: usize,
    /// In the store below this node's memory that is its alone, about.
    pub disc: usize,
    /// Copies of other nodes' sessions.
    pub replicas: usize,
}

/// The store below, and what went into it and came out of it by this node, since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StoreReport {
    /// Whether all nodes of the cluster share it; else it is this node's alone.
    pub shared: bool,
    /// Sessions that are in it, about; `None` where the store does not say.
    pub sessions: Option<u64>,
    /// Sessions that went there.
    pub demoted: u64,
    /// Sessions that came out of it: into this node's memory, or, in a cluster, for whichever node had asked this
    /// one, who manages their bucket.
    pub promoted: u64,
    /// Calls that the store did not do; what they were about was tried again, or answered 503.
    pub failed: u64,
    /// For how many seconds it has answered this node nothing; `None` where its last answer was one.
    pub away_for: Option<u64>,
}

/// How many sessions came and went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MigrationReport {
    /// From other nodes.
    #[serde(rename = "in")]
    pub arrived: u64,
    /// To other nodes.
    #[serde(rename = "out")]
    pub left: u64,
}

/// What became of sessions of nodes that died or were away, and of copies that served nobody; since the
/// node's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AftermathReport {
    /// Sessions that are lost.
    pub lost: u64,
    /// Sessions that a copy serves which may not be the newest.
    pub older: u64,
    /// Copies of this node that were dropped because another one serves.
    pub outdated: u64,
    /// Copies of this node that were dropped because the policy for stale copies took none.
    pub refused: u64,
    /// Copies of this node that were dropped because their session has ended.
    pub ended: u64,
}

/// How far an evacuation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Evacuation {
    /// Sessions that were here when it began.
    pub began_with: usize,
    /// Sessions that are still here.
    pub left: usize,
}

impl WadiLayer {
    /// What this node knows of itself and of its cluster now. It looks at every bucket, so it is for
    /// people and probes, and not for every request.
    #[must_use]
    pub fn status(&self) -> StatusReport {
        let census = self.sessions().census();
        let sessions = SessionReport {
            live: census.live,
            frozen: census.frozen,
            disc: self.store_below().map_or(0, |tier| {
                usize::try_from(tier.store().rows().unwrap_or_default()).unwrap_or(usize::MAX)
            }),
            replicas: 0,
        };
        match self.cluster() {
            None => self.alone(sessions),
            Some(cluster) => {
                let node = cluster.node();
                let migrations = node.migrations();
                let aftermath = node.aftermath();
                let on_quorum_loss = self.config().on_quorum_loss();
                let below = node.below();
                StatusReport {
                    on_quorum_loss: Some(on_quorum_loss.as_str()),
                    store: self.store_report(below.down(), below.up(), below.failed()),
                    draining: cluster.is_draining(),
                    requests: Some(cluster.counts().read()),
                    authority: cluster.authority_report(),
                    displaced: node.displaced(),
                    migrations: MigrationReport {
                        arrived: migrations.arrived(),
                        left: migrations.left(),
                    },
                    aftermath: AftermathReport {
                        lost: aftermath.lost(),
                        older: aftermath.older(),
                        outdated: aftermath.outdated(),
                        refused: aftermath.refused(),
                        ended: aftermath.ended(),
                    },
                    ..self.member(&node.status(), sessions)
                }
            }
        }
    }

    fn store_report(&self, demoted: u64, promoted: u64, failed: u64) -> Option<StoreReport> {
        self.watched().map(|store| StoreReport {
            shared: self.cluster().is_some(),
            sessions: store.rows(),
            demoted,
            promoted,
            failed,
            away_for: store.away_for().map(|away| away.as_secs()),
        })
    }

    fn alone(&self, sessions: SessionReport) -> StatusReport {
        let node = self.config().name();
        let member = MemberReport {
            node: node.clone(),
            incarnation: 1,
            cluster: None,
            buckets: usize::from(self.config().buckets().get()),
            state: serving(self.phase()),
        };
        StatusReport {
            incarnation: Some(1),
            store: self.store_below().and_then(|tier| {
                let counts = tier.counts();
                self.store_report(counts.demoted(), counts.promoted(), counts.failed())
            }),
            version: 1,
            coordinator: Some(node.clone()),
            members: vec![member],
            ..Self::nobody(node, sessions)
        }
    }

    fn member(&self, status: &Status, sessions: SessionReport) -> StatusReport {
        let evacuation = status.evacuation.map(|evacuation| Evacuation {
            began_with: evacuation.began_with,
            left: evacuation.left,
        });
        let report = StatusReport {
            incarnation: status.incarnation.map(Incarnation::get),
            evacuation,
            ..Self::nobody(self.config().name(), sessions)
        };
        let Some(layout) = &status.layout else {
            return report;
        };
        StatusReport {
            version: layout.version.number(),
            generation: layout.version.generation(),
            coordinator: status
                .coordinator()
                .map(|member| member.node.as_str().to_owned()),
            members: members(layout),
            ..report
        }
    }

    fn nobody(node: String, sessions: SessionReport) -> StatusReport {
        StatusReport {
            node,
            incarnation: None,
            version: 0,
            generation: 0,
            coordinator: None,
            members: Vec::new(),
            sessions,
            store: None,
            displaced: 0,
            migrations: MigrationReport {
                arrived: 0,
                left: 0,
            },
            aftermath: AftermathReport::default(),
            evacuation: None,
            draining: false,
            on_quorum_loss: None,
            requests: None,
            authority: None,
        }
    }
}

impl Cluster {
    #[cfg(feature = "cluster")]
    fn authority_report(&self) -> Option<AuthorityReport> {
        let part = self.agreement()?.part()?;
        let voters = part.votes().voters;
        Some(AuthorityReport {
            part: match voters.contains(&part.incarnation()) {
                _ if part.leads() => "leads",
                true => "votes",
                false => "follows",
            },
            voters: voters.len(),
        })
    }

    #[cfg(not(feature = "cluster"))]
    const fn authority_report(&self) -> Option<AuthorityReport> {
        None
    }
}

fn members(layout: &Layout) -> Vec<MemberReport> {
    let members = layout.members.iter();
    members
        .map(|(who, member)| MemberReport {
            node: member.node.as_str().to_owned(),
            incarnation: who.get(),
            cluster: Some(member.address.clone()),
            buckets: layout.managed_by(*who),
            state: standing(member.standing),
        })
        .collect()
}

const fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Joining => "joining",
        Standing::Ready => "ready",
        Standing::Leaving => "leaving",
    }
}

const fn serving(phase: Phase) -> &'static str {
    match phase {
        Phase::NotStarted => "not started",
        Phase::Serving => "ready",
        Phase::Leaving => "leaving",
        Phase::Closing => "closing",
        Phase::Closed => "closed",
    }
}
