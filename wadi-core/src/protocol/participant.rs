//! One incarnation of one node in the protocol: takes every input to the part that it concerns.
//!
//! It refuses what is of an older epoch or comes from somebody who is no member, and does nothing
//! at all without a valid lease.

mod inputs;
mod messages;
mod timers;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::asks::Asks;
use super::copies::Copies;
use super::directory::{self, Directory, DirectoryFault};
use super::evacuation::Evacuation;
use super::holdings::Holdings;
use super::io::{Input, Output};
use super::markers::Markers;
use super::returned::ReturnedCopy;
use super::settings::Settings;
use super::timer::{Timer, Timers};
use super::turn::Turn;
use crate::bucket::{BucketId, Layout, LayoutVersion};
use crate::clock::Moment;
use crate::member::Incarnation;
use crate::message::{Body, Message};
use crate::sabotage::{self, Rule};
use crate::session::SessionId;
use crate::tenure::Tenure;

/// One incarnation's part in the protocol; see the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Participant {
    me: Incarnation,
    settings: Arc<Settings>,
    layout: Option<Arc<Layout>>,
    /// When this incarnation learned of the latest death that is not proven: by its own clock, so never
    /// before it was agreed. Also where that was before it joined.
    unproven_since: Option<Moment>,
    /// The same of the deaths since it joined: of those whose copies the directories here knew.
    death_since: Option<Moment>,
    lease_until: Moment,
    timers: Timers,
    markers: Markers,
    copies: Copies,
    directory: Directory,
    asks: Asks,
    evacuation: Option<Evacuation>,
    /// It has said that nothing is left: a session that still comes stays with its sender, for this
    /// process may end at any moment.
    takes_nothing_more: bool,
    /// It leaves with buckets that nobody can be given, and has closed them.
    creates_nothing_more: bool,
    returned: Vec<ReturnedCopy>,
    /// When this node last held the first of what it came back with.
    away_since: Option<Moment>,
    /// Who asked for a bucket's directory under a layout that this node has not adopted yet: the question
    /// waits for that, as if it had been on its way for longer. One for each bucket at most.
    early: BTreeMap<BucketId, (Incarnation, LayoutVersion)>,
    /// What waits for a valid lease, because without one nothing is installed, confirmed or ended.
    unleased: Unleased,
}

/// What came without a valid lease. It is done under this incarnation's next one, or never: whoever
/// comes back comes back as somebody new.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Unleased {
    layout: Option<Arc<Layout>>,
    ends: Vec<(SessionId, Tenure)>,
}

impl Participant {
    /// A new incarnation, which owns nothing.
    #[must_use]
    pub fn new(me: Incarnation, settings: Arc<Settings>) -> Self {
        let mut timers = Timers::default();
        timers.start(Timer::Forget, Moment::ZERO, settings.remember_for);
        Self {
            me,
            settings,
            layout: None,
            unproven_since: None,
            death_since: None,
            lease_until: Moment::ZERO,
            timers,
            markers: Markers::default(),
            copies: Copies::default(),
            directory: Directory::default(),
            asks: Asks::default(),
            evacuation: None,
            takes_nothing_more: false,
            creates_nothing_more: false,
            returned: Vec::new(),
            away_since: None,
            early: BTreeMap::new(),
            unleased: Unleased::default(),
        }
    }

    /// The node was fenced and comes back as `me`: it owns nothing, keeps the markers it knows, and
    /// offers what it held (`in_map`: its session map, encoded) and what it had sealed.
    #[must_use]
    pub fn come_back(self, me: Incarnation, in_map: Vec<ReturnedCopy>) -> Self {
        let mut returned = in_map;
        returned.extend(self.copies.into_returned());
        returned.extend(self.returned);
        ReturnedCopy::keep_newest(&mut returned);
        for copy in &mut returned {
            // Who is fenced again and again keeps what waits, and holds other sessions meanwhile.
            copy.away_since.get_or_insert(self.lease_until);
        }
        Self {
            markers: self.markers,
            returned,
            away_since: Some(self.lease_until),
            ..Self::new(me, self.settings)
        }
    }

    /// Who this is.
    #[must_use]
    pub fn me(&self) -> Incarnation {
        self.me
    }

