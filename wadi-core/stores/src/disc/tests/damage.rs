//! What came back otherwise than it was written.

use std::fs;
use std::path::PathBuf;

use super::super::OpenError;
use super::super::codec;
use super::super::engine::Engine;
use super::super::place::synced_note;
use super::*;

/// As large as a block of the engine's, so that each has its own.
fn state(number: u32) -> Vec<u8> {
    let mut state = format!("what session {number} has").into_bytes();
    state.resize(6000, number as u8);
    state
}

/// A store with twenty rows, closed, all of them sorted into the engine's tables.
fn written(directory: &Path) {
    let (asked, store) = (Asked::new(), open(directory));
    let rows = (0..20).map(|number| row(number, 1, &state(number)));
    assert!(asked.put(&store, rows.collect()).is_ok());
    drop(store);
    let engine = engine(directory);
    for map in [&engine.bodies, &engine.heads, &engine.due] {
        map.rotate_memtable_and_wait().expect("there is room");
    }
}

fn engine(directory: &Path) -> Engine {
    Engine::open(&directory.join("rows"), directory, 1 << 20).expect("it opens")
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("it is there") {
        let path = entry.expect("it reads").path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The tables and journals, and how long they are. What the engine has of its own versions beside, it tidies up.
fn contents(directory: &Path) -> Vec<(PathBuf, u64)> {
    files(directory)
        .into_iter()
        .filter(|path| {
            path.extension().is_some_and(|end| end == "jnl")
                || path.iter().any(|part| part == "tables")
        })
        .map(|path| {
            let length = fs::metadata(&path).expect("it is there").len();
            (path, length)
        })
        .collect()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// The table, and where in it, has this.
fn in_a_table(directory: &Path, what: &[u8]) -> (PathBuf, usize) {
    files(directory)
        .into_iter()
        .filter(|path| path.extension().is_none_or(|end| end != "jnl"))
        .find_map(|path| {
            let bytes = fs::read(&path).expect("it reads");
            let at = find(&bytes, what)?;
            Some((path, at))
        })
        .expect("a table has it")
}

fn change(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("it reads");
    bytes[at] ^= 0x40;
    fs::write(path, bytes).expect("it can be written");
}

#[test]
fn one_damaged_row_costs_that_row_only() {
    let directory = tempfile::tempdir().expect("there is room");
    written(directory.path());
    let (table, at) = in_a_table(directory.path(), b"what session 11 has");
    change(&table, at + 3000);
    // And one whose bytes the engine holds for good.
    {
        let engine = engine(directory.path());
        let state = engine.state().expect("it reads").expect("it is there");
        let mut changed = engine.change();
        let mut body = codec::body(bucket(5), Payload::seal(id(5), &state_of(5)).as_bytes());
        body[100] ^= 1;
        changed.set(&engine.bodies, &codec::id(id(5)), &body);
        assert!(changed.write(&state).is_ok());
    }
    let (asked, store) = (Asked::new(), open(directory.path()));
    for number in [5, 11] {
        for _ in 0..2 {
            let took = asked.take(&store, number);
            assert!(
                matches!(took, Err(StoreError::Damaged(_))),
                "{number}: {took:?}"
            );
        }
    }
    assert_eq!(
        asked.list(&store, false).map(|heads| heads.len()),
        Ok(20),
        "they stay as they are"
    );
    for number in (0..20).filter(|number| ![5, 11].contains(number)) {
        let took = asked.take(&store, number);
        assert!(
            is_row(&took, &row(number, 1, &state(number))),
            "{number}: {took:?}"
        );
    }
    // A newer one takes its place, and it can end.
    let newer = row(11, 2, b"newer");
    assert_eq!(
        asked.put(&store, vec![newer.clone()]),
        Ok(vec![Put::Stored])
    );
    assert!(is_row(&asked.take(&store, 11), &newer));
    asked.end(&store, 5, HOUR);
    assert_eq!(asked.take(&store, 5), Ok(Took::Ended));
    assert_eq!(store.len(), 0);
}

fn state_of(number: u32) -> Vec<u8> {
    state(number)
}

/// Opens what was damaged so, and sees that it is refused with everything left there.
fn refused_when(damage: impl Fn(&Path)) {
    let directory = tempfile::tempdir().expect("there is room");
    written(directory.path());
    // Something that is in the journal only.
    let (asked, store) = (Asked::new(), open(directory.path()));
    assert!(
        asked
            .put(
                &store,
                (100..140)
                    .map(|number| row(number, 1, &state(number)))
                    .collect()
            )
            .is_ok()
    );
    assert!(
        asked
            .put(
                &store,
                (140..180)
                    .map(|number| row(number, 1, &state(number)))
                    .collect()
            )
            .is_ok()
    );
    drop(store);
    damage(directory.path());
    let before = contents(directory.path());
    match DiscStore::open(directory.path(), DiscSettings::new()) {
        Err(error @ OpenError::Damaged { .. }) => {
            let text = error.to_string();
            assert!(
                text.contains(&directory.path().display().to_string()),
                "{text}"
            );
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it opened"),
    }
    // Also where the engine had cut a journal, it is there as it was.
    let mut after = contents(directory.path());
    let kept = directory.path().join("journals.found");
    let rows = directory.path().join("rows");
    for (path, length) in &mut after {
        let kept = path.strip_prefix(&rows).map(|name| kept.join(name));
        if let Ok(kept) = kept
            .map_err(drop)
            .and_then(|kept| fs::metadata(kept).map_err(drop))
        {
            *length = kept.len();
        }
    }
    after.retain(|(path, _)| !path.starts_with(&kept));
    assert_eq!(after, before, "nothing was deleted");
}

fn journal(directory: &Path) -> PathBuf {
    let mut journals = files(directory);
    journals.retain(|path| path.extension().is_some_and(|end| end == "jnl"));
    journals.pop().expect("there is one")
}

#[test]
fn a_table_that_is_missing_is_said() {
    refused_when(|directory| {
        let (table, _) = in_a_table(directory, b"what session 11 has");
        fs::remove_file(table).expect("it is there");
    });
}

#[test]
fn a_table_that_was_cut_is_said() {
    refused_when(|directory| {
        let (table, at) = in_a_table(directory, b"what session 11 has");
        let file = fs::OpenOptions::new()
            .write(true)
            .open(table)
            .expect("it is there");
        file.set_len(at as u64).expect("it can be cut");
    });
}

#[test]
fn a_journal_that_was_changed_is_said() {
    refused_when(|directory| {
        let journal = journal(directory);
        let bytes = fs::read(&journal).expect("it reads");
        let at = find(&bytes, b"what session 110 has").expect("the journal has it");
        change(&journal, at + 100);
    });
}

#[test]
fn a_journal_that_was_cut_below_what_was_synced_is_said() {
    refused_when(|directory| {
        let journal = journal(directory);
        let bytes = fs::read(&journal).expect("it reads");
        let at = find(&bytes, b"what session 150 has").expect("the journal has it");
        let file = fs::OpenOptions::new()
            .write(true)
            .open(journal)
            .expect("it is there");
        file.set_len(at as u64).expect("it can be cut");
    });
}

#[test]
fn rows_that_are_missing_as_a_whole_are_said() {
    refused_when(|directory| fs::remove_dir_all(directory.join("rows")).expect("it is there"));
}

#[test]
fn what_was_not_synced_may_be_torn_off() {
    let directory = tempfile::tempdir().expect("there is room");
    written(directory.path());
    let (asked, store) = (Asked::new(), open(directory.path()));
    assert!(asked.put(&store, vec![row(100, 1, &state(100))]).is_ok());
    asked.wait(store.close());
    // As if the power had gone before it was synced.
    let synced = directory.path().join("synced");
    fs::write(&synced, synced_note(1).as_bytes()).expect("there is room");
    let journal = journal(directory.path());
    let bytes = fs::read(&journal).expect("it reads");
    let at = find(&bytes, b"what session 100 has").expect("the journal has it");
    let file = fs::OpenOptions::new()
        .write(true)
        .open(journal)
        .expect("it is there");
    file.set_len(at as u64 + 3000).expect("it can be cut");
    let store = open(directory.path());
    assert_eq!(asked.take(&store, 100), Ok(Took::Nothing));
    assert!(is_row(&asked.take(&store, 3), &row(3, 1, &state(3))));
}

/// With so little memory that what is written is sorted again and again.
fn open_small(directory: &Path) -> DiscStore {
    let settings = DiscSettings::new().keep_free_bytes(0).cache_bytes(1 << 20);
    DiscStore::open(directory, settings).expect("it opens")
}

#[test]
fn a_damaged_block_that_is_to_be_sorted_costs_its_rows_only() {
    let directory = tempfile::tempdir().expect("there is room");
    let many = 2400;
    // Two that lie between each other, so that one cannot be sorted without the other.
    let is_first = |number: &u32| number.is_multiple_of(4);
    let put = |asked: &Asked, store: &DiscStore, numbers: Vec<u32>| {
        for some in numbers.chunks(50) {
            let rows = some.iter().map(|number| row(*number, 1, &state(*number)));
            let put = asked.put(store, rows.collect());
            assert_eq!(put, Ok(vec![Put::Stored; some.len()]), "{some:?}");
        }
    };
    let (asked, store) = (Asked::new(), open_small(directory.path()));
    put(&asked, &store, (0..many).filter(is_first).collect());
    drop(store);
    let engine = engine(directory.path());
    engine
        .bodies
        .rotate_memtable_and_wait()
        .expect("there is room");
    drop(engine);
    let (table, at) = in_a_table(directory.path(), b"what session 12 has");
    change(&table, at + 3000);
    let store = open_small(directory.path());
    put(
        &asked,
        &store,
        (0..many).filter(|number| !is_first(number)).collect(),
    );
    // It is sorted beside all that, when its turn comes.
    let set_aside = directory.path().join("rows.damaged");
    let mut more = many;
    while !set_aside.exists() {
        assert!(more < many + 1200, "it was not to be sorted");
        put(&asked, &store, vec![more]);
        more += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    let name = table.strip_prefix(directory.path().join("rows"));
    let kept = set_aside.join(name.expect("it is of the engine"));
    assert!(kept.exists(), "what is damaged is kept");
    let some = |number: &u32| number.is_multiple_of(7) && *number != 12;
    for number in (0..many).filter(some) {
        let took = asked.take(&store, number);
        assert!(
            is_row(&took, &row(number, 1, &state(number))),
            "{number}: {took:?}"
        );
    }
    let took = asked.take(&store, 12);
    assert!(matches!(took, Err(StoreError::Damaged(_))), "{took:?}");
    let newer = row(12, 2, b"newer");
    assert_eq!(
        asked.put(&store, vec![newer.clone()]),
        Ok(vec![Put::Stored])
    );
    drop(store);
    let store = open_small(directory.path());
    assert!(is_row(&asked.take(&store, 12), &newer));
    let taken = (0..many).filter(some).count() as u32 + 1;
    assert_eq!(store.len(), u64::from(more - taken));
}

#[test]
fn a_damaged_entry_of_what_is_due_hides_no_other() {
    let directory = tempfile::tempdir().expect("there is room");
    let (asked, store) = (Asked::new(), open(directory.path()));
    let rows = (0..20).map(|number| Row {
        left: Duration::ZERO,
        ..row(number, 1, &state(number))
    });
    assert!(asked.put(&store, rows.collect()).is_ok());
    drop(store);
    let engine = engine(directory.path());
    let known = engine.state().expect("it reads").expect("it is there");
    let mut changed = engine.change();
    // One without its numbers, and one whose key is none.
    changed.remove(&engine.heads, &codec::place(bucket(3), id(3)));
    let mut key = codec::due(bucket(5), super::super::time::Stamp(0), id(5)).to_vec();
    key.push(1);
    changed.set(&engine.due, &key, &[]);
    assert!(changed.write(&known).is_ok());
    drop(engine);
    let store = open(directory.path());
    let due = asked.list(&store, true).expect("the others are listed");
    let ids: Vec<_> = due.iter().map(|head| head.id).collect();
    for number in (0..20).filter(|number| number % 16 != 5 && *number != 3) {
        assert!(ids.contains(&id(number)), "{number}");
        asked.end(&store, number, HOUR);
    }
    for number in [5, 19] {
        asked.end(&store, number, HOUR);
    }
    let said = asked.list(&store, true);
    assert!(matches!(said, Err(StoreError::Damaged(_))), "{said:?}");
}

#[test]
fn what_nobody_can_have_counted_is_said() {
    refused_when(|directory| {
        let engine = engine(directory);
        let mut state = engine.state().expect("it reads").expect("it is there");
        state.changes = u64::MAX;
        assert!(engine.change().write(&state).is_ok());
        drop(engine);
        fs::remove_dir_all(directory.join("journals.found")).ok();
    });
}

#[test]
fn who_was_stopped_while_it_was_mended_has_all_of_it() {
    let directory = tempfile::tempdir().expect("there is room");
    written(directory.path());
    let (rows, mended) = (
        directory.path().join("rows"),
        directory.path().join("rows.mended"),
    );
    // In the middle of copying.
    fs::create_dir(&mended).expect("there is room");
    fs::write(mended.join("0.jnl"), "a part").expect("there is room");
    let (asked, store) = (Asked::new(), open(directory.path()));
    assert!(is_row(&asked.take(&store, 3), &row(3, 1, &state(3))));
    drop(store);
    assert!(!mended.exists());
    // Between setting the one aside and putting the other in its place.
    fs::rename(&rows, &mended).expect("it is there");
    let store = open(directory.path());
    assert_eq!(store.len(), 19);
    assert!(is_row(&asked.take(&store, 4), &row(4, 1, &state(4))));
}
