//! Both sides of TLS as every connection uses them.
//!
//! TLS 1.3 only, both sides authenticated, and no resumption: each connection is checked against the
//! keys of now.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rustls::client::danger::DangerousClientConfigBuilder;
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::{ClientConfig, ConfigBuilder, ServerConfig, WantsVerifier};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::key::{Accepted, TransportKey};
use super::objection::Objection;
use super::renewal::Renewal;
use super::{Files, Security, SecurityError};
use crate::greeting::Fruitless;
use crate::medium::Socket;

/// Says on both sides that this is ours, so that no other server's traffic is led here.
const ALPN: &[u8] = b"wadi";

/// How long, and how much, to listen to somebody who was refused.
const PARTING: Duration = Duration::from_secs(1);
const MOST_UNREAD: u64 = 16 * 1024;

/// What stands between a bare connection and the first frame.
#[derive(Clone)]
pub(crate) enum Guard {
    /// Nothing: loopback only.
    Open,
    /// TLS, as it is for the next connection.
    Tls(Arc<RwLock<Ends>>),
}

/// TLS of both ends of a connection.
#[derive(Clone)]
pub(super) struct Ends {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
}

impl Guard {
    /// Reads files where there are any, so it blocks for a moment; at a start that is fine. Files also
    /// have somebody who looks at them later.
    pub(crate) fn new(security: &Security) -> Result<(Self, Option<Renewal>), SecurityError> {
        Ok(match security {
            Security::Loopback => (Self::Open, None),
            Security::Keys(keys) => {
                let ends = Ends::of_keys(keys)?;
                (Self::Tls(Arc::new(RwLock::new(ends))), None)
            }
            Security::Files(files) => {
                let (ends, renewal) = Renewal::begin(files)?;
                (Self::Tls(ends), Some(renewal))
            }
        })
    }

    /// Whether strangers are kept out, so that other addresses than loopback may be used.
    pub(crate) fn keeps_out(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// The error is told as what it means for an operator.
    pub(crate) async fn accept(&self, socket: Socket) -> Result<Socket, Fruitless> {
        match self {
            Self::Open => Ok(socket),
            Self::Tls(ends) => {
                let acceptor = ends.read().acceptor.clone();
                match acceptor.accept(socket).into_fallible().await {
                    Ok(guarded) => Ok(Box::new(guarded)),
                    Err((cause, socket)) => {
                        // Its outcome is of no consequence: the reason was sent as well as it could be.
                        let _ = timeout(PARTING, part(socket)).await;
                        let told = Objection::told_by_acceptor(&cause);
                        Err(Fruitless::because(&cause, told))
                    }
                }
            }
        }
    }

    pub(crate) async fn connect(&self, socket: Socket) -> io::Result<Socket> {
        match self {
            Self::Open => Ok(socket),
            Self::Tls(ends) => {
                let connector = ends.read().connector.clone();
                // Never sent and never compared: the verifiers know whom they accept.
                let name = ServerName::try_from("wadi").map_err(io::Error::other)?;
                Ok(Box::new(connector.connect(name, socket).await?))
            }
        }
    }
}

impl Ends {
    fn of_keys(keys: &[TransportKey]) -> Result<Self, SecurityError> {
        let provider = provider();
        let pairs = keys.iter().map(|key| key.pair(&provider));
        let pairs = pairs.collect::<Result<Vec<_>, _>>()?;
        let used = pairs.first().ok_or(SecurityError::NoKey)?.clone();
        let accepted = Arc::new(Accepted::new(&pairs, &provider));
        let shown = AlwaysResolvesClientRawPublicKeys::new(used.clone());
        let client = client(&provider)?
            .with_custom_certificate_verifier(accepted.clone())
            .with_client_cert_resolver(Arc::new(shown));
        let shown = AlwaysResolvesServerRawPublicKeys::new(used);
        let server = server(&provider)?
            .with_client_cert_verifier(accepted)
            .with_cert_resolver(Arc::new(shown));
        Ok(Self::of(client, server))
    }

    /// Reads them.
    pub(super) fn of_files(files: &Files) -> Result<Self, SecurityError> {
        let provider = provider();
        let read = files.read(&provider)?;
        let client = client(&provider)?
            .with_custom_certificate_verifier(read.members.clone())
            .with_client_auth_cert(read.chain.clone(), read.key.clone_key())?;
        let server = server(&provider)?
            .with_client_cert_verifier(read.members)
            .with_single_cert(read.chain, read.key)?;
        Ok(Self::of(client, server))
    }

    fn of(mut client: ClientConfig, mut server: ServerConfig) -> Self {
        client.resumption = Resumption::disabled();
        client.enable_sni = false;
        client.alpn_protocols = vec![ALPN.to_vec()];
        server.send_tls13_tickets = 0;
        server.alpn_protocols = vec![ALPN.to_vec()];
        Self {
            acceptor: TlsAcceptor::from(Arc::new(server)),
            connector: TlsConnector::from(Arc::new(client)),
        }
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The verifiers are this crate's own: nobody's name is looked for in a certificate by its address.
fn client(provider: &Arc<CryptoProvider>) -> Result<DangerousClientConfigBuilder, rustls::Error> {
    let client = ClientConfig::builder_with_provider(provider.clone());
    Ok(client
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous())
}

fn server(
    provider: &Arc<CryptoProvider>,
) -> Result<ConfigBuilder<ServerConfig, WantsVerifier>, rustls::Error> {
    let server = ServerConfig::builder_with_provider(provider.clone());
    server.with_protocol_versions(&[&rustls::version::TLS13])
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "Guard(open)",
            Self::Tls(_) => "Guard(tls)",
        })
    }
}

/// Lets the other side read why it is refused: closing with bytes unread would reset the connection,
/// and the alert be lost.
async fn part(mut socket: Socket) -> io::Result<()> {
    socket.shutdown().await?;
    let mut rest = socket.take(MOST_UNREAD);
    tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
    Ok(())
}
