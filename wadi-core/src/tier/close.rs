//! Everything goes down for good: the node ends.
//!
//! What is on its way up is waited for, since it is nowhere else. A store that says nothing, or fails again and
//! again, is given up, for the process is to end.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::demote::Descent;
use super::{Tier, Told};
use crate::clock::Moment;
use crate::session::Resting;
use crate::store::StoreError;

/// How often it is looked for what is in use, or on its way up.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// After the store failed.
const TRY_AGAIN: Duration = Duration::from_millis(200);
/// How often the store may fail, one time after the other, before it is given up.
const FAILURES: u32 = 3;
/// How often everything is gone over when requests are waited for no more; and where something is on its way up.
const LAST_LOOKS: u32 = 3;
const LAST_LOOKS_FOR_RISING: u32 = 400;

impl Tier {
    /// Everything goes down for good, and nothing comes up any more. What is in use is waited for until
    /// `revoke_at`, and then taken from under its requests. How many are left behind: for want of an
    /// encoding, or because the store does not take them. A store that answers has the time that it needs;
    /// one that does not is given up after some seconds.
    pub async fn close(&self, revoke_at: Moment) -> usize {
        self.closed.store(true, SeqCst);
        let Ok(_turn) = tokio::time::timeout(self.patience(), self.turn.lock()).await else {
            self.tell(Told::NotDemoted(StoreError::Unavailable(
                "it has not answered what it was asked before".to_owned(),
            )));
            return self.left();
        };
        let mut looks = 0;
        loop {
            let revokes = self.sessions.now() >= revoke_at;
            let failures = self.close_once(revokes, looks > 0).await;
            let left = self.left();
            if left == 0 || self.is_silent() {
                break;
            }
            if revokes {
                looks += 1;
                let rises = !self.rising.lock().is_empty();
                let most = if rises {
                    LAST_LOOKS_FOR_RISING
                } else {
                    LAST_LOOKS
                };
                if failures >= FAILURES || looks >= most {
                    break;
                }
            }
            tokio::time::sleep(if failures > 0 { TRY_AGAIN } else { LOOK_AGAIN }).await;
        }
        if !self.is_silent() {
            self.end_rows().await;
        }
        self.left()
    }

    /// In memory, or on their way there.
    fn left(&self) -> usize {
        self.sessions.map().len() + self.rising.lock().len()
    }

    /// How often the store failed, one time after the other, when this was over. Few sessions at once, so that one
    /// that the store does not take keeps few others from going.
    async fn close_once(&self, revokes: bool, few: bool) -> u32 {
        let now = self.sessions.now();
        let mut failures = 0;
        let mut descent = Descent::default();
        for bucket in self.sessions.map().buckets().iter() {
            for (id, held) in self.sessions.map().bucket(bucket) {
                let alone = held.try_alone();
                if alone.is_none() && !revokes {
                    continue;
                }
                let one = Resting::of(id, held, now);
                self.seal(&mut descent, one, alone, now);
                if descent.is_full() {
                    self.put_last(&mut failures, std::mem::take(&mut descent))
                        .await;
                }
            }
            if few {
                self.put_last(&mut failures, std::mem::take(&mut descent))
                    .await;
            }
            if failures >= FAILURES || self.is_silent() {
                break;
            }
        }
        self.put_last(&mut failures, descent).await;
        failures
    }

    async fn put_last(&self, failures: &mut u32, descent: Descent) {
        match self.put_down(descent).await {
            Ok(0) => {}
            Ok(_) => *failures = 0,
            Err(_) => *failures += 1,
        }
    }
}
