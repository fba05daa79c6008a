//! The task that has the store below all nodes do what the protocol says: rows and ends in batches, sessions
//! taken out many at once.
//!
//! Of each thing that it is asked it says exactly once what became of it, within the time of two calls: what is
//! not begun within one was not done. What does not wait for the store is held here alone, and bounded by who
//! asks.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::reach::{Does, Reach};
use crate::clock::Moment;
use crate::node::asking::{Asking, Key, Kind};
use crate::node::given::Given;
use crate::node::listen::StoreTold;
use crate::protocol::{Stored, ToStore};
use crate::session::{Sessions, aged, check_sealed, kept, leaving};
use crate::store::{Claim, Ended, Payload, Put, Row, StoreError, Took};

/// The most rows or ends, and about the most bytes, that one call carries.
const ROWS: usize = 256;
const BYTES: usize = 4 << 20;

/// See the module.
pub(in crate::node) struct Performer {
    pub(in crate::node) reach: Arc<Reach>,
    pub(in crate::node) sessions: Arc<Sessions>,
    pub(in crate::node) asked: mpsc::Receiver<Asking>,
    pub(in crate::node) back: mpsc::Sender<Given>,
    /// How many are taken at once.
    pub(in crate::node) takes: usize,
}

/// What waits, and how many calls are under way.
#[derive(Default)]
struct Waiting {
    puts: VecDeque<Asking>,
    takes: VecDeque<Asking>,
    ends: VecDeque<Asking>,
    putting: usize,
    taking: usize,
    ending: usize,
}

impl Performer {
    /// Until nobody asks any more.
    pub(in crate::node) async fn run(self) {
        let Self {
            reach,
            sessions,
            mut asked,
            back,
            takes,
        } = self;
        let calls = Arc::new(Calls {
            reach,
            sessions,
            back,
        });
        let mut waiting = Waiting::default();
        let mut under_way = JoinSet::new();
        loop {
            let next = poll_fn(|context| {
                while let Poll::Ready(Some(done)) = under_way.poll_join_next(context) {
                    waiting.is_done(done.ok());
                    if under_way.is_empty() {
                        waiting.nothing_is_under_way();
                    }
                    if waiting.is_any() {
                        return Poll::Ready(Some(None));
                    }
                }
                asked.poll_recv(context).map(|one| one.map(Some))
            });
            let Some(next) = next.await else { return };
            waiting.extend(next);
            while let Ok(one) = asked.try_recv() {
                waiting.extend(Some(one));
            }
            let untried = waiting.give_up(&calls.reach);
            if !untried.is_empty() && !calls.give(untried).await {
                return;
            }
            while waiting.taking < takes.max(1)
                && let Some(one) = waiting.takes.pop_front()
            {
                waiting.taking += 1;
                let calls = Arc::clone(&calls);
                under_way.spawn(async move { calls.take(one).await });
            }
            if waiting.putting == 0 && !waiting.puts.is_empty() {
                waiting.putting += 1;
                let some = some_rows(&mut waiting.puts);
                let calls = Arc::clone(&calls);
                under_way.spawn(async move { calls.put(some).await });
            }
            if waiting.ending == 0 && !waiting.ends.is_empty() {
                waiting.ending += 1;
                let many = waiting.ends.len().min(ROWS);
                let some = waiting.ends.drain(..many).collect();
                let calls = Arc::clone(&calls);
                under_way.spawn(async move { calls.end(some).await });
            }
        }
    }
}

/// As many as one call carries.
fn some_rows(puts: &mut VecDeque<Asking>) -> Vec<Asking> {
    let (mut some, mut bytes) = (Vec::new(), 0);
    while some.len() < ROWS
        && bytes < BYTES
        && let Some(one) = puts.pop_front()
    {
        if let ToStore::Put { state, .. } = &one.ask {
            bytes += state.len();
        }
        some.push(one);
    }
    some
}

impl Waiting {
    fn extend(&mut self, one: Option<Asking>) {
        let Some(one) = one else { return };
        match one.ask {
            ToStore::Put { .. } => self.puts.push_back(one),
            ToStore::Take => self.takes.push_back(one),
            ToStore::End { .. } => self.ends.push_back(one),
        }
    }

    fn is_any(&self) -> bool {
        !self.puts.is_empty() || !self.takes.is_empty() || !self.ends.is_empty()
    }

    fn is_done(&mut self, kind: Option<Kind>) {
        let many = match kind {
            Some(Kind::Put) => &mut self.putting,
            Some(Kind::Take) => &mut self.taking,
            Some(Kind::End) => &mut self.ending,
            // Which one failed shows when none is left.
            None => return,
        };
        *many = many.saturating_sub(1);
    }

    fn nothing_is_under_way(&mut self) {
        (self.putting, self.taking, self.ending) = (0, 0, 0);
    }

