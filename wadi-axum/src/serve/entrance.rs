//! What every request passes on its way into the application given to `serve`.
//!
//! It adds the peer's address and, while the node leaves, asks the client not to reuse the
//! connection. It never looks at sessions.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::extract::ConnectInfo;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tokio::sync::Notify;
use tower::ServiceExt;
use tower::util::Oneshot;
use tower_service::Service;

use crate::lifecycle::{Lifecycle, Phase};

/// What a connection's requests tell the task that drives the connection.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// A first request came; the connection is not one that only holds a place.
    pub(crate) any: Notify,
    /// A request came over HTTP/2; how to say goodbye differs.
    pub(crate) http2: Notify,
}

/// The application, as one connection sees it.
#[derive(Debug)]
pub(crate) struct Entrance<S, A> {
    pub(crate) app: S,
    pub(crate) peer: A,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) seen: Arc<Seen>,
}

impl<S, A, B> hyper::service::Service<Request<Incoming>> for Entrance<S, A>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone,
    A: Clone + Send + Sync + 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Entering<S>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let version = request.version();
        self.seen.any.notify_one();
        if version == Version::HTTP_2 {
            self.seen.http2.notify_one();
        }
        request
            .extensions_mut()
            .insert(ConnectInfo(self.peer.clone()));
        Entering {
            inner: self.app.clone().oneshot(request),
            version,
            lifecycle: self.lifecycle.clone(),
        }
    }
}

pin_project! {
    /// The application at work on one request.
    pub(crate) struct Entering<S>
    where
        S: Service<Request<Incoming>>,
    {
        #[pin]
        inner: Oneshot<S, Request<Incoming>>,
        version: Version,
        lifecycle: Lifecycle,
    }
}

impl<S, B> Future for Entering<S>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
{
    type Output = Result<Response<B>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
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
        Poll::Ready(Ok(response))
    }
}
