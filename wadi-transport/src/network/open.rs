//! The endpoint as the parts of one node's network share it.
//!
//! When the last of them is dropped it closes: what was sent still gets a moment to be written.

use std::ops::Deref;
use std::time::Duration;

use tokio::runtime::Handle;
use wadi_core::message::Message;

use crate::endpoint::Endpoint;

/// How long what was sent may take to be written when nobody uses the network any more.
const PARTING: Duration = Duration::from_secs(1);

/// An open endpoint.
#[derive(Debug)]
pub(super) struct Open(Option<Endpoint<Message>>);

impl Open {
    pub(super) fn new(endpoint: Endpoint<Message>) -> Self {
        Self(Some(endpoint))
    }
}

impl Deref for Open {
    type Target = Endpoint<Message>;

    fn deref(&self) -> &Endpoint<Message> {
        self.0
            .as_ref()
            .expect("it is taken only when it is dropped")
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // Without a runtime nothing can be written any more, and the endpoint just ends.
        if let (Some(endpoint), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            endpoint.shared.closing.cancel();
            runtime.spawn(async move {
                // What is cut off was given its moment.
                let _ = endpoint.shutdown(PARTING).await;
            });
        }
    }
}
