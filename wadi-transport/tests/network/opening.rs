//! What is said when a network cannot be opened.

use std::net::SocketAddr;

use wadi_core::transport::Network;
use wadi_transport::{Files, Tcp, Versions};

use crate::scene::{KEY, NO_KEY, settings};

#[tokio::test]
async fn another_address_without_a_key_is_an_error_that_says_so() {
    let mut open = settings("n1", NO_KEY);
    open.bind = SocketAddr::from(([0, 0, 0, 0], 0));
    open.advertise = Some("192.0.2.1:7000".to_owned());
    let told = Tcp::new().open(open.clone()).await.unwrap_err().to_string();
    assert!(
        told.contains("give all nodes the same cluster key"),
        "{told}"
    );
    open.secrets = KEY.to_vec();
    let opened = Tcp::new().open(open.clone()).await.unwrap();
    assert_eq!(opened.address, "192.0.2.1:7000");
    open.advertise = None;
    let told = Tcp::new().open(open).await.unwrap_err().to_string();
    assert!(told.contains("advertise an address"), "{told}");
}

#[tokio::test]
async fn what_cannot_be_used_is_named() {
    let first = Tcp::new().open(settings("n1", KEY)).await.unwrap();
    let mut second = settings("n2", KEY);
    second.bind = first.address.parse().unwrap();
    let told = Tcp::new().open(second).await.unwrap_err().to_string();
    assert!(told.contains(&first.address), "{told}");

    let files = Files {
        authority: "/absent/authority.pem".into(),
        certificate: "/absent/n1.pem".into(),
        key: "/absent/n1.key".into(),
        member_name: None,
        look_again: Files::LOOK_AGAIN,
    };
    let tcp = Tcp::new().certificates(files);
    let told = tcp.open(settings("n1", KEY)).await.unwrap_err().to_string();
    assert!(told.contains("/absent/authority.pem"), "{told}");

    let tcp = Tcp::new().versions(Versions { min: 3, max: 3 });
    let told = tcp.open(settings("n1", KEY)).await.unwrap_err().to_string();
    assert!(
        told.contains("versions 3 to 3 are not within 1 to 2"),
        "{told}"
    );
}
