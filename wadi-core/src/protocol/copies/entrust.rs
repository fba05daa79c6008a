//! This member is leaving, and a copy that waits here is kept by its manager from now on.

use super::Copies;
use crate::member::Incarnation;
use crate::message::Body;
use crate::protocol::markers::Markers;
use crate::protocol::turn::Turn;
use crate::session::SessionId;
use crate::tenure::Tenure;

impl Copies {
    /// Manager: let me keep it; what is not above `kept` I have already. Whether a copy has gone from
    /// here.
    pub(in crate::protocol) fn entrust(
        &mut self,
        turn: &mut Turn<'_>,
        markers: &Markers,
        manager: Incarnation,
        id: SessionId,
        kept: Tenure,
    ) -> bool {
        let bucket = turn.bucket(&id);
        if markers.get(bucket, &id).is_some() {
            self.tell_end(turn, markers, id);
            return false;
        }
        let copy = self.sealed.get(bucket, &id);
        if let Some(copy) = copy.filter(|copy| copy.tenure > kept) {
            let entrusted = Body::Entrusted {
                id,
                tenure: copy.tenure,
                revision: copy.revision,
                state: copy.state.clone(),
            };
            turn.send(manager, entrusted);
            return false;
        }
        if kept == Tenure::NONE {
            // What it may have had is told when everybody is asked.
            return false;
        }
        let gone = self.sealed.remove(bucket, &id);
        if let Some(copy) = &gone {
            self.raise_floor(turn, id, copy.tenure, None);
            self.offered(turn, id);
        }
        turn.send(manager, Body::Dropped { id, tenure: kept });
        gone.is_some()
    }
}
