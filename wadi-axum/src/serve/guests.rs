//! Requests that other nodes send here: they enter the application as the client sent them.
//!
//! They come on streams of the cluster, so whoever sends one is a member. Leaving waits for those in
//! flight as for any other, and not for the connections that carry them.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body as RequestBody;
use axum::extract::ConnectInfo;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::Sleep;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tower_service::Service;
use wadi_core::member::{Incarnation, NodeName};
use wadi_core::node::Node;
use wadi_core::transport::Streams;

use crate::Proxied;
use crate::cluster::Cluster;
use crate::cluster::proxy::{
    AT_ONCE, Arrived, GREETING, Hop, MAX_HEADERS, REQUESTS, UPGRADES, Verdict, WINDOW,
    WINDOW_OF_ALL, Wants, take_off_hop_by_hop,
};
use crate::layer_id::LayerId;
use crate::lifecycle::{Lifecycle, Phase};
use crate::mode::Wanted;

use super::counted::Counted;
use super::request_body::{Answer, Answering, impatient};

/// How long the application may take to be ready for a guest, and a guest's node to take the greeting:
/// whoever sent it can ask somebody else.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// How long those who dial a closed node are turned away; then its network may go.
const REFUSED_FOR: Duration = Duration::from_secs(5);

/// Where guests come in.
#[derive(Clone)]
pub(crate) struct Door<S> {
    pub(crate) app: S,
    /// Whose cluster they come from.
    pub(crate) layer: LayerId,
    /// Knows who is who.
    pub(crate) node: Node,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) in_flight: TaskTracker,
    /// The connections that carry them.
    pub(crate) connections: TaskTracker,
    /// How long a request's body may keep the application waiting.
    pub(crate) patience: Duration,
}

impl<S, B> Door<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// Lets in whom the cluster's streams bring, in tasks of their own, until the node is closing.
    pub(crate) fn open(self, cluster: &Cluster) {
        let Some(streams) = cluster.streams().cloned() else {
            return;
        };
        for kind in [REQUESTS, UPGRADES] {
            let (door, streams) = (self.clone(), Arc::clone(&streams));
            tokio::spawn(async move {
                let closing = door.lifecycle.reached(Phase::Closing);
                let closed = door.lifecycle.reached(Phase::Closed);
                tokio::select! {
                    () = closing => {}
                    () = door.accept(&*streams, kind) => return,
                }
                // Who still dials sees its stream end before anybody greeted it, and so knows that
                // nothing was looked at.
                let refuse = async { while streams.accept(kind).await.is_some() {} };
                let over = async {
                    closed.await;
                    tokio::time::sleep(REFUSED_FOR).await;
                };
                tokio::select! {
                    () = refuse => {}
                    () = over => {}
                }
            });
        }
    }

    async fn accept(self, streams: &dyn Streams, kind: &'static str) {
        let connections = self.connections.clone();
        while let Some((from, stream)) = streams.accept(kind).await {
            let door = self.clone();
            if kind == UPGRADES {
                // For one request, and for what it becomes: all of it is waited for, and cut off.
                let stream = Counted::new(stream, &self.in_flight, &self.lifecycle);
                connections.spawn(door.drive(from, stream));
            } else {
                connections.spawn(door.drive(from, stream));
            }
        }
    }

    async fn drive<I>(self, from: Incarnation, mut stream: I)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // From the greeting on it is waited for.
        if self.lifecycle.phase() >= Phase::Closing {
            return;
        }
        let greeted = tokio::time::timeout(READY_WITHIN, stream.write_u8(GREETING)).await;
        if !matches!(greeted, Ok(Ok(()))) {
            return;
        }
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new());
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(AT_ONCE)
            .max_header_list_size(MAX_HEADERS)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW_OF_ALL)
            .max_pending_accept_reset_streams(AT_ONCE as usize)
            .max_local_error_reset_streams(None)
            .enable_connect_protocol();
        let mut closing = std::pin::pin!(self.lifecycle.reached(Phase::Closing));
        let mut closed = std::pin::pin!(self.lifecycle.reached(Phase::Closed));
        let entrance = Entrance { door: self, from };
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), entrance);
        let mut connection = std::pin::pin!(connection);
        let mut said_goodbye = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(error, "a connection from another node ended early");
                    }
                    return;
                }
                // What is on its way is still served, and nothing new is sent.
                () = closing.as_mut(), if !said_goodbye => {
                    said_goodbye = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = closed.as_mut() => return,
            }
        }
    }
}

/// The application, as one connection of another node sees it.
struct Entrance<S> {
    door: Door<S>,
    from: Incarnation,
}

