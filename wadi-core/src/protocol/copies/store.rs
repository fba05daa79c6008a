//! A session leaves this node for the store below all nodes.
//!
//! It is an ordinary release, to somebody who says nothing himself: who puts it there tells the manager that
//! it has arrived. The sealed copy stays until the manager has it dropped, as always.

use super::release::refuse;
use super::{Copies, Refusal};
use crate::member::Incarnation;
use crate::message::{Body, Want};
use crate::protocol::io::{Output, SealedCopy, Stored};
use crate::protocol::turn::Turn;
use crate::session::SessionId;
use crate::tenure::Tenure;

impl Copies {
    /// Nobody asks for it any more: asks its manager to have it go to the store.
    pub(in crate::protocol) fn demote(&self, turn: &mut Turn<'_>, id: SessionId) {
        let bucket = turn.bucket(&id);
        let is_held = turn.holdings.get(&id).is_some() && !self.is_arriving(bucket, &id);
        if turn.settings.store && is_held && !self.is_sealing(bucket, &id) {
            let (to, want) = (Incarnation::STORE, Want::Move);
            turn.send_to_manager(&id, Body::Find { id, to, want });
        }
    }

    /// Whether it is being put into the store from here under this tenure.
    pub(in crate::protocol) fn is_put(
        &self,
        turn: &Turn<'_>,
        id: &SessionId,
        tenure: Tenure,
    ) -> bool {
        let sealed = self.sealed.get(turn.bucket(id), id);
        sealed.is_some_and(|sealed| sealed.granted == Some((Incarnation::STORE, tenure)))
    }

    /// What became of that; whether the session is back in the map. What may have been put, or may be yet,
    /// is for the manager to find out before anything of it serves.
    pub(in crate::protocol) fn was_put(
        &mut self,
        turn: &mut Turn<'_>,
        id: SessionId,
        tenure: Tenure,
        stored: &Stored,
    ) -> bool {
        let bucket = turn.bucket(&id);
        match stored {
            Stored::Done => turn.send_to_manager(&id, Body::Arrived { id, tenure }),
            // Nobody has asked about it since, so it is still its manager's word that it goes.
            Stored::Refused
                if turn.holdings.get(&id).is_none()
                    && tenure.epoch() == turn.epoch(bucket)
                    && !self.is_below_floor(bucket, &id, tenure) =>
            {
                let sealed = self.sealed.get(bucket, &id);
                if sealed.is_some_and(|sealed| sealed.put_again) {
                    turn.send_to_manager(&id, Body::NotHere { id, tenure });
                    return false;
                }
                let Some(sealed) = self.sealed.remove(bucket, &id) else {
                    return false;
                };
                self.raise_floor(turn, id, tenure, Some(Refusal::Busy));
                let manager = turn.manager(&id);
                refuse(turn, manager, id, tenure, Refusal::Busy);
                let copy = SealedCopy {
                    id,
                    tenure: sealed.tenure,
                    revision: sealed.revision,
                    state: sealed.state,
                };
                let restored: Output = copy.restored();
                turn.out.push(restored);
                return true;
            }
            _ => turn.send_to_manager(&id, Body::NotHere { id, tenure }),
        }
        false
    }
}
