//! Asking everybody: the rebuild of a bucket's directory after its manager died, and the same for
//! one session whose move was cut short.
//!
//! Only a held copy serves at once. Anything less (a sealed copy, one that arrived unconfirmed, a
//! returned one, nothing at all) waits until every member of this layout has answered. What may then
//! still be older than a copy that is away with a dead node waits for that one, too.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::stale::Contest;
use super::{Directory, Entry, Managed, Phase, Whereabouts};
use crate::bucket::{BucketId, LayoutVersion};
use crate::clock::Moment;
use crate::member::Incarnation;
use crate::message::{Body, CopyKind, Doubt, Scope, Sighting};
use crate::protocol::io::Event;
use crate::protocol::markers::Markers;
use crate::protocol::timer::Timer;
use crate::protocol::turn::Turn;
use crate::sabotage::{self, Rule};
use crate::session::SessionId;
use crate::tenure::Tenure;

type Sightings = Vec<(Incarnation, Sighting)>;

/// One asking of every member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Inquiry {
    pub(super) scope: Scope,
    /// Everybody who was asked and is alive.
    asked: BTreeSet<Incarnation>,
    /// Those who have not answered.
    waiting: BTreeSet<Incarnation>,
    reports: BTreeMap<SessionId, Sightings>,
    /// The latest death without proof when everybody was asked.
    unproven: LayoutVersion,
    /// Until when who had died by then may come back, by whoever has known of that for longest.
    doubt_until: Moment,
    /// The store was asked, too.
    with_store: bool,
}

impl Inquiry {
    /// Forgets who is no member any more, and what they said. Whether everybody has answered.
    fn bury(&mut self, turn: &Turn<'_>) -> bool {
        self.waiting.retain(|who| turn.is_there(*who));
        for sightings in self.reports.values_mut() {
            sightings.retain(|(who, _)| turn.is_there(*who));
        }
        self.waiting.is_empty()
    }
}

impl Entry {
    /// Whether anything that it says may have died.
    fn is_concerned(&self, turn: &Turn<'_>) -> bool {
        let gone = |who: &Incarnation| !turn.is_there(*who);
        let by_place = match &self.place {
            Whereabouts::At { holder, .. } => gone(holder),
            Whereabouts::Moving { from, to, .. } => gone(from) || gone(to),
            Whereabouts::Unsettled { .. } => true,
            Whereabouts::Missing { .. } => false,
        };
        by_place || self.older.iter().any(gone)
    }
}

/// Whether what members have of a session says already which copy serves, whatever the store has.
fn is_decided(sightings: &Sightings, latest: Option<Tenure>) -> bool {
    let copies = sightings.iter().filter(|(_, it)| !it.is_marker());
    let best = copies.max_by_key(|(_, it)| (it.tenure, it.revision));
    best.is_some_and(|(_, best)| match best.kind {
        CopyKind::Held | CopyKind::Arriving => true,
        _ => Contest::new(sightings, latest).is_certain(),
    })
}

impl Directory {
    /// Everybody has answered: whether the store is asked now, because nothing is certain without it. What
    /// may have been put there lately is made known to it first, so that it is never taken for the newest.
    fn asks_store(&mut self, turn: &mut Turn<'_>, markers: &Markers, id: SessionId) -> bool {
        let bucket = turn.bucket(&id);
        if !turn.settings.store
            || sabotage::is_off(Rule::AskStore)
            || markers.get(bucket, &id).is_some()
        {
            return false;
        }
        let managed = self.managed.get_mut(&bucket);
        let Some(Entry {
            place: Whereabouts::Unsettled {
                inquiry, latest, ..
            },
            older,
        }) = managed.and_then(|managed| managed.entries.get_mut(&id))
        else {
            return false;
        };
        let sightings = inquiry.reports.get(&id);
        let ended = sightings.is_some_and(|some| some.iter().any(|(_, it)| it.is_marker()));
        let is_decided = sightings.is_some_and(|some| is_decided(some, *latest));
        let is_astray = older.contains(&Incarnation::STORE) && !sabotage::is_off(Rule::FenceRow);
        if inquiry.with_store || ended || (is_decided && !is_astray) {
            return false;
        }
        inquiry.with_store = true;
        inquiry.waiting.insert(Incarnation::STORE);
        let scope = inquiry.scope;
        turn.send(Incarnation::STORE, Body::Inquire { scope });
        true
    }

