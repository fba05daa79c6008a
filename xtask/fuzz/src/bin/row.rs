//! A row as it comes from a disc.

#![cfg_attr(fuzzing, no_main)]

wadi_fuzz::target!(row);
