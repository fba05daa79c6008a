//! One step of the protocol: what every part of it may see and do while one input is handled.

use super::holdings::Holdings;
use super::io::{Event, Output, ToStore};
use super::settings::Settings;
use super::timer::{Timer, Timers};
use crate::bucket::{BucketId, Layout, LayoutVersion};
use crate::clock::Moment;
use crate::member::Incarnation;
use crate::message::{Body, Message, Scope};
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
    /// Messages that go at the end of the step, and what of them takes room: what is said to one node
    /// about several sessions of a bucket goes together.
    pub(super) unsent: Vec<Unsent>,
}

/// A message that may have more to say before it goes.
pub(super) struct Unsent {
    to: Incarnation,
    message: Message,
    bytes: usize,
}

/// How many bytes of state go together: enough that the message's own cost is little, and few enough
/// that what is urgent does not stand behind them for long, and that all of it fits into the 64 KiB in which a
/// connection is read. A larger state goes alone.
const TOGETHER: usize = 48 * 1024;

/// Of how many unsent messages one is looked for that may say more.
const OPEN: usize = 8;

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

    /// Whether what it has may still be had: it is a member, or the store below all nodes, which never
    /// dies.
    pub(super) fn is_there(&self, incarnation: Incarnation) -> bool {
        self.is_member(incarnation) || (incarnation == Incarnation::STORE && self.settings.store)
    }

    pub(super) fn send(&mut self, to: Incarnation, body: Body) {
        if to == Incarnation::STORE {
            self.send_to_store(body);
            return;
        }
        let buckets = self.layout.buckets();
        let bytes = body.state_bytes();
        let mut recent = self.unsent.iter_mut().rev().take(OPEN);
        let with = recent.find(|unsent| {
            unsent.to == to
                && unsent.bytes + bytes <= TOGETHER
                && unsent.message.may_go_on_with(&body, buckets)
        });
        match with {
            Some(unsent) => {
                unsent.message.more.push(body);
                unsent.bytes += bytes;
            }
            None => {
                let message = Message::new(self.epoch(body.bucket(buckets)), body);
                self.unsent.push(Unsent { to, message, bytes });
            }
        }
    }

    /// What is said to the store below all nodes, in its own words.
    fn send_to_store(&mut self, body: Body) {
        if !self.settings.store {
            // Somebody believes that there is one: his word is asked about again, and then resolved.
            return;
        }
        let (id, tenure, ask) = match body {
            Body::State {
                id,
                tenure,
                revision,
                state,
            } => (id, tenure, ToStore::Put { revision, state }),
            Body::Release { id, tenure, .. }
            | Body::Drop { id, tenure }
            | Body::Inquire {
                scope: Scope::Session(id, tenure),
            } => (id, tenure, ToStore::Take),
            Body::Mark {
                id,
                tenure,
                keep_for,
            } => (id, tenure, ToStore::End { keep_for }),
            Body::Refuse { id, tenure } => {
                let keep_for = self.settings.mark_for;
                (id, tenure, ToStore::End { keep_for })
            }
            // It asks nobody for anything, so nothing else is for it.
            _ => return,
        };
        self.out.push(Output::Store { id, tenure, ask });
    }

    /// Sends what the step has had to say so far.
    pub(super) fn send_off(&mut self) {
        let unsent = self.unsent.drain(..);
        self.out
            .extend(unsent.map(|Unsent { to, message, .. }| Output::Send { to, message }));
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
        let most = match timer {
            Timer::Ask(_) | Timer::Register(_) => self.settings.ask_most(),
            _ => self.settings.retry_most,
        };
        self.timers.again(timer, self.now, last, most);
    }

    pub(super) fn answered(&mut self, timer: Timer) {
        self.timers.stop(timer);
    }
}
