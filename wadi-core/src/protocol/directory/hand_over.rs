//! A bucket changes manager: the new one pulls the directory from the previous one, or asks
//! everybody when that is not possible.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Directory, Entry, Managed, Phase, Whereabouts};
use crate::bucket::{BucketId, LayoutVersion};
use crate::clock::Moment;
use crate::member::Incarnation;
use crate::message::{Body, Place, Record};
use crate::protocol::markers::Markers;
use crate::protocol::timer::Timer;
use crate::protocol::turn::Turn;
use crate::sabotage::{self, Rule};
use crate::session::SessionId;

/// A directory that this node closed and that its next manager has not fetched yet. Nothing in it
/// changes: only a manager could change it, and this node is none any more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct HandedOver {
    pub(super) to_epoch: LayoutVersion,
    entries: BTreeMap<SessionId, Entry>,
    /// Who may have a copy of a session that ended, and has not confirmed its marker.
    unmarked: BTreeMap<SessionId, BTreeSet<Incarnation>>,
    doubt_until: Moment,
    lost_until: Moment,
}

impl HandedOver {
    pub(super) fn new(
        to_epoch: LayoutVersion,
        managed: Managed,
        unmarked: BTreeMap<SessionId, BTreeSet<Incarnation>>,
        lost_until: Moment,
    ) -> Self {
        let mut entries = managed.entries;
        let known = entries.len();
        // Who is told as lost is told so once. The next manager says the same of it as of others that
        // nobody knows.
        entries.retain(|_, entry| !entry.is_lost());
        let lost_until = if entries.len() < known {
            lost_until.max(managed.lost_until)
        } else {
            managed.lost_until
        };
        Self {
            to_epoch,
            entries,
            unmarked,
            doubt_until: managed.doubt_until,
            lost_until,
        }
    }
}

impl Directory {
    /// This node became the manager of `bucket`.
    pub(super) fn take_over(
        &mut self,
        turn: &mut Turn<'_>,
        markers: &mut Markers,
        bucket: BucketId,
    ) {
        let placement = turn.layout.placement(bucket);
        let epoch = placement.since;
        match placement.previous {
            None => {
                let mut founded = Managed::new(epoch, Phase::Open);
                if turn.layout.unproven >= epoch {
                    // What a cluster before this one held may still come back with its nodes.
                    let until = super::doubt_until(turn);
                    founded.doubt(turn, until);
                }
                self.managed.insert(bucket, founded);
                self.open(turn, markers, bucket);
            }
            Some(previous) if previous != turn.me && turn.is_member(previous) => {
                let pulling = Managed::new(epoch, Phase::Pulling(previous));
                self.managed.insert(bucket, pulling);
                self.pulls.add(previous, bucket);
            }
            Some(previous) => {
                let waiting = Managed::new(epoch, Phase::Pulling(previous));
                self.managed.insert(bucket, waiting);
                if sabotage::is_off(Rule::Rebuild) {
                    self.open(turn, markers, bucket);
                } else {
                    self.rebuild(turn, bucket);
                }
            }
        }
    }

    /// The new manager wants the directory.
    pub(in crate::protocol) fn pull(
        &self,
        turn: &mut Turn<'_>,
        markers: &Markers,
        from: Incarnation,
        bucket: BucketId,
    ) {
        if self.hand_over(turn, markers, from, bucket) {
            // The new manager does not ask again once it has it, so this node must.
            turn.await_answer(Timer::HandOver(bucket));
        } else {
            turn.send(from, Body::NotMine { bucket });
        }
    }

    /// Sends the directory again; whether the new manager has not said that it arrived.
    pub(in crate::protocol) fn hand_over_again(
        &self,
        turn: &mut Turn<'_>,
        markers: &Markers,
        bucket: BucketId,
    ) -> bool {
        let manager = turn.layout.placement(bucket).manager;
        self.hand_over(turn, markers, manager, bucket)
    }

    fn hand_over(
        &self,
        turn: &mut Turn<'_>,
        markers: &Markers,
        to: Incarnation,
        bucket: BucketId,
    ) -> bool {
        let epoch = turn.epoch(bucket);
        let Some(given) = self
            .handed_over
            .get(&bucket)
            .filter(|given| given.to_epoch == epoch)
        else {
            return false;
        };
        let mut records: Vec<_> = given
            .entries
            .iter()
            .map(|(id, entry)| Record {
                id: *id,
                place: entry.place.on_record(turn.now),
                older: entry.older.iter().copied().collect(),
            })
            .collect();
        // What was at home here is displaced from now on.
        let me = turn.me;
        turn.holdings.for_each_in(bucket, &mut |id, copy| {
            if !given.entries.contains_key(&id) {
                records.push(Record {
                    id,
                    place: Place::At(me, copy.tenure),
                    older: Vec::new(),
                });
            }
        });
        records.extend(markers.bucket(bucket).map(|(id, tenure)| {
            Record {
                id,
                place: Place::Ended {
                    tenure,
                    keep_for: markers.keep_for(bucket, &id, turn.now),
                },
                older: given
                    .unmarked
                    .get(&id)
                    .into_iter()
                    .flatten()
                    .copied()
                    .collect(),
            }
        }));
        records.sort_unstable();
        let body = Body::Directory {
            bucket,
            records,
            doubt_for: given.doubt_until.since(turn.now),
            lost_for: given.lost_until.since(turn.now),
        };
        turn.send(to, body);
        true
    }

