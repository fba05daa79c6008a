//! What stands for proxying where this crate is built without `serve`: there is none, and every
//! session comes to its request.

use std::convert::Infallible;
use std::sync::Arc;

use http::{Request, Response};
use wadi_core::clock::Clock;
use wadi_core::member::Incarnation;
use wadi_core::session::{Origin, SessionId};

use super::Cluster;
use crate::layer_id::LayerId;
use crate::served::Served;

/// No request may be sent to another node.
pub(crate) struct Load(Infallible);

/// No response comes from another node.
pub(crate) struct Answer(Infallible);

/// No request comes from another node.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) via: Incarnation,
    pub(crate) layer: LayerId,
    pub(crate) hops: u8,
    pub(crate) wants: Wants,
    never: Infallible,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wants {
    Session,
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Follow,
    At(Incarnation),
    Absent(Origin),
    Unavailable,
    Unable,
}

impl Verdict {
    pub(crate) const fn of_missing(origin: Origin) -> Self {
        Self::Absent(origin)
    }
}

#[expect(dead_code, reason = "nothing is sent")]
pub(crate) enum Sent {
    Answered { answer: Answer, follow: bool },
    Refused(Verdict),
    Unsent,
    Failed,
}

pub(crate) struct Unreadable(Infallible);

#[derive(Debug)]
pub(crate) struct Pool;

impl Pool {
    pub(crate) fn new(_: Arc<dyn Clock>) -> Self {
        Self
    }

    pub(crate) const fn is_left_alone(&self, _: Incarnation) -> bool {
        true
    }
}

impl Load {
    #[expect(
        clippy::extra_unused_type_parameters,
        reason = "it matters where there is proxying"
    )]
    pub(crate) const fn take<Req: 'static, Res: 'static>(
        request: Request<Req>,
    ) -> (Option<Self>, Option<Request<Req>>) {
        (None, Some(request))
    }

    pub(crate) fn give_back<Req>(self) -> Option<Request<Req>> {
        match self.0 {}
    }

    pub(crate) async fn can_be_repeated(&mut self) -> Result<bool, Unreadable> {
        match self.0 {}
    }

    pub(crate) const fn is_spent(&self) -> bool {
        match self.0 {}
    }
}

impl Answer {
    pub(crate) fn unreadable() -> Self {
        unreachable!("no request was read")
    }

    pub(crate) fn into_response<Res>(self) -> Option<Response<Res>> {
        match self.0 {}
    }
}

impl Arrived {
    pub(crate) const fn is_new(&self) -> bool {
        match self.never {}
    }

    pub(crate) fn answer(&self, _: Verdict) {
        match self.never {}
    }
}

impl Cluster {
    pub(crate) const fn may_redirect(&self, load: &Load) -> bool {
        match load.0 {}
    }

    pub(crate) async fn redirect(
        &self,
        load: &Load,
        _: SessionId,
        _: Incarnation,
        _: &Served,
    ) -> Option<Answer> {
        match load.0 {}
    }

    pub(crate) async fn send(&self, load: &mut Load, _: Incarnation, _: Wants, _: u8) -> Sent {
        match load.0 {}
    }
}
