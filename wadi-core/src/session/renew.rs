//! A session comes to an id: by a renewal, or by being registered before anybody is told of it.
//!
//! In an open bucket of this node that is done at once. Where none is open (the node is leaving, or has
//! just joined, or its buckets are changing hands) the manager of any other bucket registers the id.

use std::sync::Arc;

use super::SessionId;
use super::departures::Parting;
use super::endings::Ending;
use super::error::SessionError;
use super::held::{Body, Held};
use super::known::Known;
use super::registered::Registered;
use super::sessions::{MINTINGS, Sessions};
use crate::clock::Moment;
use crate::tenure::Tenure;

impl Sessions {
    /// Gives a session a new id, and tells it to who renewed it; the old one is dead here when this
    /// returns, and whoever knows the session by it is shut out. In a cluster it is dead everywhere
    /// when what it returns is settled.
    pub(super) async fn renew(
        self: &Arc<Self>,
        held: &Arc<Held>,
        known: &Known,
    ) -> Result<Option<Parting>, SessionError> {
        // Under its old id it ends, and only what is held may end.
        self.confirmed(held).await?;
        match self.renew_at_home(held, known) {
            Err(SessionError::NoBucket) => self.renew_elsewhere(held, known).await,
            renewed => renewed,
        }
    }

    /// In an open bucket of this node.
    fn renew_at_home(
        &self,
        held: &Arc<Held>,
        known: &Known,
    ) -> Result<Option<Parting>, SessionError> {
        if !self.may_act() {
            return Err(SessionError::Lapsed);
        }
        // The body's lock is held throughout, so that two renewals come one after the other.
        let mut body = held.serving(known)?;
        let (id, tenure) = (0..MINTINGS)
            .map_while(|_| self.mint())
            .find(|(id, tenure)| self.put_new(*id, *tenure, held))
            .ok_or(SessionError::NoBucket)?;
        Ok(self.rename(held, &mut body, known, id, tenure))
    }

    /// By an id that another bucket's manager registers.
    async fn renew_elsewhere(
        self: &Arc<Self>,
        held: &Arc<Held>,
        known: &Known,
    ) -> Result<Option<Parting>, SessionError> {
        let others = self.others().ok_or(SessionError::NoBucket)?;
        let id = self.mint_anywhere();
        let registered = Registered::kept_by(others.register(id).await?, self);
        if !self.may_act() {
            return Err(SessionError::Lapsed);
        }
        // From here on as at home; before, whoever has ended, sealed or renewed it was first.
        let mut body = held.serving(known)?;
        let tenure = registered.tenure();
        registered.make_way(held)?;
        Ok(self.rename(held, &mut body, known, id, tenure))
    }

    /// The session is in the map under its new id, and goes from under the old one.
    fn rename(
        &self,
        held: &Arc<Held>,
        body: &mut Body,
        known: &Known,
        id: SessionId,
        tenure: Tenure,
    ) -> Option<Parting> {
        let former = held.tenure();
        let departures = self.departures();
        let departures = departures.filter(|_| former != Tenure::NONE);
        // Before the session loses the id, so that the node has it in the map or here.
        let parting = departures
            .map(|departures| departures.depart(held.id_of(body), former, body.revision, Some(id)));
        let old = held.rename(body, id, tenure);
        body.revision = body.revision.next();
        body.cookie_sent = Moment::ZERO;
        self.map.remove_exactly(&old, held);
        self.endings.remember(old, Ending::Destroyed);
        known.given(id);
        parting
    }

    /// Has a session registered that was created apart, and puts it into the map.
    pub(super) async fn register(
        self: &Arc<Self>,
        held: &Arc<Held>,
        known: &Known,
    ) -> Result<(), SessionError> {
        if !self.may_act() {
            return Err(SessionError::Lapsed);
        }
        let others = self.others().ok_or(SessionError::NoBucket)?;
        let id = held.id();
        let registered = Registered::kept_by(others.register(id).await?, self);
        let mut body = held.serving(known)?;
        if held.id_of(&body) != id {
            // It was renewed meanwhile, and with that registered.
            return Ok(());
        }
        // Before it is in the map, so that nobody ever finds it without.
        held.rename(&mut body, id, registered.tenure());
        registered.make_way(held)
    }
}

#[cfg(test)]
#[path = "renew_tests.rs"]
mod tests;
