//! An id's text from a cookie.

#![cfg_attr(fuzzing, no_main)]

wadi_fuzz::target!(id);
