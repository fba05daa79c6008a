//! A request's way in: its cookie, then its session, then the handler.
//!
//! A session that is here and free costs no waiting and no boxed future.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;
use wadi_core::session::{Held, Look, Origin, PresentedId, Visit};

use crate::future::{WadiFuture, Wait};
use crate::mode::Wanted;
use crate::session::Session;
use crate::shared::Shared;

/// A service whose requests have a session; made by [`WadiLayer`](crate::WadiLayer).
///
/// It serves any HTTP service whose response body has a default, which is the body of its 503s.
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
    Busy(PresentedId, Arc<Held>),
}

impl Shared {
    fn locate<B>(&self, request: &Request<B>) -> Located {
        let sessions = &self.sessions;
        let now = sessions.now();
        let mut origin = Origin::New;
        let mut found = None;
        self.cookie.presented(request.headers(), |presented| {
            match sessions.look(&presented, now) {
                Look::Here(guard) => {
                    let id = *presented.unverified();
                    let visit = Visit::holding(Arc::clone(sessions), guard, id);
                    found = Some(Located::At(Arc::new(visit)));
                    true
                }
                Look::Busy(held) => {
                    found = Some(Located::Busy(presented, held));
                    true
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
        found.unwrap_or_else(|| {
            let visit = Visit::without(Arc::clone(sessions), origin);
            Located::At(Arc::new(visit))
        })
    }
}

impl<S: Clone> WadiService<S> {
    /// The service that was made ready goes with the request; its clone stays.
    fn waiting<B>(&mut self, wait: Wait, request: Request<B>) -> WadiFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        let clone = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, clone);
        WadiFuture::waiting(wait, ready, request, Arc::clone(&self.shared))
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for WadiService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    ResBody: Default,
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
        if !self.shared.is_open() {
            self.shared.tell_not_started();
            return WadiFuture::refused(Arc::clone(&self.shared));
        }
        if !self.shared.sessions.may_act() {
            return WadiFuture::refused(Arc::clone(&self.shared));
        }
        match self.shared.locate(&request) {
            Located::At(visit) => {
                if wanted.read_only {
                    visit.make_read_only();
                }
                if wanted.exclusive && !visit.try_alone() {
                    let wait = Box::pin(async move { visit.alone().await.map(|()| visit) });
                    return self.waiting(wait, request);
                }
                let session = Session::new(Arc::clone(&visit));
                request.extensions_mut().insert(session);
                let inner = self.inner.call(request);
                WadiFuture::serving(inner, visit, Arc::clone(&self.shared))
            }
            Located::Busy(presented, held) => {
                let sessions = Arc::clone(&self.shared.sessions);
                let wait = Box::pin(async move {
                    let visit = if wanted.exclusive {
                        sessions.wait_alone(&presented, held).await?
                    } else {
                        sessions.wait(&presented, held).await?
                    };
                    if wanted.read_only {
                        visit.make_read_only();
                    }
                    Ok(Arc::new(visit))
                });
                self.waiting(wait, request)
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
