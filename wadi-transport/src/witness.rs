//! What a link sees of the process that it is connected to, and who is told when that has ended.
//!
//! It only gathers what it sees; whether that proves anything, [`Evidence`] says.

use std::net::SocketAddr;
use std::sync::Arc;

use wadi_core::member::Incarnation;
use wadi_core::proof::{Evidence, Proof};

use crate::dial::DialError;
use crate::shared::Shared;

/// Is told of ends that are proven.
pub(crate) trait Witness: Send + Sync {
    /// The process of this incarnation has ended. Told each time that it is seen; returns at once.
    fn ended(&self, who: Incarnation, proof: Proof);
}

/// Who is at the other end of a link, or has to be.
pub(crate) struct Watched {
    who: Incarnation,
    /// Whether it says that it listens in the same place as this node, with nothing between.
    is_in_our_place: bool,
    /// Whether this link has had a connection to it. One at a time, so it has ended when the next is made.
    was_connected: bool,
    witness: Option<Arc<dyn Witness>>,
}

impl Watched {
    pub(crate) fn by(witness: Arc<dyn Witness>, who: Incarnation, is_in_our_place: bool) -> Self {
        Self {
            is_in_our_place,
            witness: Some(witness),
            ..Self::by_nobody(who)
        }
    }

    pub(crate) fn by_nobody(who: Incarnation) -> Self {
        Self {
            who,
            is_in_our_place: false,
            was_connected: false,
            witness: None,
        }
    }

    pub(crate) fn who(&self) -> Incarnation {
        self.who
    }

    /// There is an authenticated connection to this very incarnation.
    pub(crate) fn connected(&mut self) {
        self.was_connected = true;
    }

    /// It could not be dialled at its address.
    pub(crate) fn failed(&self, shared: &Shared, address: &str, why: &DialError) {
        let Some(witness) = &self.witness else {
            return;
        };
        let literal: Option<SocketAddr> = address.parse().ok();
        let is_of_this_host = |literal: SocketAddr| shared.medium.is_here(literal.ip());
        let evidence = Evidence {
            is_refused: matches!(why, DialError::NobodyListens(_)),
            is_literal: literal.is_some(),
            was_connected: self.was_connected,
            is_here: self.is_in_our_place && literal.is_some_and(is_of_this_host),
            trusts_refusals: shared.trusts_refusals,
        };
        if let Some(proof) = evidence.proof() {
            witness.ended(self.who, proof);
        }
    }
}
