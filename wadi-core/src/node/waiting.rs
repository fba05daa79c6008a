//! Who waits for an answer of the cluster. Everybody is answered once, or finds that nobody will.

use std::collections::HashMap;

use tokio::sync::oneshot;

use super::locate::Located;
use crate::member::Incarnation;
use crate::session::{Guard, SessionId};

/// Requests that wait for the driver.
#[derive(Default)]
pub(super) struct Waiting {
    finding: HashMap<SessionId, Vec<oneshot::Sender<Located>>>,
    finders: usize,
    /// From whom a session that somebody waits for was sent.
    senders: HashMap<SessionId, Incarnation>,
    registering: HashMap<SessionId, oneshot::Sender<Guard>>,
    ending: HashMap<SessionId, Vec<oneshot::Sender<()>>>,
}

impl Waiting {
    /// How many wait to be told where their session is.
    pub(super) const fn finders(&self) -> usize {
        self.finders
    }

    pub(super) fn find(&mut self, id: SessionId, reply: oneshot::Sender<Located>) {
        self.finders += 1;
        self.finding.entry(id).or_default().push(reply);
    }

    /// The state of a session came from there.
    pub(super) fn came(&mut self, id: SessionId, from: Incarnation) {
        if self.finding.contains_key(&id) {
            self.senders.insert(id, from);
        }
    }

    pub(super) fn found(&mut self, id: &SessionId, located: Located) {
        let located = match (located, self.senders.remove(id)) {
            (Located::Here, Some(from)) => Located::Came(from),
            (located, _) => located,
        };
        for reply in self.finding.remove(id).unwrap_or_default() {
            self.finders -= 1;
            // Who has given up meanwhile is not told.
            let _ = reply.send(located);
        }
    }

    pub(super) fn register(&mut self, id: SessionId, reply: oneshot::Sender<Guard>) {
        self.registering.insert(id, reply);
    }

    pub(super) fn registering(&mut self, id: &SessionId) -> Option<oneshot::Sender<Guard>> {
        self.registering.remove(id)
    }

    pub(super) fn end(&mut self, id: SessionId, reply: oneshot::Sender<()>) {
        self.ending.entry(id).or_default().push(reply);
    }

    pub(super) fn ended(&mut self, id: &SessionId) {
        for reply in self.ending.remove(id).unwrap_or_default() {
            let _ = reply.send(());
        }
    }

    /// Nobody can say any more: this incarnation is over.
    pub(super) fn give_up(&mut self) {
        for reply in std::mem::take(&mut self.finding).into_values().flatten() {
            let _ = reply.send(Located::Unavailable);
        }
        // The others see that who would have answered is gone.
        *self = Self::default();
    }
}
