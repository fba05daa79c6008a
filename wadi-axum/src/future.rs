//! The response of a request with a session. Dropping it before the head gives the request up.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;
use wadi_core::session::{SessionError, Visit};

use crate::commit::commit;
use crate::rejection::unavailable;
use crate::served::How;
use crate::session::Session;
use crate::shared::Shared;

pub(crate) type Wait = Pin<Box<dyn Future<Output = Result<Arc<Visit>, SessionError>> + Send>>;

/// Ends the visit when the request ends without a response head.
pub(crate) struct InFlight(Option<Arc<Visit>>);

impl InFlight {
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
        step: Step<S, ReqBody, S::Future>,
    }
}

pin_project! {
    #[project = StepNow]
    enum Step<S, ReqBody, F> {
        // The handler runs. `inner` stands first, so that it is dropped before the visit ends.
        Serving {
            #[pin]
            inner: F,
            visit: InFlight,
            shared: Arc<Shared>,
        },
        // The route wants no session.
        Passing {
            #[pin]
            inner: F,
        },
        // Somebody holds the session alone.
        Waiting {
            wait: Wait,
            // Boxed, so that a request that need not wait does not carry its room.
            ready: Option<Box<(S, Request<ReqBody>)>>,
            shared: Arc<Shared>,
        },
        Refused {
            shared: Arc<Shared>,
        },
    }
}

impl<S, ReqBody> WadiFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    pub(crate) const fn serving(inner: S::Future, visit: Arc<Visit>, shared: Arc<Shared>) -> Self {
        let visit = InFlight(Some(visit));
        let step = Step::Serving {
            inner,
            visit,
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

    pub(crate) const fn refused(shared: Arc<Shared>) -> Self {
        let step = Step::Refused { shared };
        Self { step }
    }
}

impl<S, ReqBody, ResBody> Future for WadiFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Default,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut step = self.project().step;
        loop {
            let next = match step.as_mut().project() {
                StepNow::Serving {
                    inner,
                    visit,
                    shared,
                } => {
                    let mut response = ready!(inner.poll(context))?;
                    if let Some(visit) = visit.leave() {
                        commit(&visit, &mut response, shared);
                    }
                    return Poll::Ready(Ok(response));
                }
                StepNow::Passing { inner } => return inner.poll(context),
                StepNow::Waiting {
                    wait,
                    ready,
                    shared,
                } => match ready!(wait.as_mut().poll(context)) {
                    Ok(visit) => {
                        let (mut service, mut request) = *ready
                            .take()
                            .expect("a future is not polled after it is ready");
                        request
                            .extensions_mut()
                            .insert(Session::new(Arc::clone(&visit)));
                        Step::Serving {
                            inner: service.call(request),
                            visit: InFlight(Some(visit)),
                            shared: Arc::clone(shared),
                        }
                    }
                    Err(_) => Step::Refused {
                        shared: Arc::clone(shared),
                    },
                },
                StepNow::Refused { shared } => {
                    let mut response = unavailable::<ResBody>();
                    shared.node.served.tell(response.headers_mut(), How::Local);
                    return Poll::Ready(Ok(response));
                }
            };
            step.set(next);
        }
    }
}

impl<S, ReqBody> fmt::Debug for WadiFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WadiFuture")
    }
}
