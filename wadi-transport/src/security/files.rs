//! Certificates from files, and who is accepted by them.
//!
//! It never accepts what the cluster's own authority did not sign, whichever side dialled.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use super::{Files, SecurityError, no_tls12};

/// What the files hold.
pub(super) struct Read {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) members: Arc<Members>,
}

impl Files {
    pub(super) fn read(&self, provider: &Arc<CryptoProvider>) -> Result<Read, SecurityError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates("the authority's certificates", &self.authority)? {
            roots.add(certificate)?;
        }
        let chain = certificates("this node's certificate", &self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|cause| unreadable("this node's private key", &self.key, &cause))?;
        let name = self.member_name.as_ref().map(|name| {
            let parsed = ServerName::try_from(name.clone());
            match parsed {
                Ok(parsed @ ServerName::DnsName(_)) => Ok(parsed),
                _ => Err(SecurityError::MemberName(name.clone())),
            }
        });
        let roots = Arc::new(roots);
        let clients =
            WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build()?;
        let members = Members {
            roots,
            clients,
            name: name.transpose()?,
            algorithms: provider.signature_verification_algorithms,
        };
        Ok(Read {
            chain,
            key,
            members: Arc::new(members),
        })
    }
}

fn certificates(
    what: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, SecurityError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let read: Vec<_> = read.map_err(|cause| unreadable(what, path, &cause))?;
    if read.is_empty() {
        return Err(unreadable(what, path, &"there is none in it"));
    }
    Ok(read)
}

fn unreadable(what: &'static str, path: &Path, cause: &dyn std::fmt::Display) -> SecurityError {
    SecurityError::File {
        what,
        path: path.display().to_string(),
        cause: cause.to_string(),
    }
}

/// Accepts whom the cluster's authority certified, and who bears the members' name if there is one.
#[derive(Debug)]
pub(super) struct Members {
    roots: Arc<RootCertStore>,
    clients: Arc<dyn ClientCertVerifier>,
    name: Option<ServerName<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Members {
    fn check_name(&self, certificate: &ParsedCertificate<'_>) -> Result<(), Error> {
        match &self.name {
            Some(name) => verify_server_name(certificate, name),
            None => Ok(()),
        }
    }
}

impl ServerCertVerifier for Members {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _dialled: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(shown)?;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            more,
            now,
            self.algorithms.all,
        )?;
        self.check_name(&certificate)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _shown: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, shown, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Members {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.clients.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.clients.verify_client_cert(shown, more, now)?;
        self.check_name(&ParsedCertificate::try_from(shown)?)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _shown: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, shown, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
