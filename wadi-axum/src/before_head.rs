//! What a response head waits for when the handler is done. Most wait for nothing, and cost nothing here.
//!
//! A session that came to this node goes on being used while its manager is told; what was seen and done
//! with it leaves this node only when the manager has confirmed that it is here. A session that was
//! created while no bucket was open here is registered before its cookie goes out. Where the store below is to
//! have what was acknowledged, it is written there before.

use std::pin::Pin;
use std::sync::Arc;

use tracing::Instrument;
use wadi_core::session::{SessionError, Visit};

use crate::shared::Shared;
use crate::why::Why;

/// The wait; how many more hops the request took by it.
pub(crate) type Settling = Pin<Box<dyn Future<Output = Result<u8, Why>> + Send>>;

/// What a head waits for before it can go out; the visit goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsettled {
    /// A new session is nowhere to be found yet.
    Unregistered,
    /// A session came here, and nobody has confirmed that.
    Unconfirmed,
    /// The store is to have a copy of what was written.
    Uncopied,
}

impl Unsettled {
    /// The wait for it, which is bounded.
    pub(crate) fn settle(self, visit: Arc<Visit>, shared: Arc<Shared>) -> Settling {
        match self {
            Self::Unregistered => register(visit, shared),
            Self::Unconfirmed => confirm(visit, shared),
            Self::Uncopied => copy(visit, shared),
        }
    }

    /// Why the request is refused where it is not over after the wait.
    pub(crate) const fn why(self) -> Why {
        match self {
            Self::Unregistered => Why::NoCreator,
            Self::Unconfirmed => Why::Unconfirmed,
            Self::Uncopied => Why::Store,
        }
    }
}

/// Waits until the session of `visit` is confirmed, or another copy is current, which the commit says.
fn confirm(visit: Arc<Visit>, shared: Arc<Shared>) -> Settling {
    Box::pin(async move {
        let span = tracing::info_span!("wadi.confirm");
        if visit.confirmed().instrument(span).await.is_ok() {
            return Ok(0);
        }
        tracing::debug!("a session came here, and nobody has confirmed that in time");
        if let Some(cluster) = &shared.cluster {
            cluster.counts().unavailable.one();
        }
        Err(Why::Unconfirmed)
    })
}

/// Waits until the store has a copy of the session of `visit`, or has failed: then what was written stands all
/// the same, and the store has it later.
fn copy(visit: Arc<Visit>, shared: Arc<Shared>) -> Settling {
    Box::pin(async move {
        if let (Some(tier), Some(held)) = (&shared.tier, visit.session()) {
            let span = tracing::info_span!("wadi.copy");
            tier.copy(&held).instrument(span).await;
        }
        Ok(0)
    })
}

/// Has the session of `visit` registered with its bucket's manager. Seldom: the node is leaving, or its
/// buckets are changing hands.
fn register(visit: Arc<Visit>, shared: Arc<Shared>) -> Settling {
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
