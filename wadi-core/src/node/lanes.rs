//! The driver's queue: two lanes, both bounded, that take turns. What requests wait for does not stand
//! behind what nodes tell each other by the thousand, when one of them leaves.
//!
//! Within a lane order is kept; between the lanes there is none, as there is none between messages.

use std::fmt;
use std::task::{Context, Poll};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::given::Given;
use crate::member::Incarnation;
use crate::message::{Body, Message};
use crate::proof::Proof;
use crate::transport::Inbox;

/// Where what is given goes in; clones are the same.
#[derive(Clone)]
pub(super) struct Entrance {
    requests: mpsc::Sender<Given>,
    rest: mpsc::Sender<Given>,
}

/// Where the driver takes it.
pub(super) struct Lanes {
    requests: mpsc::Receiver<Given>,
    rest: mpsc::Receiver<Given>,
    /// Whose turn it is.
    requests_first: bool,
}

/// Both ends, with room for so much in each lane.
pub(super) fn lanes(room: usize) -> (Entrance, Lanes) {
    let room = room.max(1);
    let (to_requests, requests) = mpsc::channel(room);
    let (to_rest, rest) = mpsc::channel(room);
    let entrance = Entrance {
        requests: to_requests,
        rest: to_rest,
    };
    let lanes = Lanes {
        requests,
        rest,
        requests_first: true,
    };
    (entrance, lanes)
}

impl Entrance {
    /// Waits for room; whether somebody is there to take it.
    pub(super) async fn send(&self, given: Given) -> bool {
        self.lane_of(&given).send(given).await.is_ok()
    }

    /// Gives it back where there is no room for it.
    #[expect(
        clippy::result_large_err,
        reason = "it is what was given, and on its way anyway"
    )]
    pub(super) fn try_send(&self, given: Given) -> Result<(), Given> {
        let sent = self.lane_of(&given).try_send(given);
        sent.map_err(TrySendError::into_inner)
    }

    /// The lane for all that no request waits for.
    pub(super) const fn rest(&self) -> &mpsc::Sender<Given> {
        &self.rest
    }

    fn lane_of(&self, given: &Given) -> &mpsc::Sender<Given> {
        let is_of_a_request = match given {
            Given::Find { .. } | Given::Register { .. } => true,
            Given::Message { from, message, .. } => concerns_a_request(*from, message),
            _ => false,
        };
        if is_of_a_request {
            &self.requests
        } else {
            &self.rest
        }
    }
}

/// A request asks, here or elsewhere, or is answered. Who leaves asks on behalf of others.
fn concerns_a_request(from: Incarnation, message: &Message) -> bool {
    match &message.body {
        Body::Find { to, .. } => *to == from,
        Body::Register { .. } | Body::Answer { .. } | Body::Registered { .. } => true,
        _ => false,
    }
}

impl Lanes {
    /// What is there; of two lanes that have something, each in turn.
    pub(super) fn try_next(&mut self) -> Option<Given> {
        let next = if self.requests_first {
            self.requests.try_recv().or_else(|_| self.rest.try_recv())
        } else {
            self.rest.try_recv().or_else(|_| self.requests.try_recv())
        };
        self.requests_first = !self.requests_first;
        next.ok()
    }

    /// As [`Lanes::try_next`], and has the task woken when there is something.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Given> {
        let (first, second) = if self.requests_first {
            (&mut self.requests, &mut self.rest)
        } else {
            (&mut self.rest, &mut self.requests)
        };
        for lane in [first, second] {
            if let Poll::Ready(Some(given)) = lane.poll_recv(context) {
                self.requests_first = !self.requests_first;
                return Poll::Ready(given);
            }
        }
        Poll::Pending
    }
}

/// The queue's end for one incarnation's messages.
pub(super) struct Letterbox {
    pub(super) me: Incarnation,
    pub(super) queue: Entrance,
}

impl Inbox for Letterbox {
    fn arrived(&self, from: Incarnation, message: Message) -> Result<(), Message> {
        let given = Given::Message {
            to: self.me,
            from,
            message,
        };
        match self.queue.try_send(given) {
            Err(Given::Message { message, .. }) => Err(message),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn died(&self, who: Incarnation, proof: Proof) {
        let me = self.me;
        // A driver that has no room is told again.
        let _ = self.queue.try_send(Given::Died { me, who, proof });
    }
}

impl fmt::Debug for Letterbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Letterbox({:?})", self.me)
    }
}

impl fmt::Debug for Entrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entrance")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::oneshot;

    use super::*;
    use crate::message::Want;
    use crate::session::SessionId;

    fn find() -> Given {
        let (reply, _) = oneshot::channel();
        let id = SessionId::from_parts([1; 16], 1);
        let want = Want::Locate;
        Given::Find { id, want, reply }
    }

    fn is_find(given: Option<Given>) -> Option<bool> {
        given.map(|given| matches!(given, Given::Find { .. }))
    }

    #[test]
    fn lanes_that_both_have_something_take_turns_and_neither_takes_the_others_room() {
        let (entrance, mut lanes) = lanes(3);
        let entrance = Arc::new(entrance);
        assert!((0..3).all(|_| entrance.try_send(Given::Leased).is_ok()));
        assert!(entrance.try_send(Given::Leased).is_err(), "it is full");
        assert!((0..2).all(|_| entrance.try_send(find()).is_ok()));
        let order: Vec<_> = std::iter::from_fn(|| is_find(lanes.try_next())).collect();
        assert_eq!(order, [true, false, true, false, false]);
        assert!((0..2).all(|_| entrance.try_send(find()).is_ok()));
        assert_eq!(
            is_find(lanes.try_next()),
            Some(true),
            "nobody else is there"
        );
        assert_eq!(is_find(lanes.try_next()), Some(true));
        assert_eq!(is_find(lanes.try_next()), None);
    }
}
