//! A request's way in: its cookie, then its session, then the handler.
//!
//! A session that is here and free costs no waiting and no boxed future.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;
use wadi_core::session::{Look, Origin, PresentedId, Visit};

use crate::below;
use crate::cluster::Cluster;
use crate::cluster::proxy::{Arrived, Load, Verdict, Wants};
use crate::elsewhere::{self, Quest};
use crate::future::{InFlight, WadiFuture, Wait};
use crate::layer_id::LayerId;
use crate::lifecycle::Phase;
use crate::mode::Wanted;
use crate::served::How;
use crate::session::Session;
use crate::shared::Shared;
use crate::way::{self, Way};
use crate::why::Why;

/// A service whose requests have a session; made by [`WadiLayer`](crate::WadiLayer).
///
/// It serves any HTTP service whose response body has a default, which is the body of its 503s. Within
/// a cluster, requests are proxied to their sessions where both bodies are axum's `Body`, as they are
/// under an axum `Router`; sessions come to all others.
#[derive(Clone)]
pub struct WadiService<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> WadiService<S> {
    pub(crate) const fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

/// What a request's cookies lead to, without waiting.
enum Located {
    At(Arc<Visit>),
    Busy(PresentedId),
    /// Not here, and perhaps in the store below, or with another node; what is left to look for, and what
    /// became of the rest.
    Elsewhere(Vec<PresentedId>, Origin),
}

impl Shared {
    fn locate<B>(&self, request: &Request<B>) -> Located {
        let sessions = &self.sessions;
        let now = sessions.now();
        let mut origin = Origin::New;
        let mut found = None;
        let mut elsewhere = Vec::new();
        self.cookie.presented(request.headers(), |presented| {
            match sessions.look(&presented, now) {
                Look::Here(guard) => {
                    let id = *presented.unverified();
                    let visit = Visit::holding(Arc::clone(sessions), guard, id);
                    found = Some(Located::At(Arc::new(visit)));
                    true
                }
                Look::Busy(_) => {
                    found = Some(Located::Busy(presented));
                    true
                }
                // Its tag is ours, and nothing is known of its end.
                Look::NotHere(Origin::Lost) if self.cluster.is_some() || self.tier.is_some() => {
                    elsewhere.push(presented);
                    false
                }
                Look::NotHere(missing) => {
                    // Of several dead ids the first that was ours says what became of it.
                    if origin == Origin::New {
                        origin = missing;
                    }
                    false
                }
            }
        });
        if let Some(found) = found {
            return found;
        }
        let creates = || (self.cluster.as_ref()).is_none_or(|cluster| self.creates(cluster));
        if !elsewhere.is_empty() || !creates() {
            return Located::Elsewhere(elsewhere, origin);
        }
        let visit = Visit::without(Arc::clone(sessions), origin);
        Located::At(Arc::new(visit))
    }

    /// Whether a session that this request creates had better be created here.
    pub(crate) fn creates(&self, cluster: &Cluster) -> bool {
        let stays = self.node.lifecycle.phase() < Phase::Leaving && !cluster.is_draining();
        stays && cluster.node().may_create()
    }

    /// Who sent this request here, where another node of this layer's cluster has.
    fn arrived<B>(self: &Arc<Self>, request: &Request<B>, wanted: Wanted) -> Option<Arrived> {
        if !wanted.proxied {
            return None;
        }
        let arrived = request.extensions().get::<Arrived>();
        let arrived = arrived.filter(|arrived| arrived.layer == LayerId::of(self))?;
        if let Some(cluster) = &self.cluster
            && arrived.is_new()
        {
            cluster.counts().proxied_in.one();
        }
        Some(arrived.clone())
    }

    fn quest<B>(
        &self,
        request: &Request<B>,
        wanted: Wanted,
        arrived: Option<Arrived>,
        presented: Vec<PresentedId>,
        origin: Origin,
    ) -> Quest {
        let headers = request.headers();
        let route = self.cluster.as_ref().map(Cluster::route);
        let said = route.and_then(|route| route.said(headers));
        let hint = said.and_then(|name| self.cluster.as_ref()?.view()?.named(name));
        let is_leaving = self.node.lifecycle.phase() >= Phase::Leaving;
        Quest {
            presented,
            origin,
            wanted,
            arrived,
            hint,
            restick: route.is_some_and(|route| route.is_due(headers)),
            stray: way::stray(request, is_leaving),
        }
    }
}

/// What is to be said of a request whose session is here; `None` where it is the usual.
fn way<B>(
    cluster: &Cluster,
    request: &Request<B>,
    arrived: Option<&Arrived>,
    visit: &Visit,
) -> Option<Box<Way>> {
    let (route, headers) = (cluster.route(), request.headers());
    if let Some(arrived) = arrived {
        let restick = route.is_due(headers);
        let stray = way::stray(request, false);
        let way = Way::of_guest(arrived, visit, restick, stray);
        return Some(Box::new(way));
    }
    // A client that keeps no such cookie is told again with its session's own.
    let restick = route.is_wrong(headers);
    restick.then(|| Box::new(Way::new(How::Local, 0, true)))
}

impl<S: Clone> WadiService<S> {
    /// The service that was made ready goes with the request; its clone stays.
    fn take_ready(&mut self) -> S {
        let clone = self.inner.clone();
        std::mem::replace(&mut self.inner, clone)
    }

