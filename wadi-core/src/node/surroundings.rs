//! What a node stands in: everything that is not its own.

use std::sync::Arc;

use super::authority::Authority;
use super::listen::Listener;
use crate::member::Place;
use crate::transport::Transport;

/// What a node stands in.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where members, leases and layouts are agreed.
    pub authority: Arc<dyn Authority>,
    /// Where it listens at exactly the address that others are told, if that is known.
    pub place: Option<Place>,
    /// What carries its messages.
    pub transport: Arc<dyn Transport>,
    /// Who is told what happens.
    pub listener: Arc<dyn Listener>,
}