    /// The adopted layout.
    #[must_use]
    pub fn layout(&self) -> Option<&Arc<Layout>> {
        self.layout.as_ref()
    }

    /// When the next timer goes off, and which.
    #[must_use]
    pub fn next_timer(&self) -> Option<(Moment, Timer)> {
        self.timers.next()
    }

    /// Every running timer, in no order of time.
    pub fn running_timers(&self) -> impl Iterator<Item = Timer> {
        self.timers.running()
    }

    /// Whether this node's copy of `id`, if it has one in its map, arrived and is not confirmed.
    #[must_use]
    pub fn is_arriving(&self, id: &SessionId) -> bool {
        self.layout
            .as_ref()
            .is_some_and(|layout| self.copies.is_arriving(id.bucket(layout.buckets()), id))
    }

    /// Sessions of this node's buckets that are away from home or on their way.
    #[must_use]
    pub fn displaced(&self) -> usize {
        self.directory.displaced()
    }

    /// Copies that serve nobody.
    #[must_use]
    pub fn sealed(&self) -> usize {
        self.copies.sealed_len() + self.returned.len()
    }

    /// Markers of sessions that have ended.
    #[must_use]
    pub fn markers(&self) -> usize {
        self.markers.len()
    }

    /// Whether it keeps proof that `id` has ended.
    #[must_use]
    pub fn keeps_marker(&self, id: &SessionId) -> bool {
        self.layout
            .as_ref()
            .is_some_and(|layout| self.markers.get(id.bucket(layout.buckets()), id).is_some())
    }

