//! Raw streams between members.
//!
//! Whoever opens one has introduced itself as a member's incarnation; others are refused.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::timeout;
use wadi_core::member::Incarnation;
use wadi_core::transport::{Accepting, Bytestream, Dialling, NotDialled, Streams};

use super::open::Open;
use crate::stream::Audience;

/// The raw streams of one node.
pub(super) struct MemberStreams {
    open: Arc<Open>,
    kinds: Mutex<HashMap<&'static str, Taken>>,
}

/// The accepted streams of one kind, taken by one at a time.
type Taken = Arc<tokio::sync::Mutex<crate::stream::Streams>>;

impl MemberStreams {
    pub(super) fn new(open: Arc<Open>) -> Self {
        Self {
            open,
            kinds: Mutex::default(),
        }
    }

    /// `None` where somebody else has the kind.
    fn of_kind(&self, kind: &'static str) -> Option<Taken> {
        let mut kinds = self.kinds.lock();
        if let Some(taken) = kinds.get(kind) {
            return Some(taken.clone());
        }
        let streams = self.open.streams(kind, Audience::Members).ok()?;
        let taken = Arc::new(tokio::sync::Mutex::new(streams));
        kinds.insert(kind, taken.clone());
        Some(taken)
    }
}

impl Streams for MemberStreams {
    fn dial<'a>(
        &'a self,
        to: Incarnation,
        address: &'a str,
        kind: &'static str,
        within: Duration,
    ) -> Dialling<'a> {
        Box::pin(async move {
            let opened = timeout(within, self.open.open(address, Some(to), kind)).await;
            let opened = opened
                .map_err(|_| NotDialled(format!("{address} did not answer within {within:?}")))?;
            let stream = opened.map_err(|why| NotDialled(why.to_string()))?;
            Ok(Box::new(stream) as Box<dyn Bytestream>)
        })
    }

    fn accept(&self, kind: &'static str) -> Accepting<'_> {
        Box::pin(async move {
            let taken = self.of_kind(kind)?;
            let mut streams = taken.lock().await;
            loop {
                let stream = streams.next().await?;
                if let Some(from) = stream.peer().membership.incarnation {
                    return Some((from, Box::new(stream) as Box<dyn Bytestream>));
                }
            }
        })
    }
}

impl fmt::Debug for MemberStreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemberStreams(of {:?})", self.open)
    }
}
