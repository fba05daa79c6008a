//! What a member says.

#![cfg_attr(fuzzing, no_main)]

wadi_fuzz::target!(message);
