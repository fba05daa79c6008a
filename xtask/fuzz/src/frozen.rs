//! A session's frozen and sealed bytes, as a peer or a disc gives them: refused or understood, never
//! a panic, and what is understood is written again as it came.

use wadi_core::session::fuzzing::{frozen_state, sealed_state};

/// One input.
pub fn target(data: &[u8]) {
    frozen_state(data);
    sealed_state(data);
}
