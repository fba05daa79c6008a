//! The task that keeps this node in a cluster, once somebody wants it there: one part in the authority
//! after the other. It decides neither who is dead nor when to come back.

use std::sync::Arc;

use tokio::sync::watch;

use crate::authority::raft::{Gathering, Over, RaftAuthority};
use crate::bucket::Layout;
use crate::member::Incarnation;
use crate::node::listen::{Listener, PartEnd, Told};

/// This node's place in the authority.
#[derive(Clone, Debug)]
pub(super) enum Seat {
    /// None yet, or none at the moment; and whose it was.
    Empty {
        former: Option<Incarnation>,
    },
    Taken(Arc<RaftAuthority>),
    /// None any more.
    Closed,
}

/// What the driver wants.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    /// To be in a cluster.
    pub(super) begin: bool,
    /// As somebody else than this one, which is no member any more.
    pub(super) other_than: Option<Incarnation>,
}

pub(super) struct Keeper {
    pub(super) gathering: Arc<Gathering>,
    pub(super) seat: watch::Sender<Seat>,
    pub(super) layouts: watch::Sender<Option<Arc<Layout>>>,
    pub(super) wants: watch::Receiver<Wanted>,
    pub(super) listener: Arc<dyn Listener>,
}

impl Keeper {
    /// Until whoever wants anything is gone.
    pub(super) async fn keep(mut self) {
        let mut next = None;
        while self.wants.wait_for(|wanted| wanted.begin).await.is_ok() {
            let part = match next.take() {
                Some(joined) => joined,
                None => self.gathering.take_part().await,
            };
            self.seat.send_replace(Seat::Taken(Arc::clone(&part)));
            let me = part.incarnation();
            let ended = tokio::select! {
                () = pass_on(&part, &self.layouts) => Ended::Alone(PartEnd::Failed),
                over = self.gathering.over(&part) => Ended::Over(over),
                () = part.failed() => Ended::Alone(PartEnd::Failed),
                () = part.left_behind() => Ended::Alone(PartEnd::Behind),
                wanted = self.wants.wait_for(|wanted| wanted.other_than == Some(me)) => {
                    if wanted.is_err() {
                        return;
                    }
                    Ended::Unwanted
                }
            };
            if let Some(why) = ended.why() {
                self.listener.told(Told::PartEnded(why));
            }
            let may_found = match ended {
                // The driver goes on by the lease that it has, until it hears who it is next.
                Ended::Over(Over::Inherited(succession)) => {
                    self.gathering.inherit(&part, succession).await;
                    continue;
                }
                Ended::Over(Over::Met(joined)) => {
                    self.gathering.dissolve(&part, &joined).await;
                    next = Some(joined);
                    continue;
                }
                Ended::Over(Over::Lost(may_found) | Over::Untold(may_found)) => Some(may_found),
                Ended::Alone(_) | Ended::Unwanted => None,
            };
            self.seat.send_replace(Seat::Empty { former: Some(me) });
            match may_found {
                Some(may_found) => self.gathering.renounce(&part, may_found).await,
                None => self.gathering.retire(&part).await,
            }
        }
    }
}

/// How this node's part came to its end.
enum Ended {
    /// By itself.
    Alone(PartEnd),
    /// With its cluster, or with this node's place in it.
    Over(Over),
    /// The driver wants to be somebody else.
    Unwanted,
}

impl Ended {
    const fn why(&self) -> Option<PartEnd> {
        match self {
            Self::Alone(why) => Some(*why),
            Self::Over(Over::Lost(_)) => Some(PartEnd::Abandoned),
            Self::Over(Over::Untold(_)) => Some(PartEnd::Untold),
            Self::Over(Over::Inherited(succession)) if succession.is_certain() => {
                Some(PartEnd::Abandoned)
            }
            Self::Over(Over::Inherited(_)) => Some(PartEnd::Unreachable),
            Self::Over(Over::Met(_)) => Some(PartEnd::Dissolved),
            Self::Unwanted => None,
        }
    }
}

/// Passes on whatever is above all that was passed on before, for as long as the part lasts.
async fn pass_on(part: &RaftAuthority, to: &watch::Sender<Option<Arc<Layout>>>) {
    let mut layouts = part.layouts();
    loop {
        let layout = layouts.borrow_and_update().clone();
        let version = |layout: &Option<Arc<Layout>>| layout.as_ref().map(|l| l.version);
        to.send_if_modified(|known| {
            let is_later = version(&layout) > version(known);
            if is_later {
                known.clone_from(&layout);
            }
            is_later
        });
        if layouts.changed().await.is_err() {
            return;
        }
    }
}
