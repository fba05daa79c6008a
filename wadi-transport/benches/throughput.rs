//! What messages cost beside the bytes they are made of: messages with 1 KiB of state over one link,
//! and a raw stream carrying as many bytes, both inside TLS, in one run.
//!
//! `cargo bench -p wadi-transport --bench throughput -- <messages>`; without an argument a few, which
//! shows that it still works. The ratios of the two are the figures: of the time that passed, and of
//! the processor's time of both ends, which other work on the machine changes less. The rest depends on
//! the machine.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use wadi_core::bucket::{BucketCount, Layout, LayoutVersion, Placement};
use wadi_core::clock::{BootClock, Clock, Moment};
use wadi_core::member::{Founding, Incarnation, Member, NodeName, Standing};
use wadi_core::message::{Body, Message};
use wadi_core::proof::Proof;
use wadi_core::session::SessionId;
use wadi_core::tenure::{Revision, Tenure};
use wadi_core::transport::{Connections, Inbox, Network, NetworkSettings, Secret};
use wadi_transport::{Tcp, frame};

const STATE: usize = 1024;
const BLOCK: usize = 64 * 1024;

/// Sent and not arrived yet; an evacuation keeps thousands on their way, too.
const ON_THEIR_WAY: u64 = 4_000;

const OF: Founding = Founding::new(1);
const N1: Incarnation = Incarnation::new(1);
const N2: Incarnation = Incarnation::new(2);

/// How often the sender looks how far the other side is: waiting is not to cost what is measured.
const STEP: u64 = 500;

#[derive(Debug, Default)]
struct Counting {
    came: AtomicU64,
    step: Notify,
}

impl Inbox for Counting {
    fn arrived(&self, _: Incarnation, _: Message) -> Result<(), Message> {
        if (self.came.fetch_add(1, Relaxed) + 1).is_multiple_of(STEP) {
            self.step.notify_one();
        }
        Ok(())
    }

    fn died(&self, _: Incarnation, _: Proof) {}
}

fn message() -> Message {
    let epoch = LayoutVersion::from_u64(1);
    let body = Body::State {
        id: SessionId::from_parts([7; 16], 1),
        tenure: Tenure::new(epoch, 1),
        revision: Revision::new(1),
        state: Bytes::from(vec![7; STATE]),
    };
    Message::new(epoch, body)
}

async fn open(name: &str) -> Connections {
    let settings = NetworkSettings {
        cluster: "bench".to_owned(),
        buckets: BucketCount::DEFAULT,
        node: NodeName::new(name),
        bind: SocketAddr::from(([127, 0, 0, 1], 0)),
        advertise: None,
        secrets: vec![Secret([1; 32])],
        gate: None,
    };
    Tcp::new()
        .open(settings)
        .await
        .expect("loopback can be opened")
}

/// Both of them are members, and know it.
fn join(n1: &Connections, n2: &Connections) -> Arc<Counting> {
    let member = |name: &str, open: &Connections| Member {
        node: NodeName::new(name),
        address: open.address.clone(),
        place: None,
        standing: Standing::Ready,
    };
    let layout = Arc::new(Layout {
        version: LayoutVersion::from_u64(1),
        unproven: LayoutVersion::ZERO,
        members: BTreeMap::from([(N1, member("n1", n1)), (N2, member("n2", n2))]),
        placements: vec![Placement {
            manager: N1,
            deputies: Vec::new(),
            since: LayoutVersion::from_u64(1),
            previous: None,
        }],
    });
    let inbox = Arc::new(Counting::default());
    n1.transport.listen(N1, OF, Arc::new(Counting::default()));
    n2.transport.listen(N2, OF, inbox.clone());
    for node in [n1, n2] {
        node.transport.members(&layout);
    }
    inbox
}

/// What something took.
struct Cost {
    passed: Duration,
    /// Of the processor, in ticks; nothing but zero where the system does not tell.
    ticks: u64,
}

impl Cost {
    fn since(start: Moment, ticks: u64) -> Self {
        Self {
            passed: BootClock.now().since(start),
            ticks: ticks_now() - ticks,
        }
    }
}

/// The processor's time that this process has had, in user and in kernel mode.
fn ticks_now() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

async fn send_messages(n1: &Connections, inbox: &Counting, count: u64) -> Cost {
    let message = message();
    // Nothing is sent before there is a connection.
    while inbox.came.load(Relaxed) == 0 {
        n1.transport.send(N2, message.clone());
        sleep(Duration::from_millis(10)).await;
    }
    sleep(Duration::from_millis(100)).await;
    inbox.came.store(0, Relaxed);
    let (start, ticks) = (BootClock.now(), ticks_now());
    let mut sent = 0;
    while inbox.came.load(Relaxed) < count {
        let may = inbox.came.load(Relaxed) + ON_THEIR_WAY;
        while sent < may.min(count) {
            n1.transport.send(N2, message.clone());
            sent += 1;
        }
        inbox.step.notified().await;
    }
    Cost::since(start, ticks)
}

async fn stream_bytes(n1: &Connections, n2: &Connections, bytes: u64) -> Cost {
    let _ = timeout(Duration::from_millis(1), n2.streams.accept("raw")).await;
    let limit = Duration::from_secs(10);
    let (there, here) = tokio::join!(
        n1.streams.dial(N2, &n2.address, "raw", limit),
        n2.streams.accept("raw")
    );
    let (mut there, (_, mut here)) = (there.expect("a stream"), here.expect("its other end"));
    let (start, ticks) = (BootClock.now(), ticks_now());
    let writing = tokio::spawn(async move {
        let block = vec![7; BLOCK];
        let mut left = bytes as usize;
        while left > 0 {
            let part = left.min(BLOCK);
            there.write_all(&block[..part]).await.expect("it is read");
            left -= part;
        }
        there.shutdown().await.expect("it is read to its end");
    });
    let mut block = vec![0; BLOCK];
    let mut read = 0;
    while read < bytes {
        read += here.read(&mut block).await.expect("it is written") as u64;
    }
    let took = Cost::since(start, ticks);
    writing.await.expect("it does not panic");
    took
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|given| given != "--bench");
    let count = arguments.next().map_or(20_000_u64, |count| {
        count.parse().expect("the argument is a number of messages")
    });
    let frame = frame::encode(&message()).expect("it can be encoded").len() + frame::LENGTH_BYTES;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let (n1, n2) = (open("n1").await, open("n2").await);
        let inbox = join(&n1, &n2);
        // The first run warms both up. Whole steps, so that the last one is told of.
        for count in [count / 10, count] {
            let count = count.next_multiple_of(STEP);
            let bytes = count * frame as u64;
            let messages = send_messages(&n1, &inbox, count).await;
            let stream = stream_bytes(&n1, &n2, bytes).await;
            println!(
                "{count} messages of {frame} bytes: {:.0} a second, {:.0} MiB/s; raw stream {:.0} MiB/s; ratio of speed {:.2}, of processor time {:.2}",
                count as f64 / messages.passed.as_secs_f64(),
                mebibytes(bytes, messages.passed),
                mebibytes(bytes, stream.passed),
                stream.passed.as_secs_f64() / messages.passed.as_secs_f64(),
                messages.ticks as f64 / stream.ticks.max(1) as f64,
            );
        }
    });
}

fn mebibytes(bytes: u64, took: Duration) -> f64 {
    bytes as f64 / f64::from(1 << 20) / took.as_secs_f64()
}
