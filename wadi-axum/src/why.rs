//! Why a request was answered 503 instead of having its session, for whoever reads `x-wadi` or the log.

/// Why a request could not have its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// This node may not act now.
    Lapsed,
    /// This node is no member of its cluster yet, or any more.
    NoMember,
    /// Others hold the session for too long.
    InUse,
    /// Nobody could say in time where the session is.
    NobodySays,
    /// The session stays where it is, and the request cannot go there.
    NoWay,
    /// The session was somewhere else each time.
    Moving,
    /// The node that the request was sent to did not answer: it may have been executed.
    NoAnswer,
    /// There is nobody to create a session.
    NoCreator,
    /// Nobody has confirmed in time that the session is here: the request was executed, and whether what
    /// it wrote stands is unknown.
    Unconfirmed,
    /// The session is on another node, and neither goes to the other here: so it is configured.
    Elsewhere,
    /// The store in which the session may be gave no answer; in a cluster: nobody could say in time where the
    /// session is, and this node has no answers from the store.
    Store,
    /// The application was not ready in time, while the request already had its session.
    NotReady,
}

impl Why {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Lapsed => "lapsed",
            Self::NoMember => "no-member",
            Self::InUse => "in-use",
            Self::NobodySays => "nobody-says",
            Self::NoWay => "no-way",
            Self::Moving => "moving",
            Self::NoAnswer => "no-answer",
            Self::NoCreator => "no-creator",
            Self::Unconfirmed => "unconfirmed",
            Self::Elsewhere => "elsewhere",
            Self::Store => "store",
            Self::NotReady => "not-ready",
        }
    }
}