impl<S> Entrance<S> {
    fn name(&self) -> NodeName {
        let layout = self.door.node.status().layout;
        let member = layout.and_then(|layout| layout.members.get(&self.from).cloned());
        member.map_or_else(|| NodeName::new("unknown"), |member| member.node)
    }
}

impl<S, B> hyper::service::Service<Request<Incoming>> for Entrance<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone,
{
    type Response = Response<Guest<B>>;
    type Error = S::Error;
    type Future = Entering<S>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let in_flight = self.door.in_flight.token();
        let (mut request, answer) = impatient(request, self.door.patience);
        let Some(hop) = Hop::read(request.headers_mut()) else {
            let arrived = Arrived::new(self.from, self.door.layer, 1, Wants::Any);
            return Entering {
                step: Step::Refused,
                in_flight: Some(in_flight),
                answer,
                arrived,
            };
        };
        *request.uri_mut() = hop.uri;
        *request.version_mut() = hop.version;
        let arrived = Arrived::new(self.from, self.door.layer, hop.hops, hop.wants);
        let extensions = request.extensions_mut();
        if let Some(peer) = hop.peer {
            extensions.insert(ConnectInfo(peer));
        }
        extensions.insert(arrived.clone());
        extensions.insert(Proxied::new(self.name()));
        extensions.insert(Wanted {
            proxied: true,
            ..Wanted::default()
        });
        Entering {
            step: Step::Readying {
                ready: Some(Box::new((self.door.app.clone(), request))),
                within: None,
            },
            in_flight: Some(in_flight),
            answer,
            arrived,
        }
    }
}

pin_project! {
    /// The application at work on one request.
    struct Entering<S>
    where
        S: Service<Request<RequestBody>>,
    {
        #[pin]
        step: Step<S, S::Future>,
        in_flight: Option<TaskTrackerToken>,
        answer: Option<Answer>,
        arrived: Arrived,
    }
}

pin_project! {
    #[project = StepNow]
    enum Step<S, F> {
        // The application is not ready yet; the time that it has, once it was not.
        Readying {
            ready: Option<Box<(S, Request<RequestBody>)>>,
            within: Option<Pin<Box<Sleep>>>,
        },
        Serving {
            #[pin]
            inner: F,
        },
        // Nothing is run.
        Refused,
    }
}

impl<S> Entering<S>
where
    S: Service<Request<RequestBody>>,
{
    /// The response; `None` where the application is not to be asked.
    fn poll_response(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<S::Response, S::Error>>> {
        let mut step = self.project().step;
        loop {
            let next = match step.as_mut().project() {
                StepNow::Readying { ready, within } => {
                    let (app, _) = &mut **ready.as_mut().expect(POLLED_AGAIN);
                    match app.poll_ready(context) {
                        Poll::Ready(Ok(())) => {
                            let (mut app, request) = *ready.take().expect(POLLED_AGAIN);
                            let inner = app.call(request);
                            Step::Serving { inner }
                        }
                        Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
                        Poll::Pending => {
                            let within = within
                                .get_or_insert_with(|| Box::pin(tokio::time::sleep(READY_WITHIN)));
                            ready!(within.as_mut().poll(context));
                            Step::Refused
                        }
                    }
                }
                StepNow::Serving { inner } => return inner.poll(context).map(Some),
                StepNow::Refused => return Poll::Ready(None),
            };
            step.set(next);
        }
    }
}

const POLLED_AGAIN: &str = "a future is not polled after it is ready";

impl<S, B> Future for Entering<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>>,
{
    type Output = Result<Response<Guest<B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self;
        let mut response = match ready!(this.as_mut().poll_response(context)) {
            Some(response) => response?.map(Some),
            None => {
                this.arrived.answer(Verdict::Unable);
                let mut response = Response::new(None);
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                response
            }
        };
        let this = this.project();
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            take_off_hop_by_hop(response.headers_mut());
        }
        Verdict::write(this.arrived.verdict(), response.headers_mut());
        let answering = this.answer.take().map(Answer::begins);
        let in_flight = this.in_flight.take();
        Poll::Ready(Ok(response.map(|body| Guest {
            body,
            _in_flight: in_flight,
            _answering: answering,
        })))
    }
}

pin_project! {
    /// A response's body, in flight until it has ended or is given up.
    struct Guest<B> {
        // `None` where the application was not asked.
        #[pin]
        body: Option<B>,
        _in_flight: Option<TaskTrackerToken>,
        _answering: Option<Answering>,
    }
}

impl<B: Body> Body for Guest<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project().body.as_pin_mut() {
            Some(body) => body.poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let none = || SizeHint::with_exact(0);
        self.body.as_ref().map_or_else(none, Body::size_hint)
    }
}
