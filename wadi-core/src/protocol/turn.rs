//! One step of the protocol: what every part of it may see and do while one input is handled.

use super::holdings::Holdings;
use super::io::{Event, Output};
use super::settings::Settings;
use super::timer::{Timer, Timers};
use crate::bucket::{BucketId, Layout, LayoutVersion};
use crate::clock::Moment;
use crate::member::Incarnation;
use crate::message::{Body, Message};
use crate::sabotage::{self, Rule};
use crate::session::SessionId;

/// The surroundings of one step.
pub(super) struct Turn<'a> {
    pub(super) me: Incarnation,
    pub(super) now: Moment,
    pub(super) settings: &'a Settings,
    pub(super) layout: &'a Layout,
    /// When this node learned of the latest death that is not proven.
    pub(super) unproven_since: Option<Moment>,
    pub(super) holdings: &'a dyn Holdings,
    pub(super) timers: &'a mut Timers,
    pub(super) out: &'a mut Vec<Output>,
}

impl Turn<'_> {
    pub(super) fn bucket(&self, id: &SessionId) -> BucketId {
        id.bucket(self.layout.buckets())
    }

    pub(super) fn epoch(&self, bucket: BucketId) -> LayoutVersion {
        self.layout.placement(bucket).since
    }

    pub(super) fn manager(&self, id: &SessionId) -> Incarnation {
        self.layout.placement(self.bucket(id)).manager
    }

    pub(super) fn is_member(&self, incarnation: Incarnation) -> bool {
        self.layout.is_member(incarnation)
    }

    pub(super) fn send(&mut self, to: Incarnation, body: Body) {
        let epoch = self.epoch(body.bucket(self.layout.buckets()));
        self.out.push(Output::Send {
            to,
            message: Message { epoch, body },
        });
    }

    pub(super) fn send_to_manager(&mut self, id: &SessionId, body: Body) {
        self.send(self.manager(id), body);
    }

    pub(super) fn event(&mut self, event: Event) {
        self.out.push(Output::Event(event));
    }

    /// Starts to wait for an answer: when none comes, `timer` goes off and asks again.
    pub(super) fn await_answer(&mut self, timer: Timer) {
        if sabotage::is_off(Rule::AskAgain) {
            return;
        }
        self.timers.start(timer, self.now, self.settings.retry);
    }

    /// After `timer` went off and the step was asked again: waits longer.
    pub(super) fn await_longer(&mut self, timer: Timer, last: std::time::Duration) {
        self.timers
            .again(timer, self.now, last, self.settings.retry_most);
    }

    pub(super) fn answered(&mut self, timer: Timer) {
        self.timers.stop(timer);
    }
}
