//! What the clients know: which appends were acknowledged, which sessions were ended, and what may
//! therefore be answered and what may not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wadi_core::member::Incarnation;
use wadi_core::session::SessionId;
use wadi_core::tenure::Tenure;

use crate::faults::LONGEST_DELAY;
use crate::host::Instant;

/// One session as its clients know it.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Acknowledged appends, in the order of their effects.
    acknowledged: Vec<u32>,
    /// Appends that died with their holder, and of which an event told.
    excused: BTreeSet<u32>,
    /// Whoever last committed to it, or was confirmed as its holder.
    holder: Option<Incarnation>,
    /// An event told that it is lost, or that an older copy serves.
    told: bool,
    /// A holder lost it, and runs on.
    forgotten: bool,
    /// And its bucket has changed its manager since.
    unnoticed: bool,
    /// Its last holder's incarnation is dead.
    holder_died: bool,
    /// Somebody asked for its end; whether that was acknowledged.
    end: Option<bool>,
    /// When it was last found again after its holder had died.
    found_again: Instant,
    /// The manager has said that the markers of its end are in place.
    marked: bool,
    /// Who leaves and has given its copy away, and under which tenure.
    entrusted: BTreeMap<Incarnation, Tenure>,
    /// Every node that kept its marker has lost its memory, after they were in place.
    markers_gone: bool,
}

/// Every session that clients know.
#[derive(Debug)]
pub(crate) struct Oracle {
    /// For how long after an unproven death nobody may say "absent", and no older copy serve, by true
    /// time: clocks differ by less than a twentieth from it.
    doubt: Instant,
    known: BTreeMap<SessionId, Known>,
    dead: BTreeSet<Incarnation>,
    /// When somebody was declared dead without proof: it may come back with what it held.
    declared_dead: BTreeMap<Incarnation, Instant>,
    /// Who came back as whom.
    was_before: BTreeMap<Incarnation, Incarnation>,
}

impl Oracle {
    pub(crate) fn new(absent_after: Duration) -> Self {
        Self {
            doubt: absent_after.as_nanos() as u64 / 100 * 95,
            known: BTreeMap::new(),
            dead: BTreeSet::new(),
            declared_dead: BTreeMap::new(),
            was_before: BTreeMap::new(),
        }
    }