    /// The previous manager's directory.
    #[expect(
        clippy::too_many_arguments,
        reason = "they are the message's own fields"
    )]
    pub(in crate::protocol) fn directory(
        &mut self,
        turn: &mut Turn<'_>,
        markers: &mut Markers,
        from: Incarnation,
        bucket: BucketId,
        records: Vec<Record>,
        doubt_for: Duration,
        lost_for: Duration,
    ) {
        if !self.is_pulling(bucket, from) {
            // It came before, or everybody was asked instead: either way it is not needed.
            turn.send(from, Body::Pulled { bucket });
            return;
        }
        self.pulls.came(from, records.len());
        self.pulls_no_more(turn, bucket);
        // Whoever may come back died by this layout, or before.
        let until = super::doubt_until(turn);
        let missing = |until, latest| Whereabouts::Missing {
            until,
            latest,
            told: false,
            refused: None,
        };
        let mut unsettled = Vec::new();
        let mut moving = Vec::new();
        let mut ended = Vec::new();
        let Some(managed) = self.managed.get_mut(&bucket) else {
            return;
        };
        managed.doubt_until = turn.now + doubt_for.min(turn.settings.absent_after);
        managed.lost_until = turn.now + lost_for.min(turn.settings.mark_for);
        for record in records {
            let id = record.id;
            if turn.bucket(&id) != bucket {
                continue;
            }
            let named = match record.place {
                Place::Moving { held, tenure, .. } => Some(held.max(tenure)),
                Place::At(_, tenure) | Place::Ended { tenure, .. } => Some(tenure),
                Place::Unsettled(latest) | Place::Missing { latest, .. } => latest,
            };
            if named.is_some_and(|tenure| !managed.has_allotted(tenure)) {
                continue;
            }
            let place = match record.place {
                Place::At(holder, tenure) => Whereabouts::At { holder, tenure },
                Place::Moving {
                    from,
                    held,
                    to,
                    tenure,
                } => {
                    moving.push(id);
                    Whereabouts::Moving {
                        from,
                        held,
                        to,
                        tenure,
                        until: turn.now + turn.settings.resolve_after,
                    }
                }
                Place::Unsettled(latest) => {
                    unsettled.push((id, latest));
                    missing(until, latest)
                }
                Place::Missing { latest, wait_for } => {
                    // Each death is waited for once, whoever manages the bucket meanwhile.
                    let wait = wait_for.min(turn.settings.absent_after);
                    turn.timers.start(Timer::Missing(id), turn.now, wait);
                    let until = turn.now + wait;
                    missing(until, latest)
                }
                Place::Ended { tenure, keep_for } => {
                    let keep_for = keep_for.min(turn.settings.mark_for);
                    markers.set(bucket, id, tenure, turn.now, keep_for);
                    if !record.older.is_empty() {
                        ended.push((id, tenure, record.older.into_iter().collect()));
                    }
                    continue;
                }
            };
            let older: BTreeSet<_> = record.older.into_iter().collect();
            managed.entries.insert(id, Entry { place, older });
        }
        turn.send(from, Body::Pulled { bucket });
        self.open(turn, markers, bucket);
        for (id, tenure, older) in ended {
            self.spread_marker(turn, markers, id, tenure, Duration::ZERO, older, None);
        }
        for (id, latest) in unsettled {
            self.resolve(turn, id, latest);
        }
        for id in moving {
            self.release_again(turn, id);
            turn.await_answer(Timer::Release(id));
        }
        self.bury(turn, markers, bucket, until);
        let me = turn.me;
        let to_clean = |(_, entry): &(&SessionId, &Entry)| {
            let is_here = matches!(entry.place, Whereabouts::At { holder, .. } if holder == me);
            is_here || !entry.older.is_empty()
        };
        let known = self.managed[&bucket].entries.iter().filter(to_clean);
        let known: Vec<_> = known.map(|(id, _)| *id).collect();
        for id in known {
            self.clean(turn, id);
        }
        self.answer_early(turn, markers, bucket);
        self.pull_more(turn);
    }

    /// The previous manager never had it whole.
    pub(in crate::protocol) fn not_mine(
        &mut self,
        turn: &mut Turn<'_>,
        from: Incarnation,
        bucket: BucketId,
    ) {
        if self.is_pulling(bucket, from) {
            self.pulls_no_more(turn, bucket);
            self.rebuild(turn, bucket);
            self.pull_more(turn);
        }
    }

    fn is_pulling(&self, bucket: BucketId, from: Incarnation) -> bool {
        self.managed
            .get(&bucket)
            .is_some_and(|managed| managed.phase == Phase::Pulling(from))
    }

    /// The new manager has it.
    pub(in crate::protocol) fn pulled(&mut self, turn: &mut Turn<'_>, bucket: BucketId) {
        turn.answered(Timer::HandOver(bucket));
        self.handed_over.remove(&bucket);
    }
}

impl Whereabouts {
    fn on_record(&self, now: Moment) -> Place {
        match *self {
            Self::At { holder, tenure } => Place::At(holder, tenure),
            Self::Moving {
                from,
                held,
                to,
                tenure,
                ..
            } => Place::Moving {
                from,
                held,
                to,
                tenure,
            },
            Self::Unsettled { latest, .. } => Place::Unsettled(latest),
            Self::Missing { latest, until, .. } => Place::Missing {
                latest,
                wait_for: until.since(now),
            },
        }
    }
}
