//! Streams for questions, kept from one question to the next.
//!
//! Each carries one question at a time. To one address there are so many, and so many in all; who
//! finds none waits for one. A stream is made for whoever waits, and is of use to the next when that
//! one has given up: an address that takes long to be reached is reached all the same.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{sleep, timeout};
use wadi_core::clock::{BootClock, Clock, Moment};

use crate::endpoint::open_stream;
use crate::shared::Shared;
use crate::stream::Stream;

/// The streams to all addresses.
pub(super) struct Pool {
    shared: Arc<Shared>,
    kind: &'static str,
    in_all: Arc<Semaphore>,
    ways: Mutex<HashMap<String, Arc<Way>>>,
}

/// Nobody is reached at the address; nothing was sent.
#[derive(Debug)]
pub(super) struct NotReached;

/// The streams to one address.
struct Way {
    address: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    idle: Vec<Idle>,
    waiting: VecDeque<oneshot::Sender<Result<Line, NotReached>>>,
    dialling: usize,
    /// Idle ones, those in use, and those that are being dialled.
    all: usize,
}

/// A stream that nobody uses.
struct Idle {
    stream: Stream,
    slot: OwnedSemaphorePermit,
    since: Moment,
}

/// A stream for one question at a time; closed when dropped, of use again when it is [`Line::done`].
pub(super) struct Line {
    pool: Arc<Pool>,
    way: Arc<Way>,
    used: Option<(Stream, OwnedSemaphorePermit)>,
}

impl Pool {
    pub(super) fn new(shared: &Arc<Shared>, kind: &'static str) -> Arc<Self> {
        let pool = Arc::new(Self {
            shared: shared.clone(),
            kind,
            in_all: Arc::new(Semaphore::new(shared.limits.questions)),
            ways: Mutex::default(),
        });
        let swept = pool.clone();
        shared.spawn(async move {
            let every = swept.shared.limits.question_idle / 2;
            let closing = swept.shared.closing.clone();
            while closing.run_until_cancelled(sleep(every)).await.is_some() {
                swept.sweep();
            }
        });
        pool
    }

    /// A stream to `address`. Waits for as long as nobody can be reached and nobody says so; when
    /// dropped, the next one has what was made for it.
    pub(super) async fn take(self: &Arc<Self>, address: &str) -> Result<Line, NotReached> {
        let way = self.way(address);
        while let Some(mut line) = self.idle_line(&way) {
            if line.is_fresh() {
                return Ok(line);
            }
        }
        let (sender, receiver) = oneshot::channel();
        way.state.lock().waiting.push_back(sender);
        self.provide(&way);
        receiver.await.unwrap_or(Err(NotReached))
    }

    fn way(&self, address: &str) -> Arc<Way> {
        let mut ways = self.ways.lock();
        if let Some(way) = ways.get(address) {
            return way.clone();
        }
        let way = Arc::new(Way {
            address: address.to_owned(),
            state: Mutex::default(),
        });
        ways.insert(address.to_owned(), way.clone());
        way
    }

    fn idle_line(self: &Arc<Self>, way: &Arc<Way>) -> Option<Line> {
        let Idle { stream, slot, .. } = way.state.lock().idle.pop()?;
        Some(Line {
            pool: self.clone(),
            way: way.clone(),
            used: Some((stream, slot)),
        })
    }

    /// Dials for those who wait, one each, where there may be more streams.
    fn provide(self: &Arc<Self>, way: &Arc<Way>) {
        let mut state = way.state.lock();
        state.waiting.retain(|waiting| !waiting.is_closed());
        while state.dialling < state.waiting.len() && state.all < self.shared.limits.questions_each
        {
            state.dialling += 1;
            state.all += 1;
            let (pool, way) = (self.clone(), way.clone());
            self.shared.spawn(async move { pool.dial(way).await });
        }
    }

