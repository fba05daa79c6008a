//! One incarnation of one node in the protocol: takes every input to the part that it concerns.
//!
//! It refuses what is of an older epoch or comes from somebody who is no member, and does nothing
//! at all without a valid lease.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::asks::Asks;
use super::copies::Copies;
use super::directory::{Directory, DirectoryFault};
use super::evacuation::Evacuation;
use super::holdings::Holdings;
use super::io::{Found, Input, Output, SealedCopy};
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
        let has_earlier = self.copies.offers_held() || self.returned.iter().any(|copy| copy.held);
        let earlier = self.away_since.filter(|_| has_earlier);
        let mut returned = in_map;
        returned.extend(self.copies.into_returned());
        returned.extend(self.returned);
        ReturnedCopy::keep_newest(&mut returned);
        Self {
            markers: self.markers,
            returned,
            away_since: Some(earlier.unwrap_or(self.lease_until)),
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
        let away = self.away_since.map(|since| now.since(since));
        let is_back_in_time = away.is_none_or(|away| away <= self.settings.absent_after / 2);
        ReturnedCopy {
            held: copy.held && is_back_in_time,
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
            let somebody_went = known.as_ref().is_some_and(gone);
            this.directory.adopt(turn, &mut this.markers, somebody_went);
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

    fn message(
        &mut self,
        now: Moment,
        from: Incarnation,
        message: Message,
        holdings: &dyn Holdings,
        out: &mut Vec<Output>,
    ) {
        let Some(layout) = &self.layout else {
            return;
        };
        if !self.has_lease(now) {
            return;
        }
        if !layout.is_member(from) && !sabotage::is_off(Rule::MembersOnly) {
            // Either a newcomer that the next layout names, or a dead one whose word is void.
            if layout
                .members
                .last_key_value()
                .is_none_or(|(last, _)| *last < from)
            {
                out.push(Output::WantLayout(layout.version.next()));
                self.comes_early(from, &message);
            }
            return;
        }
        if !message.is_well_formed(layout.buckets()) {
            return;
        }
        let bucket = message.body.bucket(layout.buckets());
        let Some(placement) = layout.placements.get(bucket.index()) else {
            return;
        };
        if message.epoch > placement.since {
            out.push(Output::WantLayout(message.epoch));
            self.comes_early(from, &message);
            return;
        }
        let manager = placement.manager;
        let version = layout.version;
        let older = message.epoch < placement.since;
        let refused = older && !sabotage::is_off(Rule::Epoch);
        let from_manager = from == manager || (older && !refused);
        self.with_turn(now, holdings, out, |this, turn| {
            if refused {
                if !matches!(message.body, Body::Stale { .. }) {
                    turn.send(from, Body::Stale { bucket, version });
                }
            } else {
                let mut somebody_went = false;
                for body in message.into_bodies() {
                    somebody_went |= this.dispatch(turn, from, from_manager, body);
                }
                if somebody_went {
                    this.some_have_gone(turn);
                }
            }
        });
    }

    /// A message of a layout that is not known here yet. It comes again, at ever longer intervals; for a
    /// directory nobody should wait for that, since a whole bucket does.
    fn comes_early(&mut self, from: Incarnation, message: &Message) {
        let Some(layout) = &self.layout else { return };
        if let Body::Pull { bucket } = message.body
            && bucket.index() < layout.placements.len()
        {
            self.early.insert(bucket, (from, message.epoch));
        }
    }

    /// What is said of one session or one bucket; whether a copy of a session has gone from here.
    fn dispatch(
        &mut self,
        turn: &mut Turn<'_>,
        from: Incarnation,
        from_manager: bool,
        body: Body,
    ) -> bool {
        let mut has_gone = false;
        match body {
            // To the manager. A node that is not has no directory for the bucket and is silent.
            Body::Find { id, to, want } => {
                self.directory.find(turn, &self.markers, from, id, to, want);
            }
            Body::Register { id } => self.directory.register(turn, &self.markers, from, id),
            Body::Busy { id, tenure } => self.directory.busy(turn, from, id, tenure),
            Body::NotHere { id, tenure } => self.directory.not_here(turn, from, id, tenure),
            Body::Arrived { id, tenure } => {
                self.directory
                    .arrived(turn, &self.markers, from, id, tenure);
            }
            Body::Dropped { id, tenure } => {
                self.directory.dropped(turn, from, id, tenure);
            }
            Body::End {
                id,
                tenure,
                keep_for,
            } => {
                self.directory
                    .end(turn, &mut self.markers, from, id, tenure, keep_for);
            }
            Body::Marked { id, tenure } => {
                self.directory.marked(turn, from, id, tenure);
                self.directory.share_more(turn, &mut self.markers);
            }
            Body::Offer {
                id, tenure, held, ..
            } => {
                self.directory
                    .offer(turn, &self.markers, from, id, tenure, held);
            }
            Body::Report { scope, sightings } => {
                self.directory
                    .report(turn, &mut self.markers, from, scope, sightings);
            }
            // Between managers.
            Body::Pull { bucket } if from_manager => {
                self.directory.pull(turn, &self.markers, from, bucket);
            }
            Body::Directory {
                bucket,
                records,
                doubt_for,
                lost_for,
            } => {
                self.directory.directory(
                    turn,
                    &mut self.markers,
                    from,
                    bucket,
                    records,
                    doubt_for,
                    lost_for,
                );
            }
            Body::NotMine { bucket } => self.directory.not_mine(turn, from, bucket),
            Body::Pulled { bucket } if from_manager => {
                self.directory.pulled(turn, bucket);
                if let Some(evacuation) = &mut self.evacuation {
                    evacuation.fetched(turn, &self.directory, bucket);
                }
                self.look_whether_evacuated(turn);
            }
            // From the manager to holders and askers.
            Body::Answer { id, answer } if from_manager => self.asks.answer(turn, id, answer),
            Body::Release {
                id,
                held,
                to,
                tenure,
            } if from_manager => {
                self.copies
                    .release(turn, &self.markers, from, id, held, to, tenure);
            }
            Body::Confirmed { id, tenure } if from_manager => {
                self.copies.confirmed(turn, id, tenure);
            }
            Body::Drop { id, tenure } if from_manager => {
                has_gone = self.copies.drop_below(turn, from, id, tenure);
                if has_gone {
                    self.forget_evacuated(turn, &id);
                }
            }
            Body::Registered { id, tenure } if from_manager => {
                self.asks.registered(turn, id, tenure);
            }
            Body::Ended { id, tenure } if from_manager => {
                self.copies.ended(turn, id, tenure);
                self.copies.tell_more(turn);
            }
            Body::Mark {
                id,
                tenure,
                keep_for,
            } if from_manager => {
                let markers = &mut self.markers;
                self.copies.mark(turn, markers, from, id, tenure, keep_for);
                self.forget_evacuated(turn, &id);
                has_gone = true;
            }
            Body::Inquire { scope } if from_manager && !self.copies.is_between(turn, scope) => {
                let sightings = self.copies.report(turn, &self.markers, scope);
                turn.send(from, Body::Report { scope, sightings });
            }
            // Between holders.
            Body::State {
                id,
                tenure,
                revision,
                state,
            } if self.takes_more() => {
                let (copies, directory) = (&mut self.copies, &mut self.directory);
                let markers = &self.markers;
                let here = copies.state(turn, markers, directory, id, tenure, revision, state);
                if here {
                    self.asks.arrived(turn, id);
                }
            }
            // What only a manager may say, from somebody else; and `Stale`, whose epoch has said it.
            _ => {}
        }
        has_gone
    }

    fn timer(&mut self, now: Moment, timer: Timer, holdings: &dyn Holdings, out: &mut Vec<Output>) {
        let due = self.timers.take_due(timer, now);
        if self.layout.is_none() || !self.has_lease(now) {
            for (timer, last) in due {
                self.wait_on(now, timer, last, out);
            }
            return;
        }
        self.with_turn(now, holdings, out, |this, turn| {
            for (timer, last) in due {
                if this.goes_off(turn, timer, last) {
                    turn.await_longer(timer, last.max(turn.settings.retry / 2));
                }
            }
        });
    }

    /// Nothing is asked or told without a lease; the wait goes on, but for requests' own.
    fn wait_on(&mut self, now: Moment, timer: Timer, last: Duration, out: &mut Vec<Output>) {
        let given_up = self.layout.is_some()
            && match timer {
                Timer::Ask(id) => self.asks.give_up_overdue(now, id, out),
                Timer::Register(id) => {
                    let given_up = self.asks.give_up_overdue(now, id, out);
                    if given_up {
                        self.unleased.ends.push((id, Tenure::NONE));
                    }
                    given_up
                }
                _ => false,
            };
        if !given_up {
            self.timers.start(timer, now, last.max(self.settings.retry));
        }
    }

    /// What had waited for `last` is done or asked again; whether to wait for an answer on.
    fn goes_off(&mut self, turn: &mut Turn<'_>, timer: Timer, last: Duration) -> bool {
        match timer {
            Timer::Ask(id) => self.asks.ask_again(turn, id),
            Timer::Register(id) => match self.asks.register_again(turn, id) {
                Some(given_up) => {
                    if given_up {
                        // The manager may believe that it is here; it must not go on so.
                        self.copies.end(turn, &mut self.markers, id, Tenure::NONE);
                    }
                    !given_up
                }
                None => false,
            },
            Timer::Release(id) => self.directory.release_again(turn, id),
            Timer::Arrived(id) => self.copies.arrived_again(turn, id),
            Timer::Drop(id) => self.directory.drop_again(turn, id),
            Timer::End(id) => {
                let again = self.copies.end_again(turn, &self.markers, id);
                self.copies.tell_more(turn);
                again
            }
            Timer::Mark(id) => self.directory.mark_again(turn, &self.markers, id),
            Timer::Offer(id) => self.copies.offer(turn, id, last),
            Timer::Pull(bucket) => self.directory.pull_again(turn, bucket),
            Timer::HandOver(bucket) => self.directory.hand_over_again(turn, &self.markers, bucket),
            Timer::Inquire(scope) => self.directory.inquire_again(turn, scope),
            Timer::Missing(id) => {
                self.directory.missing_again(turn, id);
                false
            }
            Timer::Evacuate => {
                self.evacuate_on(turn);
                false
            }
            Timer::Forget => {
                self.copies.forget(turn.now);
                self.markers.forget(turn.now);
                let wait = turn.settings.remember_for;
                turn.timers.start(timer, turn.now, wait);
                false
            }
        }
    }

    /// Inputs from the node itself.
    fn local(&mut self, now: Moment, input: Input, holdings: &dyn Holdings, out: &mut Vec<Output>) {
        let has_lease = self.has_lease(now);
        if self.layout.is_none() {
            match input {
                Input::Find { id, .. } | Input::Register(id) => {
                    let found = Found::Unavailable;
                    out.push(Output::Found { id, found });
                }
                // Asked of the incarnation before: offered with the rest of what it had.
                Input::Sealed(copies) => {
                    let returned = copies.into_iter().map(SealedCopy::returned);
                    self.returned.extend(returned);
                }
                Input::Returned(copy) => self.returned.push(copy),
                _ => {}
            }
            return;
        }
        if let Input::End { id, tenure } = input
            && !has_lease
        {
            self.unleased.ends.push((id, tenure));
            return;
        }
        self.with_turn(now, holdings, out, |this, turn| match input {
            Input::Find { id, want } => this.asks.find(turn, id, want),
            Input::Register(id) if !this.takes_more() => {
                let found = Found::Unavailable;
                turn.out.push(Output::Found { id, found });
            }
            Input::Register(id) => this.asks.register(turn, id),
            Input::Sealed(copies) => {
                for copy in copies {
                    this.was_sealed(turn, copy, has_lease);
                }
            }
            Input::Returned(copy) => {
                this.copies.take_back(turn, this.as_offered(now, copy));
            }
            Input::Waits(id) => {
                if let Some(evacuation) = &mut this.evacuation {
                    evacuation.waits(turn, id);
                    evacuation.push(turn, &this.directory);
                }
            }
            Input::Busy(id) => {
                this.copies.busy(turn, id);
                if let Some(evacuation) = &mut this.evacuation {
                    evacuation.waits(turn, id);
                    evacuation.push(turn, &this.directory);
                }
            }
            Input::Unencodable(id) => {
                this.copies.busy(turn, id);
                if let Some(evacuation) = &mut this.evacuation {
                    evacuation.stays(turn.bucket(&id), id);
                    evacuation.push(turn, &this.directory);
                }
            }
            Input::Gone(id) => {
                this.copies.gone(turn, &this.markers, id);
                this.forget_evacuated(turn, &id);
                this.some_have_gone(turn);
            }
            Input::End { id, tenure } => {
                this.copies.end(turn, &mut this.markers, id, tenure);
                this.forget_evacuated(turn, &id);
                this.some_have_gone(turn);
            }
            Input::Congested => {
                if let Some(evacuation) = &mut this.evacuation {
                    evacuation.hold_back();
                }
            }
            Input::Evacuate => {
                let evacuation = this.evacuation.get_or_insert_default();
                evacuation.push(turn, &this.directory);
                this.look_whether_evacuated(turn);
            }
            Input::Layout(_) | Input::Lease(_) | Input::Message { .. } | Input::Timer(_) => {}
        });
    }

    /// The evacuation's tick.
    fn evacuate_on(&mut self, turn: &mut Turn<'_>) {
        let Some(evacuation) = &mut self.evacuation else {
            return;
        };
        let (copies, holdings) = (&self.copies, turn.holdings);
        evacuation.retain(|bucket, id| {
            holdings.get(id).is_some()
                || copies.is_sealing(bucket, id)
                || copies.is_sealed(bucket, id)
        });
        evacuation.tick(turn, &self.directory);
        self.look_whether_evacuated(turn);
    }

    /// A session was sealed and is out of the map.
    fn was_sealed(&mut self, turn: &mut Turn<'_>, copy: SealedCopy, has_lease: bool) {
        let id = copy.id;
        if has_lease || !self.copies.is_sealing(turn.bucket(&id), &id) {
            let bytes = copy.state.len();
            self.copies.sealed(turn, &self.markers, copy);
            if let Some(evacuation) = &mut self.evacuation
                && self.copies.is_sealed(turn.bucket(&id), &id)
            {
                evacuation.sealed(turn.bucket(&id), id, bytes);
            }
        } else {
            self.copies.not_sealed(turn.bucket(&id), id);
            turn.out.push(copy.restored());
        }
    }

    /// No copy of the session is here any more.
    fn forget_evacuated(&mut self, turn: &Turn<'_>, id: &SessionId) {
        if let Some(evacuation) = &mut self.evacuation {
            evacuation.gone(turn.bucket(id), id);
        }
    }

    /// There may be room for others, or nothing may be left.
    fn some_have_gone(&mut self, turn: &mut Turn<'_>) {
        if let Some(evacuation) = &mut self.evacuation {
            evacuation.push(turn, &self.directory);
        }
        self.look_whether_evacuated(turn);
    }

    fn look_whether_evacuated(&mut self, turn: &mut Turn<'_>) {
        if self.evacuation.is_none() {
            return;
        }
        // Where everybody leaves, waiting for somebody to take the buckets would be in vain.
        let nobody_asks =
            self.directory.is_empty() || turn.layout.everybody_leaves() && self.directory.is_idle();
        let nothing_is_left = turn.holdings.is_empty()
            && self.copies.is_settled()
            && nobody_asks
            && !self.asks.is_registering();
        if nothing_is_left && (self.directory.is_empty() || self.creates_nothing_more) {
            self.takes_nothing_more = true;
            turn.send_off();
            turn.out.push(Output::Evacuated);
            return;
        }
        if nothing_is_left {
            // One that is created meanwhile shows at the next look.
            self.creates_nothing_more = true;
            self.directory.close(turn);
        }
        turn.timers
            .ensure(Timer::Evacuate, turn.now, turn.settings.retry);
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
