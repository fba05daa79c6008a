//! The contract, as far as a store of tower-sessions allows.

use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::{Mutex, MutexGuard};
use tower_sessions_core::session::{Id, Record};
use tower_sessions_core::session_store;
use wadi_core::clock::{BootClock, Clock};
use wadi_core::session::SessionId;
use wadi_core::store::{
    Claim, Damaged, Ended, FENCED_FOR, Head, Kept, Page, Payload, Put, Row, SessionStore,
    StoreError, Storing, Took,
};
use wadi_core::tenure::Tenure;

use super::numbers::{self, Said};
use super::record::{self, Entry};
use super::write;

/// How many steps of one call are under way at once.
const AT_ONCE: usize = 16;
/// How many locks there are: two sessions that share one only wait for each other.
const LOCKS: usize = 256;

/// Sessions in any store of tower-sessions 0.14: `TowerSessionsStore::new(MySqlStore::new(pool))`.
///
/// For a node that is alone it does what a store below memory is for, but for what it says of lists. It is refused below a cluster: it
/// compares within one process only, so it does not say that it is shared ([`SessionStore::is_shared`]), whatever store is under it. Several nodes share one of
/// the other stores of this crate.
///
/// # What it cannot promise
///
/// A store of tower-sessions creates, saves, loads and deletes records, and compares nothing while it does. So:
///
/// * **Comparing.** Whether a row is refused is decided between a load and a save. Within this process no other call comes
///   between them; another process may. Then a row of an older tenure can replace a newer one, a session that has ended
///   can come back, and with [`Claim::Own`] two can have the same one: a manager that was deposed
///   while its call was under way is not fenced. So no two processes use one such store for the same sessions at once.
/// * **Late calls.** A call that was given up may still be done, also after later ones.
/// * **Lists.** Nobody can list such a store, so each list is empty, whatever it has. What runs out there is not swept, ends without an event, and is
///   removed by whatever the store itself has for that (`ExpiredDeletion`); sessions come up when they are asked for, and no sooner.
/// * **Times.** They are counted by the wall clock of whichever node asks, in whole seconds, and the store forgets by its own.
/// * **Ends and fences** are records beside the others, remembered for as long as the store keeps records.
/// * **[`SessionStore::begin`].** No two are told the same number, if the store's `create` refuses an id that it has, or chooses
///   another; one whose `create` is the default has nothing to tell by. That a number is above all others holds when they are not asked for at
///   the same time by processes which ask for different ones. They are remembered for five years.
/// * **Durability** is the store's. A `CachingSessionStore` must not be used by several nodes: it answers from its own node's cache.
///
/// A record has one value, `wadi`, in Base64, under an id that is a hash of the session's. A table may be shared with sessions of
/// tower-sessions itself.
pub struct TowerSessionsStore<S: ?Sized> {
    clock: Arc<dyn Clock>,
    timeout: Duration,
    /// One call at a time compares and writes what falls to each; held while the store is asked.
    locks: Box<[Mutex<()>]>,
    hasher: RandomState,
    store: Arc<S>,
}

impl<S: ?Sized> fmt::Debug for TowerSessionsStore<S> {
    /// Without the store, which may say where it is and how it is opened.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TowerSessionsStore")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl<S: tower_sessions_core::SessionStore> TowerSessionsStore<S> {
    /// This store.
    #[must_use]
    pub fn new(store: S) -> Self {
        Self::shared(Arc::new(store))
    }
}

impl<S: tower_sessions_core::SessionStore + ?Sized> TowerSessionsStore<S> {
    /// This store, of which others may have a hold too, or whose type is not known.
    #[must_use]
    pub fn shared(store: Arc<S>) -> Self {
        Self {
            clock: Arc::new(BootClock),
            timeout: Duration::from_secs(5),
            locks: (0..LOCKS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            store,
        }
    }

    /// How long a call may take; after that it is unavailable. Default 5 s, at least 10 ms.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.max(Duration::from_millis(10));
        self
    }

