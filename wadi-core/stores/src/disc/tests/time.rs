//! How time passes for rows, also across restarts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use wadi_core::clock::{Clock, Moment};

use super::*;

/// Two clocks that a test moves apart.
#[derive(Debug)]
struct Apart {
    moment: AtomicU64,
    wall: AtomicU32,
}

impl Clock for Apart {
    fn now(&self) -> Moment {
        Moment::ZERO + Duration::from_secs(self.moment.load(Relaxed))
    }
    fn unix_seconds(&self) -> u32 {
        self.wall.load(Relaxed)
    }
}

fn opened(directory: &Path, clock: &Arc<Apart>, boot: &str) -> DiscStore {
    let mut settings = DiscSettings::new().keep_free_bytes(0).clock(clock.clone());
    settings.boot = Some(boot.to_owned());
    DiscStore::open(directory, settings).expect("it opens")
}

fn age(took: &Result<Took, StoreError>) -> u64 {
    match took {
        Ok(Took::Row(kept)) => kept.age.as_secs(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_jump_of_the_wall_clock_changes_nothing_within_a_boot() {
    let directory = tempfile::tempdir().expect("there is room");
    let clock = Arc::new(Apart {
        moment: AtomicU64::new(100),
        wall: AtomicU32::new(1_800_000_000),
    });
    let asked = Asked::new();
    let store = opened(directory.path(), &clock, "one");
    let mut short = row(1, 1, b"short");
    short.left = Duration::from_secs(60);
    let rows = vec![short, row(2, 1, b"long"), row(3, 1, b"long")];
    assert!(asked.put(&store, rows).is_ok());
    clock.moment.fetch_add(10, Relaxed);
    clock.wall.fetch_add(3610, Relaxed);
    assert_eq!(
        asked.list(&store, true),
        Ok(Vec::new()),
        "an hour on the wall is no hour"
    );
    assert_eq!(age(&asked.take(&store, 2)), 10);
    drop(store);
    clock.moment.fetch_add(20, Relaxed);
    clock.wall.fetch_add(7200, Relaxed);
    let store = opened(directory.path(), &clock, "one");
    assert_eq!(asked.list(&store, true), Ok(Vec::new()));
    clock.moment.fetch_add(30, Relaxed);
    let due = asked.list(&store, true).expect("it is listed");
    assert_eq!(due.iter().map(|head| head.id).collect::<Vec<_>>(), [id(1)]);
    assert_eq!(age(&asked.take(&store, 3)), 60);
    // What is put after somebody looked is found, too.
    asked.end(&store, 1, HOUR);
    assert_eq!(asked.list(&store, true), Ok(Vec::new()));
    let mut late = row(1000, 1, b"late");
    late.left = Duration::from_secs(5);
    assert!(asked.put(&store, vec![late]).is_ok());
    assert_eq!(asked.list(&store, true), Ok(Vec::new()));
    clock.moment.fetch_add(5, Relaxed);
    let due = asked.list(&store, true).expect("it is listed");
    assert_eq!(
        due.iter().map(|head| head.id).collect::<Vec<_>>(),
        [id(1000)]
    );
}

#[test]
fn across_a_reboot_the_wall_clock_counts_and_never_backwards() {
    let directory = tempfile::tempdir().expect("there is room");
    let clock = Arc::new(Apart {
        moment: AtomicU64::new(1_000_000),
        wall: AtomicU32::new(1_800_000_000),
    });
    let asked = Asked::new();
    let store = opened(directory.path(), &clock, "one");
    assert!(
        asked
            .put(&store, (0..3).map(|number| row(number, 1, b"it")).collect())
            .is_ok()
    );
    asked.end(&store, 9, Duration::from_secs(300));
    drop(store);
    clock.moment.store(20, Relaxed);
    clock.wall.fetch_add(200, Relaxed);
    let store = opened(directory.path(), &clock, "two");
    assert_eq!(age(&asked.take(&store, 0)), 200);
    assert_eq!(asked.take(&store, 9), Ok(Took::Ended));
    drop(store);
    // The clock on the wall is an hour behind after this one.
    clock.moment.store(30, Relaxed);
    clock.wall.fetch_sub(3600, Relaxed);
    let store = opened(directory.path(), &clock, "three");
    assert_eq!(age(&asked.take(&store, 1)), 200);
    clock.moment.fetch_add(100, Relaxed);
    assert_eq!(age(&asked.take(&store, 2)), 300);
    assert_eq!(asked.take(&store, 9), Ok(Took::Nothing));
}

#[test]
fn ends_are_forgotten_on_disc_too() {
    let directory = tempfile::tempdir().expect("there is room");
    let clock = Arc::new(Apart {
        moment: AtomicU64::new(100),
        wall: AtomicU32::new(1_800_000_000),
    });
    let asked = Asked::new();
    let store = opened(directory.path(), &clock, "one");
    for number in 0..1000 {
        asked.end(&store, number, Duration::from_secs(10));
    }
    clock.moment.fetch_add(11, Relaxed);
    // Each of these sweeps some beside its own work.
    for number in 2000..2008 {
        assert!(asked.put(&store, vec![row(number, 1, b"it")]).is_ok());
    }
    drop(store);
    let engine = super::super::engine::Engine::open(
        &directory.path().join("rows"),
        directory.path(),
        1 << 20,
    );
    let engine = engine.expect("it opens");
    assert_eq!(engine.ended.len().expect("it reads"), 0);
    assert_eq!(engine.forget.len().expect("it reads"), 0);
}
