//! The authority among several nodes, as one node's driver sees it: founding, joining, coming back as
//! somebody new and going are done in here, whatever raft makes of them.
//!
//! What takes long is a task of its own, so whoever gives a call up loses nothing. It answers nothing
//! that is not agreed, and takes silence for no answer.

mod generations;
mod keeper;
mod reception;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::authority::{Answering, Authority, Unreachable};
use super::listen::Listener;
use crate::authority::raft::{
    Gathering, GatheringSettings, Generations, RaftAuthority, RaftSettings, Timing,
};
use crate::authority::{Answer, Charter, Command, Joined, NotAMember, OnQuorumLoss};
use crate::bucket::{Layout, LayoutVersion};
use crate::clock::Clock;
use crate::member::{Incarnation, NodeName, Place};
use crate::store::SessionStore;
use crate::transport::{Carrier, Discovery};
use generations::FromStore;
use keeper::{Keeper, Seat, Wanted};
use reception::Reception;

/// What a node agrees with others by.
#[derive(Clone, Debug)]
pub struct AgreementSettings {
    /// The node's name; at most 255 bytes, like its address.
    pub node: NodeName,
    /// Where other nodes reach it, exactly as it stands in their lists.
    pub address: String,
    /// Where it listens at exactly that address, if that is known.
    pub place: Option<Place>,
    /// The way to other nodes.
    pub carrier: Arc<dyn Carrier>,
    /// The node's clock, the same one that its driver reads.
    pub clock: Arc<dyn Clock>,
    /// What a cluster is founded with; the same on every node.
    pub charter: Charter,
    /// Who is told when this node's part ends by itself.
    pub listener: Arc<dyn Listener>,
    /// A cluster that this node founds is of this generation at least.
    ///
    /// Incarnations of one generation are numbered alike, and nobody joins a cluster that is not of a
    /// higher one than the last whose member it was. So it should be above that of every earlier start
    /// of which something is kept, or whose other nodes may still run. At most
    /// [`LayoutVersion::LAST_GENERATION`], which a higher one counts as; so the seconds of the wall clock
    /// are too many. Where it is not above that of another cluster of this name, the two become one all
    /// the same when they meet, only later.
    pub generation: u32,
    /// Where other nodes may be. No addresses: the node founds alone.
    pub discovery: Arc<dyn Discovery>,
    /// How many nodes found together, where the addresses are looked up by a name. `None`: as many as
    /// there are addresses. 1: it founds alone where nobody is found.
    pub found_with: Option<usize>,
    /// What this node does when it cannot reach those who agree for longer than a lease.
    pub on_quorum_loss: OnQuorumLoss,
    /// The store below all nodes, where there is one: it says of which generation a cluster is that is
    /// founded, so that its tenures are above those of every row that an earlier one left. While it does not
    /// answer none is founded anew; who is a member of one is not disturbed.
    pub store: Option<Arc<dyn SessionStore>>,
}

/// One node's authority, through all its incarnations.
///
/// A node with no addresses founds alone. With addresses it founds only together with a majority of
/// them, itself included, and only if it is one of them; otherwise it joins whom it finds there, and
/// waits until there is somebody. Who has once been a member founds again only if it was alone, or as an
/// heir of a cluster that is over: where most voters are proven dead, those that are left found the next
/// generation, a lease after that was known; where all are, the other members. With
/// [`OnQuorumLoss::Available`] also without proof, with whom it reaches. Where it meets a higher cluster of
/// its name, it joins that one.
///
/// Whoever takes part in a founding does nothing else meanwhile. Where somebody dies in the middle, the
/// others start over after four leases, which is as if they had been restarted: but who may have been
/// counted on first waits until a majority of the first members say that they are out of it. Should
/// those never come back, restart it.
pub struct Agreement {
    gathering: Arc<Gathering>,
    timing: Timing,
    seat: watch::Sender<Seat>,
    wanted: watch::Sender<Wanted>,
    layouts: watch::Sender<Option<Arc<Layout>>>,
    keeper: AbortHandle,
    is_closed: AtomicBool,
}

impl Agreement {
    /// A node that is in no cluster; it begins to look for one with its first [`Command::Join`]. From
    /// now on it answers the questions of other nodes.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time.
    #[must_use]
    pub fn new(settings: AgreementSettings) -> Arc<Self> {
        let carrier = Arc::clone(&settings.carrier);
        let timing = Timing::of(settings.charter.lease);
        let generations = settings.store.map(|store| {
            let (clock, listener) = (Arc::clone(&settings.clock), Arc::clone(&settings.listener));
            Arc::new(FromStore::new(store, clock, listener)) as Arc<dyn Generations>
        });
        let gathering = Arc::new(Gathering::new(GatheringSettings {
            raft: RaftSettings {
                node: settings.node,
                address: settings.address,
                place: settings.place,
                carrier: settings.carrier,
                clock: settings.clock,
                lease: settings.charter.lease,
            },
            charter: settings.charter,
            generation: settings.generation,
            discovery: settings.discovery,
            found_with: settings.found_with,
            on_quorum_loss: settings.on_quorum_loss,
            generations,
        }));
        let seat = watch::Sender::new(Seat::Empty { former: None });
        let layouts = watch::Sender::new(None);
        let (wanted, wants) = watch::channel(Wanted::default());
        let keeper = Keeper {
            gathering: Arc::clone(&gathering),
            seat: seat.clone(),
            layouts: layouts.clone(),
            wants,
            listener: settings.listener,
        };
        let keeper = tokio::spawn(keeper.keep()).abort_handle();
        // Weak, or carrier and agreement would keep each other.
        carrier.serve(Arc::new(Reception(Arc::downgrade(&gathering))));
        Arc::new(Self {
            gathering,
            timing,
            seat,
            wanted,
            layouts,
            keeper,
            is_closed: AtomicBool::new(false),
        })
    }

