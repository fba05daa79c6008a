//! The store below all nodes: what a database does for them, and what goes wrong with one.
//!
//! It answers late or never, does what it was asked though it never answered, and does it long after; but
//! what it has stays, and each thing that it does is one step.

use std::collections::BTreeMap;

use wadi_core::member::Incarnation;
use wadi_core::protocol::{Input, Stored, ToStore};
use wadi_core::session::SessionId;
use wadi_core::tenure::{Revision, Tenure};

use crate::ONCE_FAILED;
use crate::host::{Instant, decode, encode};
use crate::world::{Happening, MILLI, SECOND, World, name};

/// How long a node waits for an answer.
const PATIENCE: u64 = 300 * MILLI;
/// What was asked is done no later than this, if at all.
const LONGEST: u64 = 3 * SECOND;

/// See the module.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) rng: fastrand::Rng,
    records: BTreeMap<SessionId, Record>,
    /// Out of a thousand, so many answers never come.
    silent: u32,
    /// It answers nobody until then.
    away_until: Instant,
}

#[derive(Debug, Default)]
struct Record {
    row: Option<Row>,
    ended: bool,
    /// Nothing is put nor given out below this.
    floor: Option<Tenure>,
    /// The latest tenure under which it was given out, and the latest of an earlier epoch.
    given_out: Option<Tenure>,
    given_before: Option<Tenure>,
}

#[derive(Debug)]
struct Row {
    tenure: Tenure,
    revision: Revision,
    tokens: Vec<u32>,
}

impl Store {
    /// Draws from numbers of its own, so a run without a store is as if there were none anywhere.
    pub(crate) fn random(seed: u64) -> Option<Self> {
        if ONCE_FAILED.contains(&seed) {
            return None;
        }
        let mut rng = fastrand::Rng::with_seed(seed.rotate_left(48) ^ 5);
        let silent = if rng.bool() { 0 } else { rng.u32(0..150) };
        (rng.u32(0..3) == 0).then_some(Self {
            rng,
            records: BTreeMap::new(),
            silent,
            away_until: 0,
        })
    }

    /// Whether the session is there, put under this tenure, and nobody has had it since.
    fn keeps(&self, id: &SessionId, tenure: Tenure) -> bool {
        let record = self.records.get(id);
        record.is_some_and(|record| {
            record.given_out.is_none()
                && record.row.as_ref().is_some_and(|row| row.tenure == tenure)
        })
    }

    fn perform(&mut self, id: SessionId, tenure: Tenure, ask: ToStore) -> Stored {
        let record = self.records.entry(id).or_default();
        match ask {
            ToStore::End { .. } => {
                record.ended = true;
                record.row = None;
                Stored::Done
            }
            ToStore::Put { revision, state } => {
                let row = record.row.as_ref();
                let is_newer =
                    row.is_some_and(|row| (row.tenure, row.revision) > (tenure, revision));
                if record.ended || is_newer || record.floor > Some(tenure) {
                    return Stored::Refused;
                }
                record.row = Some(Row {
                    tenure,
                    revision,
                    tokens: decode(&state),
                });
                (record.given_out, record.given_before) = (None, None);
                Stored::Done
            }
            ToStore::Take if record.ended => Stored::Ended,
            ToStore::Take => {
                let is_later = record.row.as_ref().is_some_and(|row| row.tenure > tenure);
                if is_later || record.floor > Some(tenure) {
                    return Stored::Superseded;
                }
                record.floor = Some(tenure);
                let Some(row) = &record.row else {
                    return Stored::Nothing;
                };
                if let Some(given_out) = record.given_out
                    && given_out.epoch() < tenure.epoch()
                {
                    record.given_before = Some(given_out);
                }
                record.given_out = Some(tenure);
                Stored::Row {
                    tenure: row.tenure,
                    revision: row.revision,
                    given_out: record.given_before,
                    state: encode(&row.tokens),
                }
            }
        }
    }
}

impl World {
    /// A node asks something of the store.
    pub(crate) fn ask_store(&mut self, host: usize, id: SessionId, tenure: Tenure, ask: ToStore) {
        self.note(|| format!("h{host} -> store {} {tenure:?} {ask:?}", name(&id)));
        let (now, faulty) = (self.now, self.faulty());
        let start = self.hosts[host].start;
        let who = self.hosts[host].incarnation();
        let (Some(store), Some(who)) = (&mut self.store, who) else {
            return;
        };
        let quick = store.rng.u64(MILLI / 5..20 * MILLI);
        let is_away = now < store.away_until;
        let is_silent = faulty && (is_away || store.rng.u32(0..1000) < store.silent);
        let (reaches, answers) = match is_silent {
            // Done, in time or long after, or never; nobody hears.
            true => {
                let late = store.rng.u64(0..LONGEST);
                let done = [None, Some(quick), Some(late)];
                (done[store.rng.usize(0..3)], false)
            }
            false => (Some(quick), true),
        };
        if let Some(wait) = reaches {
            let what = Happening::StoreHears {
                host,
                start,
                who,
                id,
                tenure,
                ask,
                answers,
            };
            self.after(wait, what);
        }
        if !answers {
            let stored = Stored::Unknown;
            let what = Happening::StoreAnswers {
                host,
                start,
                id,
                tenure,
                stored,
            };
            self.after(PATIENCE, what);
        }
    }

    /// The store does what it was asked.
    pub(crate) fn store_hears(
        &mut self,
        (host, start, who): (usize, u64, Incarnation),
        id: SessionId,
        tenure: Tenure,
        ask: ToStore,
        answers: bool,
    ) {
        let Some(store) = &mut self.store else {
            return;
        };
        let stored = store.perform(id, tenure, ask);
        let wait = store.rng.u64(MILLI / 5..5 * MILLI);
        self.note(|| format!("store: {} {tenure:?} {stored:?}", name(&id)));
        if matches!(stored, Stored::Row { .. }) {
            // From here on nobody but who asked can know whether somebody has it.
            self.oracle.taken_out(&id, who, self.now);
        }
        if answers {
            let what = Happening::StoreAnswers {
                host,
                start,
                id,
                tenure,
                stored,
            };
            self.after(wait, what);
        }
    }

    pub(crate) fn store_answers(
        &mut self,
        host: usize,
        id: SessionId,
        tenure: Tenure,
        stored: Stored,
    ) {
        self.give(host, Input::Stored { id, tenure, stored });
    }

    /// The store has the session for certain, as whoever put it there says.
    pub(crate) fn note_stored(&mut self, id: &SessionId, tenure: Tenure) {
        let store = self.store.as_ref();
        if store.is_some_and(|store| store.keeps(id, tenure)) {
            self.oracle.held(id, Incarnation::STORE, self.now);
        }
    }

    pub(crate) fn has_row(&self, id: &SessionId) -> bool {
        let record = self.store.as_ref().and_then(|store| store.records.get(id));
        record.is_some_and(|record| record.row.is_some())
    }

    /// Some session that nobody asks for just now goes down; and now and then the store goes away.
    pub(crate) fn ages(&mut self) {
        let (now, hosts) = (self.now, self.hosts.len());
        let Some(store) = &mut self.store else {
            return;
        };
        if store.rng.u32(0..400) == 0 {
            store.away_until = now + store.rng.u64(0..2 * SECOND);
        }
        if store.rng.u32(0..8) != 0 {
            return;
        }
        let host = store.rng.usize(0..hosts);
        let ids: Vec<_> = self.hosts[host].map.sessions.keys().copied().collect();
        if !ids.is_empty() {
            let id = ids[store.rng.usize(0..ids.len())];
            self.give(host, Input::Demote(id));
        }
    }
}
