//! Nodes of the previous version beside those of this one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use wadi_core::transport::{Answering, Answers};
use wadi_transport::{Tcp, Versions};

use crate::scene::{KEY, LONG, Node, agree, number, settings, state, tcp};

#[derive(Debug)]
struct Echo;

impl Answers for Echo {
    fn answer(&self, message: Bytes) -> Answering<'_> {
        Box::pin(async move { message })
    }
}

async fn start(number: u64, tcp: &Tcp) -> Node {
    let node = Node::open(number, tcp, settings(&format!("n{number}"), KEY)).await;
    node.listen();
    node.open.carrier.serve(Arc::new(Echo));
    let accepting = node.open.streams.accept("http");
    let _ = timeout(Duration::from_millis(1), accepting).await;
    node
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_the_previous_version_joins_talks_and_leaves() {
    let previous = tcp().versions(Versions { min: 1, max: 1 });
    let n1 = start(1, &tcp()).await;
    let n2 = start(2, &tcp()).await;
    let old = start(3, &previous).await;
    agree(1, &[&n1, &n2, &old]);
    for (from, to) in [
        (&n1, &old),
        (&old, &n1),
        (&old, &n2),
        (&n2, &old),
        (&n1, &n2),
    ] {
        from.reach(to).await;
        (0..100).for_each(|number| from.send(to, state(number, 600)));
        for expected in 0..100 {
            assert_eq!(number(&to.inbox.next().await.1), expected);
        }
        let question = Bytes::from_static(b"who leads?");
        let asked = from
            .open
            .carrier
            .carry(to.address(), question.clone(), LONG);
        assert_eq!(asked.await, Ok(question));
        let streams = &from.open.streams;
        let (there, here) = tokio::join!(
            streams.dial(to.me, to.address(), "http", LONG),
            to.open.streams.accept("http")
        );
        there.unwrap().write_all(b"hello").await.unwrap();
        assert_eq!(here.unwrap().0, from.me);
    }
    drop(old);
    agree(2, &[&n1, &n2]);
    n1.reach(&n2).await;
    n2.reach(&n1).await;
}
