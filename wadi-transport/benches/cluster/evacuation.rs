//! All sessions of a node go to another process, half of them live and half frozen, beside a raw
//! stream of as many bytes between the same two, while requests look for the sessions on both.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::sleep;
use wadi_core::clock::{BootClock, Clock};

use crate::child::{RAW, Remote};
use crate::figures::{Times, processor_time, ratio};
use crate::load::{A_SECOND, Load};
use crate::member::{By, LIMIT, Member, STATE, parse};

const BLOCK: usize = 64 * 1024;
const QUIET: Duration = Duration::from_secs(3);
/// How many of the sessions are asked for.
const ASKED_FOR: usize = 10_000;

/// What something took.
struct Cost {
    passed: Duration,
    /// Of the processor, in both processes.
    processor: Duration,
    requests: Times,
}

/// The two processes, and the load on them.
struct Scene {
    leaving: Arc<Member>,
    staying: Remote,
    load: Load,
}

pub(crate) async fn run(sessions: usize) {
    let by = By::Key;
    let leaving = Arc::new(Member::start("leaving", None, by).await);
    let staying = Remote::start("staying", &leaving.connections.address, by).await;
    leaving.balanced(2).await;
    let mut ids = leaving.create(sessions / 2).await;
    leaving.freeze().await;
    ids.extend(leaving.create(sessions - sessions / 2).await);
    let step = ids.len().div_ceil(ASKED_FOR);
    let asked_for: Vec<String> = ids.into_iter().step_by(step).collect();
    let mut scene = Scene::open(leaving, staying, &asked_for).await;

    let quiet = scene.cost(async |_| sleep(QUIET).await).await;
    // The first stream warms the way up.
    scene.stream(sessions * STATE / 10).await;
    let stream = scene
        .cost(async |scene| scene.stream(sessions * STATE).await)
        .await;
    let moved = scene
        .cost(async |scene| assert!(scene.leaving.node.evacuate(LIMIT).await, "all of it goes"))
        .await;
    let held = scene.staying.ask("held").await;
    assert_eq!(held, sessions.to_string(), "nothing is lost");

    let bytes = (sessions * STATE) as f64;
    let seconds = moved.passed.as_secs_f64();
    println!(
        "evacuation: {:.1} % of the raw stream's speed, {:.2} times its processor time; {:.0} sessions a second, {:.0} MB/s, beside {:.0} MB/s; {seconds:.2} s for {sessions} sessions of {STATE} bytes",
        100.0 * ratio(stream.passed, moved.passed),
        ratio(moved.processor, stream.processor),
        sessions as f64 / seconds,
        bytes / 1e6 / seconds,
        bytes / 1e6 / stream.passed.as_secs_f64(),
    );
    println!(
        "evacuation: {:.2} us of the processor a session in both processes, {:.2} of {} cores in use",
        moved.processor.as_secs_f64() * 1e6 / sessions as f64,
        moved.processor.as_secs_f64() / seconds,
        std::thread::available_parallelism().map_or(0, usize::from),
    );
    for (cost, when) in [
        (quiet, "nothing else"),
        (stream, "the raw stream"),
        (moved, "the evacuation"),
    ] {
        println!(
            "requests beside {when}: {}, {} of them, {} a second",
            cost.requests,
            cost.requests.len(),
            2 * A_SECOND
        );
    }
}

impl Scene {
    async fn open(leaving: Arc<Member>, mut staying: Remote, asked_for: &[String]) -> Self {
        staying.ask("listen").await;
        staying.ask(&format!("load {}", asked_for.join(" "))).await;
        let load = Load::start(leaving.clone(), parse(asked_for));
        Self {
            leaving,
            staying,
            load,
        }
    }

    /// What `what` takes, and what requests take meanwhile.
    async fn cost(&mut self, what: impl AsyncFnOnce(&mut Self)) -> Cost {
        self.requests().await;
        let (began, used) = (BootClock.now(), self.processor().await);
        what(self).await;
        let passed = BootClock.now().since(began);
        Cost {
            passed,
            processor: self.processor().await.saturating_sub(used),
            requests: self.requests().await,
        }
    }

    async fn requests(&mut self) -> Times {
        let mut requests = Times::from_text(&self.staying.ask("take").await);
        requests.merge(self.load.take());
        requests
    }

    async fn processor(&mut self) -> Duration {
        let there = self.staying.ask("processor").await;
        let there = there.parse().expect("milliseconds");
        processor_time() + Duration::from_millis(there)
    }

    /// So many bytes over a raw stream, until the other side has read them.
    async fn stream(&mut self, bytes: usize) {
        let layout = self.leaving.node.status().layout.expect("it is a member");
        let me = self.leaving.node.status().incarnation;
        let mut members = layout.members.iter();
        let other = members.find(|(who, _)| Some(**who) != me);
        let (who, member) = other.expect("there are two");
        self.staying.order("sink").await;
        let streams = &self.leaving.connections.streams;
        let stream = streams.dial(*who, &member.address, RAW, LIMIT).await;
        let mut stream = stream.expect("it listens");
        let block = vec![7; BLOCK];
        let mut left = bytes;
        while left > 0 {
            let part = left.min(BLOCK);
            stream.write_all(&block[..part]).await.expect("it is read");
            left -= part;
        }
        stream.shutdown().await.expect("it is read to its end");
        assert_eq!(self.staying.answer().await, bytes.to_string());
    }
}
