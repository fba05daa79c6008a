//! How a route uses its session: shared (as it comes), exclusive, read-only, or not at all.
//!
//! Small layers for single routes or whole routers, on either side of a
//! [`WadiLayer`](crate::WadiLayer): under it they find the request's session, and outside it they
//! leave word for it. They do nothing where there is no such layer.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;
use wadi_core::session::SessionError;

use crate::rejection::unavailable;
use crate::session::Session;

/// On a request that has not come to the session layer yet: what it is to do with the session.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) exclusive: bool,
    pub(crate) read_only: bool,
    pub(crate) bypass: bool,
    /// Another node sent the request here.
    pub(crate) proxied: bool,
}

impl Wanted {
    fn and(mut self, mode: Mode) -> Self {
        match mode {
            Mode::Exclusive => self.exclusive = true,
            Mode::ReadOnly => self.read_only = true,
            Mode::Bypass => self.bypass = true,
        }
        self
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Exclusive,
    ReadOnly,
    Bypass,
}

/// Requests of one session come one at a time: the route's handler has its session alone.
///
/// The request gives up its share and takes the session alone. When others hold it for longer
/// than `lock_wait`, the answer is 503 with Retry-After.
///
/// A handle from [`Session::detach`](crate::Session::detach) has to wait for its own request as for
/// any other: use the session itself in the handler, and the handle once the head has gone out.
#[must_use]
pub const fn exclusive() -> ModeLayer {
    ModeLayer(Mode::Exclusive)
}

/// Writes to the session are an error.
#[must_use]
pub const fn read_only() -> ModeLayer {
    ModeLayer(Mode::ReadOnly)
}

/// The route never touches a session: for assets and probes. Neither idle time nor cookie is
/// renewed. Outside the session layer the request is not even looked at, and so never waits.
#[must_use]
pub const fn bypass() -> ModeLayer {
    ModeLayer(Mode::Bypass)
}

/// The layer of [`exclusive`], [`read_only`] and [`bypass`].
#[derive(Clone, Copy, Debug)]
pub struct ModeLayer(Mode);

impl<S> Layer<S> for ModeLayer {
    type Service = ModeService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ModeService {
            inner,
            mode: self.0,
        }
    }
}

/// The service of a [`ModeLayer`].
#[derive(Clone, Debug)]
pub struct ModeService<S> {
    inner: S,
    mode: Mode,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for ModeService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    ResBody: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ModeFuture<S, ReqBody>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let Some(session) = request.extensions().get::<Session>() else {
            let wanted = request.extensions().get::<Wanted>();
            let wanted = wanted.copied().unwrap_or_default().and(self.mode);
            request.extensions_mut().insert(wanted);
            let inner = self.inner.call(request);
            let step = Step::Inner { inner };
            return ModeFuture { step };
        };
        match self.mode {
            Mode::Exclusive if !session.visit().try_alone() => {
                let visit = Arc::clone(session.visit());
                let wait = Box::pin(async move { visit.alone().await });
                let clone = self.inner.clone();
                let service = std::mem::replace(&mut self.inner, clone);
                let ready = Some(Box::new((service, request)));
                let step = Step::Waiting { wait, ready };
                return ModeFuture { step };
            }
            Mode::Exclusive => {}
            Mode::ReadOnly => session.visit().make_read_only(),
            Mode::Bypass => {
                session.visit().bypass();
                request.extensions_mut().remove::<Session>();
            }
        }
        let inner = self.inner.call(request);
        let step = Step::Inner { inner };
        ModeFuture { step }
    }
}

type Wait = Pin<Box<dyn Future<Output = Result<(), SessionError>> + Send>>;

pin_project! {
    /// The future of [`ModeService`].
    pub struct ModeFuture<S, ReqBody>
    where
        S: Service<Request<ReqBody>>,
    {
        #[pin]
        step: Step<S, ReqBody, S::Future>,
    }
}

pin_project! {
    #[project = StepNow]
    enum Step<S, ReqBody, F> {
        Inner {
            #[pin]
            inner: F,
        },
        Waiting {
            wait: Wait,
            // Boxed, so that a request that need not wait does not carry its room.
            ready: Option<Box<(S, Request<ReqBody>)>>,
        },
    }
}

impl<S, ReqBody, ResBody> Future for ModeFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Default,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut step = self.project().step;
        loop {
            let inner = match step.as_mut().project() {
                StepNow::Inner { inner } => return inner.poll(context),
                StepNow::Waiting { wait, ready } => {
                    if ready!(wait.as_mut().poll(context)).is_err() {
                        return Poll::Ready(Ok(unavailable()));
                    }
                    let (mut service, request) = *ready
                        .take()
                        .expect("a future is not polled after it is ready");
                    service.call(request)
                }
            };
            step.set(Step::Inner { inner });
        }
    }
}

impl<S, ReqBody> fmt::Debug for ModeFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ModeFuture")
    }
}
