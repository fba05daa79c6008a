//! How a request came to its session, where that was not simply here.

use http::Request;
use wadi_core::member::Incarnation;
use wadi_core::relocate::{Stray, Use};
use wadi_core::session::{Held, SessionId, Visit};

use std::sync::Arc;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::cluster::proxy::{Arrived, Verdict};
use crate::served::How;

/// For how long a session stays with a handle that has used it beyond its request.
const ATTACHED: Duration = Duration::from_secs(10);

/// How a request came to its session.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) how: How,
    pub(crate) hops: u8,
    /// Whether the client is to be told that this node serves it.
    pub(crate) restick: bool,
    guest: Option<Guest>,
}

/// A request that came by way of another node.
#[derive(Debug)]
struct Guest {
    arrived: Arrived,
    /// Its session, when it was last used before, and the request itself.
    session: Option<(SessionId, Arc<Held>, Use, Stray)>,
}

impl Way {
    pub(crate) const fn new(how: How, hops: u8, restick: bool) -> Self {
        Self {
            how,
            hops,
            restick,
            guest: None,
        }
    }

    /// Of a request that came by way of another node.
    pub(crate) fn of_guest(arrived: &Arrived, visit: &Visit, restick: bool, stray: Stray) -> Self {
        let session = visit.id().and_then(|id| {
            let held = visit.session()?;
            let now = held.last_used();
            let used = Use {
                before: now,
                with: now,
            };
            Some((id, held, used, stray))
        });
        Self {
            how: How::Proxied,
            hops: arrived.hops,
            restick,
            guest: Some(Guest {
                arrived: arrived.clone(),
                session,
            }),
        }
    }

    /// The request was served: tells the node that it came by whether the session had better follow.
    pub(crate) fn served(&self, cluster: &Cluster) {
        let Some(Guest {
            arrived,
            session: Some((id, held, used, stray)),
        }) = &self.guest
        else {
            return;
        };
        // A stream or a task here would have it back at once.
        if held.is_attached(cluster.node().sessions().now(), ATTACHED) {
            return;
        }
        let used = Use {
            with: held.last_used(),
            ..*used
        };
        let mut stray = stray.clone();
        stray.session_bytes = Some(held.bytes());
        let via: Incarnation = arrived.via;
        if cluster.should_follow(*id, via, used, stray) {
            arrived.answer(Verdict::Follow);
        }
    }
}

/// What the policy is told of a request before its session is known.
pub(crate) fn stray<B>(request: &Request<B>, is_leaving: bool) -> Stray {
    let mut stray = Stray::default();
    stray.is_safe = request.method().is_safe();
    stray.is_upgrade = request.headers().contains_key(http::header::UPGRADE)
        || request.method() == http::Method::CONNECT;
    stray.is_leaving = is_leaving;
    stray
}
