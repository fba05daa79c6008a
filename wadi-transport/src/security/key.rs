//! A key pair that every node derives from the cluster's one secret, and who is accepted by it.
//!
//! The pair is Ed25519 and is shown as a raw public key (RFC 7250): there is no certificate to make,
//! to renew or to expire. Whoever cannot sign with an accepted key is not spoken to. The secret is
//! kept nowhere, and nothing of a key is ever printed.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer,
    UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use zeroize::Zeroizing;

use super::no_tls12;

const CONTEXT: &str = "wadi 2026 cluster transport ed25519 v1";

/// What stands before the 32 bytes of an Ed25519 private key in PKCS #8 (RFC 8410).
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// A key of the cluster, derived from its secret for this one purpose.
#[derive(Clone)]
pub struct TransportKey(Zeroizing<[u8; 32]>);

impl TransportKey {
    /// The fewest bytes that [`TransportKey::from_secret`] takes.
    pub const MIN_BYTES: usize = 32;

    /// A key from a secret of at least 32 bytes, any more of them counting too; `None` when it is
    /// shorter.
    ///
    /// The secret must be random, not thought up: whoever can reach a node's cluster address is
    /// shown the public key, and can try secrets against it at leisure.
    #[must_use]
    pub fn from_secret(secret: &[u8]) -> Option<Self> {
        (secret.len() >= Self::MIN_BYTES)
            .then(|| Self(Zeroizing::new(blake3::derive_key(CONTEXT, secret))))
    }

    /// The pair, as TLS wants it.
    pub(super) fn pair(&self, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, Error> {
        let mut document = Zeroizing::new([0; 48]);
        document[..16].copy_from_slice(&PKCS8);
        document[16..].copy_from_slice(&*self.0);
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(&document[..])).clone_key();
        let signing = provider.key_provider.load_private_key(private)?;
        let public = signing.public_key().ok_or(Error::General(
            "the signing key does not tell its public key".to_owned(),
        ))?;
        let shown = CertificateDer::from(public.as_ref().to_vec());
        Ok(Arc::new(CertifiedKey::new(vec![shown], signing)))
    }
}

impl fmt::Debug for TransportKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TransportKey(…)")
    }
}

/// Accepts exactly these public keys, on either side of a connection.
#[derive(Debug)]
pub(super) struct Accepted {
    public: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// The other side's key is none of ours.
#[derive(Debug, thiserror::Error)]
#[error("its key is not derived from an accepted cluster key")]
pub(super) struct NotOurs;

impl Accepted {
    /// The public halves of `pairs`.
    pub(super) fn new(pairs: &[Arc<CertifiedKey>], provider: &CryptoProvider) -> Self {
        let public = pairs.iter().flat_map(|pair| pair.cert.iter().cloned());
        Self {
            public: public.collect(),
            algorithms: provider.signature_verification_algorithms,
        }
    }

    fn check(&self, shown: &CertificateDer<'_>, more: &[CertificateDer<'_>]) -> Result<(), Error> {
        // What is compared is public, so the comparison's time tells nothing.
        if more.is_empty() && self.public.iter().any(|public| public == shown) {
            return Ok(());
        }
        let not_ours = OtherError(Arc::new(NotOurs));
        Err(Error::InvalidCertificate(CertificateError::Other(not_ours)))
    }

    fn check_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let public = SubjectPublicKeyInfoDer::from(shown.as_ref());
        verify_tls13_signature_with_raw_key(message, &public, signature, &self.algorithms)
    }
}

impl ServerCertVerifier for Accepted {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(shown, more)
            .map(|()| ServerCertVerified::assertion())
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
        self.check_signature(message, shown, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Accepted {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(shown, more)
            .map(|()| ClientCertVerified::assertion())
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
        self.check_signature(message, shown, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_gives_one_pair_everywhere_and_is_not_printed() {
        let provider = rustls::crypto::ring::default_provider();
        let shown = |secret: &[u8]| {
            let key = TransportKey::from_secret(secret).unwrap();
            assert_eq!(format!("{key:?}"), "TransportKey(…)");
            key.pair(&provider).unwrap().cert[0].clone()
        };
        assert_eq!(shown(&[1; 32]), shown(&[1; 32]));
        assert_ne!(shown(&[1; 32]), shown(&[2; 32]));
        assert_ne!(shown(&[1; 32]), shown(&[1; 33]));
        assert!(TransportKey::from_secret(&[1; 31]).is_none());
    }
}
