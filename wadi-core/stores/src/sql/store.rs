//! The contract, on any database.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use wadi_core::session::SessionId;
use wadi_core::store::{
    Claim, Damaged, Ended, Head, Kept, Page, Payload, Put, Row, StoreError, Took,
};
use wadi_core::tenure::Tenure;

use super::error::refused;
use super::rows::{self, Database, Found, ROWS_MOST};

/// How often a row that changes under one's hands is looked at again.
const LOOKS_MOST: usize = 8;
/// How many fences are set until some are forgotten; many more are, in one statement.
const FORGET_EVERY: u32 = 64;

/// Does what the contract says, and gives up in time.
#[derive(Debug)]
pub(super) struct Sql<D> {
    pub(super) database: D,
    pub(super) timeout: Duration,
    /// How many fences were set from here.
    pub(super) fences: AtomicU32,
}

impl<D: Database> Sql<D> {
    async fn within<T>(
        &self,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        tokio::time::timeout(self.timeout, answer)
            .await
            .unwrap_or_else(|_| {
                let waited = self.timeout;
                Err(StoreError::Unavailable(format!(
                    "no answer within {waited:?}"
                )))
            })
    }

    pub(super) async fn put(&self, rows: Vec<Row>) -> Result<Vec<Put>, StoreError> {
        self.within(async {
            let mut puts = vec![Put::Refused; rows.len()];
            for (at, wave) in waves(&rows, |row| row.id).into_iter().enumerate() {
                let of_wave: Vec<&Row> = wave.iter().map(|place| &rows[*place]).collect();
                let stored = self.database.put(&of_wave).await;
                let stored: HashSet<Vec<u8>> = stored
                    .map_err(|error| after(at, &error))?
                    .into_iter()
                    .collect();
                for place in wave {
                    if stored.contains(&rows::id(rows[place].id)) {
                        puts[place] = Put::Stored;
                    }
                }
            }
            Ok(puts)
        })
        .await
    }

    pub(super) async fn take(&self, id: SessionId, claim: Claim) -> Result<Took, StoreError> {
        self.within(async {
            // What is damaged is not given out: so it is read first, and then taken as it was read.
            for _ in 0..LOOKS_MOST {
                let found = self
                    .database
                    .find(id)
                    .await
                    .map_err(|error| refused(&error))?;
                let there = found.filter(|found| found.payload.is_some() || found.has_ended());
                let Some(found) = there else {
                    match claim {
                        Claim::Granted(under) if !self.fence(id, under).await? => continue,
                        _ => return Ok(Took::Nothing),
                    }
                };
                let Some(payload) = found.payload.as_ref() else {
                    return Ok(Took::Ended);
                };
                if let Claim::Granted(under) = claim
                    && is_superseded(&found, &rows::tenure(under))
                {
                    return Ok(Took::Superseded);
                }
                let mut kept = kept(id, &found, payload.clone())?;
                let took = match claim {
                    Claim::Own => self.database.remove(id, &found).await,
                    Claim::Granted(under) => {
                        match self.database.give_out(id, &found, under).await {
                            Ok(Some(before)) => {
                                kept.given_out = tenure(before.as_deref())?;
                                Ok(true)
                            }
                            other => other.map(|_| false),
                        }
                    }
                };
                if took.map_err(|error| refused(&error))? {
                    return Ok(Took::Row(kept));
                }
            }
            let why = "others change the same row again and again";
            Err(StoreError::Unavailable(why.to_owned()))
        })
        .await
    }

    async fn fence(&self, id: SessionId, under: Tenure) -> Result<bool, StoreError> {
        let fenced = self.database.fence(id, under).await;
        let fenced = fenced.map_err(|error| refused(&error))?;
        if fenced
            && self
                .fences
                .fetch_add(1, Relaxed)
                .is_multiple_of(FORGET_EVERY)
        {
            // What is not forgotten now is another time.
            let _ = self.database.forget().await;
        }
        Ok(fenced)
    }

    pub(super) async fn begin(&self, after: u32) -> Result<u32, StoreError> {
        self.within(async {
            let said = self.database.begin(after).await;
            let none = || {
                let why = format!("it has no number left above {after} and those it has said");
                StoreError::Full(why)
            };
            let said = said.map_err(|error| refused(&error))?.ok_or_else(none)?;
            let damaged = |_| StoreError::Damaged("its last number cannot be read".to_owned());
            u32::try_from(said).map_err(damaged)
        })
        .await
    }

    pub(super) async fn end(&self, ended: Vec<Ended>) -> Result<(), StoreError> {
        self.within(async {
            for (at, wave) in waves(&ended, |ended| ended.id).into_iter().enumerate() {
                let of_wave: Vec<&Ended> = wave.iter().map(|place| &ended[*place]).collect();
                let done = self.database.end(&of_wave).await;
                done.map_err(|error| after(at, &error))?;
            }
            if !ended.is_empty() {
                // What is not forgotten now is the next time.
                let _ = self.database.forget().await;
            }
            Ok(())
        })
        .await
    }