    /// This node's incarnation, once it is a member.
    #[must_use]
    pub fn incarnation(&self) -> Option<Incarnation> {
        self.part().map(|part| part.incarnation())
    }

    /// This node's part in the authority now, for the status page; `None` while it has none.
    #[must_use]
    pub fn part(&self) -> Option<Arc<RaftAuthority>> {
        match &*self.seat.borrow() {
            Seat::Taken(part) => Some(Arc::clone(part)),
            Seat::Empty { .. } | Seat::Closed => None,
        }
    }

    /// Goes in good order: says that it is gone, if that is not agreed yet, and gives its vote away
    /// where it has one; then closes. Called when the node itself acts no more. Takes `within` at
    /// most, or a little longer.
    pub async fn leave(&self, within: Duration) {
        let leaving = async {
            let Some(part) = self.part() else { return };
            let incarnation = part.incarnation();
            let left = Command::Left {
                incarnation,
                force: true,
            };
            let is_member = |layout: &Option<Arc<Layout>>| {
                let layout = layout.as_ref();
                layout.is_some_and(|layout| layout.is_member(incarnation))
            };
            let is_member = is_member(&part.layouts().borrow());
            if is_member {
                // Should that fail, its lease runs out.
                let _ = part.propose(left, within).await;
            }
            part.hand_over_vote(within).await;
        };
        let _ = tokio::time::timeout(within, leaving).await;
        self.close().await;
    }

    /// Ends it at once: takes part in nothing any more, tells nobody, and answers nobody. Later calls
    /// do nothing.
    pub async fn close(&self) {
        if self.is_closed.swap(true, Ordering::Relaxed) {
            return;
        }
        self.keeper.abort();
        let part = self.gathering.close();
        self.seat.send_replace(Seat::Closed);
        if let Some(part) = part {
            part.close().await;
        }
    }

    /// A lease that this node is granted from now on: its part may be older than the call, and the
    /// driver counts from its own.
    async fn join(&self) -> Result<Answer, Unreachable> {
        self.wanted.send_if_modified(|wanted| {
            let is_first = !wanted.begin;
            wanted.begin = true;
            is_first
        });
        let mut seat = self.seat.subscribe();
        loop {
            let taken = seat
                .wait_for(|seat| !matches!(seat, Seat::Empty { .. }))
                .await;
            let taken = taken.map_err(|_| Unreachable)?.clone();
            let Seat::Taken(part) = taken else {
                return Err(Unreachable);
            };
            let incarnation = part.incarnation();
            match part.renew(self.timing.change()).await {
                Ok(Ok(lease)) => {
                    return Ok(Answer::Joined(Joined {
                        incarnation,
                        founding: part.founding(),
                        lease,
                    }));
                }
                // It is no member any more.
                Ok(Err(_)) => {
                    self.wanted
                        .send_modify(|wanted| wanted.other_than = Some(incarnation));
                    let is_other =
                        |seat: &Seat| !matches!(seat, Seat::Taken(p) if Arc::ptr_eq(p, &part));
                    seat.wait_for(is_other).await.map_err(|_| Unreachable)?;
                }
                Err(_) => return Err(Unreachable),
            }
        }
    }

    async fn ask(&self, command: Command) -> Result<Answer, Unreachable> {
        // The authority that it was a member of is no more, and never answers it.
        if let (Command::Renew(who), Seat::Empty { former }) = (&command, &*self.seat.borrow())
            && *former == Some(*who)
        {
            return Ok(Answer::Renewed(Err(NotAMember::Tombstoned(*who))));
        }
        if let Command::DeclareDead {
            by,
            incarnation,
            proof,
        } = &command
        {
            // Also where nobody is left who could agree to it.
            self.gathering.died(*by, *incarnation, *proof);
        }
        let part = self.part().ok_or(Unreachable)?;
        if let Command::Renew(who) = command
            && who != part.incarnation()
        {
            return Ok(Answer::Renewed(Err(NotAMember::Tombstoned(who))));
        }
        let answer = part.propose(command, self.timing.change()).await;
        answer.map_err(|_| Unreachable)
    }
}

impl Authority for Agreement {
    fn command(&self, command: Command) -> Answering<'_, Answer> {
        Box::pin(async move {
            match command {
                Command::Join { .. } => self.join().await,
                command => self.ask(command).await,
            }
        })
    }

    fn layout_after(&self, known: Option<LayoutVersion>) -> Answering<'_, Arc<Layout>> {
        let mut layouts = self.layouts.subscribe();
        let mut seat = self.seat.subscribe();
        Box::pin(async move {
            let is_later = |layout: &Option<Arc<Layout>>| {
                let version = layout.as_ref().map(|layout| layout.version);
                version > known
            };
            tokio::select! {
                later = layouts.wait_for(is_later) => {
                    later.ok().and_then(|layout| layout.clone()).ok_or(Unreachable)
                }
                _ = seat.wait_for(|seat| matches!(seat, Seat::Closed)) => Err(Unreachable),
            }
        })
    }
}

impl Drop for Agreement {
    fn drop(&mut self) {
        self.keeper.abort();
        // Its raft ends with its last owner.
        drop(self.gathering.close());
    }
}

impl fmt::Debug for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Agreement").field(&self.part()).finish()
    }
}