    fn inquire(&self, turn: &mut Turn<'_>, scope: Scope) -> Inquiry {
        let waiting: BTreeSet<_> = turn.layout.members.keys().copied().collect();
        for &who in &waiting {
            turn.send(who, Body::Inquire { scope });
        }
        turn.await_answer(Timer::Inquire(scope));
        Inquiry {
            scope,
            asked: waiting.clone(),
            waiting,
            reports: BTreeMap::new(),
            unproven: turn.layout.unproven,
            doubt_until: super::doubt_until(turn),
            with_store: false,
        }
    }

    /// The previous manager cannot hand the directory over: asks everybody.
    pub(super) fn rebuild(&mut self, turn: &mut Turn<'_>, bucket: BucketId) {
        let inquiry = self.inquire(turn, Scope::Bucket(bucket));
        if let Some(managed) = self.managed.get_mut(&bucket) {
            managed.phase = Phase::Rebuilding(inquiry);
        }
    }

    /// Nobody can say where one session is: asks everybody. Who answers acts on no tenure that was
    /// allotted before.
    pub(super) fn resolve(&mut self, turn: &mut Turn<'_>, id: SessionId, latest: Option<Tenure>) {
        let until = super::doubt_until(turn);
        self.ask_everybody(turn, id, latest, until);
    }

    fn ask_everybody(
        &mut self,
        turn: &mut Turn<'_>,
        id: SessionId,
        latest: Option<Tenure>,
        until: Moment,
    ) {
        let latest = latest.filter(|latest| *latest != Tenure::NONE);
        let Some(managed) = self.managed_of(turn, &id) else {
            return;
        };
        let floor = managed.allot();
        let place = managed.entries.get(&id).map(|entry| &entry.place);
        let until = match place {
            // Nobody had it as far as was known, so it is in doubt like everything of which that is so.
            Some(&Whereabouts::Moving {
                from: Incarnation::STORE,
                held: Tenure::NONE,
                ..
            }) => until.max(managed.doubt_until),
            _ => until,
        };
        turn.answered(Timer::Release(id));
        turn.answered(Timer::Drop(id));
        turn.answered(Timer::Missing(id));
        let inquiry = self.inquire(turn, Scope::Session(id, floor));
        let place = Whereabouts::Unsettled {
            inquiry,
            latest,
            until,
        };
        if let Some(managed) = self.managed_of(turn, &id) {
            managed
                .entries
                .entry(id)
                .and_modify(|entry| {
                    if let Whereabouts::Moving { to, .. } = entry.place
                        && to == Incarnation::STORE
                    {
                        // It may have been put there, or may be yet.
                        entry.older.insert(to);
                    }
                    entry.place = place.clone();
                })
                .or_insert_with(|| Entry {
                    place,
                    older: BTreeSet::new(),
                });
        }
    }

    fn inquiry(&mut self, turn: &Turn<'_>, scope: Scope) -> Option<&mut Inquiry> {
        let inquiry = match scope {
            Scope::Bucket(bucket) => match &mut self.managed.get_mut(&bucket)?.phase {
                Phase::Rebuilding(inquiry) => inquiry,
                _ => return None,
            },
            Scope::Session(id, _) => {
                match &mut self.managed_of(turn, &id)?.entries.get_mut(&id)?.place {
                    Whereabouts::Unsettled { inquiry, .. } => inquiry,
                    _ => return None,
                }
            }
        };
        (inquiry.scope == scope || sabotage::is_off(Rule::OlderTenure)).then_some(inquiry)
    }

