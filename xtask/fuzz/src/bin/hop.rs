//! What is said about a proxied request.

#![cfg_attr(fuzzing, no_main)]

wadi_fuzz::target!(hop);
