//! When a process has ended, and when it only seems so.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use wadi_core::member::{Incarnation, Place};
use wadi_core::proof::Proof;
use wadi_core::transport::NetworkSettings;
use wadi_transport::{Limits, Tcp};

use crate::scene::{KEY, LONG, Node, layout, limits, settings, tcp};

/// Many times what a node waits before it dials again.
const A_WHILE: Duration = Duration::from_secs(1);

/// Two nodes, and what the layout says of where the second listens.
struct Pair {
    n1: Node,
    n2: Node,
}

impl Pair {
    /// The first, and the second at an address that it did not bind itself, unless it is `None`.
    async fn open(tcp: &Tcp, advertised: Option<String>) -> Self {
        let second = NetworkSettings {
            advertise: advertised,
            ..settings("n2", KEY)
        };
        let n1 = Node::open(1, tcp, settings("n1", KEY)).await;
        let n2 = Node::open(2, tcp, second).await;
        for node in [&n1, &n2] {
            node.listen();
        }
        Self { n1, n2 }
    }

    fn agree_in(&self, place: Option<Place>) {
        let mut layout = Arc::unwrap_or_clone(layout(1, &[&self.n1, &self.n2]));
        let second = layout.members.get_mut(&self.n2.me);
        second.expect("it is a member").place = place;
        let layout = Arc::new(layout);
        for node in [&self.n1, &self.n2] {
            node.open.transport.members(&layout);
        }
    }

    /// The first reaches the second, which is in this place.
    async fn meet_in(&self, place: Option<Place>) {
        self.agree_in(place);
        self.n1.reach(&self.n2).await;
        assert!(self.n1.open.transport.is_connected(self.n2.me));
    }

    async fn meet(&self) {
        self.meet_in(self.n2.open.place).await;
    }

    /// The second's process ends; the first and who it was.
    fn end(self) -> (Node, Incarnation) {
        (self.n1, self.n2.me)
    }
}

/// The first death that it is told of.
async fn first_death(node: &Node) -> (Incarnation, Proof) {
    let told = async {
        loop {
            if let Some(first) = node.inbox.died().first() {
                return *first;
            }
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, told).await.expect("it is told in time")
}

/// It dials again and again, and is told of nobody's death.
async fn nobody_died(node: &Node) {
    sleep(A_WHILE).await;
    assert_eq!(node.inbox.died(), []);
}

/// What stands between nodes: it passes everything on, as long as it does.
struct Relay {
    at: String,
    listener: Arc<TcpListener>,
    passing: JoinSet<()>,
}

impl Relay {
    async fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback is there");
        Self {
            at: listener.local_addr().expect("it is bound").to_string(),
            listener: Arc::new(listener),
            passing: JoinSet::new(),
        }
    }

    fn pass_to(&mut self, to: String) {
        let listener = self.listener.clone();
        self.passing.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut near, _) = listener.accept().await.expect("loopback is there");
                let to = to.clone();
                connections.spawn(async move {
                    let mut far = TcpStream::connect(to).await.expect("loopback is there");
                    // Its end says nothing here.
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
    }

    /// All connections break, and the kernel goes on taking new ones that nobody ever answers.
    async fn hang(&mut self) {
        self.passing.shutdown().await;
    }

    /// All connections break, and new ones are refused.
    async fn end(mut self) {
        self.passing.shutdown().await;
    }
}

/// Where the second node listens itself, whatever it advertises.
async fn behind(relay: &mut Relay, tcp: &Tcp) -> Pair {
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback is there");
    let bind = free.local_addr().expect("it is bound");
    drop(free);
    let second = NetworkSettings {
        bind,
        advertise: Some(relay.at.clone()),
        ..settings("n2", KEY)
    };
    relay.pass_to(bind.to_string());
    let n1 = Node::open(1, tcp, settings("n1", KEY)).await;
    let n2 = Node::open(2, tcp, second).await;
    for node in [&n1, &n2] {
        node.listen();
    }
    Pair { n1, n2 }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_listen_any_more_on_this_host_has_ended() {
    let pair = Pair::open(&tcp(), None).await;
    pair.meet().await;
    let (n1, who) = pair.end();
    assert_eq!(first_death(&n1).await, (who, Proof::RefusedHere));
    assert!(!n1.open.transport.is_connected(who));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_merely_hangs_proves_nothing() {
    let quick = Limits {
        handshake: A_WHILE / 10,
        ..limits()
    };
    let mut relay = Relay::bind().await;
    let mut pair = behind(&mut relay, &tcp()).await;
    // Who gives up soon, so that it has given up several times.
    pair.n1 = Node::open(
        1,
        &tcp().trust_refusals(true).limits(quick),
        settings("n1", KEY),
    )
    .await;
    pair.n1.listen();
    pair.meet_in(pair.n1.open.place).await;
    relay.hang().await;
    nobody_died(&pair.n1).await;
}

/// It says where it listens only where it has bound what it advertises.
#[tokio::test(flavor = "multi_thread")]
async fn what_refuses_for_a_living_process_proves_nothing() {
    let mut relay = Relay::bind().await;
    let pair = behind(&mut relay, &tcp()).await;
    assert_eq!(pair.n2.open.place, None);
    pair.meet().await;
    relay.end().await;
    nobody_died(&pair.n1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn elsewhere_a_refusal_counts_where_it_is_trusted() {
    let elsewhere = Some(Place::new(7));
    let pair = Pair::open(&tcp(), None).await;
    pair.meet_in(elsewhere).await;
    let (n1, _) = pair.end();
    nobody_died(&n1).await;
    let pair = Pair::open(&tcp().trust_refusals(true), None).await;
    pair.meet_in(elsewhere).await;
    let (n1, who) = pair.end();
    assert_eq!(first_death(&n1).await, (who, Proof::ClosedAndRefused));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_no_address() {
    let tcp = tcp().trust_refusals(true);
    let pair = Pair::open(&tcp, Some("localhost:0".to_owned())).await;
    assert_eq!(pair.n2.open.place, None);
    pair.meet_in(pair.n1.open.place).await;
    let (n1, _) = pair.end();
    nobody_died(&n1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_never_connected_is_not_known_to_have_ended() {
    let tcp = tcp().trust_refusals(true);
    let Pair { n1, n2 } = Pair::open(&tcp, None).await;
    let mut layout = Arc::unwrap_or_clone(layout(1, &[&n1, &n2]));
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback is there");
    let nobody_listens = free.local_addr().expect("it is bound");
    drop(free);
    let second = layout.members.get_mut(&n2.me).expect("it is a member");
    second.address = nobody_listens.to_string();
    n1.open.transport.members(&Arc::new(layout));
    nobody_died(&n1).await;
}

/// Somebody new at the same address is not who was there, and says nothing of it by being there.
#[tokio::test(flavor = "multi_thread")]
async fn who_came_after_it_proves_no_end_by_answering() {
    let pair = Pair::open(&tcp(), None).await;
    pair.meet().await;
    let Pair { n1, n2 } = pair;
    n2.open.transport.listen(
        Incarnation::new(3),
        wadi_core::member::Founding::new(1),
        n2.inbox.clone(),
    );
    nobody_died(&n1).await;
}
