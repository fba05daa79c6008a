//! The store as its callers see it.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use tokio::sync::{oneshot, watch};
use wadi_core::session::SessionId;
use wadi_core::store::{Claim, Ended, Head, Page, Put, Row, SessionStore, Storing, Took};

use super::codec::State;
use super::earliest::Earliest;
use super::engine::Engine;
use super::error::OpenError;
use super::place::Place;
use super::queue::{Calls, closed, queue};
use super::reading::{self, Listing};
use super::settings::DiscSettings;
use super::time::Axis;
use super::writing::{Call, PAUSE, Writer};

/// Sessions on this node's own disc, in a directory that no other process has.
///
/// What a call has done survives `kill -9` of this process from the moment it is answered. A power cut, or a
/// crash of the whole system, may cost what was done in the last second ([`DiscSettings::sync_every`]): rows
/// that were put are then not there, and rows that were taken or ended may be there again, which is why who
/// starts anew offers what its disc has, and never just serves it. What is older is there, and a row is there
/// whole or not at all.
///
/// Times are counted by the monotonic clock for as long as the machine runs, also across restarts of the process.
/// Across a reboot they are counted by the clock on the wall, and never backwards.
///
/// A call that is dropped before it was handed over has done nothing; after that it may be done.
pub struct DiscStore {
    writing: Calls<Call>,
    listing: Calls<Listing>,
    rows: Arc<AtomicU64>,
    ended: watch::Receiver<bool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl fmt::Debug for DiscStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DiscStore({} rows)", self.len())
    }
}

impl DiscStore {
    /// Opens the store in this directory, and makes the directory where there is none. What was written before a
    /// crash is read again first, so this may take some seconds; it blocks its thread for so long.
    ///
    /// # Errors
    ///
    /// [`OpenError`], by what mends it.
    pub fn open(directory: impl AsRef<Path>, settings: DiscSettings) -> Result<Self, OpenError> {
        let place = Place::take(directory.as_ref())?;
        let cache = settings.cache_bytes;
        let directory = place.directory().to_owned();
        place.make_engine(|path| Engine::open(path, &directory, cache).map(drop))?;
        place.keep_journals();
        let engine = Engine::open(&place.engine(), &directory, cache)?;
        let damaged = |what: String| OpenError::Damaged {
            directory: directory.clone(),
            what,
        };
        let found = engine.state().map_err(|error| damaged(error.to_string()))?;
        let changes = found.as_ref().map_or(0, |state| state.changes);
        let synced = place.synced()?;
        if changes < synced {
            return Err(damaged(format!(
                "it has {changes} changes, and {synced} were on the disc"
            )));
        }
        place.drop_journals();
        let boot = settings.boot.clone();
        let axis = Axis::resume(
            Arc::clone(&settings.clock),
            boot,
            found.as_ref().map(|state| &state.anchor),
        );
        let state = found.unwrap_or_else(|| State {
            changes: 0,
            rows: 0,
            anchor: axis.anchor(),
        });
        Self::start(place, settings, engine, axis, state, synced)
    }

    fn start(
        place: Place,
        settings: DiscSettings,
        engine: Engine,
        axis: Axis,
        state: State,
        synced: u64,
    ) -> Result<Self, OpenError> {
        let directory = place.directory().to_owned();
        let rows = Arc::new(AtomicU64::new(state.rows));
        let shared = Arc::new(RwLock::new(Some(engine)));
        let earliest = Arc::new(Earliest::default());
        let (writing, to_write) = queue(settings.waiting);
        let (listing, to_list) = queue(settings.waiting);
        let (says_ended, ended) = watch::channel(false);
        let writer = Writer {
            synced_at: settings.clock.now(),
            place,
            settings,
            engine: Arc::clone(&shared),
            earliest: Arc::clone(&earliest),
            axis: axis.clone(),
            state,
            rows: Arc::clone(&rows),
            synced,
            paused: None,
            pause: PAUSE,
            stopped: 0,
        };
        let store = Self {
            writing,
            listing,
            rows,
            ended,
            threads: Mutex::default(),
        };
        store.spawn("wadi-disc-write", &directory, move || {
            writer.run(&to_write);
            // Nobody may be left to hear it.
            let _ = says_ended.send(true);
        })?;
        store.spawn("wadi-disc-list", &directory, move || {
            reading::run(&shared, &earliest, &axis, &to_list);
        })?;
        Ok(store)
    }

    fn spawn(
        &self,
        name: &str,
        directory: &Path,
        run: impl FnOnce() + Send + 'static,
    ) -> Result<(), OpenError> {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
        let thread = thread.map_err(|source| OpenError::NotUsable {
            directory: directory.to_owned(),
            source,
        })?;
        self.threads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(thread);
        Ok(())
    }

    /// How many rows there are, stale copies included.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.rows.load(Relaxed)
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Does what was asked before, brings all of it to the disc and gives the directory free; later calls fail
    /// as [`Unavailable`](wadi_core::store::StoreError::Unavailable). Who stops waiting leaves it to be closed.
    pub async fn close(&self) {
        self.writing.close();
        self.listing.close();
        let mut ended = self.ended.clone();
        // An error says that the thread has ended, too.
        let _ = ended.wait_for(|ended| *ended).await;
    }
}

/// Closes it as [`DiscStore::close`] does, and waits for that.
impl Drop for DiscStore {
    fn drop(&mut self) {
        self.writing.close();
        self.listing.close();
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A thread that panicked has ended as well.
            let _ = thread.join();
        }
    }
}

impl SessionStore for DiscStore {
    fn put(&self, rows: Vec<Row>) -> Storing<'_, Vec<Put>> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            self.writing.hand_over(Call::Put(rows, answer)).await?;
            answered.await.unwrap_or_else(|_| Err(closed()))
        })
    }

    fn take(&self, id: SessionId, claim: Claim) -> Storing<'_, Took> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            self.writing
                .hand_over(Call::Take(id, claim, answer))
                .await?;
            answered.await.unwrap_or_else(|_| Err(closed()))
        })
    }

    fn end(&self, ended: Vec<Ended>) -> Storing<'_, ()> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            self.writing.hand_over(Call::End(ended, answer)).await?;
            answered.await.unwrap_or_else(|_| Err(closed()))
        })
    }

    /// What is said is on the disc, also for a power cut.
    fn begin(&self, after: u32) -> Storing<'_, u32> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            self.writing.hand_over(Call::Begin(after, answer)).await?;
            answered.await.unwrap_or_else(|_| Err(closed()))
        })
    }

    /// What was not given is there, but for where the directory can no longer be opened.
    fn takes_for_certain(&self) -> bool {
        true
    }

    fn rows(&self) -> Option<u64> {
        Some(self.len())
    }

    fn page(&self, page: Page) -> Storing<'_, Vec<Head>> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            self.listing.hand_over(Listing { page, answer }).await?;
            answered.await.unwrap_or_else(|_| Err(closed()))
        })
    }
}
