//! A session is to leave this node: its lock is waited for by a task of its own, and the session
//! goes from the map in the very step in which the protocol is given what was sealed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Driver;
use crate::node::given::Given;
use crate::node::listen::Told;
use crate::protocol::Input;
use crate::session::{Sealed, SessionError, SessionId};

impl Driver {
    pub(super) fn seal(&mut self, id: SessionId, inputs: &mut VecDeque<Input>) {
        let Some(held) = self.sessions.map().get(&id) else {
            inputs.push_back(Input::Gone(id));
            return;
        };
        if self.sealing >= self.settings.seals_at_once {
            inputs.push_back(Input::Busy(id));
            return;
        }
        self.sealing += 1;
        let sessions = Arc::clone(&self.sessions);
        let clock = Arc::clone(&self.clock);
        let revokes = self.revokes();
        let (wait, back) = (self.settings.seal_wait, self.back.clone());
        // The values' own code runs in there; should it panic, the session stays as it is.
        let sealing = tokio::spawn(async move {
            if revokes {
                sessions.seal_in_use(&id, &held, &*clock)
            } else {
                sessions.seal(&id, &held, wait, &*clock).await
            }
        });
        self.tasks.spawn(async move {
            let outcome = sealing.await.unwrap_or(Err(SessionError::Busy));
            // A driver that is gone has no use for it.
            let _ = back.send(Given::Sealed { id, outcome }).await;
        });
    }

    /// The lock was had, or was not. What was sealed for an earlier incarnation is not in the map any
    /// more, and is offered already.
    pub(super) fn sealed(&mut self, id: SessionId, outcome: Result<Sealed, SessionError>) {
        self.sealing -= 1;
        self.bury_departed();
        let input = match outcome {
            Ok(sealed) => {
                let (tenure, revision) = (sealed.tenure, sealed.revision);
                let state = sealed.state.clone();
                if self.sessions.drop_sealed(sealed) {
                    self.migrations.left.fetch_add(1, Relaxed);
                    Input::Sealed {
                        id,
                        tenure,
                        revision,
                        state,
                    }
                } else {
                    Input::Gone(id)
                }
            }
            Err(SessionError::Ended | SessionError::Moved) => Input::Gone(id),
            Err(SessionError::Unencodable {
                type_name, reason, ..
            }) => {
                self.tell(Told::Unencodable { type_name, reason });
                Input::Busy(id)
            }
            // In use for too long: it is served here as before.
            Err(_) => Input::Busy(id),
        };
        self.step(input);
    }
}
