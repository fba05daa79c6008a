//! How fast a leaving node moves its sessions: two nodes of one process, on one thread, over a
//! network in memory. Half of the sessions are live, half frozen.
//!
//! `cargo bench -p wadi-core --features test-util --bench evacuation -- <sessions> <bytes>`; without
//! arguments a few sessions, which shows that it still works. A third argument, milliseconds, is how long
//! an answer is waited for: under an instrument that makes everything slow, nothing is asked twice then.

use std::sync::Arc;
use std::time::Duration;

use wadi_core::authority::Charter;
use wadi_core::clock::{BootClock, Clock};
use wadi_core::member::NodeName;
use wadi_core::node::{InProcess, NobodyListens, Node, NodeSettings, Surroundings};
use wadi_core::protocol::Settings;
use wadi_core::session::{ClusterKey, Keyring, Limits, Origin, Sessions, Visit};
use wadi_core::transport::memory::Network;

const FREEZE_AFTER: Duration = Duration::from_millis(1);
const LIMIT: Duration = Duration::from_secs(600);

fn node(name: &str, charter: Charter, patience: Duration) -> Node {
    let key = ClusterKey::from_secret(&[7; 32]).expect("long enough");
    let limits = Limits {
        max_sessions: usize::MAX,
        freeze_after: FREEZE_AFTER,
        ..Limits::default()
    };
    let mut settings = NodeSettings::new(NodeName::new(name), charter);
    if !patience.is_zero() {
        settings.protocol = Arc::new(Settings {
            retry: patience,
            retry_most: patience,
            ask_for: 10 * patience,
            resolve_after: 10 * patience,
            ..Settings::default()
        });
    }
    let sessions = Sessions::builder(Keyring::new(key)).limits(limits);
    Node::new(settings, Arc::new(BootClock), sessions)
}

fn create(node: &Node, count: usize, bytes: usize) {
    for _ in 0..count {
        let visit = Visit::without(Arc::clone(node.sessions()), Origin::New);
        visit
            .insert("profile", "x".repeat(bytes))
            .expect("within budget");
        visit.commit().expect("it manages buckets");
    }
}

async fn freeze(node: &Node) {
    tokio::time::sleep(FREEZE_AFTER * 5).await;
    while !node.sessions().sweep(BootClock.now(), 10_000).round_done {}
}

/// What this thread, which does everything, has used of a core, where the system says so. On a machine
/// that others use, too, it says more than the time that went by.
fn processor_time() -> Option<Duration> {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanos = times.split(' ').next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

async fn run(count: usize, bytes: usize, patience: Duration) {
    let clock: Arc<dyn Clock> = Arc::new(BootClock);
    let charter = Charter {
        deputies: 1,
        ..InProcess::solo_charter()
    };
    let authority = Arc::new(InProcess::new(charter, 0, Arc::clone(&clock)));
    let network = Network::new();
    let nodes = ["n1", "n2"].map(|name| {
        let node = node(name, charter, patience);
        let surroundings = Surroundings {
            place: None,
            authority: Arc::clone(&authority) as Arc<_>,
            transport: network.port(NodeName::new(name)),
            listener: Arc::new(NobodyListens),
        };
        node.start(name, surroundings);
        node
    });
    let [leaving, staying] = &nodes;
    for node in &nodes {
        node.ready(LIMIT).await.expect("it gets ready");
    }
    let share = usize::from(charter.buckets.get()) / 2;
    while staying.status().layout.is_none_or(|layout| {
        let theirs = staying.status().incarnation;
        let managed = layout.placements.iter();
        managed
            .filter(|placement| Some(placement.manager) == theirs)
            .count()
            < share
    }) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;

    create(leaving, count / 2, bytes);
    freeze(leaving).await;
    create(leaving, count - count / 2, bytes);

    let before = network.carried();
    let (began, used) = (clock.now(), processor_time());
    assert!(leaving.evacuate(LIMIT).await, "n2 is there to take them");
    let took = clock.now().since(began).as_secs_f64();
    let used = processor_time().zip(used).map(|(now, before)| now - before);
    let messages = network.carried() - before;
    assert_eq!(staying.sessions().map().len(), count);
    assert!(leaving.sessions().map().is_empty());
    println!(
        "evacuation: {:.0} sessions per second, {:.1} MB per second, {:.1} messages per session, {took:.2} s for {count} sessions of {bytes} bytes",
        count as f64 / took,
        (count * bytes) as f64 / took / 1e6,
        messages as f64 / count as f64,
    );
    if let Some(used) = used {
        let each = used.as_secs_f64() / count as f64;
        println!(
            "evacuation: {:.2} us of one core per session on both nodes together, or {:.0} sessions per second of it",
            each * 1e6,
            1.0 / each,
        );
    }
}

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .map(|argument| argument.parse().expect("the arguments are numbers"));
    let count = arguments.next().unwrap_or(2_000);
    let bytes = arguments.next().unwrap_or(1024);
    let patience = Duration::from_millis(arguments.next().unwrap_or(0) as u64);
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
        .block_on(run(count, bytes, patience));
}
