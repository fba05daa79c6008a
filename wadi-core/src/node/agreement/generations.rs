//! Of which generation a cluster is that is founded over a store: the store says it. Nothing else about a
//! cluster depends on the store.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::AbortHandle;

use crate::authority::raft::{Generations, Saying};
use crate::bucket::LayoutVersion;
use crate::clock::Clock;
use crate::node::listen::{Listener, StoreTold, Told};
use crate::store::{SessionStore, StoreError};
use crate::tier::Pause;

/// How long one call is waited for.
const WAIT: Duration = Duration::from_secs(5);

/// Asks the store; see the module.
pub(super) struct FromStore {
    store: Arc<dyn SessionStore>,
    clock: Arc<dyn Clock>,
    listener: Arc<dyn Listener>,
    asking: Mutex<Asking>,
}

#[derive(Default)]
struct Asking {
    /// After it did not say.
    pause: Pause,
    /// The listener knows that it does not.
    is_told: bool,
    /// Tells the store of a generation that it was not asked for.
    telling: Option<AbortHandle>,
}

impl FromStore {
    pub(super) fn new(
        store: Arc<dyn SessionStore>,
        clock: Arc<dyn Clock>,
        listener: Arc<dyn Listener>,
    ) -> Self {
        Self {
            store,
            clock,
            listener,
            asking: Mutex::default(),
        }
    }

    async fn ask(&self, after: u32) -> Option<u32> {
        if self.asking.lock().pause.holds(self.clock.now()) {
            return None;
        }
        let said = begin(&*self.store, after).await;
        let now = self.clock.now();
        let mut asking = self.asking.lock();
        match said {
            Ok(generation) => {
                asking.pause.worked();
                asking.is_told = false;
                Some(generation)
            }
            Err(error) => {
                asking.pause.failed(now);
                let is_told = std::mem::replace(&mut asking.is_told, true);
                drop(asking);
                if !is_told {
                    self.listener
                        .told(Told::Store(StoreTold::NotFounded(error)));
                }
                None
            }
        }
    }
}

async fn begin(store: &dyn SessionStore, after: u32) -> Result<u32, StoreError> {
    let said = tokio::time::timeout(WAIT, store.begin(after)).await;
    let silent = || StoreError::Unavailable("it gave no answer in time".to_owned());
    let generation = said.map_err(|_| silent())??;
    if generation > LayoutVersion::LAST_GENERATION {
        let last = LayoutVersion::LAST_GENERATION;
        let why = format!("it says generation {generation}, and the last one is {last}");
        return Err(StoreError::Full(why));
    }
    Ok(generation)
}

impl Generations for FromStore {
    fn above(&self, after: u32) -> Saying<'_> {
        Box::pin(self.ask(after))
    }

    /// Only the latest matters.
    fn reached(&self, generation: u32) {
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        let telling = tokio::spawn(async move {
            let mut pause = Pause::default();
            // A number that is too high has been said, all the same.
            while let Err(StoreError::Unavailable(_)) = begin(&*store, generation).await {
                pause.failed(clock.now());
                while pause.holds(clock.now()) {
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
            }
        });
        let before = self.asking.lock().telling.replace(telling.abort_handle());
        if let Some(before) = before {
            before.abort();
        }
    }
}

impl Drop for FromStore {
    fn drop(&mut self) {
        if let Some(telling) = self.asking.get_mut().telling.take() {
            telling.abort();
        }
    }
}

impl fmt::Debug for FromStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FromStore").field(&self.store).finish()
    }
}