    /// Whether nothing is on its way, being asked or waiting for an answer.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.copies.is_settled() && self.directory.is_settled() && self.returned.is_empty()
    }

    /// What is wrong with the directory, if anything.
    ///
    /// # Errors
    ///
    /// The first [`DirectoryFault`] found.
    pub fn check(&self) -> Result<(), DirectoryFault> {
        match &self.layout {
            Some(layout) => self.directory.check(self.me, layout),
            None => Ok(()),
        }
    }

    /// A copy with which this node came back, as it is offered. What was held here is the newest only
    /// where nobody can have been given an older one instead, which takes `absent_after` from this node's
    /// death: half of it by this node's clock, for it may have been dead before its lease was over.
    fn as_offered(&self, now: Moment, copy: ReturnedCopy) -> ReturnedCopy {
        let away_since = copy.away_since.or(self.away_since);
        let away = away_since.map(|since| now.since(since));
        let is_back_in_time = away.is_none_or(|away| away <= self.settings.absent_after / 2);
        ReturnedCopy {
            held: copy.held && is_back_in_time,
            away_since,
            ..copy
        }
    }

    fn takes_more(&self) -> bool {
        !self.takes_nothing_more || sabotage::is_off(Rule::TakesNothingMore)
    }

    fn has_lease(&self, now: Moment) -> bool {
        now < self.lease_until || sabotage::is_off(Rule::LeaseGate)
    }

    /// Handles one input at `now`; what is to be done is appended to `out`.
    pub fn handle(
        &mut self,
        now: Moment,
        input: Input,
        holdings: &dyn Holdings,
        out: &mut Vec<Output>,
    ) {
        let buckets = self.layout.as_ref().map(|layout| layout.buckets());
        let concerned = buckets.and_then(|buckets| input.bucket(buckets));
        match input {
            Input::Lease(until) => {
                self.lease_until = self.lease_until.max(until);
                self.catch_up(now, holdings, out);
            }
            Input::Layout(layout) => self.adopt(now, layout, holdings, out),
            Input::Message { from, message } => self.message(now, from, message, holdings, out),
            Input::Timer(timer) => self.timer(now, timer, holdings, out),
            other => self.local(now, other, holdings, out),
        }
        debug_assert_eq!(
            self.check_after(concerned),
            Ok(()),
            "after an input at {now:?}"
        );
    }

    /// As [`Participant::check`], after an input that concerned one bucket only, or perhaps all.
    fn check_after(&self, concerned: Option<BucketId>) -> Result<(), DirectoryFault> {
        match (&self.layout, concerned) {
            (Some(layout), Some(bucket)) => self.directory.check_bucket(bucket, self.me, layout),
            _ => self.check(),
        }
    }

    /// A lease is there again: does what has waited for it.
    fn catch_up(&mut self, now: Moment, holdings: &dyn Holdings, out: &mut Vec<Output>) {
        if !self.has_lease(now) {
            return;
        }
        let Unleased { layout, ends } = std::mem::take(&mut self.unleased);
        if let Some(layout) = layout {
            self.adopt(now, layout, holdings, out);
        }
        for (id, tenure) in ends {
            self.local(now, Input::End { id, tenure }, holdings, out);
        }
    }

    fn adopt(
        &mut self,
        now: Moment,
        layout: Arc<Layout>,
        holdings: &dyn Holdings,
        out: &mut Vec<Output>,
    ) {
        let known = self.layout.clone();
        if known
            .as_ref()
            .is_some_and(|known| layout.version <= known.version)
            || !layout.is_member(self.me)
        {
            return;
        }
        if !self.has_lease(now) {
            let waiting = self.unleased.layout.get_or_insert(Arc::clone(&layout));
            if waiting.version < layout.version {
                *waiting = layout;
            }
            return;
        }
        self.timers.set_buckets(layout.buckets());
        let known_death = known
            .as_ref()
            .map_or(LayoutVersion::ZERO, |known| known.unproven);
        if layout.unproven > known_death {
            self.unproven_since = Some(now);
            self.death_since = known.as_ref().map(|_| now);
        } else if sabotage::is_off(Rule::DoubtLasts)
            && known
                .as_ref()
                .is_some_and(|known| known.members.len() > layout.members.len())
        {
            self.unproven_since = None;
        }
        self.layout = Some(layout);
        let mut returned = std::mem::take(&mut self.returned);
        ReturnedCopy::keep_newest(&mut returned);
        self.with_turn(now, holdings, out, |this, turn| {
            let gone = |known: &Arc<Layout>| {
                let mut members = known.members.keys();
                members.any(|who| !turn.layout.is_member(*who))
            };
            // Who has gone with proof does not come back; but somebody else may, with an older copy of what
            // it held. What was before this cluster has nothing to do with that.
            let gone_until = known.as_ref().is_some_and(gone);
            let gone_until = gone_until.then(|| directory::doubt_from(turn, this.death_since));
            this.directory.adopt(turn, &mut this.markers, gone_until);
            if known.is_none() {
                this.copies.tell_markers(turn, &this.markers);
            }
            for copy in returned {
                this.copies.take_back(turn, this.as_offered(now, copy));
            }
            this.asks.ask_everybody(turn);
            for id in this.copies.arrivals() {
                if sabotage::is_off(Rule::TakeUp) {
                    turn.answered(Timer::Arrived(id));
                } else {
                    this.copies.arrived_again(turn, id);
                }
            }
            for id in this.copies.endings() {
                if sabotage::is_off(Rule::TakeUp) {
                    turn.answered(Timer::End(id));
                } else {
                    this.copies.end_again(turn, &this.markers, id);
                }
            }
            if let Some(evacuation) = &mut this.evacuation {
                evacuation.start_again(turn, &this.directory);
            }
            this.look_whether_evacuated(turn);
        });
        for (bucket, (from, epoch)) in std::mem::take(&mut self.early) {
            let pull = Message::new(epoch, Body::Pull { bucket });
            self.message(now, from, pull, holdings, out);
        }
    }

    fn with_turn(
        &mut self,
        now: Moment,
        holdings: &dyn Holdings,
        out: &mut Vec<Output>,
        step: impl FnOnce(&mut Self, &mut Turn<'_>),
    ) {
        let Some(layout) = self.layout.clone() else {
            return;
        };
        let settings = Arc::clone(&self.settings);
        let mut timers = std::mem::take(&mut self.timers);
        let mut turn = Turn {
            me: self.me,
            now,
            settings: &settings,
            layout: &layout,
            unproven_since: self.unproven_since,
            holdings,
            timers: &mut timers,
            out,
            unsent: Vec::new(),
        };
        step(self, &mut turn);
        turn.send_off();
        self.timers = timers;
    }
}
