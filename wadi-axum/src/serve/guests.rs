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
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tower::ServiceExt;
use tower::util::Oneshot;
use tower_service::Service;
use wadi_core::member::{Incarnation, NodeName};
use wadi_core::node::Node;
use wadi_core::transport::Streams;

use crate::Proxied;
use crate::cluster::Cluster;
use crate::cluster::proxy::{
    Arrived, GREETING, Hop, MAX_HEADERS, REQUESTS, UPGRADES, Verdict, WINDOW, Wants,
    take_off_hop_by_hop,
};
use crate::lifecycle::{Lifecycle, Phase};
use crate::mode::Wanted;

use super::counted::Counted;
use super::request_body::{Answer, Answering, impatient};

/// How many requests of one other node may be under way at once on one connection.
const AT_ONCE: u32 = 10_000;

/// How long those who dial a closed node are turned away; then its network may go.
const REFUSED_FOR: Duration = Duration::from_secs(5);

/// Where guests come in.
#[derive(Clone)]
pub(crate) struct Door<S> {
    pub(crate) app: S,
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
    /// Lets in whom the cluster's streams bring, in tasks of their own, until the node is closed.
    pub(crate) fn open(self, cluster: &Cluster) {
        let Some(streams) = cluster.streams().cloned() else {
            return;
        };
        for kind in [REQUESTS, UPGRADES] {
            let (door, streams) = (self.clone(), Arc::clone(&streams));
            tokio::spawn(async move {
                let closed = door.lifecycle.reached(Phase::Closed);
                tokio::select! {
                    () = closed => {}
                    () = door.accept(&*streams, kind) => return,
                }
                // Who still dials sees its stream end, rather than wait for an answer.
                let refuse = async { while streams.accept(kind).await.is_some() {} };
                let _ = tokio::time::timeout(REFUSED_FOR, refuse).await;
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
        if stream.write_u8(GREETING).await.is_err() {
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
            .initial_connection_window_size(WINDOW * 4)
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
        let (wants, hops) = match Hop::read(request.headers_mut()) {
            Some(hop) => {
                *request.uri_mut() = hop.uri;
                *request.version_mut() = hop.version;
                if let Some(peer) = hop.peer {
                    request.extensions_mut().insert(ConnectInfo(peer));
                }
                (hop.wants, hop.hops)
            }
            None => (Wants::Any, 1),
        };
        let arrived = Arrived::new(self.from, hops, wants);
        let extensions = request.extensions_mut();
        extensions.insert(arrived.clone());
        extensions.insert(Proxied::new(self.name()));
        extensions.insert(Wanted {
            proxied: true,
            ..Wanted::default()
        });
        Entering {
            inner: self.door.app.clone().oneshot(request),
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
        inner: Oneshot<S, Request<RequestBody>>,
        in_flight: Option<TaskTrackerToken>,
        answer: Option<Answer>,
        arrived: Arrived,
    }
}

impl<S, B> Future for Entering<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>>,
{
    type Output = Result<Response<Guest<B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(context))?;
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
        #[pin]
        body: B,
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
        self.project().body.poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
