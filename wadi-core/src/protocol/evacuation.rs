//! A leaving member moves everything it holds to the buckets' managers.
//!
//! The layout has already given its buckets to others. As soon as a bucket's next manager has its directory
//! it is asked to take each session; that is an ordinary migration, so what is true of migrations is true
//! of leaving. So much is under way at once, in number and in bytes, and a session counts until its manager
//! lets the last copy here go: whoever is slow to take is not given more.

use std::collections::VecDeque;

use super::by_bucket::ByBucket;
use super::directory::Directory;
use super::settings::Settings;
use super::timer::Timer;
use super::turn::Turn;
use crate::bucket::BucketId;
use crate::member::Incarnation;
use crate::message::{Body, Want};
use crate::session::SessionId;

/// An evacuation under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Evacuation {
    under_way: ByBucket<Pending>,
    /// How many of them are sealed, and what those take, encoded.
    sealed: usize,
    bytes: usize,
    /// What a session takes, by those that were sealed lately; zero before the first.
    typical: usize,
    /// In use: they wait for their locks, and nobody waits behind them. For how many ticks more.
    later: ByBucket<u32>,
    /// Those that have no encoding stay.
    stay: ByBucket<()>,
    /// Found by the last look at a bucket, and not asked for yet.
    found: VecDeque<SessionId>,
    /// Buckets whose next managers have just fetched their directories.
    fetched: VecDeque<BucketId>,
    /// The bucket that is looked at next.
    next: u16,
    /// The last look went through all buckets and found nothing: there is no other before the next tick.
    seen_all: bool,
    /// The network took no more: nothing new before the next tick.
    held_back: bool,
}

/// A session whose manager was asked to take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Pending {
    /// Ticks until it is asked again.
    left: u32,
    /// Ticks between this asking and the next.
    wait: u32,
    /// What its sealed copy takes; none before it is sealed.
    bytes: Option<usize>,
}

impl Pending {
    const NEW: Self = Self {
        // The next tick may be close.
        left: 2,
        wait: 1,
        bytes: None,
    };
}

/// What a session may take, before one was sealed.
const FIRST_GUESS: usize = 128 * 1024;

/// How many ticks, one each `retry`, make the longest wait.
fn most_ticks(settings: &Settings) -> u32 {
    let retry = settings.retry.as_nanos().max(1);
    u32::try_from(settings.retry_most.as_nanos() / retry)
        .unwrap_or(u32::MAX)
        .max(1)
}

impl Evacuation {
    /// Asks for more, when there is room for much more.
    pub(super) fn push(&mut self, turn: &mut Turn<'_>, directory: &Directory) {
        let room = self.room(turn.settings);
        if room >= self.under_way.len() {
            self.fill(turn, directory, room);
            self.look_again_later(turn);
        }
    }

    /// The bucket's next manager has its directory, and so can take its sessions.
    pub(super) fn fetched(&mut self, turn: &mut Turn<'_>, directory: &Directory, bucket: BucketId) {
        self.fetched.push_back(bucket);
        self.push(turn, directory);
    }

    /// The layout has changed: everything under way is asked for once more, of who manages it now.
    pub(super) fn start_again(&mut self, turn: &mut Turn<'_>, directory: &Directory) {
        for (_, pending) in self.under_way.iter_mut() {
            (pending.left, pending.wait) = (1, 1);
        }
        self.tick(turn, directory);
    }

    /// A while later: asks again what was asked long ago, and for more.
    pub(super) fn tick(&mut self, turn: &mut Turn<'_>, directory: &Directory) {
        (self.held_back, self.seen_all) = (false, false);
        let most = most_ticks(turn.settings);
        let mut again = Vec::new();
        for (id, pending) in self.under_way.iter_mut() {
            pending.left = pending.left.saturating_sub(1);
            if pending.left == 0 {
                pending.left = pending.wait;
                pending.wait = pending.wait.saturating_mul(2).min(most);
                again.push(*id);
            }
        }
        for id in again {
            self.ask(turn, id);
        }
        for (_, left) in self.later.iter_mut() {
            *left = left.saturating_sub(1);
        }
        let due = self.later.iter_mut().filter(|(_, left)| **left == 0);
        let mut again = Vec::new();
        for (id, left) in due.take(turn.settings.evacuate_at_once) {
            *left = most;
            again.push(*id);
        }
        for id in again {
            self.ask(turn, id);
        }
        let room = self.room(turn.settings);
        self.fill(turn, directory, room);
        self.look_again_later(turn);
    }

    fn look_again_later(&self, turn: &mut Turn<'_>) {
        if !self.under_way.is_empty() || !self.later.is_empty() {
            turn.timers
                .ensure(Timer::Evacuate, turn.now, turn.settings.retry);
        }
    }

    /// How many more may be under way, by number and by what they probably take.
    fn room(&self, settings: &Settings) -> usize {
        let number = settings
            .evacuate_at_once
            .saturating_sub(self.under_way.len());
        let typical = self.typical();
        let expected = (self.under_way.len() - self.sealed).saturating_mul(typical);
        let bytes = settings
            .evacuate_bytes
            .saturating_sub(self.bytes.saturating_add(expected));
        number.min(bytes.div_ceil(typical))
    }

