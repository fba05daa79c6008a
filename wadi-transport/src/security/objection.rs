//! What TLS has against the other side, in words that say what is to be mended.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// Why the two sides do not come together, where that can be mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Objection {
    /// One side does not accept the other's key or certificate, or has none.
    Key,
    /// A certificate is out of date, or not in force yet.
    Time,
    /// The other side does not speak TLS.
    NotTls,
}

impl Objection {
    /// What is behind this error; `None` when it is of another kind, such as a connection that broke.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        let tls = error.get_ref().and_then(|cause| cause.downcast_ref());
        match tls? {
            Error::AlertReceived(AlertDescription::CertificateExpired)
            | Error::InvalidCertificate(
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. },
            ) => Some(Self::Time),
            Error::AlertReceived(
                AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
                | AlertDescription::CertificateRequired
                | AlertDescription::DecryptError,
            )
            | Error::InvalidCertificate(_)
            | Error::NoCertificatesPresented
            | Error::PeerIncompatible(_) => Some(Self::Key),
            Error::InvalidMessage(_) => Some(Self::NotTls),
            _ => None,
        }
    }

    /// The acceptor's line about it.
    pub(crate) fn told_by_acceptor(error: &io::Error) -> String {
        match Self::of(error) {
            Some(Self::Key) => {
                format!("it has not the cluster's key, or does not accept ours: {error}")
            }
            Some(Self::Time) => format!(
                "a certificate shown is not in force now: renew it, and look at both machines' clocks: {error}"
            ),
            Some(Self::NotTls) => format!(
                "it does not speak TLS; if it is a node, it has no key: give all nodes the same cluster key ({error})"
            ),
            None => error.to_string(),
        }
    }
}
