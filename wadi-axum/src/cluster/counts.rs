//! What happened to requests whose session was not simply here: numbers for metrics and the status.
//!
//! A request whose session is here touches none of them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counts {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        #[derive(Debug, Default)]
        pub(crate) struct Counts { $($(#[doc = $doc])* pub(crate) $name: Count,)* }

        /// How many requests were served in which way since the node's start.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
        #[non_exhaustive]
        pub struct RequestCounts { $($(#[doc = $doc])* pub $name: u64,)* }

        #[cfg(feature = "metrics")]
        impl RequestCounts {
            /// Each number with its name.
            pub(crate) fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }

        impl Counts {
            pub(crate) fn read(&self) -> RequestCounts {
                RequestCounts { $($name: self.$name.0.load(Relaxed),)* }
            }
        }
    };
}

counts! {
    /// Sessions that were created.
    created,
    /// Requests whose session came to this node for them.
    migrated,
    /// Requests whose session came to this node out of the store that all nodes share, for them.
    promoted,
    /// Requests that went to another node.
    proxied_out,
    /// Requests that came by way of another node.
    proxied_in,
    /// Requests that came by way of another node, and whose session was not here either.
    misdirected,
    /// Requests whose clients were sent to another node with them.
    redirected,
    /// Sessions that followed the requests to this node.
    followed,
    /// Requests whose session was nowhere any more.
    absent,
    /// Of these, requests whose session was lost.
    lost,
    /// Requests that were answered 503, because nobody could say where their session is, or it could
    /// not be had.
    unavailable,
}

/// One number.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn one(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}