    /// What has waited for too long, and rows where the store takes none now: they go back into memory at once.
    fn give_up(&mut self, reach: &Reach) -> Vec<(Key, Stored)> {
        let now = reach.now();
        let mut untried = Vec::new();
        if !reach.takes_more() {
            untried.extend(self.puts.drain(..));
        }
        for waiting in [&mut self.puts, &mut self.takes, &mut self.ends] {
            // In the order in which they were asked, so the first are due first.
            while waiting.front().is_some_and(|one| one.until <= now) {
                untried.extend(waiting.pop_front());
            }
        }
        let given_up = untried.iter().map(|one| {
            let key = one.key();
            (key, key.2.untried())
        });
        given_up.collect()
    }
}

/// What the calls need.
struct Calls {
    reach: Arc<Reach>,
    sessions: Arc<Sessions>,
    back: mpsc::Sender<Given>,
}

impl Calls {
    /// Whether somebody is there to hear it.
    async fn give(&self, stored: Vec<(Key, Stored)>) -> bool {
        self.back.send(Given::Stored(stored)).await.is_ok()
    }

    async fn put(&self, some: Vec<Asking>) -> Kind {
        let now = self.reach.now();
        let until = now + self.reach.wait();
        let rows = some.iter().filter_map(|one| self.row(one, now)).collect();
        let put = self.reach.call(Does::Write, until, |store| store.put(rows));
        let stored = match put.await {
            Ok(put) => {
                // Of those of which it says nothing nobody knows.
                let mut said = put.into_iter();
                let each = some.iter().map(|one| {
                    let stored = match said.next() {
                        Some(Put::Stored) => Stored::Done,
                        Some(Put::Refused) => Stored::Refused,
                        None => Stored::Unknown,
                    };
                    (one.key(), stored)
                });
                each.collect()
            }
            // Nothing changed.
            Err(StoreError::Full(_)) => all(&some, &Stored::Refused),
            Err(_) => all(&some, &Stored::Unknown),
        };
        self.give(stored).await;
        Kind::Put
    }

    /// What goes down leaves as of now.
    fn row(&self, asking: &Asking, now: Moment) -> Option<Row> {
        let ToStore::Put { revision, state } = &asking.ask else {
            return None;
        };
        let state = leaving(state, now);
        let left = self.sessions.left_of(&state);
        Some(Row {
            id: asking.id,
            bucket: asking.id.bucket(self.sessions.map().buckets()),
            tenure: asking.tenure,
            revision: *revision,
            left: left.unwrap_or(self.sessions.limits().idle),
            payload: Payload::seal(asking.id, &state),
        })
    }

    async fn take(&self, one: Asking) -> Kind {
        let (id, claim) = (one.id, Claim::Granted(one.tenure));
        let took = self
            .reach
            .call(Does::Read, one.until, |store| store.take(id, claim));
        let stored = match took.await {
            // One that mixes rows up gives nobody another's session.
            Ok(Took::Row(its)) if !its.payload.is_of(id) => self.unreadable(),
            Ok(Took::Row(its)) => {
                // From here on it counts its time by this node's clock.
                let state = kept(&aged(its.payload.state(), its.age), self.reach.now());
                self.read(Stored::Row {
                    tenure: its.tenure,
                    revision: its.revision,
                    given_out: its.given_out,
                    state,
                })
            }
            Ok(Took::Nothing) => Stored::Nothing,
            Ok(Took::Ended) => Stored::Ended,
            Ok(Took::Superseded) => Stored::Superseded,
            Err(StoreError::Damaged(_)) => self.unreadable(),
            Err(_) => Stored::Unknown,
        };
        self.give(vec![(one.key(), stored)]).await;
        Kind::Take
    }

    /// The protocol counts what it is given as readable.
    fn read(&self, row: Stored) -> Stored {
        let is_readable = |state: &Bytes| check_sealed(state).is_ok();
        match row {
            Stored::Row { ref state, .. } if !is_readable(state) => self.unreadable(),
            row => row,
        }
    }

    fn unreadable(&self) -> Stored {
        self.reach.tell(StoreTold::Unreadable);
        Stored::Unreadable
    }

    async fn end(&self, some: Vec<Asking>) -> Kind {
        let until = self.reach.now() + self.reach.wait();
        let buckets = self.sessions.map().buckets();
        let ended = some.iter().filter_map(|one| match one.ask {
            ToStore::End { keep_for } => Some(Ended {
                id: one.id,
                bucket: one.id.bucket(buckets),
                remember_for: keep_for,
            }),
            _ => None,
        });
        let ended = ended.collect();
        let done = self
            .reach
            .call(Does::Write, until, |store| store.end(ended));
        let stored = match done.await {
            Ok(()) => Stored::Done,
            Err(_) => Stored::Unknown,
        };
        self.give(all(&some, &stored)).await;
        Kind::End
    }
}

fn all(some: &[Asking], stored: &Stored) -> Vec<(Key, Stored)> {
    let each = some.iter().map(|one| (one.key(), stored.clone()));
    each.collect()
}
