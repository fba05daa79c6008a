//! Two embedded engines beside each other, on what a disc tier does: rows of about 1 KiB are written once in
//! batches, listed by bucket, looked for by when they run out, and each taken once, in any order.
//!
//! `cargo bench -p wadi-stores --bench engines -- ROWS BATCH [DIRECTORY]`. Each engine runs in a process of
//! its own, which is killed when all is written; another one opens what it left. Without arguments a few rows.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

mod measure;
use measure::{Part, now, on_disc, report};

const BYTES: usize = 1126;
const BUCKETS: u64 = 4096;

/// What is asked of an engine: three indices of one row, changed in one step.
trait Engine: Sized {
    fn open(directory: &Path) -> Self;
    fn put(&self, rows: &[(u64, Vec<u8>)]);
    /// Takes these out, in one step.
    fn take(&self, numbers: &[u64]) -> usize;
    fn list(&self) -> usize;
    fn due(&self, until: u64) -> usize;
    fn settle(&self) {}
}

fn id(number: u64) -> [u8; 20] {
    let mut rng = fastrand::Rng::with_seed(number);
    let mut id = [0; 20];
    rng.fill(&mut id);
    id
}

fn bucket_key(number: u64) -> [u8; 22] {
    let mut key = [0; 22];
    let bucket = (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % BUCKETS) as u16;
    key[..2].copy_from_slice(&bucket.to_be_bytes());
    key[2..].copy_from_slice(&id(number));
    key
}

fn ends(number: u64) -> u64 {
    number
}

fn due_key(number: u64) -> [u8; 30] {
    let mut key = [0; 30];
    let by_bucket = bucket_key(number);
    key[..2].copy_from_slice(&by_bucket[..2]);
    key[2..10].copy_from_slice(&ends(number).to_be_bytes());
    key[10..].copy_from_slice(&by_bucket[2..]);
    key
}

fn value(number: u64) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(!number);
    let mut value = vec![0; BYTES];
    rng.fill(&mut value);
    value[..8].copy_from_slice(&number.to_be_bytes());
    value
}

struct Fjall {
    db: fjall::Database,
    rows: fjall::Keyspace,
    buckets: fjall::Keyspace,
    due: fjall::Keyspace,
    mode: fjall::PersistMode,
}

impl Fjall {
    fn new(directory: &Path, mode: fjall::PersistMode) -> Self {
        let db = fjall::Database::builder(directory)
            .cache_size(64 << 20)
            .worker_threads(1)
            .open()
            .expect("it opens");
        let of = |name: &str, memory: u64| {
            db.keyspace(name, || {
                fjall::KeyspaceCreateOptions::default().max_memtable_size(memory)
            })
            .expect("it opens")
        };
        Self {
            rows: of("rows", 16 << 20),
            buckets: of("buckets", 4 << 20),
            due: of("due", 4 << 20),
            db,
            mode,
        }
    }
}

impl Engine for Fjall {
    fn open(directory: &Path) -> Self {
        Self::new(directory, fjall::PersistMode::Buffer)
    }

    fn put(&self, rows: &[(u64, Vec<u8>)]) {
        let mut batch = self.db.batch().durability(Some(self.mode));
        for (number, value) in rows {
            assert!(self.rows.get(id(*number)).expect("it reads").is_none());
            batch.insert(&self.rows, id(*number), value.as_slice());
            batch.insert(&self.buckets, bucket_key(*number), [0; 40]);
            batch.insert(&self.due, due_key(*number), []);
        }
        batch.commit().expect("it commits");
    }

    fn take(&self, numbers: &[u64]) -> usize {
        let mut batch = self.db.batch().durability(Some(self.mode));
        let mut found = 0;
        for number in numbers {
            if let Some(value) = self.rows.get(id(*number)).expect("it reads") {
                assert_eq!(value[..8], number.to_be_bytes());
                found += 1;
                batch.remove(&self.rows, id(*number));
                batch.remove(&self.buckets, bucket_key(*number));
                batch.remove(&self.due, due_key(*number));
            }
        }
        batch.commit().expect("it commits");
        found
    }

    fn list(&self) -> usize {
        let mut found = 0;
        for row in self.buckets.iter() {
            row.key().expect("it reads");
            found += 1;
        }
        found
    }

