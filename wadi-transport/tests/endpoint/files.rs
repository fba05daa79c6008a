//! Mutual TLS with certificates from files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use wadi_transport::{Config, Endpoint, Files, Security, SecurityError, StartError};

use crate::scene::{LONG, Letter, Node, config, letter, send, unreachable};

/// A directory of its own, removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = format!("wadi-transport-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A certification authority.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: PathBuf,
}

impl Authority {
    fn new(directory: &Directory, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let certificate = directory.write(&format!("{name}.pem"), &certificate.pem());
        let issuer = Issuer::new(params, key);
        Self {
            issuer,
            certificate,
        }
    }

    /// A certificate for a member, and the authority that it accepts.
    fn member(&self, directory: &Directory, node: &str, name: &str, accepts: &Path) -> Files {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        self.certify(directory, node, params, accepts)
    }

    fn certify(
        &self,
        directory: &Directory,
        node: &str,
        params: CertificateParams,
        accepts: &Path,
    ) -> Files {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Files {
            authority: accepts.to_owned(),
            certificate: directory.write(&format!("{node}.pem"), &certificate.pem()),
            key: directory.write(&format!("{node}.key"), &key.serialize_pem()),
            member_name: None,
            look_again: Duration::from_millis(10),
        }
    }
}

fn with(node: &str, files: &Files) -> Config {
    let mut config = config(node);
    config.security = Security::Files(files.clone());
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_one_authority_talk_and_others_are_refused_by_both_sides() {
    let directory = Directory::new("authority");
    let ours = Authority::new(&directory, "ours");
    let theirs = Authority::new(&directory, "theirs");
    let one = ours.member(&directory, "n1", "wadi.shop", &ours.certificate);
    let two = ours.member(&directory, "n2", "wadi.shop", &ours.certificate);
    let n1 = Node::start(with("n1", &one)).await;
    let mut n2 = Node::start(with("n2", &two)).await;
    let link = n1.link_to(&n2);
    link.connected(LONG).await.unwrap();
    send(&link, &letter(1, 10)).await;
    assert_eq!(n2.next().await.0, "n1");

    // One that accepts us but whom we do not accept, and one that accepts only its own.
    for accepts in [&ours.certificate, &theirs.certificate] {
        let stranger = theirs.member(&directory, "n3", "wadi.shop", accepts);
        let n3 = Node::start(with("n3", &stranger)).await;
        let why = unreachable(&n3.link_to(&n2)).await;
        assert!(why.contains("certificates of the same authority"), "{why}");
        let why = unreachable(&n2.link_to(&n3)).await;
        assert!(why.contains("certificates of the same authority"), "{why}");
        n2.heard.of("it has not the cluster's key").await;
        assert_eq!(n2.heard.count("n3"), 0);
    }

    // One with the cluster key instead.
    let keyed = Node::start(config("n4")).await;
    unreachable(&keyed.link_to(&n2)).await;
    unreachable(&n2.link_to(&keyed)).await;
    assert_eq!(n2.heard.count("n4"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_members_name_is_asked_of_both_sides() {
    let directory = Directory::new("name");
    let company = Authority::new(&directory, "company");
    let named = |node: &str, name: &str| {
        let mut files = company.member(&directory, node, name, &company.certificate);
        files.member_name = Some("wadi.shop".to_owned());
        files
    };
    let n1 = Node::start(with("n1", &named("n1", "wadi.shop"))).await;
    let n2 = Node::start(with("n2", &named("n2", "wadi.shop"))).await;
    n1.link_to(&n2).connected(LONG).await.unwrap();
    let mut other = named("n3", "printer.shop");
    other.member_name = None;
    let n3 = Node::start(with("n3", &other)).await;
    unreachable(&n3.link_to(&n2)).await;
    unreachable(&n2.link_to(&n3)).await;
    assert_eq!(n2.heard.count("n3"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_told_as_such_on_both_sides() {
    let directory = Directory::new("expired");
    let ours = Authority::new(&directory, "ours");
    let mut params = CertificateParams::new(vec!["wadi.shop".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2020, 2, 1);
    let expired = ours.certify(&directory, "n1", params, &ours.certificate);
    let good = ours.member(&directory, "n2", "wadi.shop", &ours.certificate);
    let n1 = Node::start(with("n1", &expired)).await;
    let n2 = Node::start(with("n2", &good)).await;
    let told = "not in force now: renew it";
    let why = unreachable(&n1.link_to(&n2)).await;
    assert!(why.contains(told), "{why}");
    n2.heard.of(told).await;
    let why = unreachable(&n2.link_to(&n1)).await;
    assert!(why.contains(told), "{why}");
    n1.heard.of(told).await;
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let directory = Directory::new("unusable");
    let authority = Authority::new(&directory, "authority");
    let good = authority.member(&directory, "n1", "wadi.shop", &authority.certificate);
    let start = async |files: &Files| {
        let error = Endpoint::<Letter>::start(with("n1", files), ()).await;
        match error.unwrap_err() {
            StartError::Security(error) => error,
            other => panic!("{other}"),
        }
    };
    let mut files = good.clone();
    files.key = directory.0.join("absent.key");
    let told = start(&files).await.to_string();
    assert!(
        told.contains("private key") && told.contains("absent.key"),
        "{told}"
    );
    let mut files = good.clone();
    files.authority = directory.write("empty.pem", "nothing");
    let told = start(&files).await.to_string();
    assert!(told.contains("there is none in it"), "{told}");
    let mut files = good.clone();
    files.key = authority
        .member(&directory, "n2", "wadi.shop", &authority.certificate)
        .key;
    assert!(matches!(start(&files).await, SecurityError::Tls(_)));
    let mut files = good;
    files.member_name = Some("10.0.0.1".to_owned());
    assert!(matches!(start(&files).await, SecurityError::MemberName(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn new_certificates_count_without_a_restart_and_useless_ones_change_nothing() {
    let directory = Directory::new("renewed");
    let old = Authority::new(&directory, "old");
    let new = Authority::new(&directory, "new");
    let member = |authority: &Authority, node: &str, accepts: &Path| {
        authority.member(&directory, node, "wadi.shop", accepts)
    };
    let n1 = Node::start(with("n1", &member(&old, "n1", &old.certificate))).await;
    let files = member(&old, "n2", &old.certificate);
    let mut n2 = Node::start(with("n2", &files)).await;
    let before = n1.link_to(&n2);
    before.connected(LONG).await.unwrap();

    // Half of a pair: nothing changes, and it is told.
    let other = member(&old, "other", &old.certificate);
    std::fs::copy(&other.key, &files.key).unwrap();
    n2.heard.of("the former certificates are still used").await;
    let n3 = Node::start(with("n3", &member(&old, "n3", &old.certificate))).await;
    n3.link_to(&n2).connected(LONG).await.unwrap();

    // The other half, and a new authority beside the old one.
    std::fs::copy(&other.certificate, &files.certificate).unwrap();
    n2.heard.of("read anew").await;
    let stranger = Node::start(with("n4", &member(&new, "n4", &old.certificate))).await;
    unreachable(&stranger.link_to(&n2)).await;
    let both =
        [&old.certificate, &new.certificate].map(|one| std::fs::read_to_string(one).unwrap());
    directory.write("old.pem", &both.concat());
    stranger.link_to(&n2).connected(LONG).await.unwrap();

    // What was open all the while still is.
    send(&before, &letter(1, 10)).await;
    assert_eq!(n2.next().await.0, "n1");
    assert_eq!(n2.heard.count("n1"), 1, "it was accepted once");
}
