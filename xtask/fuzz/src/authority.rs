//! What the nodes of one authority say to each other, snapshots included, as whoever has the cluster's key
//! may send it: refused or understood, never a panic, and a register that is taken over is whole.

use wadi_core::authority::raft::fuzzing::{Told, answer, tell_answer, tell_question};

use crate::terse::Terse;

/// One input.
pub fn target(data: &[u8]) {
    let Some((kind, mut rest)) = data.split_first() else {
        return;
    };
    let told = match kind & 1 {
        0 => Told::of_a_cluster(),
        _ => Told::nothing(),
    };
    match kind >> 1 {
        0 => told.question(rest),
        1 => answer(rest),
        2 => told.snapshot(rest),
        // Chance alone would hardly make one message of several: these are told in few bytes each.
        3 => {
            while !rest.is_empty() {
                let mut terse = Terse::new(rest, &[]);
                let question = tell_question(&mut terse);
                rest = &rest[rest.len() - terse.left()..];
                let Some(question) = question else { break };
                told.question(&question);
            }
        }
        4 => {
            if let Some(bytes) = tell_answer(&mut Terse::new(rest, &[])) {
                answer(&bytes);
            }
        }
        _ => {}
    }
}
