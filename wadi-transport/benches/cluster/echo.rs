//! What is measured against: frames that come back, over a plain TCP connection of tokio's, with TLS as
//! nodes use it and without. Nothing of this repository is in it.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::codec::{Framed, LengthDelimitedCodec};
use wadi_core::clock::{BootClock, Clock};

use crate::member::By;

const NAME: &str = "localhost";

/// A connection, with TLS or without.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

type Frames = Framed<Box<dyn Duplex>, LengthDelimitedCodec>;

fn frames(stream: impl Duplex + 'static) -> Frames {
    Framed::new(Box::new(stream), LengthDelimitedCodec::new())
}

/// Echoes what comes, until this process ends; what [`Echo::dial`] wants to know.
pub(crate) async fn serve(by: By) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let port = listener.local_addr().expect("it is bound").port();
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a certificate");
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let acceptor = acceptor(certificate.clone(), key.into());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).expect("an open connection");
            let acceptor = (by == By::Key).then(|| acceptor.clone());
            tokio::spawn(async move {
                let mut frames = match acceptor {
                    Some(acceptor) => frames(acceptor.accept(stream).await.expect("TLS")),
                    None => frames(stream),
                };
                while let Some(Ok(frame)) = frames.next().await {
                    if frames.send(BytesMut::freeze(frame)).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let bytes: Vec<String> = certificate.iter().map(u8::to_string).collect();
    format!("{port} {}", bytes.join(" "))
}

fn acceptor(certificate: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("ring has it")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("they are a pair");
    TlsAcceptor::from(Arc::new(server))
}

fn connector(certificate: CertificateDer<'static>) -> TlsConnector {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("it can be a root");
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("ring has it")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(client))
}

/// The asking end.
pub(crate) struct Echo(Frames);

impl Echo {
    pub(crate) async fn dial(served: &str, by: By) -> Self {
        let mut numbers = served.split_whitespace();
        let port: u16 = numbers
            .next()
            .and_then(|port| port.parse().ok())
            .expect("a port");
        let certificate: Vec<u8> = numbers.map(|byte| byte.parse().expect("a byte")).collect();
        let stream = TcpStream::connect(("127.0.0.1", port))
            .await
            .expect("it listens");
        stream.set_nodelay(true).expect("an open connection");
        Self(match by {
            By::Nothing => frames(stream),
            By::Key => {
                let name = ServerName::try_from(NAME).expect("a name");
                let connector = connector(certificate.into());
                frames(connector.connect(name, stream).await.expect("TLS"))
            }
        })
    }

    /// One round trip.
    pub(crate) async fn ask(&mut self, payload: &Bytes) -> Duration {
        let clock = BootClock;
        let began = clock.now();
        self.0.send(payload.clone()).await.expect("it is open");
        let frame = self.0.next().await.expect("it is open").expect("a frame");
        let took = clock.now().since(began);
        assert_eq!(frame.len(), payload.len());
        took
    }
}
