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

/// Under a tenure above that of every row here.
fn ask(asked: &Asked, store: &DiscStore, number: u32) {
    let granted = Claim::Granted(Tenure::new(LayoutVersion::founding(2), 1));
    let took = asked.wait(store.take(id(number), granted));
    assert_eq!(took, Ok(Took::Nothing));
}

#[test]
fn what_was_said_to_be_absent_and_numbers_that_were_said_outlive_a_restart() {
    let directory = tempfile::tempdir().expect("there is room");
    let clock = Arc::new(Apart {
        moment: AtomicU64::new(100),
        wall: AtomicU32::new(1_800_000_000),
    });
    let asked = Asked::new();
    let store = opened(directory.path(), &clock, "one");
    ask(&asked, &store, 1);
    assert!(asked.put(&store, vec![row(2, 1, b"it")]).is_ok());
    assert_eq!(asked.wait(store.begin(7)), Ok(8));
    drop(store);
    let store = opened(directory.path(), &clock, "one");
    assert_eq!(asked.wait(store.begin(0)), Ok(9));
    assert_eq!(store.len(), 1, "a fence is not counted");
    let late = vec![row(1, 1, b"it"), row(3, 1, b"it")];
    let puts = asked.put(&store, late.clone());
    assert_eq!(puts, Ok(vec![Put::Refused, Put::Stored]));
    clock.moment.fetch_add(601, Relaxed);
    assert_eq!(asked.put(&store, late), Ok(vec![Put::Stored; 2]));
}

#[test]
fn a_number_is_on_the_disc_before_it_is_said() {
    let directory = tempfile::tempdir().expect("there is room");
    let settings = DiscSettings::new().keep_free_bytes(0);
    let store = DiscStore::open(directory.path(), settings.sync_every(HOUR));
    let (asked, store) = (Asked::new(), store.expect("it opens"));
    let synced = || {
        let note = std::fs::read(directory.path().join("synced")).expect("it reads");
        let note = Payload::read(note).ok()?;
        Some(u64::from_be_bytes(
            note.state().try_into().expect("one number"),
        ))
    };
    assert!(asked.put(&store, vec![row(1, 1, b"it")]).is_ok());
    assert_eq!(synced(), None, "that comes later");
    assert_eq!(asked.wait(store.begin(0)), Ok(1));
    assert_eq!(synced(), Some(2), "both changes");
}

#[test]
fn ends_and_fences_are_forgotten_on_disc_too() {
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
    for number in 4000..4200 {
        ask(&asked, &store, number);
    }
    clock.moment.fetch_add(601, Relaxed);
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
