//! The node's background tasks: one ends sessions that ran out and freezes idle ones, one has them go down into
//! the store where there is one.
//!
//! It works in small batches and gives way between them, so that requests are never held up. It
//! decides nothing about a session itself.

use std::sync::{Arc, Weak};
use std::time::Duration;

use wadi_core::clock::{BootClock, Clock, WallWatch};
use wadi_core::evict::AfterIdle;
use wadi_core::session::{Limits, Sessions, Swept};
use wadi_core::tier::Tier;

use crate::lifecycle::{Lifecycle, Phase};

/// Between two rounds of the store's, at least and at most.
const ROUND_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_ROUND_PAUSE: Duration = Duration::from_secs(30);
/// As part of all time, rounds take one of so many: looking at a million sessions is work.
const ROUND_SHARE: u32 = 20;
/// Where the store failed, it is told of ends again so often.
const LOOK_FOR_ENDS: Duration = Duration::from_secs(2);
/// Sessions looked at before other tasks have their turn.
const BATCH: usize = 256;

/// Sweeps until the node is closed or nobody uses its sessions any more.
pub(crate) async fn run(sessions: Weak<Sessions>, lifecycle: Lifecycle) {
    let mut closed = std::pin::pin!(lifecycle.reached(Phase::Closed));
    let mut wall = WallWatch::default();
    while let Some(pause) = sweep(&sessions).await {
        if let Some(jump) = wall.look(&BootClock) {
            tracing::warn!(
                seconds = jump.seconds,
                so_far = jump.so_far,
                "the wall clock jumped against the clock that runs evenly. No session ends or moves for that; but \
                 new ids, log lines and the validity of certificates go by the wall: have this machine's clock \
                 kept right (NTP, chrony)"
            );
        }
        if tokio::time::timeout(pause, closed.as_mut()).await.is_ok() {
            return;
        }
    }
}

/// One round over all sessions, in batches; the time until the next. `None` when they are gone.
async fn sweep(sessions: &Weak<Sessions>) -> Option<Duration> {
    loop {
        // Held for one batch only, so that the sessions can go while this task waits.
        let sessions: Arc<Sessions> = sessions.upgrade()?;
        let swept = sessions.sweep(sessions.now(), BATCH);
        tell(&swept);
        if swept.round_done {
            return Some(pause(sessions.limits()));
        }
        drop(sessions);
        tokio::task::yield_now().await;
    }
}

/// How long a session was not asked for that goes down while its node leaves: clients that are at work
/// need not wait for theirs again and again.
const EBB: AfterIdle = AfterIdle(Duration::from_secs(1));

/// Has sessions go down into the store, and those end there that ran out, until the node is closed or gone.
/// When it leaves, all go that nobody uses, so that few are left for the end.
pub(crate) async fn go_rounds(tier: Weak<Tier>, lifecycle: Lifecycle) {
    while lifecycle.phase() < Phase::Closed {
        let began = BootClock.now();
        if !go_round(&tier, &lifecycle).await {
            return;
        }
        let took = BootClock.now().since(began);
        let pause = (took * ROUND_SHARE).clamp(ROUND_PAUSE, LONGEST_ROUND_PAUSE);
        let next = if lifecycle.phase() < Phase::Leaving {
            Phase::Leaving
        } else {
            Phase::Closed
        };
        let _ = tokio::time::timeout(pause, lifecycle.reached(next)).await;
    }
}

/// Has the copies end of sessions that ended, as soon as they have, until nobody uses the store any more.
pub(crate) async fn end_rows(tier: Weak<Tier>) {
    loop {
        let Some(some) = tier.upgrade().map(|tier| tier.some_ended()) else {
            return;
        };
        let woken = tokio::time::timeout(LOOK_FOR_ENDS, some.notified()).await;
        let Some(tier) = tier.upgrade() else { return };
        if !tier.end_rows().await && woken.is_ok() {
            // The store failed: it is left alone for a moment.
            tokio::time::sleep(ROUND_PAUSE).await;
        }
    }
}

/// One round over all sessions in memory, in batches, and over what ran out below; `false` when the store is
/// nobody's any more.
async fn go_round(tier: &Weak<Tier>, lifecycle: &Lifecycle) -> bool {
    loop {
        let Some(tier) = tier.upgrade() else {
            return false;
        };
        let leaves = lifecycle.phase() >= Phase::Leaving;
        let round = if leaves {
            tier.evict_by(&EBB, BATCH).await
        } else {
            tier.evict(BATCH).await
        };
        if round.done {
            while !leaves && tier.sweep().await {
                tokio::task::yield_now().await;
            }
            return true;
        }
        drop(tier);
        tokio::task::yield_now().await;
    }
}

/// Says what keeps sessions from freezing: their types, and never a value.
fn tell(swept: &Swept) {
    if let Some((type_name, reason)) = swept.last_unencodable {
        tracing::warn!(
            sessions = swept.unencodable,
            type_name,
            reason,
            "sessions stay live, because a value in them cannot be encoded"
        );
    }
    if swept.panicked > 0 {
        tracing::warn!(
            sessions = swept.panicked,
            "a value's own `Drop` panicked when its session was swept"
        );
    }
}

/// A quarter of the shortest time that the sweeper enforces: nothing is overdue for long, and a
/// node of a million sessions spends little on looking.
fn pause(limits: &Limits) -> Duration {
    let shortest = limits
        .freeze_after
        .min(limits.idle)
        .min(limits.idle_unreturned);
    (shortest / 4).clamp(Duration::from_millis(100), Duration::from_secs(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_follows_the_shortest_time_within_bounds() {
        let limits = |seconds| Limits {
            idle: Duration::from_secs(seconds),
            ..Limits::default()
        };
        assert_eq!(pause(&limits(0)), Duration::from_millis(100));
        assert_eq!(pause(&limits(2)), Duration::from_millis(500));
        assert_eq!(pause(&limits(1800)), Duration::from_secs(5));
    }
}
