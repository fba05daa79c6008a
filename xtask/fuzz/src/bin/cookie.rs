//! `Cookie` headers as clients send them.

#![cfg_attr(fuzzing, no_main)]

wadi_fuzz::target!(cookie);
