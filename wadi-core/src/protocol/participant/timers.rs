//! What goes off: something is asked or told again, given up, or forgotten.

use std::time::Duration;

use super::Participant;
use crate::clock::Moment;
use crate::protocol::holdings::Holdings;
use crate::protocol::io::Output;
use crate::protocol::timer::Timer;
use crate::protocol::turn::Turn;
use crate::tenure::Tenure;

impl Participant {
    pub(super) fn timer(
        &mut self,
        now: Moment,
        timer: Timer,
        holdings: &dyn Holdings,
        out: &mut Vec<Output>,
    ) {
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
            Timer::Entrust(id) => self.directory.entrust_again(turn, id),
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
}
