//! Copies that serve nobody, one of which may serve again: what is known of them, what the policy for stale
//! copies says, and what comes of that.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Directory, Entry, Whereabouts};
use crate::member::Incarnation;
use crate::message::{Body, CopyKind, Sighting};
use crate::protocol::io::Event;
use crate::protocol::timer::Timer;
use crate::protocol::turn::Turn;
use crate::sabotage::{self, Rule};
use crate::session::SessionId;
use crate::stale::{Source, StaleCopy};
use crate::tenure::{Revision, Tenure};

/// A copy with which a node came back, by its own words.
#[derive(Clone, Copy, Debug)]
pub(in crate::protocol) struct Offered {
    pub(in crate::protocol) tenure: Tenure,
    pub(in crate::protocol) revision: Revision,
    /// It was held when its node lost its right to act.
    pub(in crate::protocol) held: bool,
    pub(in crate::protocol) away_for: Duration,
}

/// Who serves from now on.
pub(super) struct Winner {
    pub(super) holder: Incarnation,
    pub(super) tenure: Tenure,
    /// It is proven that nothing was written since.
    is_latest: bool,
}

/// Copies of one session, and who has them. None of them serves.
pub(super) struct Contest {
    holders: Vec<Incarnation>,
    copies: Vec<StaleCopy>,
}

/// Whether nobody can come back with a newer copy than one of this tenure, which serves nobody now.
/// `held`: it was held when its node lost its right to act.
fn is_newest(tenure: Tenure, held: bool, latest: Option<Tenure>) -> bool {
    latest.map_or(held, |latest| tenure >= latest)
}

impl Contest {
    /// Those of these copies that serve nobody. `latest` is the last tenure that was held, where that is
    /// known.
    pub(super) fn new(sightings: &[(Incarnation, Sighting)], latest: Option<Tenure>) -> Self {
        let highest = sightings.iter();
        let highest = highest.map(|(_, it)| (it.tenure, it.revision)).max();
        let stale = sightings.iter().filter_map(|(who, sighting)| {
            let (source, held, away_for) = match sighting.kind {
                CopyKind::Sealed(_) => (Source::Sealed, false, None),
                CopyKind::Returned { held, away_for } => (Source::Returned, held, Some(away_for)),
                CopyKind::Row(given_out) => (Source::Stored, given_out.is_none(), None),
                CopyKind::Held | CopyKind::Arriving | CopyKind::Marker(_) => return None,
            };
            let (tenure, revision) = (sighting.tenure, sighting.revision);
            let copy = StaleCopy {
                source,
                tenure,
                revision,
                away_for,
                is_latest: is_newest(tenure, held, latest) && highest == Some((tenure, revision)),
            };
            Some((*who, copy))
        });
        let (holders, copies) = stale.unzip();
        Self { holders, copies }
    }

    /// The one copy that was offered.
    pub(super) fn of(from: Incarnation, offered: Offered, latest: Option<Tenure>) -> Self {
        let copy = StaleCopy {
            source: Source::Returned,
            tenure: offered.tenure,
            revision: offered.revision,
            away_for: Some(offered.away_for),
            is_latest: is_newest(offered.tenure, offered.held, latest),
        };
        Self {
            holders: vec![from],
            copies: vec![copy],
        }
    }

    /// Whether one of them is the latest for certain, so that nobody need be waited for.
    pub(super) fn is_certain(&self) -> bool {
        self.copies.iter().any(|copy| copy.is_latest)
    }

    /// Which of them serves, if any, as the policy has it.
    pub(super) fn choose(&self, turn: &Turn<'_>) -> Option<Winner> {
        let chosen = turn.settings.stale.policy().choose(&self.copies)?;
        let copy = self.copies.get(chosen)?;
        Some(Winner {
            holder: self.holders[chosen],
            tenure: copy.tenure,
            is_latest: copy.is_latest,
        })
    }
}

impl Directory {
    /// A copy that served nobody serves where it is, under a fresh tenure.
    pub(super) fn revive(&mut self, turn: &mut Turn<'_>, id: SessionId, winner: Winner) {
        if !winner.is_latest && !sabotage::is_off(Rule::StaleEvent) {
            turn.event(Event::Stale(id));
        }
        let Winner { holder, tenure, .. } = winner;
        let to = match holder {
            Incarnation::STORE => turn.me,
            serves => serves,
        };
        self.move_session(turn, id, holder, tenure, to);
    }

    /// The policy takes none of the copies that these have: the session is lost, and they drop them.
    pub(super) fn refuse_all(
        &mut self,
        turn: &mut Turn<'_>,
        id: SessionId,
        latest: Option<Tenure>,
        older: BTreeSet<Incarnation>,
    ) {
        let Some(managed) = self.managed_of(turn, &id) else {
            return;
        };
        let tenure = managed.allot();
        for &who in &older {
            turn.send(who, Body::Refuse { id, tenure });
        }
        let place = Whereabouts::Missing {
            until: turn.now,
            latest,
            told: false,
            refused: Some(tenure),
        };
        managed.entries.insert(id, Entry { place, older });
        turn.await_answer(Timer::Drop(id));
        turn.timers
            .start(Timer::Missing(id), turn.now, Duration::ZERO);
    }
}