    pub(super) async fn page(&self, page: Page) -> Result<Vec<Head>, StoreError> {
        self.within(async {
            let heads = self.database.page(&page).await;
            heads.map_err(|error| refused(&error))
        })
        .await
    }
}

/// What went wrong after so many statements: where some were done, it cannot be that nothing changed.
fn after(statements: usize, error: &sqlx::Error) -> StoreError {
    match refused(error) {
        StoreError::Full(why) | StoreError::Damaged(why) if statements > 0 => {
            StoreError::Unavailable(why)
        }
        refused => refused,
    }
}

fn is_superseded(found: &Found, under: &[u8]) -> bool {
    let was_put_later = found.stamp.get(..under.len()).is_none_or(|put| under < put);
    was_put_later
        || found
            .given_out
            .as_deref()
            .is_some_and(|given| given > under)
}

fn damaged() -> StoreError {
    StoreError::Damaged("its numbers cannot be read".to_owned())
}

fn tenure(under: Option<&[u8]>) -> Result<Option<Tenure>, StoreError> {
    under
        .map(|under| rows::read_tenure(under).ok_or_else(damaged))
        .transpose()
}

fn kept(id: SessionId, found: &Found, payload: Vec<u8>) -> Result<Kept, StoreError> {
    let (put_under, revision) = rows::read_stamp(&found.stamp).ok_or_else(damaged)?;
    // One of the two is told, and by then it was given out.
    tenure(found.given_before.as_deref())?;
    let payload = Payload::read(payload).ok();
    let payload = payload.filter(|payload| payload.is_of(id));
    let age = u64::try_from(found.now.saturating_sub(found.put_at)).unwrap_or(0);
    Ok(Kept {
        tenure: put_under,
        revision,
        given_out: tenure(found.given_out.as_deref())?,
        age: Duration::from_millis(age),
        payload: payload.ok_or_else(|| StoreError::Damaged(Damaged.to_string()))?,
    })
}

/// The places of these, in statements of so many: two of one session are in two, in their order. Within one
/// they are in the order of ids, so that no two nodes wait for each other.
fn waves<T>(all: &[T], id: impl Fn(&T) -> SessionId) -> Vec<Vec<usize>> {
    let mut seen: HashMap<SessionId, usize> = HashMap::new();
    let mut waves: Vec<Vec<usize>> = Vec::new();
    for (place, one) in all.iter().enumerate() {
        let before = seen.entry(id(one)).or_default();
        if waves.len() == *before {
            waves.push(Vec::new());
        }
        waves[*before].push(place);
        *before += 1;
    }
    for wave in &mut waves {
        wave.sort_unstable_by_key(|place| id(&all[*place]));
    }
    waves
        .iter()
        .flat_map(|wave| wave.chunks(ROWS_MOST).map(<[usize]>::to_vec))
        .collect()
}

/// The contract's calls, as a store's own type has them.
macro_rules! is_a_store {
    ($store:ty) => {
        impl wadi_core::store::SessionStore for $store {
            fn put(
                &self,
                rows: Vec<wadi_core::store::Row>,
            ) -> wadi_core::store::Storing<'_, Vec<wadi_core::store::Put>> {
                Box::pin(self.0.put(rows))
            }

            fn take(
                &self,
                id: wadi_core::session::SessionId,
                claim: wadi_core::store::Claim,
            ) -> wadi_core::store::Storing<'_, wadi_core::store::Took> {
                Box::pin(self.0.take(id, claim))
            }

            fn end(
                &self,
                ended: Vec<wadi_core::store::Ended>,
            ) -> wadi_core::store::Storing<'_, ()> {
                Box::pin(self.0.end(ended))
            }

            fn begin(&self, after: u32) -> wadi_core::store::Storing<'_, u32> {
                Box::pin(self.0.begin(after))
            }

            fn page(
                &self,
                page: wadi_core::store::Page,
            ) -> wadi_core::store::Storing<'_, Vec<wadi_core::store::Head>> {
                Box::pin(self.0.page(page))
            }

            fn is_shared(&self) -> bool {
                true
            }
        }
    };
}
pub(super) use is_a_store;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_statement_has_a_session_twice() {
        let id = |number: &u32| SessionId::from_parts([0; 16], *number);
        let all = [3, 1, 3, 2, 3, 1];
        assert_eq!(waves(&all, id), [vec![1, 3, 0], vec![5, 2], vec![4]]);
        let many: Vec<u32> = (0..600).collect();
        let sizes: Vec<usize> = waves(&many, id).iter().map(Vec::len).collect();
        assert_eq!(sizes, [256, 256, 88]);
        assert_eq!(waves(&[], id), Vec::<Vec<usize>>::new());
    }
}
