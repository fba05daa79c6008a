//! A store below this node's memory, which is this node's alone: sessions that nobody asks for go down, and
//! come up when somebody does.
//!
//! A session is in exactly one place in which it can be served: in the map, or in the store. On its way down
//! it is in the map, sealed, until the store has it; on its way up it is taken out of the store by one task,
//! which no request's end stops, and everybody who asks meanwhile waits for that one. What the store does not
//! do is undone, and tried again later: nothing is lost by its failing. Whatever it says, or does not say, nobody
//! waits for it for ever. It decides nothing about ownership.

mod ask;
mod astray;
mod close;
mod copies;
mod counts;
mod demote;
mod ends;
mod memory;
mod promote;
mod recall;
mod reclaim;
mod round;
mod sweep;
mod tour;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;
use tokio::sync::oneshot;

pub use copies::Copies;
pub use counts::Counts;
pub use promote::Promoted;
pub use recall::Recall;
pub use round::Round;
pub(crate) use tour::{LONGEST_PAUSE, Pause, Tour};

use crate::evict::Evicter;
use crate::session::{SessionId, Sessions};
use crate::store::{SessionStore, StoreError};

/// Something that whoever runs the node may want to know; it names no session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Told {
    /// The store did not take sessions; they stay in memory, and are tried again.
    NotDemoted(StoreError),
    /// The store did not give a session; its request is answered 503.
    NotPromoted(StoreError),
    /// The store did not take copies of sessions in memory: they are tried again.
    NotCopied(StoreError),
    /// The store was not told of sessions that ended: it is told again, and until then `flush` says that it is
    /// not certain.
    NotEnded(StoreError),
    /// The store could not be asked what has run out.
    NotSwept(StoreError),
    /// The store has something newer of a session than this node: it is used by another one, too. The session
    /// stays in memory.
    Refused,
    /// A session in the store is damaged, or cannot be read by this version; it is left there, and counts as
    /// lost.
    Unreadable,
    /// A session stays in memory, because a value in it has no encoding.
    Unencodable {
        /// The value's Rust type.
        type_name: &'static str,
        /// What the encoder says, without the value.
        reason: &'static str,
    },
}

/// Who is told.
pub type Listener = Box<dyn Fn(Told) + Send + Sync>;

/// A store below this node's memory.
pub struct Tier {
    sessions: Arc<Sessions>,
    store: Arc<dyn SessionStore>,
    evicter: Arc<dyn Evicter>,
    listener: Listener,
    counts: Counts,
    /// Who waits for each session that is on its way up.
    rising: Mutex<HashMap<SessionId, Vec<oneshot::Sender<Promoted>>>>,
    /// Sessions that are in memory, or have ended, and of which the store may have a row all the same.
    astray: Mutex<astray::Astray>,
    /// Which sessions in memory have a copy in the store, and when.
    copies: Copies,
    copied: Mutex<copies::Copied>,
    /// Sessions that ended, and whose copies are to end; and who waits for that.
    ends: ends::Ends,
    /// Set when everything goes down for good: nothing comes up any more.
    closed: AtomicBool,
    /// Whether it did not answer when it was asked last.
    silent: AtomicBool,
    /// One at a time goes its round, or closes.
    turn: tokio::sync::Mutex<()>,
    round: Mutex<round::Place>,
}

impl Tier {
    /// The store below these sessions.
    #[must_use]
    pub fn new(
        sessions: Arc<Sessions>,
        store: Arc<dyn SessionStore>,
        evicter: Arc<dyn Evicter>,
        copies: Copies,
        listener: Listener,
    ) -> Self {
        let ends = ends::Ends::default();
        if copies != Copies::Never {
            sessions.tell_of_ends(ends.departures());
        }
        Self {
            copies,
            copied: Mutex::default(),
            ends,
            sessions,
            store,
            evicter,
            listener,
            counts: Counts::default(),
            rising: Mutex::default(),
            astray: Mutex::default(),
            closed: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            turn: tokio::sync::Mutex::default(),
            round: Mutex::default(),
        }
    }

    /// How many have gone which way.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The store.
    #[must_use]
    pub const fn store(&self) -> &Arc<dyn SessionStore> {
        &self.store
    }

    /// How many wait for the store at this moment: requests, and streams and tasks that go on beside them.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let rising: usize = self.rising.lock().values().map(Vec::len).sum();
        rising + self.copied.lock().waiting()
    }

    fn tell(&self, what: Told) {
        (self.listener)(what);
    }
}

impl fmt::Debug for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tier")
            .field("store", &self.store)
            .field("evicter", &self.evicter)
            .finish_non_exhaustive()
    }
}