    fn due(&self, until: u64) -> usize {
        let mut found = 0;
        for bucket in 0..BUCKETS as u16 {
            let mut end = [0xff; 30];
            end[..2].copy_from_slice(&bucket.to_be_bytes());
            end[2..10].copy_from_slice(&until.to_be_bytes());
            let range = bucket.to_be_bytes().to_vec()..=end.to_vec();
            found += self.due.range(range).count();
        }
        found
    }
}

struct FjallSynced(Fjall);

impl Engine for FjallSynced {
    fn open(directory: &Path) -> Self {
        Self(Fjall::new(directory, fjall::PersistMode::SyncData))
    }
    fn put(&self, rows: &[(u64, Vec<u8>)]) {
        self.0.put(rows);
    }
    fn take(&self, numbers: &[u64]) -> usize {
        self.0.take(numbers)
    }
    fn list(&self) -> usize {
        self.0.list()
    }
    fn due(&self, until: u64) -> usize {
        self.0.due(until)
    }
}

/// Every commit is synced: without, redb gives back none of what was not synced when its process was killed.
struct Redb(redb::Database);

const ROWS: redb::TableDefinition<&[u8], &[u8]> = redb::TableDefinition::new("rows");
const IN_BUCKETS: redb::TableDefinition<&[u8], &[u8]> = redb::TableDefinition::new("buckets");
const DUE: redb::TableDefinition<&[u8], &[u8]> = redb::TableDefinition::new("due");

impl Engine for Redb {
    fn open(directory: &Path) -> Self {
        let mut builder = redb::Database::builder();
        builder.set_cache_size(64 << 20);
        std::fs::create_dir_all(directory).expect("there is room");
        let db = builder.create(directory.join("redb")).expect("it opens");
        let txn = db.begin_write().expect("it begins");
        for table in [ROWS, IN_BUCKETS, DUE] {
            txn.open_table(table).expect("it opens");
        }
        txn.commit().expect("it commits");
        Self(db)
    }

    fn put(&self, rows: &[(u64, Vec<u8>)]) {
        let txn = self.0.begin_write().expect("it begins");
        {
            let mut all = txn.open_table(ROWS).expect("it opens");
            let mut buckets = txn.open_table(IN_BUCKETS).expect("it opens");
            let mut due = txn.open_table(DUE).expect("it opens");
            for (number, value) in rows {
                let old = all
                    .insert(id(*number).as_slice(), value.as_slice())
                    .expect("it writes");
                assert!(old.is_none());
                drop(old);
                buckets
                    .insert(bucket_key(*number).as_slice(), [0; 40].as_slice())
                    .expect("it writes");
                due.insert(due_key(*number).as_slice(), [].as_slice())
                    .expect("it writes");
            }
        }
        txn.commit().expect("it commits");
    }

    fn take(&self, numbers: &[u64]) -> usize {
        let mut found = 0;
        let txn = self.0.begin_write().expect("it begins");
        {
            let mut all = txn.open_table(ROWS).expect("it opens");
            let mut buckets = txn.open_table(IN_BUCKETS).expect("it opens");
            let mut due = txn.open_table(DUE).expect("it opens");
            for number in numbers {
                let old = all.remove(id(*number).as_slice()).expect("it writes");
                if let Some(value) = old {
                    assert_eq!(value.value()[..8], number.to_be_bytes());
                    found += 1;
                    drop(value);
                    buckets
                        .remove(bucket_key(*number).as_slice())
                        .expect("it writes");
                    due.remove(due_key(*number).as_slice()).expect("it writes");
                }
            }
        }
        txn.commit().expect("it commits");
        found
    }

    fn list(&self) -> usize {
        use redb::{ReadableDatabase, ReadableTable};
        let txn = self.0.begin_read().expect("it begins");
        let table = txn.open_table(IN_BUCKETS).expect("it opens");
        table.iter().expect("it reads").count()
    }

    fn due(&self, until: u64) -> usize {
        use redb::ReadableDatabase;
        let txn = self.0.begin_read().expect("it begins");
        let table = txn.open_table(DUE).expect("it opens");
        let mut found = 0;
        for bucket in 0..BUCKETS as u16 {
            let start = bucket.to_be_bytes();
            let mut end = [0xff; 30];
            end[..2].copy_from_slice(&start);
            end[2..10].copy_from_slice(&until.to_be_bytes());
            let range = table.range::<&[u8]>(start.as_slice()..=end.as_slice());
            found += range.expect("it reads").count();
        }
        found
    }
}