    const fn typical(&self) -> usize {
        if self.typical == 0 {
            FIRST_GUESS
        } else {
            self.typical
        }
    }

    fn fill(&mut self, turn: &mut Turn<'_>, directory: &Directory, room: usize) {
        if self.held_back {
            return;
        }
        for _ in 0..room {
            let Some(id) = self.another(turn, directory) else {
                break;
            };
            self.under_way.insert(turn.bucket(&id), id, Pending::NEW);
            self.ask_for(turn, id);
        }
    }

    fn knows(&self, bucket: BucketId, id: &SessionId) -> bool {
        self.under_way.contains(bucket, id)
            || self.later.contains(bucket, id)
            || self.stay.contains(bucket, id)
    }

    /// A session that is here and that nobody was asked to take.
    fn another(&mut self, turn: &Turn<'_>, directory: &Directory) -> Option<SessionId> {
        let buckets = turn.layout.buckets().get();
        let mut looks = buckets;
        loop {
            while let Some(id) = self.found.pop_front() {
                let bucket = turn.bucket(&id);
                let may_go = !self.knows(bucket, &id) && !directory.is_handing_over(bucket);
                if may_go && turn.holdings.get(&id).is_some() {
                    return Some(id);
                }
            }
            let bucket = match self.fetched.pop_front() {
                Some(bucket) => bucket,
                None if looks == 0 || self.seen_all => {
                    self.seen_all = true;
                    return None;
                }
                None => {
                    looks -= 1;
                    let bucket = BucketId::new(self.next);
                    self.next = (self.next + 1) % buckets;
                    bucket
                }
            };
            if directory.is_handing_over(bucket) {
                continue;
            }
            let mut found = Vec::new();
            (turn.holdings).for_each_in(bucket, &mut |id, _| found.push(id));
            // Those of one bucket are asked for together, which takes an order.
            found.sort_unstable();
            self.found = found.into();
        }
    }

    /// Asks its manager to take a session, unless it is sealed already.
    fn ask(&self, turn: &mut Turn<'_>, id: SessionId) {
        if turn.holdings.get(&id).is_some() {
            self.ask_for(turn, id);
        }
    }

    /// Asks its manager to take a session that is here, or where nobody stays, to have it go to the store.
    fn ask_for(&self, turn: &mut Turn<'_>, id: SessionId) {
        let manager = turn.manager(&id);
        let want = Want::Move;
        if turn.settings.store && turn.layout.everybody_leaves() {
            let to = Incarnation::STORE;
            turn.send(manager, Body::Find { id, to, want });
        } else if manager != turn.me {
            let to = manager;
            turn.send(manager, Body::Find { id, to, want });
        }
    }

    /// The session is sealed, and takes so many bytes until it is gone.
    pub(super) fn sealed(&mut self, bucket: BucketId, id: SessionId, bytes: usize) {
        self.later.remove(bucket, &id);
        let sealed = Pending {
            bytes: Some(bytes),
            ..Pending::NEW
        };
        let former = self.under_way.insert(bucket, id, sealed);
        self.is_over(former);
        self.sealed += 1;
        self.bytes += bytes;
        let typical = self.typical();
        self.typical = (typical - typical / 8 + bytes / 8).max(1);
    }

    /// Requests use the session: it is sealed when they let it go, or is asked for again.
    pub(super) fn waits(&mut self, turn: &Turn<'_>, id: SessionId) {
        let bucket = turn.bucket(&id);
        if self.forget(bucket, &id) || self.later.contains(bucket, &id) {
            self.later.insert(bucket, id, most_ticks(turn.settings));
        }
    }

    /// The session has no encoding, and nothing takes it.
    pub(super) fn stays(&mut self, bucket: BucketId, id: SessionId) {
        if self.forget(bucket, &id) || self.later.remove(bucket, &id).is_some() {
            self.stay.insert(bucket, id, ());
        }
    }

    /// No copy of the session is here any more.
    pub(super) fn gone(&mut self, bucket: BucketId, id: &SessionId) {
        self.forget(bucket, id);
        self.later.remove(bucket, id);
        self.stay.remove(bucket, id);
    }

    fn forget(&mut self, bucket: BucketId, id: &SessionId) -> bool {
        let pending = self.under_way.remove(bucket, id);
        self.is_over(pending);
        pending.is_some()
    }

    fn is_over(&mut self, pending: Option<Pending>) {
        if let Some(bytes) = pending.and_then(|pending| pending.bytes) {
            self.sealed -= 1;
            self.bytes -= bytes;
        }
    }

    /// Forgets of those under way which are not here any more, however they went.
    pub(super) fn retain(&mut self, is_here: impl Fn(BucketId, &SessionId) -> bool) {
        let under_way = self.under_way.iter().map(|(bucket, id, _)| (bucket, *id));
        let later = self.later.iter().map(|(bucket, id, _)| (bucket, *id));
        let gone: Vec<_> = under_way
            .chain(later)
            .filter(|(bucket, id)| !is_here(*bucket, id))
            .collect();
        for (bucket, id) in gone {
            self.gone(bucket, &id);
        }
    }

    /// The network takes no more for now.
    pub(super) fn hold_back(&mut self) {
        self.held_back = true;
    }
}
