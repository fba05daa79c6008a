//! The embedded engine, as far as anything else here knows of it: five sorted maps that change in one step.
//!
//! It is a log-structured tree. A change is written to its journal, and to the system, before it is answered;
//! the sorted maps follow in the background.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use fjall::config::CompressionPolicy;
use fjall::{
    AbstractTree as _, CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode,
};
use wadi_core::bucket::BucketId;
use wadi_core::session::SessionId;
use wadi_core::store::StoreError;
use wadi_core::tenure::Tenure;

use super::codec::{self, Numbers, State};
use super::error::OpenError;
use super::time::Stamp;

/// The engine holds writers up at four, and would do so for ever if its own thread had stopped. So none is
/// written here at three.
const UNSORTED_MOST: usize = 3;
/// And at thirty of these: likewise.
const RUNS_MOST: usize = 24;
/// How long is waited for the engine's own thread to sort what was written.
const SORTING_MOST: Duration = Duration::from_secs(20);
const SORTING_LOOK: Duration = Duration::from_millis(2);
const JOURNALS_BYTES: u64 = 128 << 20;
const STATE: &[u8] = b"state";
/// The last number that was said to who founds a cluster.
const BEGUN: &[u8] = b"begun";

/// Everything that is kept.
#[derive(Clone)]
pub(super) struct Engine {
    database: Database,
    /// By id: the bucket and the payload.
    pub(super) bodies: Keyspace,
    /// By bucket and id: the numbers. What is listed.
    pub(super) heads: Keyspace,
    /// By bucket, time and id: what runs out, unless it was given out.
    pub(super) due: Keyspace,
    /// By id: until when its end is remembered, or under which tenure there was nothing.
    pub(super) ended: Keyspace,
    /// By time and id: which of these are to be forgotten.
    pub(super) forget: Keyspace,
    /// The state of the whole, and numbers that were said.
    state: Keyspace,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

/// Why a change was not made.
pub(super) enum NotWritten {
    /// Nothing of it was: it may be tried again.
    Held,
    /// It is not known whether it was, and the engine takes nothing more until it is opened again.
    Stopped(fjall::Error),
}

impl Engine {
    /// Opens what is there, or begins anew where there is nothing.
    pub(super) fn open(path: &Path, directory: &Path, cache_bytes: u64) -> Result<Self, OpenError> {
        // It holds some damage for impossible.
        let opened = catch_unwind(AssertUnwindSafe(|| Self::open_all(path, cache_bytes)));
        match opened {
            Ok(Ok(engine)) => Ok(engine),
            Ok(Err(error)) => Err(not_opened(error, directory)),
            Err(_) => Err(OpenError::Damaged {
                directory: directory.to_owned(),
                what: "the engine could not make sense of its files".to_owned(),
            }),
        }
    }

    fn open_all(path: &Path, cache_bytes: u64) -> fjall::Result<Self> {
        let database = Database::builder(path)
            .cache_size(cache_bytes)
            .max_journaling_size(JOURNALS_BYTES)
            // By a reservation of its own each commit says how it is to be kept.
            .manual_journal_persist(true)
            .worker_threads(1)
            .open()?;
        let unsorted = (cache_bytes / 4).clamp(1 << 20, 16 << 20);
        let open = |name: &str, unsorted: u64| {
            database.keyspace(name, || {
                KeyspaceCreateOptions::default()
                    .max_memtable_size(unsorted)
                    .data_block_compression_policy(CompressionPolicy::all(CompressionType::None))
                    .manual_journal_persist(true)
            })
        };
        Ok(Self {
            bodies: open("bodies", unsorted)?,
            heads: open("heads", unsorted / 4)?,
            due: open("due", unsorted / 4)?,
            ended: open("ended", unsorted / 4)?,
            forget: open("forget", unsorted / 4)?,
            state: open("state", unsorted / 4)?,
            database,
        })
    }

    pub(super) fn state(&self) -> Result<Option<State>, StoreError> {
        match self.state.get(STATE).map_err(not_read)? {
            None => Ok(None),
            Some(bytes) => codec::read_state(&bytes).map(Some).ok_or_else(unreadable),
        }
    }

    /// The last number that was said; zero where none was.
    pub(super) fn begun(&self) -> Result<u32, StoreError> {
        match self.state.get(BEGUN).map_err(not_read)? {
            None => Ok(0),
            Some(bytes) => {
                let number = bytes.as_ref().try_into().map_err(|_| unreadable())?;
                Ok(u32::from_be_bytes(number))
            }
        }
    }

    pub(super) fn numbers(
        &self,
        bucket: BucketId,
        id: SessionId,
    ) -> Result<Option<Numbers>, StoreError> {
        match self.heads.get(codec::place(bucket, id)).map_err(not_read)? {
            None => Ok(None),
            Some(bytes) => codec::read_numbers(&bytes).map(Some).ok_or_else(unreadable),
        }
    }

