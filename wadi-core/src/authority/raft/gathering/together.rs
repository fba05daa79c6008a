//! A founding by several, at each of them: from the invitation until the cluster is there, or until it
//! is certain enough that it never will be.
//!
//! The founder has everybody stand by before it lets them vote, and nothing is founded before
//! everybody is known to hold who votes. So who was told nothing may go at any time: nothing can come
//! of it any more. Who was told must not back somebody else while the others may be founded without
//! it: it renounces, and waits until a majority of the first voters are out of it, too.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time;

use super::around::Around;
use super::{Founded, Gathering, Here, MayFound};
use crate::authority::raft::founding::{Decision, Founders};
use crate::authority::raft::message::{Body, Invitation, Part, Present, Reply};
use crate::authority::raft::node::RaftAuthority;
use crate::authority::raft::types::{Found, Founder, draw_founding};

impl Invitation {
    /// The first member at this place.
    pub(super) fn part(&self, place: usize) -> Part {
        Part {
            cluster: self.found.founding,
            incarnation: self.found.incarnation(place),
        }
    }
}

impl Gathering {
    /// This node founds with these, itself among them, who all wait; unless it was invited meanwhile.
    /// What it takes part in, and what the others are to be asked.
    pub(super) fn found_with(
        &self,
        backers: &BTreeSet<String>,
        around: &Around,
    ) -> Option<(Invitation, Vec<Invitation>)> {
        let own = &self.settings.raft;
        let mut generation = self.past.lock().generation;
        let mut first = vec![Founder {
            node: own.node.clone(),
            address: own.address.clone(),
            place: own.place,
        }];
        let mut starts = Vec::new();
        for address in backers.iter().filter(|address| **address != own.address) {
            let Some(Present::Waiting {
                node,
                start,
                generation: at_least,
                place,
                ..
            }) = around.0.get(address)
            else {
                return None;
            };
            generation = generation.max(*at_least);
            starts.push(*start);
            first.push(Founder {
                node: node.clone(),
                address: address.clone(),
                place: *place,
            });
        }
        let addresses: Vec<_> = first.iter().map(|f| f.address.clone()).collect();
        let former = self.former(&addresses, around);
        let found = Found {
            charter: self.settings.charter,
            founding: draw_founding().ok()?,
            generation,
            first,
        };
        let invite = |place, start| Invitation {
            found: found.clone(),
            place,
            start,
            former: former.clone(),
        };
        let places = starts.into_iter().zip(1..);
        let others = places.map(|(start, place)| invite(place, start)).collect();
        let mut here = self.here.lock();
        let Here::Waiting { start, .. } = &*here else {
            return None;
        };
        let own = invite(0, *start);
        *here = Here::Founding(Box::new(own.clone()), None);
        Some((own, others))
    }

    /// Takes part in a founding until this node is a member. `None`: nothing comes of it, and this
    /// node is out of it for good.
    pub(super) async fn see_through(
        &self,
        own: Invitation,
        others: Vec<Invitation>,
    ) -> Option<Arc<RaftAuthority>> {
        let settings = self.settings.raft.clone();
        let stands_by = RaftAuthority::stand_by(settings, &own.found, own.place).await;
        let Ok(part) = stands_by else {
            self.become_now(Here::Apart);
            return None;
        };
        self.become_now(Here::Founding(
            Box::new(own.clone()),
            Some(Arc::clone(&part)),
        ));
        let is_begun = own.place > 0
            || self.all_stand_by(others).await && part.begin(&own.found).await.is_ok();
        if is_begun && self.is_founded(&own, &part).await {
            self.past.lock().founded = Founded::by(&own);
            return Some(part);
        }
        part.close().await;
        self.become_now(Here::Apart);
        // Only now, when it is told nothing more, is it certain.
        if part.was_told() {
            return self.renounced(&own).await;
        }
        None
    }

    /// Whether everybody who is invited stands by, within a lease.
    async fn all_stand_by(&self, others: Vec<Invitation>) -> bool {
        let mut inviting = JoinSet::new();
        for invitation in others {
            let Some(backer) = invitation.found.first.get(invitation.place) else {
                return false;
            };
            let (address, pause) = (backer.address.clone(), self.timing.longest_pause());
            let ask = || self.ask(address.clone(), Body::Invite(invitation.clone()));
            // The same question may be asked more often: whoever stands by says so again.
            let attempts = [ask(), ask(), ask()];
            inviting.spawn(async move {
                for attempt in attempts {
                    match attempt.await {
                        Some(Reply::Invited(stands_by)) => return stands_by,
                        Some(_) => return false,
                        None => time::sleep(pause).await,
                    }
                }
                false
            });
        }
        let all = async {
            while let Some(stands_by) = inviting.join_next().await {
                if !matches!(stands_by, Ok(true)) {
                    return false;
                }
            }
            true
        };
        time::timeout(self.settings.raft.lease, all)
            .await
            .unwrap_or(false)
    }

    /// Waits for the founding to be complete; `false` when that is not to be expected any more.
    async fn is_founded(&self, own: &Invitation, part: &RaftAuthority) -> bool {
        let mut layouts = part.layouts();
        let since = self.settings.raft.clock.now();
        loop {
            let founded = layouts.wait_for(Option::is_some);
            let founded = time::timeout(self.timing.attempt(), founded).await;
            if founded.is_ok_and(|founded| founded.is_ok()) {
                return true;
            }
            // In this order: who was told knows that everybody stood by when they answered.
            let was_told = part.was_told();
            let around = self.ask_around(addresses(own)).await;
            let founder = own.found.first.first();
            let founder_is_out = self.is_proven(own.former.as_ref(), 0)
                || founder.is_some_and(|founder| around.is_gone(&founder.address, own.part(0)));
            let waited = self.settings.raft.clock.now().since(since);
            if waited >= self.timing.founding()
                || founder_is_out && !was_told
                || was_told && self.is_over(own, &around)
            {
                return false;
            }
        }
    }

    /// Waits until nobody can go on with the founding that this node has left: most of its first
    /// members are out of it; or until this node has joined a cluster. That it heard of one is not
    /// enough: that may be what came of the founding, and is perhaps never heard again.
    async fn renounced(&self, own: &Invitation) -> Option<Arc<RaftAuthority>> {
        loop {
            let around = self.ask_around(addresses(own)).await;
            if self.is_over(own, &around) {
                return None;
            }
            let (_, around) = self.look_around().await;
            let decision =
                Founders::nobody().decide(&self.settings.raft.address, &around.presences());
            if let Decision::Join(address) = decision
                && let Some(part) = self.join_through(&around, &address).await
            {
                self.past.lock().may_found = MayFound::Never;
                return Some(part);
            }
            time::sleep(self.timing.longest_pause()).await;
        }
    }

    /// Whether a majority of the first members are out of the founding, this node counted as such.
    fn is_over(&self, own: &Invitation, around: &Around) -> bool {
        let first = own.found.first.iter().enumerate();
        let out = first.filter(|(place, founder)| {
            *place == own.place
                || self.is_proven(own.former.as_ref(), *place)
                || around.is_gone(&founder.address, own.part(*place))
        });
        out.count() * 2 > own.found.first.len()
    }
}

/// Where the other first members are.
fn addresses(own: &Invitation) -> impl Iterator<Item = String> + '_ {
    let first = own.found.first.iter().enumerate();
    let others = first.filter(|(place, _)| *place != own.place);
    others.map(|(_, founder)| founder.address.clone())
}
