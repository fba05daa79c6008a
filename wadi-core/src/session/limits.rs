//! What one session, and one node's sessions together, may use; and when a session ends by itself.
//!
//! Plain numbers: relations between them are checked where the configuration is built.

use std::time::Duration;

use crate::clock::Moment;

/// Times and budgets of the sessions of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A session that nobody asked for during this time ends. Default 30 minutes.
    pub idle: Duration,
    /// A session ends this long after it was created, however busy. Default 24 hours.
    pub absolute: Duration,
    /// The idle limit of a session whose cookie never came back: a client that keeps no cookies
    /// leaves one session with each request. Only ever shortens `idle`, and no expiry that the
    /// program set. Default 10 minutes.
    pub idle_unreturned: Duration,
    /// A session idle for this time is frozen: its live values are replaced by their encoding.
    /// Default 60 seconds.
    pub freeze_after: Duration,
    /// How long a request waits for a session that others hold. Default 5 seconds.
    pub lock_wait: Duration,
    /// The most that one session's attributes may take, in encoded bytes. At most 1 GiB. Default
    /// 1 MiB.
    pub max_session_bytes: usize,
    /// The most sessions that this node holds: above it, none is created and none fetched from another
    /// node; what others bring, because they leave, it takes. Default ten million.
    pub max_sessions: usize,
    /// How many ended sessions are remembered, so that their clients learn why they are gone.
    /// Default 65,536.
    pub remembered_endings: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(30 * 60),
            absolute: Duration::from_secs(24 * 60 * 60),
            idle_unreturned: Duration::from_secs(10 * 60),
            freeze_after: Duration::from_secs(60),
            lock_wait: Duration::from_secs(5),
            max_session_bytes: 1 << 20,
            max_sessions: 10_000_000,
            remembered_endings: 1 << 16,
        }
    }
}

/// When one session ends by itself, where that differs from its node's [`Limits`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expiry {
    /// As the node's limits say, both of them: a session older than the absolute one ends at once.
    #[default]
    Default,
    /// After this long without a request; the node's absolute limit holds.
    OnInactivity(Duration),
    /// This long from now, however busy, and also when idle for all of it.
    After(Duration),
}

/// The two ends of one session, kept with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lifetime {
    /// Its own idle limit; `None` for the node's.
    pub(super) idle: Option<IdleLimit>,
    /// Its absolute end.
    pub(super) ends: Moment,
    /// Where the node's own limit puts that end, for when nothing else is wanted any more.
    pub(super) node_ends: Moment,
}

/// An idle limit in nanoseconds, at least one.
pub(super) type IdleLimit = std::num::NonZeroU64;

impl Lifetime {
    pub(super) fn new(limits: &Limits, now: Moment) -> Self {
        let ends = now + limits.absolute;
        Self {
            idle: None,
            ends,
            node_ends: ends,
        }
    }

    /// The lifetime that `expiry` asks for; `None` when it would be none at all.
    pub(super) fn changed(self, expiry: Expiry, limits: &Limits, now: Moment) -> Option<Self> {
        match expiry {
            Expiry::Default => Some(Self {
                idle: None,
                ends: self.node_ends,
                ..self
            }),
            Expiry::OnInactivity(idle) => Some(Self {
                idle: Some(limit(idle)?),
                ends: self.node_ends,
                ..self
            }),
            Expiry::After(time) => Some(Self {
                idle: Some(limit(time.max(limits.idle))?),
                ends: now + Duration::from_nanos(limit(time)?.get()),
                ..self
            }),
        }
    }

    /// The idle limit that holds, for a session whose cookie has come back or not. One that the
    /// program set holds in either case.
    pub(super) fn idle(&self, limits: &Limits, returned: bool) -> Duration {
        match self.idle {
            Some(own) => Duration::from_nanos(own.get()),
            None if returned => limits.idle,
            None => limits.idle.min(limits.idle_unreturned),
        }
    }
}

fn limit(time: Duration) -> Option<IdleLimit> {
    IdleLimit::new(nanos(time))
}

/// A time in nanoseconds; saturates after about 584 years.
#[inline]
pub(super) const fn nanos(time: Duration) -> u64 {
    time.as_secs()
        .saturating_mul(1_000_000_000)
        .saturating_add(time.subsec_nanos() as u64)
}
