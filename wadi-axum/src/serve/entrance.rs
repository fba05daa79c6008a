//! What every request passes on its way into the application given to `serve`.
//!
//! It adds the peer's address, keeps the URI as it is now, counts what is in flight and, while the node leaves, asks the client
//! not to reuse the connection. It never looks at sessions.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use http::header::{CONNECTION, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower::ServiceExt;
use tower::util::Oneshot;
use tower_service::Service;

use crate::cluster::proxy::Received;
use crate::lifecycle::{Lifecycle, Phase};
use crate::served::{How, Served};

use super::flight::{Flight, Flights, InFlight};
use super::request_body::{Answer, impatient};

/// The application, as one connection sees it.
#[derive(Debug)]
pub(crate) struct Entrance<S, A> {
    pub(crate) app: S,
    pub(crate) peer: A,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) served: Served,
    pub(crate) flights: Arc<Flights>,
    /// How long a client may keep the application waiting for its request's body.
    pub(crate) patience: Duration,
}

impl<S, A, B> hyper::service::Service<Request<Incoming>> for Entrance<S, A>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone,
    A: Clone + Send + Sync + 'static,
{
    type Response = Response<InFlight<B>>;
    type Error = S::Error;
    type Future = Entering<S>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let version = request.version();
        let flight = Some(self.flights.begin());
        self.flights.over(version);
        let tunnel = (version == Version::HTTP_2 && request.method() == Method::CONNECT)
            .then(|| Arc::clone(&self.flights));
        let (mut request, answer) = impatient(request, self.patience);
        let received = Received(request.uri().clone());
        let extensions = request.extensions_mut();
        extensions.insert(received);
        extensions.insert(ConnectInfo(self.peer.clone()));
        Entering {
            inner: self.app.clone().oneshot(request),
            flight,
            answer,
            tunnel,
            version,
            lifecycle: self.lifecycle.clone(),
            served: self.served.clone(),
        }
    }
}

pin_project! {
    /// The application at work on one request.
    pub(crate) struct Entering<S>
    where
        S: Service<Request<Body>>,
    {
        #[pin]
        inner: Oneshot<S, Request<Body>>,
        // Goes on with the response's body.
        flight: Option<Flight>,
        // Where the request has a body, which is told of the answer.
        answer: Option<Answer>,
        // Where this request asks for a stream of its own.
        tunnel: Option<Arc<Flights>>,
        version: Version,
        lifecycle: Lifecycle,
        served: Served,
    }
}

impl<S, B> Future for Entering<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
{
    type Output = Result<Response<InFlight<B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        let answering = this.answer.take().map(Answer::begins);
        // HTTP/2 has a frame for this, sent by the connection's own task. A switched connection
        // is the application's, and its `Connection` header has another meaning.
        if *this.version < Version::HTTP_2
            && this.lifecycle.phase() >= Phase::Leaving
            && response.status() != StatusCode::SWITCHING_PROTOCOLS
        {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        this.served.tell(response.headers_mut(), How::Local, 0);
        if let Some(flights) = this.tunnel.take()
            && response.status().is_success()
        {
            flights.opens_tunnel();
        }
        let flight = this
            .flight
            .take()
            .expect("a future is not polled after it is ready");
        Poll::Ready(Ok(
            response.map(|body| InFlight::new(body, flight, answering))
        ))
    }
}
