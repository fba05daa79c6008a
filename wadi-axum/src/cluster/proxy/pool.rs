//! Connections to other nodes: one with many requests on it, to each that is needed.
//!
//! Whoever finds none makes it, and the others wait for that, for a bounded time. A node that cannot
//! be reached is left alone for a while.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use wadi_core::clock::{Clock, Moment};
use wadi_core::member::Incarnation;
use wadi_core::transport::{Bytestream, Streams};

/// Streams that carry many requests, over HTTP/2.
pub(crate) const REQUESTS: &str = "http";
/// Streams for one request that wants a connection of its own, over HTTP/1.1 or HTTP/2.
pub(crate) const UPGRADES: &str = "http-upgrade";

/// The first byte on a stream, from who takes it in: from then on requests are looked at. A later
/// version that speaks otherwise says another one.
pub(crate) const GREETING: u8 = 1;

/// How much of the headers of one message there may be; it passed the client's own limits before.
pub(crate) const MAX_HEADERS: u32 = 1 << 20;
/// How much of one body may be on its way.
pub(crate) const WINDOW: u32 = 1 << 20;

/// How long making a connection, or waiting for its being made, takes at most.
const DIAL_WITHIN: Duration = Duration::from_secs(2);
/// How long a node that could not be dialled is left alone.
const LEFT_ALONE: Duration = Duration::from_secs(2);
/// How often, and how long, a connection on which requests wait is asked whether anybody is there.
const PING_EVERY: Duration = Duration::from_secs(2);
const PING_WITHIN: Duration = Duration::from_secs(4);

/// There is no connection to that node. Nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotConnected;

/// The connections of one node.
pub(crate) struct Pool {
    clock: Arc<dyn Clock>,
    lines: Mutex<HashMap<Incarnation, Arc<Line>>>,
}

#[derive(Default)]
struct Line {
    /// Held while a connection is made.
    open: tokio::sync::Mutex<Option<SendRequest<Body>>>,
    not_before: Mutex<Option<Moment>>,
}

impl Pool {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            lines: Mutex::default(),
        }
    }

    /// Whether that node was not to be reached a moment ago.
    pub(crate) fn is_left_alone(&self, to: Incarnation) -> bool {
        let not_before = {
            let lines = self.lines.lock();
            lines.get(&to).and_then(|line| *line.not_before.lock())
        };
        not_before.is_some_and(|moment| self.clock.now() < moment)
    }

    /// A connection for requests, made now or before. `is_member` says whose connections to keep.
    pub(super) async fn line(
        &self,
        streams: &dyn Streams,
        to: Incarnation,
        address: &str,
        is_member: impl Fn(Incarnation) -> bool,
    ) -> Result<SendRequest<Body>, NotConnected> {
        if self.is_left_alone(to) {
            return Err(NotConnected);
        }
        let line = {
            let mut lines = self.lines.lock();
            if !lines.contains_key(&to) {
                lines.retain(|who, _| is_member(*who));
            }
            Arc::clone(lines.entry(to).or_default())
        };
        let connecting = async {
            let mut open = line.open.lock().await;
            if let Some(sender) = open.as_ref().filter(|sender| !sender.is_closed()) {
                return Some(sender.clone());
            }
            let dialled = streams.dial(to, address, REQUESTS, DIAL_WITHIN).await;
            let stream = greeted(dialled.ok()?).await?;
            let sender = over_http2(stream).await?;
            *open = Some(sender.clone());
            Some(sender)
        };
        let connected = tokio::time::timeout(DIAL_WITHIN * 2, connecting).await;
        let mut sender = connected.ok().flatten().ok_or(NotConnected);
        if let Ok(sender) = &mut sender
            && sender.ready().await.is_err()
        {
            return Err(NotConnected);
        }
        if sender.is_err() {
            *line.not_before.lock() = Some(self.clock.now() + LEFT_ALONE);
        }
        sender
    }

    /// A stream for one request alone.
    pub(super) async fn stream(
        &self,
        streams: &dyn Streams,
        to: Incarnation,
        address: &str,
    ) -> Result<Box<dyn Bytestream>, NotConnected> {
        let dialled = streams.dial(to, address, UPGRADES, DIAL_WITHIN).await;
        let stream = dialled.map_err(|_| NotConnected)?;
        let greeted = tokio::time::timeout(DIAL_WITHIN, greeted(stream)).await;
        greeted.ok().flatten().ok_or(NotConnected)
    }
}

/// The stream, once the other side has taken it in.
async fn greeted(mut stream: Box<dyn Bytestream>) -> Option<Box<dyn Bytestream>> {
    let greeting = stream.read_u8().await.ok()?;
    (greeting == GREETING).then_some(stream)
}

/// HTTP/2 over a stream, driven by a task of its own until nobody needs it.
pub(super) async fn over_http2(stream: Box<dyn Bytestream>) -> Option<SendRequest<Body>> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW * 4)
        .max_header_list_size(MAX_HEADERS)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_WITHIN);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to another node ended early");
        }
    });
    Some(sender)
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({})", self.lines.lock().len())
    }
}
