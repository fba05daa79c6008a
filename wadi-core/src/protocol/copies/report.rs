//! What this node tells a manager that asks everybody.

use std::time::Duration;

use super::Copies;
use crate::bucket::BucketId;
use crate::clock::Moment;
use crate::message::{CopyKind, Scope, Sighting};
use crate::protocol::holdings::Copy;
use crate::protocol::markers::Markers;
use crate::protocol::turn::Turn;
use crate::session::SessionId;
use crate::tenure::{Revision, Tenure};

impl Copies {
    /// Whether a session within `scope` is out of the map and not given back as sealed yet: what
    /// this node has of it cannot be said now, so it is asked again.
    pub(in crate::protocol) fn is_between(&self, turn: &Turn<'_>, scope: Scope) -> bool {
        let is_out = |id: &SessionId| turn.holdings.get(id).is_none();
        match scope {
            Scope::Session(id, _) => self.sealing.contains(turn.bucket(&id), &id) && is_out(&id),
            Scope::Bucket(bucket) => self.sealing.bucket(bucket).any(|(id, _)| is_out(id)),
        }
    }

    /// Everything that this node has within `scope`. For one session it also promises to act on no
    /// tenure up to the one that the question names; for a bucket the adopted epoch is the promise.
    pub(in crate::protocol) fn report(
        &mut self,
        turn: &Turn<'_>,
        markers: &Markers,
        scope: Scope,
    ) -> Vec<Sighting> {
        let mut sightings = Vec::new();
        match scope {
            Scope::Session(id, floor) => {
                self.raise_floor(turn, id, floor, None);
                let bucket = turn.bucket(&id);
                if let Some(tenure) = markers.get(bucket, &id) {
                    sightings.push(marker(id, tenure, markers.keep_for(bucket, &id, turn.now)));
                }
                if let Some(sealed) = self.sealed.get(bucket, &id) {
                    sightings.push(sealed_copy(id, sealed, turn.now));
                }
                if let Some(copy) = turn.holdings.get(&id) {
                    sightings.push(self.copy_in_map(bucket, id, copy));
                }
            }
            Scope::Bucket(bucket) => {
                sightings.extend(markers.bucket(bucket).map(|(id, tenure)| {
                    marker(id, tenure, markers.keep_for(bucket, &id, turn.now))
                }));
                sightings.extend(
                    self.sealed
                        .bucket(bucket)
                        .map(|(id, sealed)| sealed_copy(*id, sealed, turn.now)),
                );
                turn.holdings.for_each_in(bucket, &mut |id, copy| {
                    sightings.push(self.copy_in_map(bucket, id, copy));
                });
                // The map has no order of its own; a report must not depend on one.
                sightings.sort_unstable();
            }
        }
        sightings
    }

    fn copy_in_map(&self, bucket: BucketId, id: SessionId, copy: Copy) -> Sighting {
        Sighting {
            id,
            kind: if self.arriving.contains(bucket, &id) {
                CopyKind::Arriving
            } else {
                CopyKind::Held
            },
            tenure: copy.tenure,
            revision: copy.revision,
        }
    }
}

fn marker(id: SessionId, tenure: Tenure, keep_for: Duration) -> Sighting {
    Sighting {
        id,
        kind: CopyKind::Marker(keep_for),
        tenure,
        revision: Revision::ZERO,
    }
}

fn sealed_copy(id: SessionId, sealed: &super::Sealed, now: Moment) -> Sighting {
    Sighting {
        id,
        kind: match sealed.granted {
            Some((to, _)) => CopyKind::Sealed(to),
            None => CopyKind::Returned {
                held: sealed.held,
                away_for: sealed.away_for(now),
            },
        },
        tenure: sealed.tenure,
        revision: sealed.revision,
    }
}