    pub(crate) fn created(&mut self, id: SessionId, holder: Incarnation) {
        self.known.entry(id).or_default().holder = Some(holder);
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = SessionId> {
        self.known.keys().copied()
    }

    /// Sessions that clients still use.
    pub(crate) fn alive(&self) -> Vec<SessionId> {
        self.known
            .iter()
            .filter(|(_, known)| known.end.is_none())
            .map(|(id, _)| *id)
            .collect()
    }

    /// Ended, as acknowledged to a client.
    pub(crate) fn ended_for_good(&self) -> impl Iterator<Item = SessionId> {
        self.known
            .iter()
            .filter(|(_, known)| known.end == Some(true) && !known.markers_gone)
            .map(|(id, _)| *id)
    }

    /// Ended, as acknowledged to a client, whoever still knows.
    pub(crate) fn ended_for_clients(&self) -> Vec<SessionId> {
        let known = self.known.iter();
        let ended = known.filter(|(_, known)| known.end == Some(true));
        ended.map(|(id, _)| *id).collect()
    }

    pub(crate) fn markers_gone(&mut self, id: &SessionId) {
        if let Some(known) = self.known.get_mut(id) {
            known.markers_gone |= known.marked;
        }
    }

    pub(crate) fn marked(&mut self, id: &SessionId) {
        if let Some(known) = self.known.get_mut(id) {
            known.marked = true;
        }
    }

    /// `holder` has the primary copy from now on.
    pub(crate) fn held(&mut self, id: &SessionId, holder: Incarnation, now: Instant) {
        if let Some(known) = self.known.get_mut(id) {
            if known.holder == Some(holder) {
                return;
            }
            if known.holder_died {
                known.found_again = now;
            }
            known.holder = Some(holder);
            known.holder_died = self.dead.contains(&holder);
        }
    }

    /// What was in the store was given to `taker`.
    pub(crate) fn taken_out(&mut self, id: &SessionId, taker: Incarnation, now: Instant) {
        let known = self.known.get(id);
        if known.is_some_and(|known| known.holder == Some(Incarnation::STORE)) {
            self.held(id, taker, now);
            // Where nothing is taken back, what may have served since is lost.
            if self.doubt == 0
                && let Some(known) = self.known.get_mut(id)
            {
                (known.holder, known.holder_died) = (None, true);
            }
        }
    }

    /// Somebody leaves, and gives its copy to whoever asks for it.
    pub(crate) fn entrusts(&mut self, id: &SessionId, leaver: Incarnation, tenure: Tenure) {
        if let Some(known) = self.known.get_mut(id) {
            known.entrusted.insert(leaver, tenure);
        }
    }

    /// What somebody who leaves has of it is with `keeper` from now on, if it is of that tenure.
    pub(crate) fn kept(
        &mut self,
        id: &SessionId,
        (leaver, tenure): (Incarnation, Tenure),
        keeper: Incarnation,
    ) {
        if let Some(known) = self.known.get_mut(id)
            && known.holder == Some(leaver)
            && known
                .entrusted
                .get(&leaver)
                .is_some_and(|its| *its <= tenure)
        {
            known.holder = Some(keeper);
            known.holder_died |= self.dead.contains(&keeper);
        }
    }

    /// An incarnation died, or was fenced: what only it held may be gone, though not yet while it may
    /// come back.
    pub(crate) fn died(&mut self, incarnation: Incarnation, now: Instant) {
        self.dead.insert(incarnation);
        let in_doubt = self.in_doubt(incarnation, now);
        for known in self.known.values_mut() {
            if known.holder == Some(incarnation) {
                known.holder_died = true;
                if known.told && !in_doubt {
                    known.excuse();
                }
            }
        }
    }

    /// It came back as somebody new, with what it held.
    pub(crate) fn came_back(&mut self, former: Incarnation, now_as: Incarnation) {
        if former < now_as {
            self.was_before.insert(now_as, former);
        }
    }

    /// It is proven that its process has ended: what it was before does not come back either.
    pub(crate) fn proven_dead(&mut self, incarnation: Incarnation, now: Instant) {
        let mut ended = Some(incarnation);
        while let Some(who) = ended {
            self.declared_dead.remove(&who);
            ended = self.was_before.get(&who).copied();
        }
        self.died(incarnation, now);
    }

    /// Whether it was declared dead without proof a short while ago.
    fn in_doubt(&self, incarnation: Incarnation, now: Instant) -> bool {
        let declared = self.declared_dead.get(&incarnation);
        declared.is_some_and(|at| now - at < self.doubt)
    }

    /// Its holder, which is not its bucket's manager, has lost it and runs on.
    pub(crate) fn forgotten(&mut self, id: &SessionId) {
        if let Some(known) = self.known.get_mut(id) {
            known.holder_died = true;
            known.forgotten = true;
            // A late echo may bring back what the loser once received; that is no fault of the protocol.
            known.excuse();
        }
    }

    pub(crate) fn was_forgotten(&self, id: &SessionId) -> bool {
        self.known.get(id).is_some_and(|known| known.forgotten)
    }

    /// Buckets changed managers. Where that makes a session's loser its manager, nobody else is left
    /// to notice the loss.
    pub(crate) fn managers_changed(&mut self, changed: impl Fn(&SessionId) -> bool) {
        for (id, known) in &mut self.known {
            known.unnoticed |= known.forgotten && changed(id);
        }
    }

    /// The authority declared an incarnation dead because its lease ran out.
    pub(crate) fn declared_dead(&mut self, incarnation: Incarnation, now: Instant) {
        self.declared_dead.insert(incarnation, now);
        self.died(incarnation, now);
    }

    /// An event told that a session is lost, or that an older copy serves.
    pub(crate) fn told(&mut self, id: &SessionId, now: Instant) {
        let holder = self.known.get(id).and_then(|known| known.holder);
        let in_doubt = holder.is_some_and(|holder| self.in_doubt(holder, now));
        if let Some(known) = self.known.get_mut(id) {
            known.told = true;
            if known.holder_died && !in_doubt {
                known.excuse();
            }
        }
    }

    pub(crate) fn end_asked(&mut self, id: &SessionId) {
        if let Some(known) = self.known.get_mut(id) {
            known.end.get_or_insert(false);
        }
    }

    pub(crate) fn end_acknowledged(&mut self, id: &SessionId) {
        if let Some(known) = self.known.get_mut(id) {
            known.end = Some(true);
        }
    }

    /// A client was answered with these tokens, the last of which it may have appended itself.
    pub(crate) fn answered(&mut self, id: &SessionId, tokens: &[u32]) -> Result<(), String> {
        let Some(known) = self.known.get_mut(id) else {
            return Err("a session answered that nobody created".into());
        };
        if known.end == Some(true) {
            // Where nobody is left who knows of its end, an old copy of it may be all there is.
            return if known.markers_gone {
                Ok(())
            } else {
                Err("an ended session came back".into())
            };
        }
        let mut rest = tokens.iter();
        for token in &known.acknowledged {
            if known.excused.contains(token) {
                continue;
            }
            if !rest.any(|there| there == token) {
                return Err(format!(
                    "acknowledged write {token} is missing or out of order: {} acknowledged, {} there, holder died: {}, told: {}",
                    known.acknowledged.len(),
                    tokens.len(),
                    known.holder_died,
                    known.told
                ));
            }
        }
        Ok(())
    }

    /// A client was told that its append stands.
    pub(crate) fn append_acknowledged(&mut self, id: &SessionId, token: u32) {
        if let Some(known) = self.known.get_mut(id) {
            known.acknowledged.push(token);
            known.told = false;
        }
    }

    /// A client was told that the session does not exist. The word may have been under way for as
    /// long as any message, so it may be older than the session's coming back.
    pub(crate) fn absent(&self, id: &SessionId, lost: bool, now: Instant) -> Result<(), String> {
        let recently = |at: Instant| at > 0 && now - at < LONGEST_DELAY;
        match self.known.get(id) {
            Some(known) if known.end.is_none() && !lost && !known.unnoticed => {
                Err("a session was said to have ended that nobody ended".into())
            }
            Some(known)
                if known.end.is_none()
                    && !known.forgotten
                    && known
                        .holder
                        .is_some_and(|holder| self.in_doubt(holder, now))
                    && !recently(known.found_again) =>
            {
                Err("a session was called absent whose holder may come back".into())
            }
            Some(known)
                if known.end.is_none() && !known.holder_died && !recently(known.found_again) =>
            {
                Err("a live session was called absent".into())
            }
            _ => Ok(()),
        }
    }

    /// Whether a settled cluster may say that it does not exist.
    pub(crate) fn may_be_gone(&self, id: &SessionId) -> bool {
        self.known
            .get(id)
            .is_none_or(|known| known.end.is_some() || known.holder_died || known.told)
    }
}

impl Known {
    fn excuse(&mut self) {
        self.excused.extend(self.acknowledged.iter().copied());
    }
}
