//! What every connection goes through before its first frame, on both sides.
//!
//! Where there is TLS, each connection is checked against the keys of now. It never lets anybody by who was
//! not.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::objection::Objection;
use super::renewal::Renewal;
use super::tls::Ends;
use super::{Security, SecurityError};
use crate::greeting::Fruitless;
use crate::medium::Socket;

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
