//! Sessions that ended in memory: their copies in the store end, too.
//!
//! Whoever destroyed one waits for that, and is told that it is not certain where the store does not answer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Tier, Told};
use crate::session::{Departed, Departures};
use crate::store::{Ended, StoreError};

/// The most that one call carries.
const ROWS: usize = 256;
/// For how long the store refuses a late copy of a session that ended.
pub(super) const REMEMBERED: Duration = Duration::from_secs(600);

pub(super) struct Ends {
    departures: Arc<Departures>,
    some: Arc<Notify>,
    /// Taken from the departures, and not done by the store yet.
    left: Mutex<Vec<Departed>>,
    /// One at a time tells the store.
    turn: tokio::sync::Mutex<()>,
}

impl Default for Ends {
    fn default() -> Self {
        let some = Arc::new(Notify::new());
        let wakes = Arc::clone(&some);
        Self {
            departures: Arc::new(Departures::new(move || wakes.notify_one())),
            some,
            left: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }
}

impl fmt::Debug for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ends")
    }
}

impl Ends {
    pub(super) fn departures(&self) -> Arc<Departures> {
        Arc::clone(&self.departures)
    }
}

impl Tier {
    /// What wakes when sessions have ended whose copies are to end; then [`Tier::end_rows`] is called.
    #[must_use]
    pub fn some_ended(&self) -> Arc<Notify> {
        Arc::clone(&self.ends.some)
    }

    /// Has the copies end of sessions that ended; whether there is nothing left to do.
    ///
    /// # Cancellation
    ///
    /// Those under way are not told of; it is called by tasks that are not cancelled.
    pub async fn end_rows(&self) -> bool {
        let _turn = self.ends.turn.lock().await;
        loop {
            let mut some = std::mem::take(&mut *self.ends.left.lock());
            while some.len() < ROWS {
                let Some(departed) = self.ends.departures.take() else {
                    break;
                };
                some.push(departed);
            }
            if some.is_empty() {
                return true;
            }
            let buckets = self.sessions.map().buckets();
            let ended = some.iter().map(|departed| Ended {
                id: departed.id,
                bucket: departed.id.bucket(buckets),
                remember_for: REMEMBERED,
            });
            let ended = ended.collect();
            let done = match self.copy_renewed(&some).await {
                Ok(()) => {
                    let asked = self.ask(|store| async move { store.end(ended).await });
                    asked.await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = done {
                self.counts.did_not();
                self.tell(Told::NotEnded(error));
                self.ends.left.lock().append(&mut some);
                return false;
            }
            let mut copied = self.copied.lock();
            for departed in some {
                copied.forget(&departed.id);
                // Who does not wait for it is not told.
                let _ = departed.settled.send(());
            }
        }
    }

    /// What goes on under another id is in the store under that one before it ends under its former one: so
    /// whoever is killed in between still has it.
    async fn copy_renewed(&self, departed: &[Departed]) -> Result<(), StoreError> {
        let renewed = departed.iter().filter_map(|departed| {
            let id = departed.renewed_as?;
            self.sessions.map().get(&id)
        });
        self.copy_all(renewed.collect()).await
    }
}
