//! What this node's own requests ask of the cluster.

use tokio::sync::oneshot;

use super::{Driver, Life};
use crate::message::Want;
use crate::node::locate::Located;
use crate::protocol::Input;
use crate::session::{Guard, SessionId};

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

    pub(super) fn register(&mut self, reply: oneshot::Sender<Guard>) {
        // Who is leaving takes nothing new; dropping the reply says so.
        if !matches!(self.life, Life::Member(_)) || self.leaving.is_some() {
            return;
        }
        let id = self.sessions.mint_anywhere();
        self.waiting.register(id, reply);
        self.give(Input::Register(id));
    }
}
