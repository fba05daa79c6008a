//! What the protocol has the store below all nodes do, and what is to go there: handed on to tasks of their
//! own, whose outcomes come back through the queue.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Driver, Life};
use crate::evict::Evicter;
use crate::message::{Body, Message};
use crate::node::asking::{Asking, Key, Kind};
use crate::node::below::Below;
use crate::node::below::performer::Performer;
use crate::node::below::reach::Reach;
use crate::node::below::rounds::Rounds;
use crate::node::below::sweep::Sweep;
use crate::protocol::{Input, Stored, ToStore};
use crate::session::SessionId;
use crate::store::SessionStore;
use crate::tenure::Tenure;

/// The store below all nodes, where there is one.
pub(super) struct Under {
    pub(super) reach: Arc<Reach>,
    asked: mpsc::Sender<Asking>,
    /// What it is being asked, so that the same is asked once; never more than there is room for.
    under_way: BTreeSet<Key>,
}

impl Driver {
    /// Starts what looks after the store; it ends with the driver.
    pub(super) fn begin_over(
        &mut self,
        store: Arc<dyn SessionStore>,
        evicter: Arc<dyn Evicter>,
        below: Arc<Below>,
    ) {
        let settings = Arc::clone(&self.settings);
        let reach = Arc::new(Reach::new(
            store,
            Arc::clone(&self.clock),
            Arc::clone(&self.surroundings.listener),
            below,
            settings.store_wait,
        ));
        let (asked, waiting) = mpsc::channel(settings.store_queue.max(1));
        let performer = Performer {
            reach: Arc::clone(&reach),
            sessions: Arc::clone(&self.sessions),
            asked: waiting,
            back: self.back.clone(),
            takes: settings.store_takes,
        };
        let rounds = Rounds {
            reach: Arc::clone(&reach),
            sessions: Arc::clone(&self.sessions),
            evicter,
            status: self.status.subscribe(),
            back: self.back.clone(),
            every: settings.store_rounds,
        };
        let sweep = Sweep {
            reach: Arc::clone(&reach),
            sessions: Arc::clone(&self.sessions),
            status: self.status.subscribe(),
            queue: self.entrance.clone(),
            every: settings.store_sweeps,
            within: settings.protocol.ask_for + 2 * settings.protocol.retry_most,
        };
        self.tasks.spawn(performer.run());
        self.tasks.spawn(rounds.run());
        self.tasks.spawn(sweep.run());
        self.under = Some(Under {
            reach,
            asked,
            under_way: BTreeSet::new(),
        });
    }

    /// The store is to do this. Where it cannot be asked now the protocol hears so at once.
    pub(super) fn ask_store(
        &mut self,
        id: SessionId,
        tenure: Tenure,
        ask: ToStore,
        inputs: &mut VecDeque<Input>,
    ) {
        let kind = Kind::of(&ask);
        let key = (id, tenure, kind);
        let now = self.now();
        if let Some(under) = &mut self.under {
            if under.under_way.contains(&key) {
                return;
            }
            let asking = Asking {
                id,
                tenure,
                ask,
                until: now + self.settings.store_wait,
            };
            let has_room = under.under_way.len() < self.settings.store_queue;
            if has_room && under.asked.try_send(asking).is_ok() {
                under.under_way.insert(key);
                under.reach.below().set_under_way(under.under_way.len());
                return;
            }
        }
        let stored = kind.untried();
        inputs.push_back(Input::Stored { id, tenure, stored });
    }

    /// What became of some of it.
    pub(super) fn stored(&mut self, outcomes: Vec<(Key, Stored)>) {
        for ((id, tenure, kind), stored) in outcomes {
            if let Some(under) = &mut self.under {
                under.under_way.remove(&(id, tenure, kind));
                let below = under.reach.below();
                below.set_under_way(under.under_way.len());
                if (kind, &stored) == (Kind::Put, &Stored::Done) {
                    below.went_down();
                }
            }
            if stored == Stored::Superseded && self.may_allot(&id, tenure) {
                self.tell_superseded();
            }
            let is_row = matches!(stored, Stored::Row { .. });
            self.rising = is_row.then_some((id, tenure));
            self.give(Input::Stored { id, tenure, stored });
            self.rising = None;
        }
    }

    /// Whether this tenure is this node's to allot, as far as it knows: who allots later ones is of another
    /// cluster then. A manager that has just been deposed is refused, too, and nothing is wrong.
    fn may_allot(&self, id: &SessionId, tenure: Tenure) -> bool {
        let (Some(me), Some(layout)) = (self.me(), &self.layout) else {
            return false;
        };
        let placement = layout.placement(id.bucket(layout.buckets()));
        placement.manager == me && placement.since == tenure.epoch()
    }

    fn tell_superseded(&self) {
        if let Some(under) = &self.under {
            under.reach.is_superseded();
        }
    }

    /// Where this is the session that the store has just given out, it comes up: what is given out to be looked
    /// at only, or to be forgotten, is sent to nobody.
    pub(super) fn note_rising(&mut self, message: &Message) {
        let Some((id, tenure)) = self.rising else {
            return;
        };
        let is_it = |body: &Body| matches!(body, Body::State { id: its, tenure: under, .. } if (*its, *under) == (id, tenure));
        if std::iter::once(&message.body)
            .chain(&message.more)
            .any(is_it)
        {
            self.rising = None;
            if let Some(under) = &self.under {
                under.reach.below().came_up();
            }
        }
    }

    /// Nobody asks for these any more.
    pub(super) fn demote(&mut self, chosen: Vec<SessionId>) {
        let may_go = matches!(self.life, Life::Member(_)) && self.leaving.is_none();
        for id in chosen {
            if may_go {
                self.give(Input::Demote(id));
            }
        }
    }
}
