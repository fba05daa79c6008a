//! Sessions that nobody uses at this moment, for whoever looks for some that may go from memory.
//!
//! It changes nothing and waits for nobody: a session in use is passed over.

use std::sync::Arc;
use std::time::Duration;

use super::SessionId;
use super::held::{Held, Phase};
use super::sessions::Sessions;
use crate::bucket::BucketId;
use crate::clock::Moment;

/// A session that nobody uses.
#[derive(Debug)]
pub struct Resting {
    /// Its id, when it was looked at.
    pub id: SessionId,
    /// The session.
    pub held: Arc<Held>,
    /// For how long nobody has asked for it.
    pub idle: Duration,
    /// How long until it ends unless somebody asks for it.
    pub left: Duration,
    /// How many bytes its attributes count for.
    pub bytes: usize,
    /// Whether its attributes are bytes already.
    pub frozen: bool,
}

impl Sessions {
    /// The sessions of one bucket that nobody uses, that are held here, and whose time is not over.
    pub fn resting(&self, bucket: BucketId, now: Moment) -> Vec<Resting> {
        let mut resting = Vec::new();
        // Under the bucket's lock nothing is waited for, not even an operation on a session.
        self.map.for_each(bucket, |held| {
            if !held.is_confirmed() || held.is_overdue(now) || !held.is_free() {
                return;
            }
            let Some(body) = held.try_body() else { return };
            if body.phase != Phase::Serving {
                return;
            }
            resting.push(Resting {
                id: held.id_of(&body),
                idle: now.since(body.touched),
                left: held.left(now),
                bytes: body.attributes.charged(),
                frozen: body.attributes.is_frozen(),
                held: Arc::clone(held),
            });
        });
        resting
    }
}