    /// Asks those again who have not answered; whether there are any.
    pub(in crate::protocol) fn inquire_again(&mut self, turn: &mut Turn<'_>, scope: Scope) -> bool {
        let Some(inquiry) = self.inquiry(turn, scope) else {
            return false;
        };
        for who in inquiry.waiting.clone() {
            turn.send(who, Body::Inquire { scope });
        }
        true
    }

    /// A member says what it has.
    pub(in crate::protocol) fn report(
        &mut self,
        turn: &mut Turn<'_>,
        markers: &mut Markers,
        from: Incarnation,
        scope: Scope,
        sightings: Vec<Sighting>,
        doubt: Doubt,
    ) {
        let bucket = match scope {
            Scope::Bucket(bucket) => bucket,
            Scope::Session(id, _) => turn.bucket(&id),
        };
        let Some(highest) = self.managed.get(&bucket).map(Managed::highest) else {
            return;
        };
        let Some(inquiry) = self.inquiry(turn, scope) else {
            return;
        };
        if !inquiry.waiting.remove(&from) {
            return;
        }
        if doubt.of >= inquiry.unproven {
            inquiry.doubt_until = inquiry.doubt_until.min(
                turn.now + Duration::from_millis(doubt.lasts_ms).min(turn.settings.absent_after),
            );
        }
        let within = |id: &SessionId| match scope {
            Scope::Bucket(bucket) => turn.bucket(id) == bucket,
            Scope::Session(one, _) => *id == one,
        };
        let mut held = Vec::new();
        for sighting in sightings {
            if !within(&sighting.id) || sighting.tenure > highest {
                continue;
            }
            let serves = sighting.kind == CopyKind::Held
                || (sabotage::is_off(Rule::RebuildWaits) && !sighting.is_marker());
            if serves {
                held.push(sighting);
            }
            inquiry
                .reports
                .entry(sighting.id)
                .or_default()
                .push((from, sighting));
        }
        let complete = inquiry.waiting.is_empty();
        if let Scope::Bucket(bucket) = scope {
            for sighting in held {
                self.serve_at_once(turn, markers, bucket, from, sighting);
            }
        }
        if complete {
            self.conclude(turn, markers, scope);
        }
    }

    /// A held copy needs no other report: its session is served while the rebuild goes on.
    fn serve_at_once(
        &mut self,
        turn: &mut Turn<'_>,
        markers: &Markers,
        bucket: BucketId,
        holder: Incarnation,
        sighting: Sighting,
    ) {
        let Some(managed) = self.managed.get_mut(&bucket) else {
            return;
        };
        if markers.get(bucket, &sighting.id).is_some() {
            return;
        }
        let mut revive = false;
        managed.entries.entry(sighting.id).or_insert_with(|| {
            revive = sighting.kind != CopyKind::Held;
            Entry {
                place: Whereabouts::At {
                    holder,
                    tenure: sighting.tenure,
                },
                older: BTreeSet::new(),
            }
        });
        if revive {
            self.move_session(turn, sighting.id, holder, sighting.tenure, holder);
        }
    }

    /// Everybody has answered.
    fn conclude(&mut self, turn: &mut Turn<'_>, markers: &mut Markers, scope: Scope) {
        if let Scope::Session(id, _) = scope
            && self.asks_store(turn, markers, id)
        {
            return;
        }
        turn.answered(Timer::Inquire(scope));
        match scope {
            Scope::Session(id, _) => {
                let Some(managed) = self.managed_of(turn, &id) else {
                    return;
                };
                let Some(entry) = managed.entries.remove(&id) else {
                    return;
                };
                let Whereabouts::Unsettled {
                    mut inquiry,
                    latest,
                    until,
                } = entry.place
                else {
                    return;
                };
                let sightings = inquiry.reports.remove(&id).unwrap_or_default();
                let until = until.max(turn.now);
                self.settle(turn, markers, id, &sightings, latest, until);
                self.answer_early_of(turn, markers, id);
            }
            Scope::Bucket(bucket) => {
                let Some(managed) = self.managed.get_mut(&bucket) else {
                    return;
                };
                let Phase::Rebuilding(inquiry) = std::mem::replace(&mut managed.phase, Phase::Open)
                else {
                    return;
                };
                managed.doubt(turn, inquiry.doubt_until);
                self.open(turn, markers, bucket);
                for (id, sightings) in inquiry.reports {
                    self.settle_rebuilt(turn, markers, bucket, id, &sightings);
                }
                let Some(managed) = self.managed.get_mut(&bucket) else {
                    return;
                };
                let known: Vec<_> = managed.entries.keys().copied().collect();
                for id in known {
                    self.clean(turn, id);
                }
                self.answer_early(turn, markers, bucket);
            }
        }
    }

