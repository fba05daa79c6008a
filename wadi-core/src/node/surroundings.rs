//! What a node stands in: everything that is not its own.

use std::sync::Arc;

use super::authority::Authority;
use super::listen::Listener;
use crate::transport::Transport;

/// What a node stands in.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where members, leases and layouts are agreed.
    pub authority: Arc<dyn Authority>,
    /// What carries its messages.
    pub transport: Arc<dyn Transport>,
    /// Who is told what happens.
    pub listener: Arc<dyn Listener>,
}
