//! What the log says of strangers: enough to mend it, on both sides, and no more than that.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::sleep;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use wadi_core::bucket::BucketCount;
use wadi_core::member::Incarnation;
use wadi_core::transport::{NotCarried, Secret};
use wadi_transport::Versions;

use crate::scene::{KEY, LONG, NO_KEY, Node, agree, layout, limits, settings, tcp};

/// The warnings and errors of this thread, on which everything runs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}");
        }
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Log {
    async fn has(&self, parts: &[&str]) {
        for _ in 0..LONG.as_millis() / 5 {
            let lines = self.0.lock().clone();
            let has = |line: &String| parts.iter().all(|part| line.contains(part));
            if lines.iter().any(has) {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
        panic!("no line says {parts:?}: {:#?}", self.0.lock());
    }
}

#[tokio::test]
async fn who_is_refused_stands_in_both_logs() {
    let log = Log::default();
    let _here = tracing::subscriber::set_default(log.clone());
    let node = Node::open(1, &tcp(), settings("n1", KEY)).await;
    let open = Node::open(1, &tcp(), settings("n2", NO_KEY)).await;
    let mut other_cluster = settings("bank", KEY);
    other_cluster.cluster = "bank".to_owned();
    let mut other_buckets = settings("few", KEY);
    other_buckets.buckets = BucketCount::new(64).unwrap();
    let previous = tcp().versions(Versions { min: 1, max: 1 });
    let latest = tcp().versions(Versions { min: 2, max: 2 });
    let strict = Node::open(1, &latest, settings("strict", KEY)).await;

    let cases = [
        (
            tcp(),
            settings("stranger", &[Secret([9; 32])]),
            node.address(),
            ["do not accept each other's key", "does not accept ours"],
        ),
        (
            tcp(),
            settings("keyless", NO_KEY),
            node.address(),
            [
                "it has a key, and this node has none",
                "it does not speak TLS",
            ],
        ),
        (
            tcp(),
            settings("keyed", KEY),
            open.address(),
            [
                "do not accept each other's key",
                "it has a key, and this node has none",
            ],
        ),
        (
            tcp(),
            other_cluster,
            node.address(),
            ["refused: it is of cluster", "bank"],
        ),
        (
            tcp(),
            other_buckets,
            node.address(),
            ["refused: it has 4096 buckets", "few"],
        ),
        (
            previous,
            settings("previous", KEY),
            strict.address(),
            ["refused: it speaks protocol 2 to 2", "previous"],
        ),
    ];
    for (tcp, settings, address, [dialling, accepting]) in cases {
        log.0.lock().clear();
        let stranger = Node::open(2, &tcp, settings).await;
        let asked = stranger
            .open
            .carrier
            .carry(address, Bytes::new(), LONG)
            .await;
        assert_eq!(asked, Err(NotCarried::NotDelivered));
        log.has(&[address, dialling]).await;
        log.has(&["127.0.0.1", accepting]).await;
        assert_eq!(log.0.lock().len(), 2, "{:#?}", log.0.lock());
    }
}

/// Nodes come and go in good order, and nobody has to mend anything.
#[tokio::test]
async fn who_is_sought_in_vain_and_who_gives_up_stand_in_no_log() {
    let log = Log::default();
    let _here = tracing::subscriber::set_default(log.clone());
    let n1 = Node::open(1, &tcp(), settings("n1", KEY)).await;
    n1.listen();
    let n2 = Node::open(2, &tcp(), settings("n2", KEY)).await;
    drop(TcpStream::connect(n1.address()).await.unwrap());
    let sought = layout(1, &[&n1, &n2]);
    n1.open.transport.members(&sought);
    // It has joined nothing; then it is somebody else.
    let dialled = |who: &Node| {
        let (streams, me, address) = (n1.open.streams.clone(), who.me, who.address().to_owned());
        async move { streams.dial(me, &address, "any", LONG).await.map(drop) }
    };
    let refused = dialled(&n2).await.unwrap_err().to_string();
    assert!(refused.contains("it is None"), "{refused}");
    n2.listen();
    n2.open.transport.members(&sought);
    let former = Node {
        me: Incarnation::new(7),
        ..n2
    };
    let refused = dialled(&former).await.unwrap_err().to_string();
    assert!(refused.contains("it is Some(i2)"), "{refused}");
    assert!(log.0.lock().is_empty(), "{:#?}", log.0.lock());
}

#[tokio::test]
async fn many_idle_strangers_keep_nobody_out_and_fill_no_log() {
    const STRANGERS: usize = 400;
    let log = Log::default();
    let _here = tracing::subscriber::set_default(log.clone());
    let mut few = limits();
    few.handshakes = 32;
    let n1 = Node::open(1, &tcp().limits(few), settings("n1", KEY)).await;
    n1.listen();
    let mut strangers = Vec::new();
    for _ in 0..STRANGERS {
        strangers.push(TcpStream::connect(n1.address()).await.unwrap());
    }
    // All of them come from where the node comes from, and none says anything. More keep coming.
    let address = n1.address().to_owned();
    let flood = tokio::spawn(async move {
        loop {
            if let Ok(mut stranger) = TcpStream::connect(&address).await {
                let _ = stranger.write_all(&[0x16]).await;
                strangers.push(stranger);
                if strangers.len() > 2 * STRANGERS {
                    strangers.remove(0);
                }
            }
            sleep(Duration::from_millis(2)).await;
        }
    });
    let n2 = Node::open(2, &tcp(), settings("n2", KEY)).await;
    n2.listen();
    agree(1, &[&n1, &n2]);
    n2.reach(&n1).await;
    n1.reach(&n2).await;
    flood.abort();
    let lines = log.0.lock().clone();
    assert!(lines.len() <= 10, "{lines:#?}");
    assert!(
        lines.iter().any(|line| line.contains("needed the place")),
        "{lines:#?}"
    );
}
