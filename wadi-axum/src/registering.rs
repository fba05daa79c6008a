//! A session that was created while no bucket was open here is registered before its cookie goes out.
//!
//! Seldom: the node is leaving, or its buckets are changing hands. Only then a request waits at its end.

use std::pin::Pin;
use std::sync::Arc;

use tracing::Instrument;
use wadi_core::session::{SessionError, Visit};

use crate::shared::Shared;
use crate::why::Why;

/// The wait; how many more hops the request took by it.
pub(crate) type Registering = Pin<Box<dyn Future<Output = Result<u8, Why>> + Send>>;

/// Has the session of `visit` registered with its bucket's manager.
pub(crate) fn register(visit: Arc<Visit>, shared: Arc<Shared>) -> Registering {
    Box::pin(async move {
        let span = tracing::info_span!("wadi.register");
        let registered = visit.register().instrument(span).await;
        let cluster = shared.cluster.as_ref().ok_or(Why::NoMember)?;
        let why = match registered {
            Ok(()) => {
                let view = cluster.view();
                let is_away = view
                    .zip(visit.id())
                    .map(|(view, id)| view.manager(&id) != view.me);
                return Ok(u8::from(is_away.unwrap_or(false)));
            }
            Err(SessionError::Lapsed) => Why::Lapsed,
            Err(SessionError::NoBucket) => Why::NoMember,
            Err(_) => Why::NoCreator,
        };
        tracing::debug!(why = why.as_str(), "a new session could not be registered");
        cluster.counts().unavailable.one();
        Err(why)
    })
}
