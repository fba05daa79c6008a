//! What the clients know of the one session, and what may therefore be served and what may not.

use std::collections::BTreeSet;

use wadi_core::member::Incarnation;
use wadi_core::protocol::{Event, Found};

/// A set of commits, one bit each.
pub(super) type Commits = u8;

/// How far the session's end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum End {
    No,
    Asked,
    Acknowledged,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Truth {
    /// Commits of which a client was told.
    acknowledged: Commits,
    /// Those that died with their holder, and of which an event told.
    excused: Commits,
    /// Whoever was last confirmed as the holder.
    holder: Incarnation,
    /// That incarnation is dead.
    holder_died: bool,
    /// An event told that the session is lost, or that an older copy serves.
    told: bool,
    dead: BTreeSet<Incarnation>,
    pub(super) end: End,
    /// A holder lost it, and runs on.
    forgotten: bool,
    /// The manager has said that the markers of its end are in place.
    marked: bool,
    /// Every member that kept its marker has lost its memory.
    pub(super) markers_gone: bool,
    /// What was said that may never be said.
    pub(super) wrong: Option<&'static str>,
}

impl Truth {
    pub(super) fn new(holder: Incarnation) -> Self {
        Self {
            acknowledged: 0,
            excused: 0,
            holder,
            holder_died: false,
            told: false,
            dead: BTreeSet::new(),
            end: End::No,
            forgotten: false,
            marked: false,
            markers_gone: false,
            wrong: None,
        }
    }

    /// A client is told that these stand.
    pub(super) fn acknowledge(&mut self, commits: Commits) {
        if commits != 0 {
            self.acknowledged |= commits;
            self.told = false;
        }
    }

    /// Whether a copy with these commits may be served.
    pub(super) fn may_serve(&self, commits: Commits) -> bool {
        self.acknowledged & !self.excused & !commits == 0
    }

    pub(super) fn held_by(&mut self, holder: Incarnation) {
        if self.holder != holder {
            self.holder = holder;
            self.holder_died = self.dead.contains(&holder);
        }
    }

    pub(super) fn died(&mut self, who: Incarnation) {
        self.dead.insert(who);
        if self.holder == who {
            self.holder_died = true;
            if self.told {
                self.excused = self.acknowledged;
            }
        }
    }

    pub(super) fn told(&mut self, event: Event) {
        match event {
            Event::Lost(_) | Event::Stale(_) => {
                self.told = true;
                if self.holder_died {
                    self.excused = self.acknowledged;
                }
            }
            Event::Dropped(..) => {}
            Event::Fork(_) => self.wrong = Some("a node saw two copies"),
        }
    }

    /// The manager, who keeps a marker or does not, says that the markers are in place.
    pub(super) fn marked(&mut self, keeps: bool) {
        self.marked |= keeps;
    }

    pub(super) fn ended(&mut self) {
        self.end = End::Acknowledged;
        if !self.marked {
            self.wrong = Some("an end was answered before its markers were in place");
        }
    }

    /// A holder has lost it, and runs on. That is a loss; what matters is that it is told as one.
    pub(super) fn forgotten(&mut self) {
        self.holder_died = true;
        self.excused = self.acknowledged;
        self.forgotten = true;
    }

    /// Whether clients may be told that there is no such session, or that nobody can say.
    pub(super) fn may_be_gone(&self) -> bool {
        self.end != End::No || self.holder_died
    }

    pub(super) fn found(&mut self, found: Found) {
        match found {
            Found::Absent { .. } if !self.may_be_gone() => {
                self.wrong = Some("a live session was called absent");
            }
            Found::Absent { lost: false } if self.forgotten && self.end == End::No => {
                self.wrong = Some("a lost session was said to have ended");
            }
            _ => {}
        }
    }
}