    fn settle_rebuilt(
        &mut self,
        turn: &mut Turn<'_>,
        markers: &mut Markers,
        bucket: BucketId,
        id: SessionId,
        sightings: &Sightings,
    ) {
        let Some(managed) = self.managed.get_mut(&bucket) else {
            return;
        };
        let ended = sightings.iter().any(|(_, sighting)| sighting.is_marker())
            || markers.get(bucket, &id).is_some();
        match managed.entries.get_mut(&id) {
            // Everybody was asked again since, for this session alone, and had nothing that serves.
            Some(entry) if !ended && matches!(entry.place, Whereabouts::Missing { .. }) => {}
            Some(entry) if !ended => {
                // Served since its holder reported: whoever else reported a copy has an older one,
                // and who held it then may have lost it since.
                entry.older.extend(sightings.iter().map(|(who, _)| *who));
                if let Whereabouts::Moving { from, .. } = entry.place {
                    // Not `to`: where the move is refused, an older copy there is nobody else's care.
                    entry.older.remove(&from);
                }
            }
            _ => {
                if sightings.is_empty() {
                    return;
                }
                managed.entries.remove(&id);
                let until = managed.doubt_until;
                if turn.settings.store && !ended && !is_decided(sightings, None) {
                    self.ask_everybody(turn, id, None, until);
                    return;
                }
                self.settle(turn, markers, id, sightings, None, until);
            }
        }
    }

    /// Decides for one session from everybody's answers. `latest` is the last tenure that was held,
    /// where that is known; until `until` somebody may come back with a newer copy.
    fn settle(
        &mut self,
        turn: &mut Turn<'_>,
        markers: &mut Markers,
        id: SessionId,
        sightings: &Sightings,
        latest: Option<Tenure>,
        until: Moment,
    ) {
        let copies = || {
            sightings
                .iter()
                .filter(|(_, sighting)| !sighting.is_marker())
        };
        let own = markers
            .get(turn.bucket(&id), &id)
            .map(|tenure| (tenure, Duration::ZERO));
        let marker = sightings
            .iter()
            .filter_map(|(_, sighting)| match sighting.kind {
                CopyKind::Marker(keep_for) => Some((sighting.tenure, keep_for)),
                _ => None,
            })
            .chain(own)
            .reduce(|one, two| (one.0.max(two.0), one.1.max(two.1)));
        if let Some((tenure, keep_for)) = marker
            && !sabotage::is_off(Rule::MarkerBeats)
        {
            let mut with_copies: BTreeSet<_> = copies().map(|(who, _)| *who).collect();
            if turn.settings.store {
                with_copies.insert(Incarnation::STORE);
            }
            let keep_for = keep_for.min(turn.settings.mark_for);
            self.spread_marker(turn, markers, id, tenure, keep_for, with_copies, None);
            return;
        }
        // A held copy is the highest: who holds was given a tenure above every copy left behind.
        let best = copies().max_by_key(|(_, sighting)| (sighting.tenure, sighting.revision));
        let Some(&(holder, sighting)) = best else {
            self.miss(turn, id, latest, until, BTreeSet::new());
            return;
        };
        let tenure = sighting.tenure;
        let older = copies().map(|(who, _)| *who).collect();
        match sighting.kind {
            CopyKind::Held | CopyKind::Marker(_) => self.stands(turn, id, holder, tenure, older),
            CopyKind::Arriving => {
                turn.send(holder, Body::Confirmed { id, tenure });
                self.stands(turn, id, holder, tenure, older);
            }
            CopyKind::Sealed(_) | CopyKind::Returned { .. } | CopyKind::Row(_) => {
                let serving = copies().filter(|(_, it)| it.kind == CopyKind::Held);
                let serving = serving.map(|(who, it)| (it.tenure, *who)).max();
                let copies: Vec<_> = copies().copied().collect();
                let contest = Contest::new(&copies, latest);
                if !contest.is_certain() && turn.now < until && !sabotage::is_off(Rule::OlderWaits)
                {
                    self.miss(turn, id, latest, until, older);
                    return;
                }
                match contest.choose(turn) {
                    Some(winner) => {
                        self.stands_at(turn, id, winner.holder, winner.tenure, older);
                        self.revive(turn, id, winner);
                    }
                    None => match serving {
                        // Above whatever was not taken.
                        Some((tenure, holder)) => {
                            self.stands_at(turn, id, holder, tenure, older);
                            self.move_session(turn, id, holder, tenure, holder);
                        }
                        None => self.refuse_all(turn, id, latest, older),
                    },
                }
            }
        }
    }