    async fn within<T>(
        &self,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let answer = tokio::time::timeout(self.timeout, answer).await;
        answer.unwrap_or_else(|_| {
            let why = format!("no answer within {:?}", self.timeout);
            Err(StoreError::Unavailable(why))
        })
    }

    async fn alone<T: Hash>(&self, with: T) -> MutexGuard<'_, ()> {
        let place = self.hasher.hash_one(with) as usize % self.locks.len();
        self.locks[place].lock().await
    }

    fn now(&self) -> u64 {
        self.clock.unix_seconds().into()
    }

    /// The second at which this much time is over for certain.
    fn until(&self, lasts: Duration) -> u64 {
        let begun = u64::from(lasts.subsec_nanos() > 0);
        let seconds = lasts.as_secs().saturating_add(begun);
        self.now().saturating_add(1).saturating_add(seconds)
    }

    async fn load(&self, id: &Id) -> Result<Option<(Record, Entry)>, StoreError> {
        let Some(found) = self.store.load(id).await.map_err(refused)? else {
            return Ok(None);
        };
        let entry = record::read(&found).map_err(|_| strange())?;
        Ok(Some((found, entry)))
    }

    async fn write(&self, record: Record, there_is_one: bool) -> Result<(), StoreError> {
        let written = write::write(&*self.store, record, there_is_one).await;
        written.map_err(refused)
    }

    async fn put_one(&self, row: Row) -> Result<Put, StoreError> {
        let id = record::id(row.id);
        let _alone = self.alone(id).await;
        let found = match self.load(&id).await {
            // What is there is not known to be older.
            Err(StoreError::Damaged(_)) => return Ok(Put::Refused),
            found => found?,
        };
        let is_refused = match &found {
            None => false,
            Some((_, Entry::Row(kept))) => {
                (kept.tenure, kept.revision) > (row.tenure, row.revision)
                    || kept.given_out > Some(row.tenure)
            }
            Some((_, Entry::Fence(under))) => *under > row.tenure,
            Some((_, Entry::Ended | Entry::Number(_))) => true,
        };
        if is_refused {
            return Ok(Put::Refused);
        }
        let kept = record::Kept {
            bucket: row.bucket,
            tenure: row.tenure,
            revision: row.revision,
            given_out: None,
            given_before: None,
            put_at: self.now(),
            payload: row.payload.as_bytes().to_vec(),
        };
        let entry = Entry::Row(Box::new(kept));
        let record = record::record(id, &entry, self.until(row.left));
        self.write(record, found.is_some()).await?;
        Ok(Put::Stored)
    }

    async fn take_one(&self, session: SessionId, claim: Claim) -> Result<Took, StoreError> {
        let id = record::id(session);
        let _alone = self.alone(id).await;
        let (record, mut row) = match self.load(&id).await? {
            None => return self.absent(id, claim, None).await,
            Some((_, Entry::Fence(under))) => return self.absent(id, claim, Some(under)).await,
            Some((_, Entry::Ended)) => return Ok(Took::Ended),
            Some((_, Entry::Number(_))) => return Err(strange()),
            Some((record, Entry::Row(row))) => (record, row),
        };
        if let Claim::Granted(under) = claim
            && (under < row.tenure || row.given_out > Some(under))
        {
            return Ok(Took::Superseded);
        }
        let payload = Payload::read(row.payload.clone()).ok();
        let payload = payload.filter(|payload| payload.is_of(session));
        let payload = payload.ok_or_else(|| StoreError::Damaged(Damaged.to_string()))?;
        let mut kept = Kept {
            tenure: row.tenure,
            revision: row.revision,
            given_out: row.given_out,
            age: Duration::from_secs(self.now().saturating_sub(row.put_at)),
            payload,
        };
        match claim {
            Claim::Own => self.store.delete(&id).await.map_err(refused)?,
            Claim::Granted(under) => {
                let last = row.given_out.replace(under);
                if last.is_some_and(|last| last.epoch() < under.epoch()) {
                    row.given_before = last;
                }
                kept.given_out = row.given_before;
                let data = record::record(id, &Entry::Row(row), 0).data;
                let given_out = Record { data, ..record };
                self.store.save(&given_out).await.map_err(refused)?;
            }
        }
        Ok(Took::Row(kept))
    }

    /// There is nothing, which who was granted a tenure may rely on.
    async fn absent(
        &self,
        id: Id,
        claim: Claim,
        fence: Option<Tenure>,
    ) -> Result<Took, StoreError> {
        if let Claim::Granted(under) = claim {
            let under = fence.map_or(under, |fence| fence.max(under));
            let record = record::record(id, &Entry::Fence(under), self.until(FENCED_FOR));
            self.write(record, fence.is_some()).await?;
        }
        Ok(Took::Nothing)
    }

    async fn end_one(&self, ended: Ended) -> Result<(), StoreError> {
        let id = record::id(ended.id);
        let _alone = self.alone(id).await;
        // What cannot be read ends too.
        let found = self.store.load(&id).await;
        let found = match found {
            Err(session_store::Error::Decode(_)) => {
                self.store.delete(&id).await.map_err(refused)?;
                None
            }
            found => found.map_err(refused)?,
        };
        let entry = found.as_ref().map(record::read);
        let is_remembered = matches!(entry, Some(Ok(Entry::Ended | Entry::Fence(_))));
        if ended.remember_for.is_zero() {
            if found.is_some() && !is_remembered {
                self.store.delete(&id).await.map_err(refused)?;
            }
            return Ok(());
        }
        let mut record = record::record(id, &Entry::Ended, self.until(ended.remember_for));
        if let Some(found) = found.as_ref().filter(|_| is_remembered) {
            record.expiry_date = record.expiry_date.max(found.expiry_date);
        }
        self.write(record, found.is_some()).await
    }

    async fn number_above(&self, after: u32) -> Result<u32, StoreError> {
        let _alone = self.alone("number").await;
        let said = numbers::next(&*self.store, after, self.now()).await;
        match said.map_err(refused)? {
            Said::Number(number) => Ok(number),
            Said::NoneLeft => Err(StoreError::Full("it has no number left".to_owned())),
            Said::NotFound => {
                let why = "others take each number first".to_owned();
                Err(StoreError::Unavailable(why))
            }
        }
    }
}

