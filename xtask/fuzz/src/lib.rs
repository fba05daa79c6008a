//! What is fuzzed: every decoder of foreign bytes, one target each, as a function of any bytes that panics
//! when a promise is broken.
//!
//! `cargo xtask fuzz` compiles them, and with them all that is ours, so that coverage guides libFuzzer. In an
//! ordinary build there are no targets, and nobody needs a C++ compiler.

#[cfg(fuzzing)]
pub mod authority;
#[cfg(fuzzing)]
pub mod cookie;
#[cfg(fuzzing)]
pub mod frozen;
#[cfg(fuzzing)]
pub mod greeting;
#[cfg(fuzzing)]
pub mod hop;
#[cfg(fuzzing)]
pub mod id;
#[cfg(fuzzing)]
pub mod message;
#[cfg(fuzzing)]
pub mod planted;
#[cfg(fuzzing)]
pub mod row;
#[cfg(fuzzing)]
mod terse;

/// The executable of a target: libFuzzer and the function.
#[cfg(fuzzing)]
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        ::libfuzzer_sys::fuzz_target!(|data: &[u8]| {
            $crate::$name::target(data);
        });
    };
}

/// The executable of a target in an ordinary build: it says how to have the other one.
#[cfg(not(fuzzing))]
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        fn main() {
            println!(concat!("cargo xtask fuzz ", stringify!($name)));
        }
    };
}
