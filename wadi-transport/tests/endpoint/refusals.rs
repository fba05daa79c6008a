//! Who is refused, and that both sides are told why.

use std::net::SocketAddr;

use wadi_core::bucket::BucketCount;
use wadi_core::member::Incarnation;
use wadi_transport::{
    Config, ConfigError, DialError, Endpoint, LinkState, Refusal, Security, StartError, Versions,
};

use crate::scene::{LONG, Letter, Node, config, key, letter, send, unreachable};

/// `n1` dials `n2`, and both are told `told`.
async fn check_refused(n1: Config, n2: Config, told: &str) {
    let (n1, n2) = (Node::start(n1).await, Node::start(n2).await);
    let link = n1.link_to(&n2);
    let why = unreachable(&link).await;
    assert!(why.contains(told), "{why}");
    n2.heard.of(told).await;
    assert_eq!(n2.heard.count("was accepted"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_is_refused() {
    let mut other = config("n1");
    other.cluster.name = "bank".to_owned();
    let told = r#"it is of cluster "shop", and "bank" dialled: give both nodes the same"#;
    check_refused(other, config("n2"), told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_number_of_buckets_is_refused() {
    let mut other = config("n1");
    other.cluster.buckets = BucketCount::new(64).unwrap();
    let told = "it has 4096 buckets, and the dialling node 64: their number is part of";
    check_refused(other, config("n2"), told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_incarnation_at_the_address_is_refused() {
    let mut other = config("n2");
    other.membership.incarnation = Some(Incarnation::new(5));
    let (n1, n2) = (Node::start(config("n1")).await, Node::start(other).await);
    let sought = Some(Incarnation::new(3));
    let link = n1.endpoint.link(n2.address(), sought).unwrap();
    let told = "it is Some(i5), and i3 was sought";
    assert!(unreachable(&link).await.contains(told));
    n2.heard.of(told).await;
    let sought = Some(Incarnation::new(5));
    let link = n1.endpoint.link(n2.address(), sought).unwrap();
    link.connected(LONG).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_does_not_talk_to_itself() {
    let n1 = Node::start(config("n1")).await;
    assert!(
        unreachable(&n1.link_to(&n1))
            .await
            .contains("it is the dialling node itself")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_refused_by_both_sides() {
    let mut stranger = config("n1");
    stranger.security = Security::Keys(vec![key(9)]);
    let (n1, n2) = (Node::start(stranger).await, Node::start(config("n2")).await);
    let link = n1.link_to(&n2);
    let why = unreachable(&link).await;
    assert!(why.contains("give both the same cluster key"), "{why}");
    n2.heard.of("does not accept ours").await;
    assert_eq!(n2.heard.count("was accepted"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_acceptor_refuses_a_wrong_key_that_accepts_its_own() {
    // A dialler that takes the acceptor's key, and shows another.
    let mut stranger = config("n1");
    stranger.security = Security::Keys(vec![key(9), key(1)]);
    let (n1, n2) = (Node::start(stranger).await, Node::start(config("n2")).await);
    let why = unreachable(&n1.link_to(&n2)).await;
    assert!(why.contains("give both the same cluster key"), "{why}");
    n2.heard.of("it has not the cluster's key").await;
    assert_eq!(n2.heard.count("was accepted"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_and_a_key_do_not_go_together() {
    let mut open = config("n1");
    open.security = Security::Loopback;
    let (open, locked) = (Node::start(open).await, Node::start(config("n2")).await);
    unreachable(&open.link_to(&locked)).await;
    unreachable(&locked.link_to(&open)).await;
    for node in [&open, &locked] {
        node.heard.of("came to nothing").await;
        assert_eq!(node.heard.count("was accepted"), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_changed_node_by_node() {
    let with = |node: &str, keys: &[u8]| {
        let mut config = config(node);
        config.security = Security::Keys(keys.iter().copied().map(key).collect());
        config
    };
    let steps: [(&[u8], &[u8]); 4] = [
        (&[1], &[1, 2]),
        (&[1, 2], &[2, 1]),
        (&[2, 1], &[2]),
        (&[2], &[2]),
    ];
    for (one, other) in steps {
        let mut n1 = Node::start(with("n1", one)).await;
        let mut n2 = Node::start(with("n2", other)).await;
        let (there, back) = (n1.link_to(&n2), n2.link_to(&n1));
        there.connected(LONG).await.unwrap();
        back.connected(LONG).await.unwrap();
        send(&there, &letter(1, 0)).await;
        send(&back, &letter(2, 0)).await;
        assert_eq!(n2.next().await.1.number, 1);
        assert_eq!(n1.next().await.1.number, 2);
    }
}

#[tokio::test]
async fn without_a_key_only_loopback_is_used() {
    let start = |config| Endpoint::<Letter>::start(config, ());
    let mut config = Config::on_loopback("shop", "n1");
    config.bind = SocketAddr::from(([0, 0, 0, 0], 0));
    let error = start(config.clone()).await.unwrap_err();
    assert!(matches!(error, StartError::NeedsKey(_)), "{error}");
    assert!(
        error
            .to_string()
            .contains("give all nodes the same cluster key")
    );

    config.bind = SocketAddr::from(([127, 0, 0, 1], 0));
    config.advertise = Some("192.0.2.1:0".to_owned());
    let error = start(config.clone()).await.unwrap_err();
    assert!(matches!(error, StartError::NeedsKey(_)), "{error}");

    config.advertise = Some("localhost:0".to_owned());
    let (endpoint, _incoming) = start(config).await.unwrap();
    let port = endpoint.local().port();
    assert_eq!(endpoint.us().advertised, format!("localhost:{port}"));
    let error = endpoint.open("192.0.2.1:7000", None, "bytes").await;
    let error = error.unwrap_err();
    assert!(matches!(error, DialError::NeedsKey(_)), "{error}");
}

#[tokio::test]
async fn an_address_that_others_cannot_reach_is_not_advertised() {
    let start = |config| Endpoint::<Letter>::start(config, ());
    let mut everywhere = config("n1");
    everywhere.bind = SocketAddr::from(([0, 0, 0, 0], 0));
    for advertise in [
        None,
        Some("0.0.0.0:0"),
        Some("[::]:7000"),
        Some(":7000"),
        Some("n1"),
    ] {
        everywhere.advertise = advertise.map(str::to_owned);
        let error = start(everywhere.clone()).await.unwrap_err();
        assert!(matches!(error, StartError::Advertise(_)), "{error}");
    }
    everywhere.advertise = Some("n1.example:0".to_owned());
    let (endpoint, _incoming) = start(everywhere.clone()).await.unwrap();
    let port = endpoint.local().port();
    assert_eq!(endpoint.us().advertised, format!("n1.example:{port}"));

    everywhere.security = Security::Keys(Vec::new());
    let error = start(everywhere).await.unwrap_err();
    assert!(matches!(error, StartError::Security(_)), "{error}");
}

#[tokio::test]
async fn a_literal_address_where_nobody_listens_is_told_as_such() {
    let n1 = Node::start(config("n1")).await;
    let n2 = Node::start(config("n2")).await;
    let (address, literal) = (n2.address(), n2.endpoint.local());
    n2.endpoint.shutdown(LONG).await.unwrap();
    let error = n1.endpoint.open(&address, None, "bytes").await;
    assert_eq!(error.unwrap_err(), DialError::NobodyListens(literal));
}

#[tokio::test]
async fn a_link_too_many_is_refused() {
    let mut few = config("n1");
    few.limits.links = 1;
    let (n1, n2) = (Node::start(few).await, Node::start(config("n2")).await);
    let link = n1.link_to(&n2);
    assert!(n1.endpoint.link(n2.address(), None).is_err());
    link.connected(LONG).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_too_many_is_refused_until_another_ends() {
    let mut few = config("n2");
    few.limits.connections = 1;
    let n2 = Node::start(few).await;
    let (n1, n3) = (
        Node::start(config("n1")).await,
        Node::start(config("n3")).await,
    );
    let first = n1.link_to(&n2);
    first.connected(LONG).await.unwrap();
    let second = n3.link_to(&n2);
    let why = second
        .state()
        .wait_for(|state| {
            matches!(
                state,
                LinkState::Unreachable(DialError::Refused {
                    why: Refusal::Full,
                    ..
                })
            )
        })
        .await
        .map(|state| state.clone());
    assert!(why.is_ok());
    drop(first);
    second.connected(LONG).await.unwrap();
}

#[tokio::test]
async fn versions_that_this_build_does_not_speak_are_not_offered() {
    let mut odd = config("n1");
    odd.versions = Versions { min: 1, max: 3 };
    let error = Endpoint::<Letter>::start(odd, ()).await.unwrap_err();
    assert!(matches!(
        error,
        StartError::Config(ConfigError::Versions(_))
    ));
}