    fn waiting<B>(&mut self, wait: Wait, request: Request<B>) -> WadiFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        let ready = self.take_ready();
        WadiFuture::waiting(wait, ready, request, Arc::clone(&self.shared))
    }

    /// For a request that another node has sent here in vain: nothing is run.
    fn misdirected<B>(&self, arrived: &Arrived, verdict: Verdict) -> WadiFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        arrived.answer(verdict);
        if let Some(cluster) = &self.shared.cluster {
            cluster.counts().misdirected.one();
        }
        WadiFuture::refused(None, Arc::clone(&self.shared))
    }

    fn seeking<B, R>(&mut self, request: Request<B>, quest: Quest) -> WadiFuture<S, B>
    where
        S: Service<Request<B>>,
        B: 'static,
        R: 'static,
    {
        let (load, request) = if quest.wanted.proxied {
            // No request is proxied twice, also where each time is another layer's doing.
            (None, Some(request))
        } else {
            Load::take::<B, R>(request)
        };
        let seeking = elsewhere::seek(Arc::clone(&self.shared), quest, load);
        // The one that was made ready is dropped with what it has taken for that.
        let unready = self.inner.clone();
        drop(std::mem::replace(&mut self.inner, unready.clone()));
        WadiFuture::seeking(
            Box::pin(seeking),
            unready,
            request,
            Arc::clone(&self.shared),
        )
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for WadiService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    ReqBody: 'static,
    ResBody: Default + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = WadiFuture<S, ReqBody>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let wanted = request.extensions().get::<Wanted>().copied();
        let wanted = wanted.unwrap_or_default();
        if wanted.bypass {
            return WadiFuture::passing(self.inner.call(request));
        }
        let arrived = self.shared.arrived(&request, wanted);
        if !self.shared.is_open() {
            if let Some(arrived) = arrived {
                arrived.answer(Verdict::Unable);
            } else {
                self.shared.tell_not_started();
            }
            return WadiFuture::refused(None, Arc::clone(&self.shared));
        }
        if !self.shared.sessions.may_act() {
            if let Some(arrived) = arrived {
                arrived.answer(Verdict::Unable);
            }
            return WadiFuture::refused(Some(Why::Lapsed), Arc::clone(&self.shared));
        }
        match self.shared.locate(&request) {
            Located::At(visit) => {
                if let Some(arrived) = &arrived
                    && visit.origin() != Origin::Existing
                    && arrived.wants == Wants::Session
                {
                    let verdict = Verdict::of_missing(visit.origin());
                    return self.misdirected(arrived, verdict);
                }
                if wanted.read_only {
                    visit.make_read_only();
                }
                let cluster = self.shared.cluster.as_ref();
                let way =
                    cluster.and_then(|cluster| way(cluster, &request, arrived.as_ref(), &visit));
                if wanted.exclusive && !visit.try_alone() {
                    let wait = Box::pin(async move {
                        let alone = visit.alone().await;
                        alone.map_err(|_| Why::InUse).map(|()| (visit, way))
                    });
                    return self.waiting(wait, request);
                }
                let session = Session::new(Arc::clone(&visit));
                request.extensions_mut().insert(session);
                // Before the service is called: it may panic.
                let visit = InFlight::of(visit);
                let inner = self.inner.call(request);
                WadiFuture::serving(inner, visit, way, Arc::clone(&self.shared))
            }
            Located::Busy(presented) if self.shared.cluster.is_some() => {
                let presented = vec![presented];
                let quest = self
                    .shared
                    .quest(&request, wanted, arrived, presented, Origin::New);
                self.seeking::<_, ResBody>(request, quest)
            }
            Located::Busy(presented) => {
                let shared = Arc::clone(&self.shared);
                let wait = below::seek(shared, vec![presented], Origin::New, wanted);
                self.waiting(Box::pin(wait), request)
            }
            Located::Elsewhere(presented, origin) if self.shared.cluster.is_none() => {
                let wait = below::seek(Arc::clone(&self.shared), presented, origin, wanted);
                self.waiting(Box::pin(wait), request)
            }
            Located::Elsewhere(presented, origin) => {
                let quest = self
                    .shared
                    .quest(&request, wanted, arrived, presented, origin);
                self.seeking::<_, ResBody>(request, quest)
            }
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for WadiService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WadiService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
