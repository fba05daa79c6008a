//! Why a directory could not be opened as a store, by what mends it.

use std::io;
use std::path::PathBuf;

/// Why a directory could not be opened as a store. Nothing in it was changed, but for what the store itself
/// needs to see whether it may.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it, or another store in this one.
    #[error(
        "{} is in use: another process has this store open; stop that one, or give each node a directory of its own",
        directory.display()
    )]
    InUse {
        /// The directory.
        directory: PathBuf,
    },
    /// There are files in it that no store of this kind made.
    #[error(
        "{} has files that are not this store's ({what}), and nothing was touched; give it an empty directory, or one that does not exist yet",
        directory.display()
    )]
    Foreign {
        /// The directory.
        directory: PathBuf,
        /// The first such file, or what the marker says.
        what: String,
    },
    /// It, or something in it, could not be read or written.
    #[error(
        "{} cannot be used: {source}; its user needs to read, write and enter it, on a disc that is not read-only and has room",
        directory.display()
    )]
    NotUsable {
        /// The directory.
        directory: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What is in it is not what the store left there.
    #[error(
        "the store in {} is damaged ({what}), and nothing was deleted (its journals, as they were, are in `journals.found`); put back a copy of the whole directory, or move it away and begin with an empty one, which loses the sessions that are only there",
        directory.display()
    )]
    Damaged {
        /// The directory.
        directory: PathBuf,
        /// What was found.
        what: String,
    },
}
