//! The task that keeps this node in a cluster, once somebody wants it there: one part in the authority
//! after the other. It decides neither who is dead nor when to come back.

use std::sync::Arc;

use tokio::sync::watch;

use crate::authority::raft::{Gathering, RaftAuthority};
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
        while self.wants.wait_for(|wanted| wanted.begin).await.is_ok() {
            let part = self.gathering.take_part().await;
            self.seat.send_replace(Seat::Taken(Arc::clone(&part)));
            let me = part.incarnation();
            let mut lost = None;
            let ended = tokio::select! {
                () = pass_on(&part, &self.layouts) => Some(PartEnd::Failed),
                may_found = self.gathering.lost(&part) => {
                    lost = Some(may_found);
                    Some(PartEnd::Abandoned)
                }
                () = part.failed() => Some(PartEnd::Failed),
                () = part.left_behind() => Some(PartEnd::Behind),
                wanted = self.wants.wait_for(|wanted| wanted.other_than == Some(me)) => {
                    if wanted.is_err() {
                        return;
                    }
                    None
                }
            };
            if let Some(why) = ended {
                self.listener.told(Told::PartEnded(why));
            }
            self.seat.send_replace(Seat::Empty { former: Some(me) });
            match lost {
                Some(may_found) => self.gathering.renounce(&part, may_found).await,
                None => self.gathering.retire(&part).await,
            }
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
