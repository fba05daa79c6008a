//! Connections to other nodes: one with many requests on it, to each that is needed, and a few more
//! where it is full.
//!
//! Whoever finds none makes it, and the others wait for that, for a bounded time. A node that cannot
//! be reached is left alone for a while, also by those who waited. Only a request's own client holds
//! it back: no connection's window binds, and no limit against abuse, since both ends are members.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
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
pub(crate) const WINDOW: u32 = 256 * 1024;
/// How much of all bodies on one connection: as much as HTTP/2 can say, so that clients that do not
/// read hold nobody back but themselves.
pub(crate) const WINDOW_OF_ALL: u32 = (1 << 31) - 1;

/// How many requests of one other node may be under way at once on one connection.
pub(crate) const AT_ONCE: u32 = 10_000;
/// With how many a connection counts as full here: fewer than the other side takes, which hears
/// later than this one that a request has ended.
const FULL: usize = 9_000;
/// How many connections there are to one node at most.
const LINES: usize = 4;

/// How many streams for one request each are made at once, to one node and in all. Further ones wait.
const DIALS_EACH: usize = 16;
const DIALS: usize = 64;

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
    lines: Mutex<HashMap<Incarnation, Arc<Lines>>>,
    dials: Semaphore,
    /// With how many requests a connection counts as full.
    full: usize,
}

/// The connections to one node.
struct Lines {
    /// Held while a connection is made.
    open: tokio::sync::Mutex<Vec<Line>>,
    not_before: Mutex<Option<Moment>>,
    dials: Semaphore,
}

/// One connection.
struct Line {
    sender: SendRequest<Body>,
    room: Arc<Semaphore>,
}

/// A request's place on a connection, until its response has ended.
#[derive(Debug)]
pub(super) struct Place(#[expect(dead_code, reason = "its end counts")] OwnedSemaphorePermit);

impl Line {
    fn take(&self) -> Option<(SendRequest<Body>, Place)> {
        let place = Arc::clone(&self.room).try_acquire_owned().ok()?;
        Some((self.sender.clone(), Place(place)))
    }
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            open: tokio::sync::Mutex::default(),
            not_before: Mutex::default(),
            dials: Semaphore::new(DIALS_EACH),
        }
    }
}

