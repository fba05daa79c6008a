//! The architecture, stated as what must not be there, and looked for.
//!
//! Each file is one kind of absence. A checker takes sources and gives findings, so that it can be
//! tested on a few lines of text; only `run` reads the repository.

mod dependencies;
mod floors;
mod names;
mod run;

pub(crate) use run::run;
