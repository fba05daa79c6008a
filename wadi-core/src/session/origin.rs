//! What a request's session was before the request; the handler can see it.

/// What a request's session was before the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// There was none: no cookie, or one that is not ours.
    New,
    /// It was there.
    Existing,
    /// The client had one, and its time ran out.
    Expired,
    /// The client had one, and it was destroyed, or its id renewed.
    Destroyed,
    /// The client had one, as its cookie proves, and nobody has it any more: it was lost, or ended
    /// longer ago than endings are remembered.
    Lost,
}
