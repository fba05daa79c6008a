//! A connection's bytes as a stranger sends them.

#![cfg_attr(fuzzing, no_main)]

wadi_fuzz::target!(greeting);
