//! The manager's side: for each bucket that this node manages, where its sessions are; and the
//! arbiter of every move of theirs.
//!
//! A directory has entries only for displaced sessions and for those on their way; a session at
//! home is in the node's own map. Nobody but the manager allots tenures.

mod check;
mod end;
mod entrust;
mod find;
mod hand_over;
mod inquiry;
mod moving;
mod offer;
mod pulls;
mod stale;
mod store;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use check::DirectoryFault;
use entrust::Entrusting;
use hand_over::HandedOver;
use inquiry::Inquiry;
use pulls::{EarlyAsks, Pulls};
pub(super) use stale::Offered;

use super::by_bucket::ByBucket;
use super::io::Output;
use super::markers::Markers;
use super::timer::Timer;
use super::turn::Turn;
use crate::bucket::{BucketId, LayoutVersion};
use crate::clock::Moment;
use crate::member::Incarnation;
use crate::message::{Answer, Doubt, Scope};
use crate::sabotage::{self, Rule};
use crate::session::SessionId;
use crate::tenure::Tenure;

/// Where a session is, as far as its manager knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Whereabouts {
    At {
        holder: Incarnation,
        tenure: Tenure,
    },
    Moving {
        from: Incarnation,
        held: Tenure,
        to: Incarnation,
        tenure: Tenure,
        /// When it has been on its way for too long.
        until: Moment,
    },
    /// Everybody is being asked. `latest` is the last tenure that was held, where that is known.
    Unsettled {
        inquiry: Inquiry,
        latest: Option<Tenure>,
        /// Until then somebody may come back with a newer copy than what is found.
        until: Moment,
    },
    /// It died with its holder, who held it under the `latest` tenure, where that is known; until
    /// then the holder may still come back with it. Who is known to have an older copy is among the
    /// entry's `older`: then that serves, if nothing newer came.
    Missing {
        until: Moment,
        latest: Option<Tenure>,
        /// It has been told as lost, and is remembered as that.
        told: bool,
        /// The policy took none of the copies that the entry's `older` have: they are to drop what is
        /// below this tenure.
        refused: Option<Tenure>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Entry {
    place: Whereabouts,
    /// Who may have a copy older than the current one, and has not confirmed its drop.
    older: BTreeSet<Incarnation>,
}

impl Entry {
    /// Whether it is told as lost, and remembered for no other reason.
    fn is_lost(&self) -> bool {
        matches!(self.place, Whereabouts::Missing { told: true, .. }) && self.older.is_empty()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// The previous manager is being asked for the directory, or will be.
    Pulling(Incarnation),
    /// Everybody is being asked for copies.
    Rebuilding(Inquiry),
    /// The directory is whole.
    Open,
}

/// One bucket that this node manages.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Managed {
    epoch: LayoutVersion,
    phase: Phase,
    entries: BTreeMap<SessionId, Entry>,
    /// Who asked for sessions before it was open.
    early: EarlyAsks,
    /// The last tenure's number; grows with each allotted one.
    allotted: u64,
    /// Until then an id that nobody holds may come back with a node that died.
    doubt_until: Moment,
    /// Until then an id that nobody holds counts as lost, after that as ended.
    lost_until: Moment,
    /// The member that keeps this bucket's markers too.
    deputy: Option<Incarnation>,
}

impl Managed {
    fn new(epoch: LayoutVersion, phase: Phase) -> Self {
        Self {
            epoch,
            phase,
            entries: BTreeMap::new(),
            early: EarlyAsks::default(),
            allotted: 0,
            doubt_until: Moment::ZERO,
            lost_until: Moment::ZERO,
            deputy: None,
        }
    }

    /// A tenure above every one that was ever allotted in this bucket.
    fn allot(&mut self) -> Tenure {
        self.allotted += 1;
        Tenure::new(self.epoch, self.allotted)
    }

    /// The highest tenure that this manager or an earlier one can have allotted.
    fn highest(&self) -> Tenure {
        Tenure::new(self.epoch, self.allotted)
    }

    fn has_allotted(&self, tenure: Tenure) -> bool {
        tenure <= self.highest()
    }

    /// Somebody is gone who may have held sessions that nobody else knows of, and until then may come back
    /// with them.
    fn doubt(&mut self, turn: &Turn<'_>, until: Moment) {
        self.doubt_until = self.doubt_until.max(until);
        self.lost_until = turn.now + turn.settings.mark_for;
    }

    fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// What is known of a session that nobody has.
    fn nobody_has(&self, turn: &Turn<'_>) -> Answer {
        if turn.now < self.doubt_until {
            Answer::Wait
        } else {
            Answer::Absent {
                lost: turn.now < self.lost_until,
            }
        }
    }
}

/// Markers that have to reach others before a session's end counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Ending {
    tenure: Tenure,
    waiting: BTreeSet<Incarnation>,
    destroyer: Option<Incarnation>,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Directory {
    managed: BTreeMap<BucketId, Managed>,
    pulls: Pulls,
    handed_over: BTreeMap<BucketId, HandedOver>,
    endings: ByBucket<Ending>,
    /// Markers that wait for their turn to be given to new deputies.
    to_share: VecDeque<SessionId>,
    entrusting: Entrusting,
}

impl Directory {
    /// A new layout was adopted: takes buckets over, closes those that went, and settles what dead
    /// members leave behind. `gone_until`: somebody has gone, and may come back until then.
    pub(super) fn adopt(
        &mut self,
        turn: &mut Turn<'_>,
        markers: &mut Markers,
        gone_until: Option<Moment>,
    ) {
        let layout = turn.layout;
        let mut closed = false;
        for (number, placement) in layout.placements.iter().enumerate() {
            let bucket = BucketId::new(number as u16);
            let mine = placement.manager == turn.me;
            if self
                .handed_over
                .get(&bucket)
                .is_some_and(|given| given.to_epoch != placement.since)
            {
                self.handed_over.remove(&bucket);
                turn.timers.stop(Timer::HandOver(bucket));
            }
            if let Some(managed) = self.managed.get(&bucket)
                && (!mine || managed.epoch != placement.since)
            {
                self.pulls_no_more(turn, bucket);
                let managed = self.managed.remove(&bucket).expect("it was just looked up");
                closed = true;
                stop_timers(turn, bucket, &managed);
                if !sabotage::is_off(Rule::HandOverSeals) {
                    turn.out.push(Output::Close(bucket));
                }
                if managed.is_open() && placement.previous == Some(turn.me) {
                    let unmarked = self
                        .endings
                        .bucket(bucket)
                        .filter(|_| !sabotage::is_off(Rule::MarkCopies))
                        .map(|(id, ending)| (*id, ending.waiting.clone()))
                        .collect();
                    let lost_until = turn.now + turn.settings.mark_for;
                    let given = HandedOver::new(placement.since, managed, unmarked, lost_until);
                    self.handed_over.insert(bucket, given);
                }
            }
            if !mine {
                continue;
            }
            if !self.managed.contains_key(&bucket) {
                self.take_over(turn, markers, bucket);
            } else if let Some(until) = gone_until {
                self.bury(turn, markers, bucket, until);
            } else {
                self.share_markers(turn, markers, bucket);
            }
        }
        if closed {
            let managed = &self.managed;
            self.endings.retain(|id, _| {
                let keep = managed.contains_key(&id.bucket(layout.buckets()));
                if !keep {
                    turn.timers.stop(Timer::Mark(*id));
                }
                keep
            });
        }
        self.bury_endings(turn);
        self.share_more(turn, markers);
        self.pull_more(turn);
        self.entrust_all(turn);
    }

    /// The directory of `bucket` is whole: serves, and takes up what was under way.
    fn open(&mut self, turn: &mut Turn<'_>, markers: &mut Markers, bucket: BucketId) {
        let Some(managed) = self.managed.get_mut(&bucket) else {
            return;
        };
        managed.phase = Phase::Open;
        turn.out.push(Output::Open(bucket, managed.epoch));
        self.share_markers(turn, markers, bucket);
        self.entrust_in(turn, bucket);
    }

    /// Whether this node has given the bucket away, and its next manager has not fetched the directory.
    pub(super) fn is_handing_over(&self, bucket: BucketId) -> bool {
        self.handed_over.contains_key(&bucket)
    }

    /// Whether this node answers for no bucket, and nobody waits for a directory of it.
    pub(super) fn is_empty(&self) -> bool {
        self.managed.is_empty() && self.handed_over.is_empty()
    }

    /// Whether nothing depends on this node's answers, where nobody could be given its buckets: they are
    /// whole, every session of them is at home, and no session's end is under way.
    pub(super) fn is_idle(&self) -> bool {
        let mut managed = self.managed.values();
        self.handed_over.is_empty()
            && self.endings.is_empty()
            && managed.all(|managed| managed.is_open() && managed.entries.is_empty())
    }

    /// No session is created in any bucket any more.
    pub(super) fn close(&self, turn: &mut Turn<'_>) {
        let managed = self.managed.keys();
        turn.out
            .extend(managed.map(|bucket| Output::Close(*bucket)));
    }

    /// How many entries there are: sessions away from home or on their way.
    pub(super) fn displaced(&self) -> usize {
        self.managed
            .values()
            .map(|managed| managed.entries.len())
            .sum()
    }

    fn managed_of(&mut self, turn: &Turn<'_>, id: &SessionId) -> Option<&mut Managed> {
        self.managed.get_mut(&turn.bucket(id))
    }
}

fn stop_timers(turn: &mut Turn<'_>, bucket: BucketId, managed: &Managed) {
    turn.timers.stop(Timer::Inquire(Scope::Bucket(bucket)));
    for (id, entry) in &managed.entries {
        turn.timers.stop(Timer::Release(*id));
        turn.timers.stop(Timer::Drop(*id));
        turn.timers.stop(Timer::Missing(*id));
        if let Whereabouts::Unsettled { inquiry, .. } = &entry.place {
            turn.timers.stop(Timer::Inquire(inquiry.scope));
        }
    }
}

/// Until when what nobody holds may come back with a node that died, whoever that was: with the last one
/// whose death is not proven, whoever has died since. At once, where there was none of late.
fn doubt_until(turn: &Turn<'_>) -> Moment {
    doubt_from(turn, turn.unproven_since)
}

/// Until when somebody may come back whose death without proof was learned of then.
pub(super) fn doubt_from(turn: &Turn<'_>, since: Option<Moment>) -> Moment {
    match since {
        Some(since) if turn.settings.stale.policy().waits() && !sabotage::is_off(Rule::Doubt) => {
            turn.now.max(since + turn.settings.absent_after)
        }
        _ => turn.now,
    }
}

/// For how long this node doubts what nobody holds, for whoever asks everybody.
pub(super) fn doubt(turn: &Turn<'_>) -> Doubt {
    let lasts = doubt_until(turn).since(turn.now).as_nanos();
    Doubt {
        of: turn.layout.unproven,
        // Rather too long than too short.
        lasts_ms: u64::try_from(lasts.div_ceil(1_000_000)).unwrap_or(u64::MAX),
    }
}