fn writes<E: Engine>(directory: &Path, rows: u64, batch: u64) {
    let engine = E::open(directory);
    let (started, mut each) = (now(), Vec::new());
    let mut from = 0;
    while from < rows {
        let part: Vec<_> = (from..rows.min(from + batch))
            .map(|number| (number, value(number)))
            .collect();
        let began = now();
        engine.put(&part);
        each.push(began.elapsed());
        from += batch;
    }
    report("written", rows, started.elapsed(), each, directory);
    println!("done");
    // Killed here, by who started it.
    std::thread::sleep(Duration::from_secs(60));
}

fn reads<E: Engine>(directory: &Path, rows: u64, batch: u64) {
    let began = now();
    let engine = E::open(directory);
    println!("  opened after kill -9: {:.2?}", began.elapsed());
    let began = now();
    assert_eq!(engine.list() as u64, rows, "every row is there");
    println!("  listed: {:.2?}", began.elapsed());
    for part in [0, rows / 100] {
        let began = now();
        let found = engine.due(part.saturating_sub(1));
        println!("  due, {found} rows: {:.2?}", began.elapsed());
    }
    let mut order: Vec<u64> = (0..rows).collect();
    fastrand::Rng::with_seed(7).shuffle(&mut order);
    let (started, mut each) = (now(), Vec::new());
    for part in order.chunks(batch.min(16) as usize) {
        let began = now();
        assert_eq!(engine.take(part), part.len());
        each.push(began.elapsed());
    }
    report("taken", rows, started.elapsed(), each, directory);
    engine.settle();
    drop(engine);
    std::thread::sleep(Duration::from_secs(2));
    println!(
        "  empty and closed: {} MiB on disc",
        on_disc(directory) >> 20
    );
    println!("done");
}

fn run(engine: &str, part: &str, directory: &Path, rows: u64, batch: u64) {
    let child = Command::new(std::env::current_exe().expect("it runs"))
        .args([engine, part, &rows.to_string(), &batch.to_string()])
        .arg(directory)
        .stdout(Stdio::piped())
        .spawn();
    let mut child = Part(child.expect("it starts"));
    let out = child.0.stdout.take().expect("it is piped");
    let mut done = false;
    for line in BufReader::new(out).lines().map_while(Result::ok) {
        if line == "done" {
            done = true;
            break;
        }
        println!("{line}");
        let _ = std::io::stdout().flush();
    }
    assert!(done, "{engine} stopped in the middle");
}

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|it| it != "--bench")
        .collect();
    if let [engine, part, rows, batch, directory] = arguments.as_slice() {
        let directory = Path::new(directory);
        let (rows, batch) = (
            rows.parse().expect("a number"),
            batch.parse().expect("a number"),
        );
        match (engine.as_str(), part.as_str()) {
            ("fjall", "write") => writes::<Fjall>(directory, rows, batch),
            ("fjall", _) => reads::<Fjall>(directory, rows, batch),
            ("fjall-synced", "write") => writes::<FjallSynced>(directory, rows, batch),
            ("fjall-synced", _) => reads::<FjallSynced>(directory, rows, batch),
            (_, "write") => writes::<Redb>(directory, rows, batch),
            _ => reads::<Redb>(directory, rows, batch),
        }
        return;
    }
    let number = |at: usize, or: u64| {
        arguments
            .get(at)
            .map_or(or, |it| it.parse().expect("a number"))
    };
    let (rows, batch) = (number(0, 2000), number(1, 64));
    let parent = arguments
        .get(2)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    for engine in ["fjall", "fjall-synced", "redb"] {
        let directory = parent.join(format!("wadi-engines-{}-{engine}", std::process::id()));
        println!("{engine}, {rows} rows of {BYTES} bytes, {batch} a batch");
        run(engine, "write", &directory, rows, batch);
        run(engine, "read", &directory, rows, batch);
        let _ = std::fs::remove_dir_all(&directory);
    }
}
