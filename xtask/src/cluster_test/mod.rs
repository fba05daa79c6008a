//! `cargo xtask cluster-test`: real processes of the reference node, under load, checked.

mod check;
