//! What this node tells a manager that asks everybody.

use super::Copies;
use crate::bucket::BucketId;
use crate::message::{CopyKind, Scope, Sighting};
use crate::protocol::holdings::Copy;
use crate::protocol::markers::Markers;
use crate::protocol::turn::Turn;
use crate::session::SessionId;
use crate::tenure::Revision;

impl Copies {
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
                    sightings.push(marker(id, tenure));
                }
                if let Some(sealed) = self.sealed.get(bucket, &id) {
                    sightings.push(sealed_copy(id, sealed));
                }
                if let Some(copy) = turn.holdings.get(&id) {
                    sightings.push(self.copy_in_map(bucket, id, copy));
                }
            }
            Scope::Bucket(bucket) => {
                sightings.extend(
                    markers
                        .bucket(bucket)
                        .map(|(id, tenure)| marker(id, tenure)),
                );
                sightings.extend(
                    self.sealed
                        .bucket(bucket)
                        .map(|(id, sealed)| sealed_copy(*id, sealed)),
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

fn marker(id: SessionId, tenure: crate::tenure::Tenure) -> Sighting {
    Sighting {
        id,
        kind: CopyKind::Marker,
        tenure,
        revision: Revision::ZERO,
    }
}

fn sealed_copy(id: SessionId, sealed: &super::Sealed) -> Sighting {
    Sighting {
        id,
        kind: sealed
            .granted
            .map_or(CopyKind::Returned, |(to, _)| CopyKind::Sealed(to)),
        tenure: sealed.tenure,
        revision: sealed.revision,
    }
}
