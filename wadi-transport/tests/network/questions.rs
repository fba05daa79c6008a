//! Questions and answers, to an address.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use wadi_core::transport::{Answering, Answers, NotCarried};
use wadi_transport::{Config, Endpoint, Security, TransportKey};

use crate::scene::{KEY, LONG, NO_KEY, Node, limits, settings, tcp};

/// Says the question again, after a while where it is told so, and counts.
#[derive(Debug, Default)]
struct Echo {
    after: Duration,
    begun: AtomicUsize,
    done: AtomicUsize,
}

impl Echo {
    fn after(after: Duration) -> Arc<Self> {
        Arc::new(Self {
            after,
            ..Self::default()
        })
    }
}

impl Answers for Echo {
    fn answer(&self, message: Bytes) -> Answering<'_> {
        Box::pin(async move {
            self.begun.fetch_add(1, Relaxed);
            sleep(self.after).await;
            self.done.fetch_add(1, Relaxed);
            message
        })
    }
}

async fn open(name: &str) -> Node {
    Node::open(1, &tcp(), settings(name, KEY)).await
}

async fn ask(node: &Node, address: &str, question: Bytes) -> Result<Bytes, NotCarried> {
    node.open.carrier.carry(address, question, LONG).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_not_joined_asks_and_is_answered() {
    for secrets in [KEY, NO_KEY] {
        let n1 = Node::open(1, &tcp(), settings("n1", secrets)).await;
        let n2 = Node::open(2, &tcp(), settings("n2", secrets)).await;
        // Nobody answers yet.
        let refused = ask(&n1, n2.address(), Bytes::new()).await;
        assert_eq!(refused, Err(NotCarried::NotDelivered));
        n2.open.carrier.serve(Arc::new(Echo::default()));
        for length in [0, 1, 1000, 65_536, 65_537, 2 << 20] {
            let question = Bytes::from(vec![9; length]);
            let answer = ask(&n1, n2.address(), question.clone()).await.unwrap();
            assert!(answer == question);
        }
        let too_long = Bytes::from(vec![9; 4 << 20]);
        let refused = ask(&n1, n2.address(), too_long).await;
        assert_eq!(refused, Err(NotCarried::NotDelivered));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_at_once_are_all_answered_over_a_few_streams() {
    let (n1, n2) = (open("n1").await, open("n2").await);
    n2.open
        .carrier
        .serve(Echo::after(Duration::from_millis(20)));
    let mut asked = JoinSet::new();
    for number in 0..100_u8 {
        let carrier = n1.open.carrier.clone();
        let address = n2.address().to_owned();
        asked.spawn(async move {
            let question = Bytes::from(vec![number; 1000]);
            let answer = carrier.carry(&address, question.clone(), LONG).await;
            assert_eq!(answer, Ok(question));
        });
    }
    while let Some(done) = asked.join_next().await {
        done.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_does_not_come_in_time_is_none_and_its_maker_is_told() {
    let (n1, n2) = (open("n1").await, open("n2").await);
    let slow = Echo::after(LONG);
    n2.open.carrier.serve(slow.clone());
    let within = Duration::from_millis(500);
    let carrier = &n1.open.carrier;
    let asked = carrier.carry(n2.address(), Bytes::new(), within).await;
    assert_eq!(asked, Err(NotCarried::NoAnswer));
    assert_eq!(slow.begun.load(Relaxed), 1);
    // The next one is not answered with what was for the last.
    n2.open.carrier.serve(Arc::new(Echo::default()));
    let question = Bytes::from_static(b"next");
    assert_eq!(ask(&n1, n2.address(), question.clone()).await, Ok(question));
    assert_eq!(slow.done.load(Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_certainly_not_delivered() {
    let (n1, n2) = (open("n1").await, open("n2").await);
    let address = n2.address().to_owned();
    n2.open.carrier.serve(Arc::new(Echo::default()));
    ask(&n1, &address, Bytes::new()).await.unwrap();
    drop(n2);
    sleep(Duration::from_millis(200)).await;
    // The stream that is kept for the next question is seen to be closed.
    let refused = ask(&n1, &address, Bytes::new()).await;
    assert_eq!(refused, Err(NotCarried::NotDelivered));

    // Somebody accepts and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let within = Duration::from_millis(200);
    let asked = n1.open.carrier.carry(&address, Bytes::new(), within).await;
    assert_eq!(asked, Err(NotCarried::NotDelivered));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_in_the_middle_is_no_answer_and_whoever_comes_back_is_asked_again() {
    let (n1, n2) = (open("n1").await, open("n2").await);
    let slow = Echo::after(LONG);
    n2.open.carrier.serve(slow.clone());
    let address = n2.address().to_owned();
    let carrier = n1.open.carrier.clone();
    let there = address.clone();
    let asked = tokio::spawn(async move { carrier.carry(&there, Bytes::new(), LONG).await });
    while slow.begun.load(Relaxed) == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    drop(n2);
    assert_eq!(asked.await.unwrap(), Err(NotCarried::NoAnswer));

    let mut again = settings("n2", KEY);
    again.bind = address.parse().unwrap();
    let n2 = Node::open(3, &tcp(), again).await;
    n2.open.carrier.serve(Arc::new(Echo::default()));
    assert!(ask(&n1, &address, Bytes::new()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_kept_for_a_while_and_their_number_is_bounded() {
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = accepted.clone();
    let mut limits = limits();
    (limits.questions_each, limits.questions) = (4, 4);
    limits.question_idle = Duration::from_millis(300);
    let few = tcp().limits(limits.clone());
    let counting = few
        .clone()
        .observer(move |notice: &wadi_transport::Notice| {
            if matches!(notice, wadi_transport::Notice::Accepted { .. }) {
                count.fetch_add(1, Relaxed);
            }
        });
    let n1 = Node::open(1, &few, settings("n1", KEY)).await;
    let n2 = Node::open(2, &counting, settings("n2", KEY)).await;
    let n3 = Node::open(3, &few, settings("n3", KEY)).await;
    for node in [&n2, &n3] {
        node.open
            .carrier
            .serve(Echo::after(Duration::from_millis(5)));
    }
    let many = async |address: &str| {
        let mut asked = JoinSet::new();
        for _ in 0..40 {
            let (carrier, address) = (n1.open.carrier.clone(), address.to_owned());
            asked.spawn(async move { carrier.carry(&address, Bytes::new(), LONG).await });
        }
        while let Some(asked) = asked.join_next().await {
            asked.unwrap().unwrap();
        }
    };
    many(n2.address()).await;
    assert!(accepted.load(Relaxed) <= 4);
    // All that there may be are idle towards n2, and give way.
    many(n3.address()).await;
    let before = accepted.load(Relaxed);
    ask(&n1, n2.address(), Bytes::new()).await.unwrap();
    ask(&n1, n2.address(), Bytes::new()).await.unwrap();
    assert!(accepted.load(Relaxed) <= before + 1);
    sleep(Duration::from_millis(900)).await;
    ask(&n1, n2.address(), Bytes::new()).await.unwrap();
    assert!(accepted.load(Relaxed) <= before + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_question_ends_that_stream_only() {
    let node = open("n1").await;
    node.open
        .carrier
        .serve(Echo::after(Duration::from_millis(100)));
    let mut config = Config::on_loopback("shop", "odd");
    let key = TransportKey::from_secret(&KEY[0].0).unwrap();
    config.security = Security::Keys(vec![key]);
    let (odd, _incoming) = Endpoint::<u8>::start(config, ()).await.unwrap();
    let thrown: [&[u8]; 4] = [
        // Longer than a question may be.
        &[0xff; 100],
        // Cut off.
        &[0, 0, 0, 9, 1, 2],
        &[0, 0],
        // The second before the first is answered.
        &[0, 0, 0, 1, 1, 0, 0, 0, 1, 1],
    ];
    for bytes in thrown {
        let opened = odd.open(node.address(), None, "wadi-questions").await;
        let mut stream = opened.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.flush().await.unwrap();
        if bytes.len() < 10 {
            stream.shutdown().await.unwrap();
        }
        let mut answer = Vec::new();
        let read = timeout(LONG, stream.read_to_end(&mut answer)).await;
        // It is closed, in good order or not.
        let _ = read.expect("it is closed in time");
        assert_eq!(answer, []);
    }
    let friend = open("n2").await;
    let question = Bytes::from_static(b"well?");
    let answer = ask(&friend, node.address(), question.clone()).await;
    assert_eq!(answer, Ok(question));
}
