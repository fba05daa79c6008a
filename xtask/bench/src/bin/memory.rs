//! What a session costs in memory: live heap per session, everything included.
//!
//! `cargo run --release -p wadi-bench --bin memory -- <frozen|counter|frozen-counter> <sessions>`; without
//! arguments every case with a few sessions, which shows that it still works.

use std::alloc::System;
use std::sync::Arc;
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use wadi_core::clock::{Clock, ManualClock};
use wadi_core::session::{ClusterKey, Keyring, Limits, Origin, Sessions, Visit};

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const CASES: &[&str] = &["frozen", "counter", "frozen-counter"];

fn live() -> usize {
    let stats = COUNTING.stats();
    // A reallocation counts on the side on which it fell.
    stats.bytes_allocated - stats.bytes_deallocated
}

fn run(case: &str, count: usize) -> f64 {
    let before = live();
    let clock = Arc::new(ManualClock::new());
    let limits = Limits {
        max_sessions: usize::MAX,
        ..Limits::default()
    };
    let freeze_after = limits.freeze_after;
    let sessions = Sessions::builder(Keyring::new(ClusterKey::random()))
        .limits(limits)
        .clock(Arc::clone(&clock) as Arc<dyn Clock>)
        .build();
    let sessions = Arc::new(sessions);
    for n in 0..count {
        let visit = Visit::without(Arc::clone(&sessions), Origin::New);
        if case == "frozen" {
            // With its key and lengths, 1,060 bytes encoded.
            let text = "x".repeat(1046);
            visit.insert("profile", text).expect("within budget");
        } else {
            visit.insert("n", n as u64).expect("within budget");
        }
        visit.commit().expect("a node that is alone");
    }
    if case.starts_with("frozen") {
        clock.advance(freeze_after + Duration::from_secs(1));
        let mut frozen = 0;
        loop {
            let swept = sessions.sweep(clock.now(), 10_000);
            frozen += swept.frozen;
            if swept.round_done {
                break;
            }
        }
        assert_eq!(frozen, count);
    }
    assert_eq!(sessions.map().len(), count);
    (live() - before) as f64 / count as f64
}

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    let case = arguments.next();
    let count = arguments.next().map_or(10_000, |count| {
        count
            .parse()
            .expect("the second argument is a number of sessions")
    });
    let cases = case.as_deref().map_or(CASES.to_vec(), |case| vec![case]);
    for case in cases {
        assert!(
            CASES.contains(&case),
            "no case {case:?}; there are {CASES:?}"
        );
        println!(
            "{case}: {:.0} bytes per session at {count}",
            run(case, count)
        );
    }
}
