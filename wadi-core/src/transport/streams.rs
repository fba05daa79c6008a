//! Raw streams of bytes between two nodes: what is proxied travels over them.
//!
//! They are authenticated and encrypted as messages are. Back-pressure is the connection's own; how
//! long a stream may be quiet, its user bounds.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::member::Incarnation;

/// A raw stream; closed when dropped, and in good order by its shutdown.
pub trait Bytestream: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin> Bytestream for T {}

/// The future of [`Streams::dial`].
pub type Dialling<'a> =
    Pin<Box<dyn Future<Output = Result<Box<dyn Bytestream>, NotDialled>> + Send + 'a>>;

/// The future of [`Streams::accept`].
pub type Accepting<'a> =
    Pin<Box<dyn Future<Output = Option<(Incarnation, Box<dyn Bytestream>)>> + Send + 'a>>;

/// Opens raw streams to other members, and takes those that they open to this node.
pub trait Streams: fmt::Debug + Send + Sync + 'static {
    /// A stream of this kind to exactly that incarnation, at that address. Safe to drop.
    fn dial<'a>(
        &'a self,
        to: Incarnation,
        address: &'a str,
        kind: &'static str,
        within: Duration,
    ) -> Dialling<'a>;

    /// The next stream of this kind that another member opened to this node; `None` when there will
    /// be no more. One task at a time calls it for one kind. Until the first call of a kind, streams
    /// of it are refused. Cancelled, it loses nothing.
    fn accept(&self, kind: &'static str) -> Accepting<'_>;
}

/// There is no stream. Nothing was carried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no stream to that node: {0}")]
pub struct NotDialled(pub String);
