//! What the nodes of one authority say to each other.

#![cfg_attr(fuzzing, no_main)]

wadi_fuzz::target!(authority);
