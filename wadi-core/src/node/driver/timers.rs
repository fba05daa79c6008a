//! What is due, and how long nothing is. One alarm serves all of it.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

use super::{Driver, Life, ROUND, SLICE};
use crate::clock::Moment;
use crate::node::given::Given;
use crate::protocol::Input;
use crate::protocol::coordinator;

/// The runtime's timers may stand still while the machine sleeps, and the node's clock does not: it
/// is looked at again after at most this long.
const LONGEST_NAP: Duration = Duration::from_secs(1);

/// When the driver is woken though it is given nothing. It may ring too early, and then rings again: to
/// set it anew each time that a timer starts or stops would cost more than the rings, and many timers
/// are stopped soon after they started.
#[derive(Default)]
pub(super) struct Alarm(Option<(Moment, Pin<Box<Sleep>>)>);

impl Alarm {
    /// It rings no later than at `now + nap`.
    fn set(&mut self, now: Moment, nap: Duration) {
        let wanted = now + nap;
        match &mut self.0 {
            Some((rings_at, _)) if *rings_at <= wanted => {}
            Some((rings_at, sleep)) => {
                *rings_at = wanted;
                sleep.set(tokio::time::sleep(nap));
            }
            None => self.0 = Some((wanted, Box::pin(tokio::time::sleep(nap)))),
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let rings = self
            .0
            .as_mut()
            .map(|(_, sleep)| sleep.as_mut().poll(context));
        if rings == Some(Poll::Pending) {
            return Poll::Pending;
        }
        self.0 = None;
        Poll::Ready(())
    }
}

impl Driver {
    /// What it is given next, or nothing for `nap` at most.
    pub(super) async fn next(&mut self, nap: Duration) -> Option<Given> {
        self.alarm.set(self.clock.now(), nap);
        poll_fn(|context| match self.queue.poll_next(context) {
            Poll::Ready(given) => Poll::Ready(Some(given)),
            Poll::Pending => self.alarm.poll(context).map(|()| None),
        })
        .await
    }

    /// How long nothing is due.
    pub(super) fn nap(&self) -> Duration {
        if !self.drained.is_empty() || !self.departures.is_empty() {
            return Duration::ZERO;
        }
        let leaving = self.leaving.as_ref().map(|leaving| leaving.until);
        let own = match &self.life {
            Life::Joining { again_at, .. } => *again_at,
            Life::Member(member) => [
                member.participant.next_timer().map(|(at, _)| at),
                member.coordinator.wake_at(),
                member.look_at,
                member.declare_at,
            ]
            .into_iter()
            .flatten()
            .min(),
            Life::Over => None,
        };
        let next = own.into_iter().chain(leaving).min();
        next.map_or(LONGEST_NAP, |at| at.since(self.now()).min(LONGEST_NAP))
    }

    pub(super) fn do_what_is_due(&mut self) {
        let now = self.now();
        self.bury_departed(ROUND);
        let is_due = |at: Option<Moment>| at.is_some_and(|at| at <= now);
        if is_due(self.leaving.as_ref().map(|leaving| leaving.until)) {
            self.leave_in_haste();
        }
        if self.leaving.is_some() {
            self.report_evacuation();
        }
        match &self.life {
            Life::Joining { again_at, .. } if is_due(*again_at) => self.ask_to_join(),
            Life::Joining { .. } | Life::Over => {}
            Life::Member(member) => {
                let looks = is_due(member.look_at);
                let declares = is_due(member.declare_at);
                let coordinates = is_due(member.coordinator.wake_at());
                if looks {
                    self.look_at_standing();
                }
                if declares {
                    self.declare_deaths();
                }
                if coordinates {
                    self.coordinate(coordinator::Input::Wake);
                }
                self.wake_participant(now);
            }
        }
    }

    /// Of the protocol's timers that were due at `now` so many as one round may take; what is left is
    /// due in the next.
    fn wake_participant(&mut self, now: Moment) {
        let until = self.now() + SLICE;
        for _ in 0..ROUND {
            let Some(member) = self.member() else { return };
            match member.participant.next_timer() {
                Some((at, timer)) if at <= now => self.give(Input::Timer(timer)),
                _ => return,
            }
            if self.now() >= until {
                return;
            }
        }
    }
}