impl<S: tower_sessions_core::SessionStore + ?Sized> SessionStore for TowerSessionsStore<S> {
    fn put(&self, rows: Vec<Row>) -> Storing<'_, Vec<Put>> {
        // In their order: who waits first for a session's lock has it first.
        let puts = stream::iter(rows).map(|row| self.put_one(row));
        Box::pin(self.within(puts.buffered(AT_ONCE).try_collect()))
    }

    fn take(&self, id: SessionId, claim: Claim) -> Storing<'_, Took> {
        Box::pin(self.within(self.take_one(id, claim)))
    }

    fn end(&self, ended: Vec<Ended>) -> Storing<'_, ()> {
        let ends = stream::iter(ended).map(|ended| self.end_one(ended));
        Box::pin(self.within(ends.buffered(AT_ONCE).try_collect()))
    }

    fn begin(&self, after: u32) -> Storing<'_, u32> {
        Box::pin(self.within(self.number_above(after)))
    }

    fn page(&self, _: Page) -> Storing<'_, Vec<Head>> {
        // Not an error, which would be taken for a store that is away, and hold up what goes down.
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}

fn strange() -> StoreError {
    StoreError::Damaged("a session's record has something else".to_owned())
}

fn refused(error: session_store::Error) -> StoreError {
    match error {
        // Its text may have what could not be read.
        session_store::Error::Decode(_) => strange(),
        session_store::Error::Encode(_) => {
            StoreError::Unavailable("the store could not encode a record".to_owned())
        }
        session_store::Error::Backend(why) => StoreError::Unavailable(why),
    }
}