    /// The bucket and the payload's bytes.
    pub(super) fn body(&self, id: SessionId) -> Result<Option<(BucketId, Vec<u8>)>, StoreError> {
        let Some(bytes) = self.bodies.get(codec::id(id)).map_err(not_read)? else {
            return Ok(None);
        };
        let (bucket, payload) = codec::read_body(&bytes).ok_or_else(unreadable)?;
        Ok(Some((bucket, payload.to_vec())))
    }

    /// Until when it is remembered that this session has ended, or that there was nothing under this tenure.
    pub(super) fn ended(
        &self,
        id: SessionId,
    ) -> Result<Option<(Stamp, Option<Tenure>)>, StoreError> {
        match self.ended.get(codec::id(id)).map_err(not_read)? {
            None => Ok(None),
            Some(bytes) => codec::read_ended(&bytes).map(Some).ok_or_else(unreadable),
        }
    }

    /// Ends and fences that need no longer be remembered, so many at most.
    pub(super) fn forgettable(
        &self,
        now: Stamp,
        most: usize,
    ) -> Result<Vec<(Stamp, SessionId)>, StoreError> {
        let mut ends = Vec::new();
        for entry in self.forget.iter().take(most) {
            let key = entry.key().map_err(not_read)?;
            let end = codec::read_forget(&key).ok_or_else(unreadable)?;
            if end.0 > now {
                break;
            }
            ends.push(end);
        }
        Ok(ends)
    }

    /// All of it as it is now.
    pub(super) fn snapshot(&self) -> fjall::Snapshot {
        self.database.snapshot()
    }

    pub(super) fn change(&self) -> Change<'_> {
        Change {
            engine: self,
            batch: self.database.batch().durability(Some(PersistMode::Buffer)),
        }
    }

    /// Has everything that was written on the disc.
    pub(super) fn sync(&self) -> fjall::Result<()> {
        self.database.persist(PersistMode::SyncAll)
    }

    pub(super) const fn all(&self) -> [&Keyspace; 6] {
        [
            &self.bodies,
            &self.heads,
            &self.due,
            &self.ended,
            &self.forget,
            &self.state,
        ]
    }

    /// Whether the engine can take a change without being held up for ever.
    fn has_room(&self) -> bool {
        self.all().iter().all(|map| {
            map.sealed_memtable_count() < UNSORTED_MOST && map.tree.l0_run_count() < RUNS_MOST
        })
    }
}

/// What is to change in one step.
pub(super) struct Change<'a> {
    engine: &'a Engine,
    batch: fjall::OwnedWriteBatch,
}

impl Change<'_> {
    pub(super) fn set(&mut self, map: &Keyspace, key: &[u8], value: &[u8]) {
        self.batch.insert(map, key, value);
    }

    pub(super) fn remove(&mut self, map: &Keyspace, key: &[u8]) {
        self.batch.remove(map, key);
    }

    /// With this number as the last that was said.
    pub(super) fn begin(&mut self, number: u32) {
        self.batch
            .insert(&self.engine.state, BEGUN, number.to_be_bytes());
    }

    /// Makes it; when this returns it survives the end of the process.
    pub(super) fn write(mut self, state: &State) -> Result<(), NotWritten> {
        let mut waited = Duration::ZERO;
        while !self.engine.has_room() {
            if waited >= SORTING_MOST {
                return Err(NotWritten::Held);
            }
            // Says whether its own thread has stopped, and costs next to nothing.
            let probed = self.engine.database.persist(PersistMode::Buffer);
            probed.map_err(NotWritten::Stopped)?;
            std::thread::sleep(SORTING_LOOK);
            waited += SORTING_LOOK;
        }
        self.batch
            .insert(&self.engine.state, STATE, codec::state(state));
        self.batch.commit().map_err(NotWritten::Stopped)
    }
}

fn unreadable() -> StoreError {
    StoreError::Damaged("its entry cannot be read".to_owned())
}

pub(super) fn not_read(error: fjall::Error) -> StoreError {
    match io_error(&error) {
        Some(io) if io.kind() != std::io::ErrorKind::UnexpectedEof => {
            StoreError::Unavailable(format!("reading failed: {io}"))
        }
        _ => StoreError::Damaged(format!("{error:?}")),
    }
}

fn not_opened(error: fjall::Error, directory: &Path) -> OpenError {
    let directory = directory.to_owned();
    match error {
        fjall::Error::Locked => OpenError::InUse { directory },
        error => match io_error(&error) {
            Some(io) if !is_damage(io) => OpenError::NotUsable {
                directory,
                source: std::io::Error::new(io.kind(), io.to_string()),
            },
            _ => OpenError::Damaged {
                directory,
                what: format!("{error:?}"),
            },
        },
    }
}

/// What the system says when files are not there, or not as long as they were.
fn is_damage(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof
            | ErrorKind::NotFound
            | ErrorKind::InvalidData
            | ErrorKind::InvalidInput
    )
}

pub(super) fn io_error(error: &fjall::Error) -> Option<&std::io::Error> {
    use std::error::Error as _;
    match error {
        fjall::Error::Io(io) => Some(io),
        fjall::Error::Storage(storage) => storage.source()?.downcast_ref(),
        _ => None,
    }
}

/// Whether this says that there is no room.
pub(super) fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
    )
}