    /// This copy serves from now on; who has an `older` one drops it.
    fn stands(
        &mut self,
        turn: &mut Turn<'_>,
        id: SessionId,
        holder: Incarnation,
        tenure: Tenure,
        older: BTreeSet<Incarnation>,
    ) {
        self.stands_at(turn, id, holder, tenure, older);
        self.clean(turn, id);
    }

    fn stands_at(
        &mut self,
        turn: &Turn<'_>,
        id: SessionId,
        holder: Incarnation,
        tenure: Tenure,
        older: BTreeSet<Incarnation>,
    ) {
        let place = Whereabouts::At { holder, tenure };
        if let Some(managed) = self.managed_of(turn, &id) {
            managed.entries.insert(id, Entry { place, older });
        }
    }

    /// Nobody has it, or those who have it may have an `older` copy only. Until `until` somebody may
    /// come back with the newest.
    pub(super) fn miss(
        &mut self,
        turn: &mut Turn<'_>,
        id: SessionId,
        latest: Option<Tenure>,
        until: Moment,
        older: BTreeSet<Incarnation>,
    ) {
        let Some(managed) = self.managed_of(turn, &id) else {
            return;
        };
        let place = Whereabouts::Missing {
            until,
            latest,
            told: false,
            refused: None,
        };
        managed.entries.insert(id, Entry { place, older });
        let wait = until.since(turn.now);
        turn.timers.start(Timer::Missing(id), turn.now, wait);
        self.entrust(turn, id);
    }

    /// The time of a missing session is up: an older copy serves where there is one; else it is told as
    /// lost, and later forgotten.
    pub(in crate::protocol) fn missing_again(&mut self, turn: &mut Turn<'_>, id: SessionId) {
        let forget_after = turn.settings.mark_for;
        let now = turn.now;
        let Some(managed) = self.managed_of(turn, &id) else {
            return;
        };
        let Some(Entry {
            place:
                Whereabouts::Missing {
                    until,
                    latest,
                    told,
                    refused,
                },
            older,
        }) = managed.entries.get_mut(&id)
        else {
            return;
        };
        if !older.is_empty() && refused.is_none() {
            let latest = *latest;
            self.ask_everybody(turn, id, latest, now);
        } else if now < *until + forget_after {
            *told = true;
            turn.event(Event::Lost(id));
            turn.timers.start(Timer::Missing(id), now, forget_after);
        } else {
            managed.entries.remove(&id);
        }
    }

