//! The response of a request with a session. Dropping it before the head gives the request up.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::SET_COOKIE;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower_service::Service;
use wadi_core::session::Visit;

use crate::before_head::{Settling, Unsettled};
use crate::cluster::proxy::Load;
use crate::commit::commit;
use crate::elsewhere::Outcome;
use crate::rejection::{misdirected, unavailable};
use crate::session::Session;
use crate::shared::Shared;
use crate::way::Way;
use crate::why::Why;

/// A request's way to a session that is not here; the request comes back with the outcome.
pub(crate) type Seeking = Pin<Box<dyn Future<Output = (Outcome, Option<Load>)> + Send>>;

/// A request's wait for its session, and how it came to it where that is worth saying.
pub(crate) type Wait = Pin<Box<dyn Future<Output = Result<Waited, Why>> + Send>>;

pub(crate) type Waited = (Arc<Visit>, Option<Box<Way>>);

/// Ends the visit when the request ends without a response head.
pub(crate) struct InFlight(Option<Arc<Visit>>);

impl InFlight {
    pub(crate) const fn of(visit: Arc<Visit>) -> Self {
        Self(Some(visit))
    }

    const fn visit(&self) -> Option<&Arc<Visit>> {
        self.0.as_ref()
    }

    fn leave(&mut self) -> Option<Arc<Visit>> {
        self.0.take()
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(visit) = self.0.take() {
            visit.abandon();
        }
    }
}

pin_project! {
    /// The future of [`WadiService`](crate::WadiService).
    ///
    /// Dropping it is a client that hangs up: what the handler wrote stands, and a session that it
    /// created goes.
    pub struct WadiFuture<S, ReqBody>
    where
        S: Service<Request<ReqBody>>,
    {
        #[pin]
        step: Step<S, ReqBody, S::Future, S::Response>,
    }
}

pin_project! {
    #[project = StepNow]
    enum Step<S, ReqBody, F, R> {
        // The handler runs. `inner` stands first, so that it is dropped before the visit ends.
        Serving {
            #[pin]
            inner: F,
            visit: InFlight,
            way: Option<Box<Way>>,
            shared: Arc<Shared>,
        },
        // The handler is done, and its session is not registered, or not confirmed, yet. The wait stands
        // first, so that it is dropped before the visit ends.
        Settling {
            settling: Settling,
            unsettled: Unsettled,
            visit: InFlight,
            // Boxed, like everything that few requests carry.
            response: Option<Box<R>>,
            way: Option<Box<Way>>,
            shared: Arc<Shared>,
        },
        // The route wants no session.
        Passing {
            #[pin]
            inner: F,
        },
        // Somebody holds the session alone, or it is in the store below.
        Waiting {
            wait: Wait,
            // Boxed, so that a request that need not wait does not carry its room.
            ready: Option<Box<(S, Request<ReqBody>)>>,
            shared: Arc<Shared>,
        },
        // The session is somewhere else, or nowhere. The service is not ready: what readiness takes is
        // not kept from others while the request is with another node.
        Seeking {
            seeking: Seeking,
            // The request too, where it cannot be sent anywhere.
            unready: Option<Box<(S, Option<Request<ReqBody>>)>>,
            shared: Arc<Shared>,
        },
        // The session was found, and the service is made ready, for a bounded time: the session is
        // shared meanwhile.
        Readying {
            unready: Option<Box<(S, Request<ReqBody>)>>,
            within: Option<Pin<Box<Sleep>>>,
            visit: InFlight,
            way: Option<Box<Way>>,
            shared: Arc<Shared>,
        },
        Refused {
            why: Option<Why>,
            shared: Arc<Shared>,
        },
    }
}

impl<S, ReqBody> WadiFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    pub(crate) const fn serving(
        inner: S::Future,
        visit: InFlight,
        way: Option<Box<Way>>,
        shared: Arc<Shared>,
    ) -> Self {
        let step = Step::Serving {
            inner,
            visit,
            way,
            shared,
        };
        Self { step }
    }

    pub(crate) const fn passing(inner: S::Future) -> Self {
        let step = Step::Passing { inner };
        Self { step }
    }

    pub(crate) fn waiting(
        wait: Wait,
        service: S,
        request: Request<ReqBody>,
        shared: Arc<Shared>,
    ) -> Self {
        let ready = Some(Box::new((service, request)));
        let step = Step::Waiting {
            wait,
            ready,
            shared,
        };
        Self { step }
    }

    pub(crate) fn seeking(
        seeking: Seeking,
        service: S,
        request: Option<Request<ReqBody>>,
        shared: Arc<Shared>,
    ) -> Self {
        let unready = Some(Box::new((service, request)));
        let step = Step::Seeking {
            seeking,
            unready,
            shared,
        };
        Self { step }
    }

    pub(crate) const fn refused(why: Option<Why>, shared: Arc<Shared>) -> Self {
        let step = Step::Refused { why, shared };
        Self { step }
    }
}

/// The handler is about to run.
fn serve<S, ReqBody>(
    (mut service, mut request): (S, Request<ReqBody>),
    visit: Arc<Visit>,
    way: Option<Box<Way>>,
    shared: &Arc<Shared>,
) -> Step<S, ReqBody, S::Future, S::Response>
where
    S: Service<Request<ReqBody>>,
{
    let session = Session::new(Arc::clone(&visit));
    request.extensions_mut().insert(session);
    // Before the service is called: it may panic.
    let visit = InFlight::of(visit);
    Step::Serving {
        inner: service.call(request),
        visit,
        way,
        shared: Arc::clone(shared),
    }
}

