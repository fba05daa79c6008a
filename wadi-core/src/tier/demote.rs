//! Sessions go down: sealed, written, and only then out of the map.

use std::sync::Arc;
use std::time::Duration;

use super::{Copies, Tier, Told};
use crate::clock::Moment;
use crate::session::{Guard, Held, Resting, Sealed, SessionError, SessionId};
use crate::store::{Payload, Put, Row, StoreError};

/// The most sessions, and about the most bytes, that one call of the store carries.
const ROWS: usize = 256;
const BYTES: usize = 4 << 20;

/// What is on its way down, and what it becomes there.
#[derive(Default)]
pub(super) struct Descent {
    sealed: Vec<(SessionId, Sealed)>,
    rows: Vec<Row>,
    bytes: usize,
}

impl Tier {
    /// Has these go down, those of them that nobody uses now; how many did.
    ///
    /// # Errors
    ///
    /// What the store says; who did not go down is served as before.
    ///
    /// # Cancellation
    ///
    /// Those that were on their way at that moment are not served any more before the node's end; it is
    /// called by tasks that are not cancelled.
    pub async fn demote(&self, chosen: Vec<Resting>) -> Result<usize, StoreError> {
        let mut demoted = 0;
        let mut descent = Descent::default();
        for one in chosen {
            let Some(alone) = one.held.try_alone() else {
                continue;
            };
            self.seal(&mut descent, one, Some(alone), self.sessions.now());
            if descent.is_full() {
                demoted += self.put_down(std::mem::take(&mut descent)).await?;
            }
        }
        demoted += self.put_down(descent).await?;
        Ok(demoted)
    }

    pub(super) fn seal(
        &self,
        descent: &mut Descent,
        one: Resting,
        alone: Option<Guard>,
        now: Moment,
    ) {
        let sealed = match self.sessions.seal(&one.id, &one.held, alone, now) {
            Ok(sealed) => sealed,
            Err(SessionError::Unencodable {
                type_name, reason, ..
            }) => return self.tell(Told::Unencodable { type_name, reason }),
            // It is in use, has ended or has another id.
            Err(_) => return,
        };
        let row = Row {
            id: one.id,
            bucket: one.id.bucket(self.sessions.map().buckets()),
            tenure: sealed.tenure,
            revision: sealed.revision,
            left: one.left,
            payload: Payload::seal(one.id, &sealed.state),
        };
        descent.bytes += row.payload.as_bytes().len();
        descent.rows.push(row);
        descent.sealed.push((one.id, sealed));
    }

    pub(super) async fn put_down(&self, descent: Descent) -> Result<usize, StoreError> {
        let Descent { sealed, rows, .. } = descent;
        if rows.is_empty() {
            return Ok(0);
        }
        let asked = self.ask(|store| async move { store.put(rows).await });
        let put = match asked.await {
            Ok(put) => put,
            Err(error) => {
                let is_certain = !matches!(error, StoreError::Unavailable(_));
                // Where copies are kept, it is one if it is there.
                if !is_certain && self.copies == Copies::Never {
                    let ids = sealed.iter().map(|(id, _)| *id);
                    self.astray.lock().add(ids, self.sessions.now());
                }
                for (_, sealed) in sealed {
                    self.sessions.unseal(sealed);
                }
                self.counts.did_not();
                self.tell(Told::NotDemoted(error.clone()));
                return Err(error);
            }
        };
        let mut demoted = 0;
        let mut answers = put.into_iter();
        for (id, sealed) in sealed {
            if answers.next() == Some(Put::Stored) {
                // Before it goes from the map, so that nobody is told that there is none.
                self.astray.lock().forget(&id);
                self.sessions.take_out(&id, &sealed);
                self.copied.lock().forget(&id);
                sealed.let_go();
                demoted += 1;
            } else {
                self.sessions.unseal(sealed);
                self.tell(Told::Refused);
            }
        }
        self.counts.went_down(demoted);
        Ok(demoted)
    }
}

impl Descent {
    pub(super) fn is_full(&self) -> bool {
        self.rows.len() >= ROWS || self.bytes >= BYTES
    }
}

impl Resting {
    /// One that goes down whether it rests or not.
    pub(super) fn of(id: SessionId, held: Arc<Held>, now: Moment) -> Self {
        Self {
            left: held.left(now),
            idle: Duration::ZERO,
            bytes: 0,
            frozen: false,
            id,
            held,
        }
    }
}