    /// A layout with other members was adopted: what the dead had is settled. Until `until` they may come
    /// back with it.
    pub(super) fn bury(
        &mut self,
        turn: &mut Turn<'_>,
        markers: &mut Markers,
        bucket: BucketId,
        until: Moment,
    ) {
        let Some(managed) = self.managed.get_mut(&bucket) else {
            return;
        };
        let mut doubt = false;
        let complete = match &mut managed.phase {
            Phase::Pulling(from) if !turn.is_member(*from) => {
                self.pulls_no_more(turn, bucket);
                self.rebuild(turn, bucket);
                false
            }
            Phase::Rebuilding(inquiry) => {
                if inquiry.asked.iter().any(|who| !turn.is_member(*who)) {
                    // What only that one could have reported may come back with it.
                    inquiry.asked.retain(|who| turn.is_member(*who));
                    doubt = true;
                }
                inquiry.bury(turn)
            }
            _ => false,
        };
        if doubt && let Some(managed) = self.managed.get_mut(&bucket) {
            managed.doubt(turn, until);
        }
        let Some(managed) = self.managed.get_mut(&bucket) else {
            return;
        };
        let concerned: Vec<_> = managed
            .entries
            .iter()
            .filter(|(_, entry)| entry.is_concerned(turn))
            .map(|(id, _)| *id)
            .collect();
        for id in concerned {
            self.bury_session(turn, markers, bucket, id, until);
        }
        if complete {
            self.conclude(turn, markers, Scope::Bucket(bucket));
        }
        self.share_markers(turn, markers, bucket);
    }

    fn bury_session(
        &mut self,
        turn: &mut Turn<'_>,
        markers: &mut Markers,
        bucket: BucketId,
        id: SessionId,
        gone_until: Moment,
    ) {
        let Some(managed) = self.managed.get_mut(&bucket) else {
            return;
        };
        let open = managed.is_open();
        let Some(entry) = managed.entries.get_mut(&id) else {
            return;
        };
        let copies = entry.older.len();
        entry.older.retain(|who| turn.is_there(*who));
        let some_went = entry.older.len() < copies;
        match &mut entry.place {
            Whereabouts::Missing {
                until,
                refused: None,
                ..
            } if some_went => {
                // Their copies, too, may come back.
                *until = gone_until.max(*until);
                let wait = until.since(turn.now);
                turn.timers.start(Timer::Missing(id), turn.now, wait);
            }
            Whereabouts::At { holder, tenure } if !turn.is_there(*holder) => {
                let tenure = *tenure;
                if entry.older.is_empty() && open {
                    let older = super::store::perhaps_stored(turn);
                    self.miss(turn, id, Some(tenure), gone_until, older);
                } else {
                    // In a rebuild nobody knows yet who else has a copy; and what was reported
                    // before it was served, and moved, is out of date.
                    self.ask_everybody(turn, id, Some(tenure), gone_until);
                }
            }
            Whereabouts::Moving {
                from,
                held,
                to,
                tenure,
                ..
            } if !turn.is_there(*from) || !turn.is_there(*to) => {
                let (from, held) = (*from, *held);
                if super::store::is_unanswered(managed.epoch, from, held, *tenure) {
                    managed.entries.remove(&id);
                    turn.answered(Timer::Release(id));
                } else if sabotage::is_off(Rule::Resolve) {
                    entry.place = Whereabouts::At {
                        holder: from,
                        tenure: held,
                    };
                    turn.answered(Timer::Release(id));
                } else {
                    self.ask_everybody(turn, id, Some(held), gone_until);
                }
            }
            Whereabouts::At { .. } if entry.older.is_empty() => self.clean(turn, id),
            Whereabouts::Unsettled { inquiry, until, .. } => {
                let scope = inquiry.scope;
                if inquiry.asked.iter().any(|who| !turn.is_member(*who)) {
                    // What that one has may come back with it.
                    inquiry.asked.retain(|who| turn.is_member(*who));
                    *until = gone_until.max(*until);
                }
                if inquiry.bury(turn) {
                    self.conclude(turn, markers, scope);
                }
            }
            _ => {}
        }
    }

    /// How the directory is when nothing is being asked; for the checks.
    pub(super) fn is_unsettled(managed: &Managed) -> bool {
        !managed.is_open()
            || managed
                .entries
                .values()
                .any(|entry| matches!(entry.place, Whereabouts::Unsettled { .. }))
    }
}