    async fn dial(self: Arc<Self>, way: Arc<Way>) {
        let used = self.connect(&way.address).await;
        way.state.lock().dialling -= 1;
        let reached = used.is_some();
        // Dropped without a stream, it makes room for another.
        let line = Line {
            pool: self.clone(),
            way: way.clone(),
            used,
        };
        if reached {
            line.done();
        } else {
            let failed = way.state.lock().next_waiting();
            if let Some(failed) = failed {
                // Whoever gave up meanwhile needs no answer.
                let _ = failed.send(Err(NotReached));
            }
        }
    }

    async fn connect(&self, address: &str) -> Option<(Stream, OwnedSemaphorePermit)> {
        let slot = match self.in_all.clone().try_acquire_owned() {
            Ok(slot) => slot,
            Err(_) => {
                self.close_an_idle_one();
                let slot = self.in_all.clone().acquire_owned();
                timeout(self.shared.limits.handshake, slot)
                    .await
                    .ok()?
                    .ok()?
            }
        };
        let opened = open_stream(&self.shared, address, None, self.kind).await;
        // The endpoint's journal has the reason.
        opened.ok().map(|stream| (stream, slot))
    }

    fn close_an_idle_one(&self) {
        let ways: Vec<_> = self.ways.lock().values().cloned().collect();
        let closed = ways.iter().find_map(|way| {
            let mut state = way.state.lock();
            let idle = state.idle.pop()?;
            state.all -= 1;
            Some(idle)
        });
        drop(closed);
    }

    /// Closes what was idle for too long, and forgets addresses to which there is nothing.
    fn sweep(&self) {
        let now = BootClock.now();
        let longest = self.shared.limits.question_idle;
        let mut closed = Vec::new();
        self.ways.lock().retain(|_, way| {
            let mut state = way.state.lock();
            let (old, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut state.idle)
                .into_iter()
                .partition(|idle| now.since(idle.since) >= longest);
            state.all -= old.len();
            state.idle = kept;
            closed.extend(old);
            state.waiting.retain(|waiting| !waiting.is_closed());
            state.all > 0 || !state.waiting.is_empty()
        });
        drop(closed);
    }
}

impl State {
    fn next_waiting(&mut self) -> Option<oneshot::Sender<Result<Line, NotReached>>> {
        while let Some(waiting) = self.waiting.pop_front() {
            if !waiting.is_closed() {
                return Some(waiting);
            }
        }
        None
    }
}

impl Line {
    /// The stream.
    pub(super) fn stream(&mut self) -> &mut Stream {
        let (stream, _) = self.used.as_mut().expect("it is taken at its end only");
        stream
    }

    /// The answer has come in full: the stream is the next one's.
    pub(super) fn done(mut self) {
        loop {
            let waiting = self.way.state.lock().next_waiting();
            let Some(waiting) = waiting else {
                break;
            };
            match waiting.send(Ok(self)) {
                Ok(()) => return,
                Err(Ok(line)) => self = line,
                Err(Err(NotReached)) => return,
            }
        }
        if let Some((stream, slot)) = self.used.take() {
            let mut state = self.way.state.lock();
            state.idle.push(Idle {
                stream,
                slot,
                since: BootClock.now(),
            });
            // It goes on to be counted, and dropping this takes one off.
            state.all += 1;
        }
    }

    /// Whether the other side has not closed it, nor said anything unasked.
    fn is_fresh(&mut self) -> bool {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        let mut context = Context::from_waker(Waker::noop());
        let polled = Pin::new(self.stream()).poll_read(&mut context, &mut buffer);
        matches!(polled, Poll::Pending)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        drop(self.used.take());
        self.way.state.lock().all -= 1;
        self.pool.provide(&self.way);
    }
}

/// How long the other side keeps a stream without a question: longer than this one, so that hardly
/// ever a question is sent on a stream that is being closed.
pub(super) const fn kept_there(idle: Duration) -> Duration {
    idle.saturating_mul(3)
}
