//! Messages by incarnation: one link to every other member, and one inbox for what comes.
//!
//! A message goes to the incarnation that it is for, from the one that its sender introduced itself
//! as; between incarnations that are not both members now it goes nowhere.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use wadi_core::bucket::Layout;
use wadi_core::member::{Founding, Incarnation};
use wadi_core::message::Message;
use wadi_core::transport::{Inbox, Transport};

use super::open::Open;
use crate::connection::Received;
use crate::endpoint::Incoming;
use crate::link::Link;
use crate::outgoing::SendError;
use crate::peer::Membership;
use crate::shared::Shared;

/// How long a full inbox is waited for before messages are dropped.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(1);

/// Messages taken at a time from what has come.
const TOGETHER: usize = 64;

/// The messages of one node.
pub(super) struct Messages {
    open: Arc<Open>,
    listening: Arc<RwLock<Option<Listening>>>,
    wanted: Mutex<Wanted>,
    links: RwLock<HashMap<Incarnation, Line>>,
}

/// Who this node is, and where its messages go.
#[derive(Clone)]
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
    pub(super) fn new(open: Arc<Open>, incoming: Incoming<Message>) -> Self {
        let listening = Arc::new(RwLock::new(None));
        let shared = open.shared.clone();
        let delivered = deliver(shared.clone(), incoming, listening.clone());
        shared.spawn(delivered);
        Self {
            open,
            listening,
            wanted: Mutex::default(),
            links: RwLock::default(),
        }
    }

    /// One link to every other member, and none to anybody else.
    fn keep_links(&self, wanted: &Wanted) {
        let me = self.listening.read().as_ref().map(|listening| listening.me);
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
            match self.open.link(address.clone(), Some(*incarnation)) {
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
        *self.listening.write() = Some(Listening { me, of, inbox });
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

    fn send(&self, to: Incarnation, message: Message) -> bool {
        let links = self.links.read();
        let Some(line) = links.get(&to) else {
            tracing::debug!("no message to {to:?}: it is no other member");
            return false;
        };
        let sent = line.link.send(&message);
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

/// Gives the inbox what comes, until the endpoint ends.
async fn deliver(
    shared: Arc<Shared>,
    mut incoming: Incoming<Message>,
    listening: Arc<RwLock<Option<Listening>>>,
) {
    let mut is_patient = true;
    let mut together = Vec::with_capacity(TOGETHER);
    while incoming.receive(&mut together, TOGETHER).await > 0 {
        for received in together.drain(..) {
            let Some((from, inbox)) = addressee(&shared, &listening, &received) else {
                continue;
            };
            let Received { message, .. } = received;
            is_patient = give(&*inbox, from, message, is_patient).await;
        }
    }
}

/// Whose it is, and who sent it; `None` where it is for an earlier incarnation, or of no member.
fn addressee(
    shared: &Shared,
    listening: &RwLock<Option<Listening>>,
    received: &Received<Message>,
) -> Option<(Incarnation, Arc<dyn Inbox>)> {
    let listening = listening.read();
    let Listening { me, of, inbox } = listening.as_ref()?;
    let theirs = received.peer.membership;
    let from = theirs.incarnation?;
    let is_for_me = received.to == Some(*me) && theirs.founding == Some(*of) && from != *me;
    (is_for_me && shared.members.read().has(from)).then(|| (from, inbox.clone()))
}

/// Gives one message, and tells whether there was room for it.
///
/// While there is none, nothing more is read of anybody, so the senders' queues fill and they ask
/// again later. That is right for a moment: all messages go into this one inbox. An inbox that stays
/// full is not waited for again before it has taken something, so nothing here stops for good.
async fn give(inbox: &dyn Inbox, from: Incarnation, message: Message, is_patient: bool) -> bool {
    if !is_patient {
        return inbox.arrived(from, message);
    }
    // It is lost in an inbox without room, so what is given is a copy. What is large in a message is
    // shared by its copies.
    for _ in 0..PATIENCE.as_millis() / LOOK.as_millis() {
        if inbox.arrived(from, message.clone()) {
            return true;
        }
        tokio::time::sleep(LOOK).await;
    }
    inbox.arrived(from, message)
}
