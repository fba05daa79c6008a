//! Whole nodes in one process, as scripts: a few nodes on a network in memory, one authority, and a
//! clock that runs only while everybody waits.

mod arriving;
mod chaos;
mod creating;
mod dying;
mod ending;
mod evacuating;
mod failing;
mod joining;
mod leaving;
mod moving;
mod oracle;
mod overlapping;
mod shelf;
mod storing;
mod upgrading;
mod world;
