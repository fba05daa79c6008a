//! Messages that the network has kept a copy of, and delivers again when it hurts: right after their
//! receiver learnt of a new layout.

use std::collections::VecDeque;
use std::sync::Arc;

use wadi_core::bucket::Layout;
use wadi_core::member::Incarnation;
use wadi_core::message::Message;

use crate::coverage::{Fault, Phase};
use crate::faults::LONGEST_DELAY;
use crate::host::Instant;
use crate::world::{Happening, MILLI, World};

/// One copy of a message that was delivered, or lost, before.
#[derive(Debug)]
pub(crate) struct Echo {
    sent_at: Instant,
    host: usize,
    start: u64,
    from: Incarnation,
    to: Incarnation,
    message: Message,
}

const KEPT: usize = 96;

impl World {
    /// Keeps a copy of a message, for a while, where this run's network does such things.
    pub(crate) fn keep_echo(
        &mut self,
        host: usize,
        from: Incarnation,
        to: Incarnation,
        message: &Message,
    ) {
        if !self.faulty() || !self.noise.echoes {
            return;
        }
        if self.echoes.len() == KEPT {
            self.echoes.pop_front();
        }
        self.echoes.push_back(Echo {
            sent_at: self.now,
            host,
            start: self.hosts[host].start,
            from,
            to,
            message: message.clone(),
        });
    }

    /// `host` is about to learn of a layout: some of what was sent to it before comes once more, none of
    /// it later than any message may.
    pub(crate) fn let_echoes_come(&mut self, host: usize, layout: &Arc<Layout>) {
        let knows = self.hosts[host]
            .participant()
            .and_then(|participant| participant.layout())
            .is_some_and(|known| known.version >= layout.version);
        if knows || !self.faulty() {
            return;
        }
        let latest = self.now + 10 * MILLI;
        let mut kept = std::mem::take(&mut self.echoes);
        kept.retain(|echo| latest - echo.sent_at < LONGEST_DELAY);
        let mut later = VecDeque::with_capacity(kept.len());
        for echo in kept {
            if echo.host != host || self.rng.u32(0..3) > 0 {
                later.push_back(echo);
                continue;
            }
            if let Some(phase) = Phase::of_message(&echo.message.body, false) {
                self.coverage.count(Fault::Duplicate, phase);
            }
            let wait = self.rng.u64(0..10 * MILLI);
            self.after(
                wait,
                Happening::Deliver {
                    host: echo.host,
                    start: echo.start,
                    from: echo.from,
                    to: echo.to,
                    message: echo.message,
                },
            );
        }
        self.echoes = later;
    }
}
