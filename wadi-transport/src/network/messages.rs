//! Messages by incarnation: one link to every other member, and one inbox for what comes.
//!
//! A message goes to the incarnation that it is for, from the one that its sender introduced itself
//! as; between incarnations that are not both members now it goes nowhere.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use wadi_core::bucket::Layout;
use wadi_core::member::{Founding, Incarnation};
use wadi_core::message::Message;
use wadi_core::proof::Proof;
use wadi_core::transport::{Inbox, Transport};

use super::open::Open;
use crate::inbox::{Received, Take};
use crate::link::{Link, LinkState};
use crate::outgoing::SendError;
use crate::peer::Membership;
use crate::shared::Shared;
use crate::witness::{Watched, Witness};

/// The messages of one node.
pub(super) struct Messages {
    open: Arc<Open>,
    addressees: Arc<Addressees>,
    wanted: Mutex<Wanted>,
    links: RwLock<HashMap<Incarnation, Line>>,
}

/// Whoever received messages are for: at most one incarnation at a time. What is for an earlier one, or
/// of no member, nobody gets.
#[derive(Default)]
pub(super) struct Addressees {
    listening: RwLock<Option<Listening>>,
}

/// Who this node is, and where its messages go.
struct Listening {
    me: Incarnation,
    of: Founding,
    inbox: Arc<dyn Inbox>,
}

/// What links are kept by.
#[derive(Default)]
struct Wanted {
    layout: Option<Arc<Layout>>,
}

struct Line {
    address: String,
    link: Link<Message>,
}

impl Messages {
    /// Of the endpoint that was started for these addressees.
    pub(super) fn new(open: Arc<Open>, addressees: Arc<Addressees>) -> Self {
        Self {
            open,
            addressees,
            wanted: Mutex::default(),
            links: RwLock::default(),
        }
    }

    /// One link to every other member, and none to anybody else.
    fn keep_links(&self, wanted: &Wanted) {
        let me = self
            .addressees
            .listening
            .read()
            .as_ref()
            .map(|listening| listening.me);
        let (Some(me), Some(layout)) = (me, &wanted.layout) else {
            return;
        };
        let mut links = self.links.write();
        links.retain(|incarnation, line| {
            let member = layout.members.get(incarnation);
            *incarnation != me && member.is_some_and(|member| member.address == line.address)
        });
        for (incarnation, member) in &layout.members {
            if *incarnation == me || links.contains_key(incarnation) {
                continue;
            }
            let address = member.address.clone();
            let is_in_our_place = member.place.is_some() && member.place == self.open.place();
            let witness = self.addressees.clone();
            let watched = Watched::by(witness, *incarnation, is_in_our_place);
            match self.open.link_to(address.clone(), watched) {
                Ok(link) => {
                    links.insert(*incarnation, Line { address, link });
                }
                // It is tried again with the next layout, in which there may be fewer.
                Err(full) => tracing::error!("no link to {}: {full}", member.node),
            }
        }
    }
}

impl Transport for Messages {
    fn listen(&self, me: Incarnation, of: Founding, inbox: Arc<dyn Inbox>) {
        let wanted = self.wanted.lock();
        *self.addressees.listening.write() = Some(Listening { me, of, inbox });
        let layout = wanted.layout.as_ref();
        self.open.join(Membership {
            generation: layout.map_or(0, |layout| layout.version.generation()),
            incarnation: Some(me),
            founding: Some(of),
        });
        self.keep_links(&wanted);
    }

    fn members(&self, layout: &Arc<Layout>) {
        let mut wanted = self.wanted.lock();
        wanted.layout = Some(layout.clone());
        self.open.members(layout.members.keys().copied().collect());
        self.keep_links(&wanted);
    }

    fn is_connected(&self, to: Incarnation) -> bool {
        let links = self.links.read();
        let line = links.get(&to);
        line.is_some_and(|line| matches!(*line.link.state().borrow(), LinkState::Up(_)))
    }

    fn send(&self, to: Incarnation, message: Message) -> bool {
        let links = self.links.read();
        let Some(line) = links.get(&to) else {
            tracing::debug!("no message to {to:?}: it is no other member");
            return false;
        };
        let sent = line.link.add(&message);
        let was_taken = sent.is_ok();
        match sent {
            Ok(()) => {}
            Err(lost @ (SendError::NotConnected | SendError::Full)) => {
                tracing::debug!("no message to {to:?}: {lost}");
            }
            Err(never) => {
                let why = format_args!("no message to {to:?}: {never}");
                self.open.shared.journal.failed(&why, true);
            }
        }
        was_taken
    }

    fn flush(&self) {
        for line in self.links.read().values() {
            line.link.flush();
        }
    }
}

impl Witness for Addressees {
    fn ended(&self, who: Incarnation, proof: Proof) {
        if let Some(listening) = &*self.listening.read() {
            listening.inbox.died(who, proof);
        }
    }
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Messages({} links of {:?})",
            self.links.read().len(),
            self.open
        )
    }
}

impl Take<Message> for Addressees {
    fn take(&self, shared: &Shared, received: Received<Message>) -> Result<(), Received<Message>> {
        let listening = self.listening.read();
        let theirs = received.peer.membership;
        let (Some(listening), Some(from)) = (&*listening, theirs.incarnation) else {
            return Ok(());
        };
        let Listening { me, of, inbox } = listening;
        let is_for_me = received.to == Some(*me) && theirs.founding == Some(*of) && from != *me;
        if !is_for_me || !shared.members.read().has(from) {
            return Ok(());
        }
        let Received { peer, to, message } = received;
        let taken = inbox.arrived(from, message);
        taken.map_err(|message| Received { peer, to, message })
    }
}
