//! What can be wrong with a history.

use std::fmt;
use std::time::Duration;

/// Each has one meaning; what the user would have seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A live session's client was answered as if it had none, and the session was not seen again.
    Lost,
    /// The same, but the session lives on.
    SilentNew,
    /// Two answers that cannot belong to one session: a value given twice, lists that part.
    Fork,
    /// A read that misses what was acknowledged before it was asked.
    Stale,
    /// One write that counts twice.
    Duplicate,
    /// A value that nobody wrote into this session.
    Foreign,
    /// An id that had ended answered with its session's values.
    Resurrected,
    /// A login that was acknowledged and is not there.
    Login,
    /// An answer of a node that was cut off from the majority, asked when its lease was over.
    Alone,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost session",
            Self::SilentNew => "silent new session",
            Self::Fork => "fork",
            Self::Stale => "stale read",
            Self::Duplicate => "write counted twice",
            Self::Foreign => "foreign value",
            Self::Resurrected => "resurrection",
            Self::Login => "lost login",
            Self::Alone => "served without a lease",
        })
    }
}

/// One violation, and where to look for it in the nodes' logs.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) kind: Kind,
    /// `browser.session`
    pub(crate) session: String,
    /// Since the run began.
    pub(crate) at: Duration,
    pub(crate) text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            session,
            at,
            text,
        } = self;
        let at = at.as_secs_f64();
        write!(f, "{at:8.3} s  session {session}: {kind}: {text}")
    }
}