impl Pool {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            lines: Mutex::default(),
            dials: Semaphore::new(DIALS),
            full: FULL,
        }
    }

    /// Whether that node was not to be reached a moment ago.
    pub(crate) fn is_left_alone(&self, to: Incarnation) -> bool {
        let lines = self.lines.lock().get(&to).cloned();
        lines.is_some_and(|lines| self.are_left_alone(&lines))
    }

    fn are_left_alone(&self, lines: &Lines) -> bool {
        let not_before = *lines.not_before.lock();
        not_before.is_some_and(|moment| self.clock.now() < moment)
    }

    /// What there is to that node. `is_member` says whose connections to keep.
    fn lines(&self, to: Incarnation, is_member: impl Fn(Incarnation) -> bool) -> Arc<Lines> {
        let mut lines = self.lines.lock();
        if !lines.contains_key(&to) {
            lines.retain(|who, _| is_member(*who));
        }
        Arc::clone(lines.entry(to).or_default())
    }

    /// A place on a connection for requests, which is made now or was before.
    pub(super) async fn line(
        &self,
        streams: &dyn Streams,
        to: Incarnation,
        address: &str,
        is_member: impl Fn(Incarnation) -> bool,
    ) -> Result<(SendRequest<Body>, Place), NotConnected> {
        let lines = self.lines(to, is_member);
        if self.are_left_alone(&lines) {
            return Err(NotConnected);
        }
        let open = tokio::time::timeout(DIAL_WITHIN * 2, lines.open.lock()).await;
        let mut open = open.map_err(|_| NotConnected)?;
        open.retain(|line| !line.sender.is_closed());
        if let Some(taken) = open.iter().find_map(Line::take) {
            return Ok(taken);
        }
        // Whoever made one meanwhile may have failed.
        if open.len() >= LINES || self.are_left_alone(&lines) {
            return Err(NotConnected);
        }
        let connecting = async {
            let dialled = streams.dial(to, address, REQUESTS, DIAL_WITHIN).await;
            let stream = greeted(dialled.ok()?).await?;
            let mut sender = over_http2(stream).await?;
            sender.ready().await.ok()?;
            Some(sender)
        };
        let connected = tokio::time::timeout(DIAL_WITHIN * 2, connecting).await;
        let Some(sender) = connected.ok().flatten() else {
            if open.is_empty() {
                *lines.not_before.lock() = Some(self.clock.now() + LEFT_ALONE);
            }
            return Err(NotConnected);
        };
        let room = Arc::new(Semaphore::new(self.full));
        let line = Line { sender, room };
        let taken = line.take().ok_or(NotConnected);
        open.push(line);
        taken
    }

    /// A stream for one request alone.
    pub(super) async fn stream(
        &self,
        streams: &dyn Streams,
        to: Incarnation,
        address: &str,
        is_member: impl Fn(Incarnation) -> bool,
    ) -> Result<Box<dyn Bytestream>, NotConnected> {
        let lines = self.lines(to, is_member);
        let connecting = async {
            let _one_of_its_own = lines.dials.acquire().await.ok()?;
            let _one_of_all = self.dials.acquire().await.ok()?;
            let dialled = streams.dial(to, address, UPGRADES, DIAL_WITHIN).await;
            greeted(dialled.ok()?).await
        };
        let connected = tokio::time::timeout(DIAL_WITHIN * 2, connecting).await;
        connected.ok().flatten().ok_or(NotConnected)
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
        .initial_connection_window_size(WINDOW_OF_ALL)
        .max_concurrent_reset_streams(AT_ONCE as usize)
        .max_local_error_reset_streams(None)
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use http::{Request, Response};
    use hyper::service::service_fn;
    use tokio::io::AsyncWriteExt;
    use wadi_core::clock::ManualClock;
    use wadi_core::transport::{Accepting, Dialling, NotDialled};

    use super::*;

    /// Dials as long as it is there; every answer is empty.
    #[derive(Debug)]
    struct Other {
        is_there: bool,
        dialled: AtomicUsize,
    }

    impl Streams for Other {
        fn dial<'a>(
            &'a self,
            _: Incarnation,
            _: &'a str,
            _: &'static str,
            _: Duration,
        ) -> Dialling<'a> {
            Box::pin(async move {
                self.dialled.fetch_add(1, SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
                if !self.is_there {
                    return Err(NotDialled("nobody is there".to_owned()));
                }
                let (near, mut far) = tokio::io::duplex(64 * 1024);
                tokio::spawn(async move {
                    far.write_u8(GREETING).await.unwrap();
                    let empty =
                        service_fn(async |_| Ok::<_, Infallible>(Response::new(Body::empty())));
                    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(far), empty)
                        .await
                });
                Ok(Box::new(near) as Box<dyn Bytestream>)
            })
        }

        fn accept(&self, _: &'static str) -> Accepting<'_> {
            Box::pin(std::future::pending())
        }
    }

    fn other(is_there: bool) -> Other {
        Other {
            is_there,
            dialled: AtomicUsize::new(0),
        }
    }

    fn pool(full: usize) -> Pool {
        let mut pool = Pool::new(Arc::new(ManualClock::new()));
        pool.full = full;
        pool
    }

    const THERE: Incarnation = Incarnation::new(7);

    #[tokio::test]
    async fn where_a_connection_is_full_another_is_made_and_then_no_more() {
        let (pool, other) = (pool(2), other(true));
        let mut places = Vec::new();
        for _ in 0..2 * LINES {
            let taken = pool.line(&other, THERE, "", |_| true).await;
            places.push(taken.unwrap());
        }
        assert_eq!(other.dialled.load(SeqCst), LINES);
        let taken = pool.line(&other, THERE, "", |_| true).await;
        assert!(taken.is_err());
        assert!(!pool.is_left_alone(THERE), "it is there, and busy");
        let (mut sender, place) = places.pop().unwrap();
        let answer = sender.send_request(Request::new(Body::empty())).await;
        assert!(answer.unwrap().status().is_success());
        drop(place);
        assert!(pool.line(&other, THERE, "", |_| true).await.is_ok());
        assert_eq!(other.dialled.load(SeqCst), LINES);
    }

    #[tokio::test]
    async fn who_waited_for_a_dial_that_failed_does_not_dial_again() {
        let (pool, other) = (pool(2), other(false));
        let line = || pool.line(&other, THERE, "", |_| true);
        let (one, two, three) = tokio::join!(line(), line(), line());
        assert!(one.is_err() && two.is_err() && three.is_err());
        assert_eq!(other.dialled.load(SeqCst), 1);
        assert!(pool.is_left_alone(THERE));
    }
}
