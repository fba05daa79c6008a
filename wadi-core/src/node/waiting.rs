//! Who waits for an answer of the cluster. Everybody is answered once, or finds that nobody will.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::locate::Located;
use crate::member::Incarnation;
use crate::session::{Guard, SessionId, Sessions};

/// A session that was registered for a request. Where the request takes it not, it never was.
pub(super) struct Registered {
    sessions: Arc<Sessions>,
    guard: Option<Guard>,
}

impl Registered {
    pub(super) const fn new(sessions: Arc<Sessions>, guard: Guard) -> Self {
        Self {
            sessions,
            guard: Some(guard),
        }
    }

    pub(super) fn take(mut self) -> Option<Guard> {
        self.guard.take()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        if let Some(guard) = self.guard.take() {
            self.sessions.unmake(guard.session());
        }
    }
}

/// Requests that wait for the driver.
#[derive(Default)]
pub(super) struct Waiting {
    finding: HashMap<SessionId, Vec<oneshot::Sender<Located>>>,
    finders: usize,
    /// From whom a session that somebody waits for was sent.
    senders: HashMap<SessionId, Incarnation>,
    registering: HashMap<SessionId, oneshot::Sender<Registered>>,
    ending: HashMap<SessionId, Vec<oneshot::Sender<()>>>,
    /// At how many endings those are looked for that nobody waits for any more.
    prune_at: usize,
}

/// Of fewer endings none are pruned.
const FEW: usize = 64;

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

    /// How many wait for a new session.
    pub(super) fn registrations(&self) -> usize {
        self.registering.len()
    }

    pub(super) fn register(&mut self, id: SessionId, reply: oneshot::Sender<Registered>) {
        self.registering.insert(id, reply);
    }

    pub(super) fn registering(&mut self, id: &SessionId) -> Option<oneshot::Sender<Registered>> {
        self.registering.remove(id)
    }

    /// Most sessions end by themselves, and nobody waits for that; and who waits does so for a while.
    pub(super) fn end(&mut self, id: SessionId, reply: oneshot::Sender<()>) {
        if reply.is_closed() {
            return;
        }
        if self.ending.len() >= self.prune_at {
            self.ending.retain(|_, waiting| {
                waiting.retain(|reply| !reply.is_closed());
                !waiting.is_empty()
            });
            self.prune_at = (2 * self.ending.len()).max(FEW);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{ClusterKey, Keyring};
    use crate::tenure::Tenure;

    #[test]
    fn a_session_that_no_request_takes_never_was() {
        let key = ClusterKey::from_secret(&[1; 32]).unwrap();
        let sessions = Arc::new(Sessions::builder(Keyring::new(key)).build());
        let registered = || {
            let id = sessions.mint_anywhere();
            let guard = sessions.put_registered(id, Tenure::NONE);
            Registered::new(Arc::clone(&sessions), guard)
        };
        let (reply, mut request) = oneshot::channel();
        assert!(reply.send(registered()).is_ok());
        let guard = request.try_recv().unwrap().take();
        assert_eq!((guard.is_some(), sessions.map().len()), (true, 1));
        let (reply, request) = oneshot::channel();
        assert!(reply.send(registered()).is_ok());
        assert_eq!(sessions.map().len(), 2);
        drop(request);
        assert_eq!(sessions.map().len(), 1);
    }

    #[test]
    fn who_does_not_wait_any_more_is_forgotten() {
        let mut waiting = Waiting::default();
        let id = |n: u16| SessionId::from_parts([7; 16], u32::from(n));
        let mut patient = Vec::new();
        for n in 0..1000 {
            let (reply, ended) = oneshot::channel();
            if n % 2 == 0 {
                drop(ended);
                waiting.end(id(n), reply);
            } else {
                waiting.end(id(n), reply);
                if n % 100 == 1 {
                    patient.push(ended);
                }
            }
        }
        assert!(waiting.ending.len() <= FEW + 1, "{}", waiting.ending.len());
        waiting.ended(&id(1));
        assert_eq!(patient.remove(0).try_recv(), Ok(()));
    }
}
