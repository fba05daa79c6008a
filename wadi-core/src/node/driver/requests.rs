//! What this node's own requests ask of the cluster.

use tokio::sync::oneshot;

use super::{Driver, Life};
use crate::message::Want;
use crate::node::locate::Located;
use crate::protocol::Input;
use crate::session::{Registered, SessionId};

impl Driver {
    pub(super) fn find(&mut self, id: SessionId, want: Want, reply: oneshot::Sender<Located>) {
        if reply.is_closed() {
            return;
        }
        let is_full = self.waiting.finders() >= self.settings.waiting;
        let may_ask = matches!(self.life, Life::Member(_)) && !is_full;
        let is_here = || {
            let in_map = self.sessions.map().get(&id);
            in_map.is_some_and(|held| held.is_serving())
        };
        // Who is full leaves it where it is.
        let want = if self.sessions.is_full() {
            Want::Locate
        } else {
            want
        };
        let known = if !may_ask {
            Some(Located::Unavailable)
        } else if is_here() {
            Some(Located::Here)
        } else {
            None
        };
        match known {
            Some(located) => {
                // Who has given up meanwhile is not told.
                let _ = reply.send(located);
            }
            None => {
                self.waiting.find(id, reply);
                self.give(Input::Find { id, want });
            }
        }
    }

    /// Also while this node is leaving: what is registered is evacuated like everything else. The
    /// protocol refuses it once it has said that nothing is left. Dropping the reply says no.
    pub(super) fn register(&mut self, id: SessionId, reply: oneshot::Sender<Registered>) {
        let is_member = matches!(self.life, Life::Member(_));
        let is_full = self.waiting.registrations() >= self.settings.waiting;
        if is_member && !is_full && !reply.is_closed() && self.waiting.register(id, reply) {
            self.give(Input::Register(id));
        }
    }
}
