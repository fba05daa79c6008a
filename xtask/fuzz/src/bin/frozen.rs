//! A session's frozen and sealed bytes.

#![cfg_attr(fuzzing, no_main)]

wadi_fuzz::target!(frozen);
