//! A session's frozen and sealed bytes, as a peer or a disc gives them: refused or understood, never
//! a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wadi_core::session::{check_frozen, check_sealed};

fuzz_target!(|data: &[u8]| {
    let _ = check_frozen(data);
    let _ = check_sealed(data);
});
