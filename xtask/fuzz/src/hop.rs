//! What another node sends with a proxied request or with its response, and what a client sends that is
//! proxied or redirected: read or refused, and nobody's words become another's. And the key file.
//!
//! The first byte says which it is.

use wadi_axum::fuzzing::{a_body, a_key_file, from_a_client, from_a_member, where_to};

/// One input.
pub fn target(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else {
        return;
    };
    match kind % 5 {
        0 => from_a_member(rest),
        1 => from_a_client(rest),
        2 => where_to(rest),
        3 => a_body(rest),
        _ => a_key_file(rest),
    }
}