fn refused<S, ReqBody, F, R>(why: Why, shared: &Arc<Shared>) -> Step<S, ReqBody, F, R> {
    Step::Refused {
        why: Some(why),
        shared: Arc::clone(shared),
    }
}

impl<S, ReqBody, ResBody> Future for WadiFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ReqBody: 'static,
    ResBody: Default + 'static,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut step = self.project().step;
        loop {
            let next = match step.as_mut().project() {
                StepNow::Serving {
                    inner,
                    visit,
                    way,
                    shared,
                } => {
                    let mut response = ready!(inner.poll(context))?;
                    let Some(here) = visit.visit() else {
                        return Poll::Ready(Ok(response));
                    };
                    match commit(here, &mut response, way.as_deref(), 0, false, shared) {
                        Ok(()) => {
                            visit.leave();
                            return Poll::Ready(Ok(response));
                        }
                        Err(unsettled) => Step::Settling {
                            settling: unsettled.settle(Arc::clone(here), Arc::clone(shared)),
                            unsettled,
                            visit: InFlight(visit.leave()),
                            response: Some(Box::new(response)),
                            way: way.take(),
                            shared: Arc::clone(shared),
                        },
                    }
                }
                StepNow::Settling {
                    settling,
                    unsettled,
                    visit,
                    response,
                    way,
                    shared,
                } => {
                    let settled = ready!(settling.as_mut().poll(context));
                    let mut response = *response.take().expect(POLLED_AGAIN);
                    match (settled, visit.visit()) {
                        (Ok(hops), Some(here))
                            if commit(here, &mut response, way.as_deref(), hops, true, shared)
                                .is_ok() =>
                        {
                            visit.leave();
                            return Poll::Ready(Ok(response));
                        }
                        // The visit is given up with this step.
                        (Ok(_), _) => refused(unsettled.why(), shared),
                        (Err(why), _) => refused(why, shared),
                    }
                }
                StepNow::Passing { inner } => return inner.poll(context),
                StepNow::Waiting {
                    wait,
                    ready,
                    shared,
                } => match ready!(wait.as_mut().poll(context)) {
                    Ok((visit, way)) => {
                        serve(*ready.take().expect(POLLED_AGAIN), visit, way, shared)
                    }
                    Err(why) => refused(why, shared),
                },
                StepNow::Readying {
                    unready,
                    within,
                    visit,
                    way,
                    shared,
                } => {
                    let (service, _) = &mut **unready.as_mut().expect(POLLED_AGAIN);
                    let is_ready = match service.poll_ready(context) {
                        Poll::Ready(ready) => {
                            ready?;
                            true
                        }
                        Poll::Pending => {
                            let most = shared.sessions.limits().lock_wait;
                            let within =
                                within.get_or_insert_with(|| Box::pin(tokio::time::sleep(most)));
                            ready!(within.as_mut().poll(context));
                            false
                        }
                    };
                    match (visit.0.take(), unready.take()) {
                        (Some(visit), Some(ready)) if is_ready => {
                            serve(*ready, visit, way.take(), shared)
                        }
                        (visit, _) => {
                            // Whatever it holds goes as with a client that hangs up.
                            drop(InFlight(visit));
                            refused(Why::NotReady, shared)
                        }
                    }
                }
                StepNow::Seeking {
                    seeking,
                    unready,
                    shared,
                } => {
                    let (outcome, load) = ready!(seeking.as_mut().poll(context));
                    let (service, request) = *unready.take().expect(POLLED_AGAIN);
                    let request = match outcome {
                        Outcome::Serve(..) => request.or_else(|| load?.give_back()),
                        _ => None,
                    };
                    match (outcome, request) {
                        (Outcome::Serve(visit, way), Some(request)) => Step::Readying {
                            unready: Some(Box::new((service, request))),
                            within: None,
                            visit: InFlight::of(visit),
                            way: Some(way),
                            shared: Arc::clone(shared),
                        },
                        (Outcome::Answer(answer), _) => {
                            let response = answer.into_response();
                            return Poll::Ready(Ok(response.unwrap_or_else(unavailable)));
                        }
                        (Outcome::Misdirected, _) => return Poll::Ready(Ok(misdirected())),
                        (Outcome::Serve(visit, _), None) => {
                            visit.abandon();
                            refused(Why::NoWay, shared)
                        }
                        (Outcome::Apart(route), _) => {
                            let mut response = unavailable::<ResBody>();
                            let headers = response.headers_mut();
                            shared.node.served.refuse(headers, Some(Why::Elsewhere));
                            headers.extend(route.map(|route| (SET_COOKIE, route)));
                            return Poll::Ready(Ok(response));
                        }
                        (Outcome::Refuse(why), _) => refused(why, shared),
                    }
                }
                StepNow::Refused { why, shared } => {
                    let mut response = unavailable::<ResBody>();
                    shared.node.served.refuse(response.headers_mut(), *why);
                    return Poll::Ready(Ok(response));
                }
            };
            step.set(next);
        }
    }
}

const POLLED_AGAIN: &str = "a future is not polled after it is ready";

impl<S, ReqBody> fmt::Debug for WadiFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WadiFuture")
    }
}
