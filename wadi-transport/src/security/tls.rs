//! Both sides of TLS, by keys or by certificates.
//!
//! TLS 1.3 only, both sides authenticated, and no resumption: no connection goes by what another one
//! has proved.

use std::sync::Arc;

use rustls::client::danger::DangerousClientConfigBuilder;
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::{ClientConfig, ConfigBuilder, ServerConfig, WantsVerifier};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::key::{Accepted, TransportKey};
use super::{Files, SecurityError};

/// Says on both sides that this is ours, so that no other server's traffic is led here.
const ALPN: &[u8] = b"wadi";

/// TLS of both ends of a connection.
#[derive(Clone)]
pub(crate) struct Ends {
    pub(super) acceptor: TlsAcceptor,
    pub(super) connector: TlsConnector,
}

impl Ends {
    pub(super) fn of_keys(keys: &[TransportKey]) -> Result<Self, SecurityError> {
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
