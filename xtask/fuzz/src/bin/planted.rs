//! A fault that only guided fuzzing finds.

#![cfg_attr(fuzzing, no_main)]

wadi_fuzz::target!(planted);
