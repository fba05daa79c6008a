//! Whoever other nodes reach here with their questions. It answers for as long as there is somebody to
//! answer for.

use std::sync::Weak;

use bytes::Bytes;

use crate::authority::raft::{Gathering, RaftAuthority};
use crate::transport::{Answering, Answers};

#[derive(Debug)]
pub(super) struct Reception(pub(super) Weak<Gathering>);

impl Answers for Reception {
    fn answer(&self, message: Bytes) -> Answering<'_> {
        Box::pin(async move {
            match self.0.upgrade() {
                Some(gathering) => gathering.answer(message).await,
                None => RaftAuthority::not_here(),
            }
        })
    }
}
