//! A disc without room. It needs a small disc of its own, which only root can make; elsewhere it says so.

use std::process::Command;
use std::sync::Arc;

use wadi_core::clock::ManualClock;

use super::*;

/// A disc in memory with so much room.
struct SmallDisc(tempfile::TempDir);

impl SmallDisc {
    fn new(mebibytes: u32) -> Option<Self> {
        let directory = tempfile::tempdir().expect("there is room");
        let size = format!("size={mebibytes}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(directory.path())
            .output();
        let is_mounted = mounted.is_ok_and(|it| it.status.success());
        if !is_mounted {
            eprintln!("skipped: no small disc can be mounted here");
        }
        is_mounted.then_some(Self(directory))
    }
}

impl Drop for SmallDisc {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

fn state(number: u32) -> Vec<u8> {
    let mut state = vec![0; 50_000];
    fastrand::Rng::with_seed(number.into()).fill(&mut state);
    state
}

/// Puts until there is no more room; how many there are then.
fn fill(asked: &Asked, store: &DiscStore) -> u32 {
    for number in 0..2000 {
        match asked.put(store, vec![row(number, 1, &state(number))]) {
            Ok(put) => assert_eq!(put, [Put::Stored]),
            Err(StoreError::Full(text)) => {
                assert!(number > 20, "there was room for {number} only: {text}");
                return number;
            }
            Err(other) => panic!("{number}: {other}"),
        }
    }
    panic!("it never was full");
}

#[test]
fn without_room_nothing_changes_and_reading_goes_on() {
    let Some(disc) = SmallDisc::new(12) else {
        return;
    };
    let clock = Arc::new(ManualClock::new());
    let path = disc.0.path().join("disc");
    let settings = DiscSettings::new().keep_free_bytes(0).cache_bytes(16 << 20);
    let store = DiscStore::open(&path, settings.clock(clock.clone())).expect("it opens");
    let asked = Asked::new();
    std::fs::write(disc.0.path().join("ballast"), vec![1; 2 << 20]).expect("there is room");
    let there = fill(&asked, &store);
    assert_eq!(store.len(), u64::from(there));
    // The last of it, to the byte; the engine's last page has room for some small changes.
    let last = std::fs::write(disc.0.path().join("last"), vec![1; 32 << 20]);
    assert!(last.is_err(), "there was room");
    clock.advance(Duration::from_secs(60));
    let mut taken = 0;
    for number in 0..there {
        match asked.take(&store, number) {
            Ok(Took::Row(_)) => taken += 1,
            Err(StoreError::Full(text)) => {
                assert!(text.contains("disc"), "{text}");
                break;
            }
            other => panic!("{number}: {other:?}"),
        }
    }
    assert!(taken < there, "it was full");
    for _ in 0..3 {
        let took = asked.take(&store, there - 1);
        assert!(matches!(took, Err(StoreError::Full(_))), "{took:?}");
        assert_eq!(asked.take(&store, 5000), Ok(Took::Nothing));
        let listed = asked.list(&store, false).map(|heads| heads.len());
        assert_eq!(listed, Ok((there - taken) as usize));
        clock.advance(Duration::from_secs(60));
    }
    for file in ["ballast", "last"] {
        std::fs::remove_file(disc.0.path().join(file)).expect("it is there");
    }
    clock.advance(Duration::from_secs(60));
    assert_eq!(
        asked.put(&store, vec![row(3000, 1, &state(3000))]),
        Ok(vec![Put::Stored])
    );
    for number in (taken..there).chain([3000]) {
        let took = asked.take(&store, number);
        assert!(
            is_row(&took, &row(number, 1, &state(number))),
            "{number}: {took:?}"
        );
    }
    drop(store);
    let store = open(&path);
    assert_eq!(store.len(), 0);
    assert_eq!(asked.list(&store, false), Ok(Vec::new()));
}

#[test]
fn what_is_kept_free_is_for_taking_out() {
    let Some(disc) = SmallDisc::new(24) else {
        return;
    };
    let path = disc.0.path().join("disc");
    let settings = DiscSettings::new().keep_free_bytes(16 << 20);
    let store = DiscStore::open(&path, settings).expect("it opens");
    let asked = Asked::new();
    let there = fill(&asked, &store);
    for number in 0..there {
        assert!(is_row(
            &asked.take(&store, number),
            &row(number, 1, &state(number))
        ));
    }
    assert!(store.is_empty());
}
