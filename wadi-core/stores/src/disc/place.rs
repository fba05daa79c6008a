//! The directory: who has it, what made it, and how far it was synced. Never deletes what it did not just make.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use wadi_core::session::SessionId;
use wadi_core::store::Payload;

use super::error::OpenError;

/// What the marker file says: what made this, and in which form.
const MARKER: &str = "sessions of WADI, form 1\n";

const LOCK_FILE: &str = "lock";
const MARKER_FILE: &str = "wadi";
const MARKER_IN_THE_MAKING: &str = "wadi.new";
const SYNCED_FILE: &str = "synced";
const ENGINE: &str = "rows";
/// The engine's journals, as they were found.
pub(super) const JOURNALS_AS_FOUND: &str = "journals.found";
/// What is whole of an engine that was damaged, until it takes that one's place; and that one, which stays.
const ENGINE_MENDED: &str = "rows.mended";
const ENGINE_DAMAGED: &str = "rows.damaged";
/// Where the engine's files are made, so that `rows` is there either whole or not at all.
const ENGINE_IN_THE_MAKING: &str = "rows.new";

/// A directory that is this store's alone, for as long as this lives.
#[derive(Debug)]
pub(super) struct Place {
    directory: PathBuf,
    synced: File,
    _lock: File,
}

impl Place {
    /// Makes it this store's, and makes it where there is none.
    pub(super) fn take(directory: &Path) -> Result<Self, OpenError> {
        let not_usable = |source| OpenError::NotUsable {
            directory: directory.to_owned(),
            source,
        };
        private_directory(directory).map_err(not_usable)?;
        let is_new = is_new(directory)?;
        let lock = private_file(&directory.join(LOCK_FILE)).map_err(not_usable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(OpenError::InUse {
                    directory: directory.to_owned(),
                });
            }
            Err(std::fs::TryLockError::Error(source)) => return Err(not_usable(source)),
        }
        if is_new {
            mark(directory).map_err(not_usable)?;
        } else {
            check_marker(directory)?;
        }
        let synced = private_file(&directory.join(SYNCED_FILE)).map_err(not_usable)?;
        Ok(Self {
            directory: directory.to_owned(),
            synced,
            _lock: lock,
        })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the engine's files are.
    pub(super) fn engine(&self) -> PathBuf {
        self.directory.join(ENGINE)
    }

    /// Has the engine's files made, where nothing ever was.
    pub(super) fn make_engine(
        &self,
        make: impl FnOnce(&Path) -> Result<(), OpenError>,
    ) -> Result<(), OpenError> {
        let not_usable = |source| OpenError::NotUsable {
            directory: self.directory.clone(),
            source,
        };
        let mended = self.directory.join(ENGINE_MENDED);
        if self.engine().try_exists().map_err(not_usable)? {
            // Left by who was stopped in the middle of making it.
            return remove(&mended).map_err(not_usable);
        }
        if mended.try_exists().map_err(not_usable)? {
            // It was whole, and who had set the other one aside was stopped before it took its place.
            std::fs::rename(&mended, self.engine()).map_err(not_usable)?;
            return sync_directory(&self.directory).map_err(not_usable);
        }
        if self.synced()? > 0 {
            return Err(OpenError::Damaged {
                directory: self.directory.clone(),
                what: format!("its directory `{ENGINE}` is missing"),
            });
        }
        let making = self.directory.join(ENGINE_IN_THE_MAKING);
        // Left by who was stopped in the middle of this, so nobody ever wrote into it.
        remove(&making).map_err(not_usable)?;
        private_directory(&making).map_err(not_usable)?;
        make(&making)?;
        std::fs::rename(&making, self.engine()).map_err(not_usable)?;
        sync_directory(&self.directory).map_err(not_usable)
    }

    /// Where another engine is made, of what is whole of this one; there is nothing yet.
    pub(super) fn mended_engine(&self) -> io::Result<PathBuf> {
        let mended = self.directory.join(ENGINE_MENDED);
        remove(&mended)?;
        private_directory(&mended)?;
        Ok(mended)
    }

    /// The mended one takes the place of the damaged one, which is set aside. Both are closed.
    pub(super) fn swap_engine(&self) -> io::Result<()> {
        let mut aside = self.directory.join(ENGINE_DAMAGED);
        let mut number = 1;
        while aside.try_exists()? {
            number += 1;
            aside = self.directory.join(format!("{ENGINE_DAMAGED}.{number}"));
        }
        std::fs::rename(self.engine(), aside)?;
        sync_directory(&self.directory)?;
        std::fs::rename(self.directory.join(ENGINE_MENDED), self.engine())?;
        sync_directory(&self.directory)
    }

    /// How many bytes the engine's files have.
    pub(super) fn engine_bytes(&self) -> u64 {
        bytes_in(&self.engine())
    }

    /// Sets the engine's journals aside as they are: where it finds one broken it cuts it there, and what
    /// comes after that would be gone before anybody could say so. Where there is no room it is done without.
    pub(super) fn keep_journals(&self) {
        let kept = self.directory.join(JOURNALS_AS_FOUND);
        // Those of an opening that failed are older, so they have more: they stay.
        if kept.exists() || private_directory(&kept).is_err() {
            return;
        }
        for journal in journals(&self.engine()) {
            let Some(name) = journal.file_name() else {
                continue;
            };
            if std::fs::copy(&journal, kept.join(name)).is_err() {
                return self.drop_journals();
            }
        }
    }

    /// All is as it was left: nobody needs the journals twice.
    pub(super) fn drop_journals(&self) {
        let kept = self.directory.join(JOURNALS_AS_FOUND);
        // What stays for now is removed the next time.
        let _ = std::fs::remove_dir_all(kept);
    }

    /// How many changes are on the disc for certain.
    pub(super) fn synced(&self) -> Result<u64, OpenError> {
        let mut bytes = Vec::new();
        let mut file = &self.synced;
        let read = file
            .rewind()
            .and_then(|()| file.take(64).read_to_end(&mut bytes));
        read.map_err(|source| OpenError::NotUsable {
            directory: self.directory.clone(),
            source,
        })?;
        // What is unreadable was torn by a power cut: then there is one thing less to compare.
        let payload = Payload::read(bytes).ok();
        let number = payload.and_then(|payload| payload.state().try_into().ok());
        Ok(number.map_or(0, u64::from_be_bytes))
    }

    /// Notes that so many changes are on the disc. The note itself need not be there for certain.
    pub(super) fn note_synced(&self, changes: u64) -> io::Result<()> {
        let mut file = &self.synced;
        file.rewind()?;
        file.write_all(synced_note(changes).as_bytes())
    }

    /// How much room there is; as much as there may be where that is not known.
    pub(super) fn free_bytes(&self) -> u64 {
        #[cfg(unix)]
        if let Ok(of) = rustix::fs::statvfs(&self.directory) {
            return of.f_bavail.saturating_mul(of.f_frsize);
        }
        u64::MAX
    }
}

/// So many changes, in bytes that say themselves whether they are whole; they are no session's.
pub(super) fn synced_note(changes: u64) -> Payload {
    Payload::seal(SessionId::from_parts([0; 16], 0), &changes.to_be_bytes())
}

fn journals(engine: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(engine).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "jnl"))
}

/// Whether nothing was ever stored there. What is not ours is refused before anything is written.
fn is_new(directory: &Path) -> Result<bool, OpenError> {
    let not_usable = |source| OpenError::NotUsable {
        directory: directory.to_owned(),
        source,
    };
    let (mut has_marker, mut other) = (false, None);
    for entry in std::fs::read_dir(directory).map_err(not_usable)? {
        let name = entry.map_err(not_usable)?.file_name();
        if name == OsStr::new(MARKER_FILE) {
            has_marker = true;
        } else if ![LOCK_FILE, MARKER_IN_THE_MAKING]
            .map(OsStr::new)
            .contains(&&*name)
        {
            other = Some(name);
        }
    }
    match other {
        Some(other) if !has_marker => Err(OpenError::Foreign {
            directory: directory.to_owned(),
            what: format!("there is `{}`, and no marker", other.display()),
        }),
        _ => Ok(!has_marker),
    }
}

fn check_marker(directory: &Path) -> Result<(), OpenError> {
    let marker =
        std::fs::read(directory.join(MARKER_FILE)).map_err(|source| OpenError::NotUsable {
            directory: directory.to_owned(),
            source,
        })?;
    if marker == MARKER.as_bytes() {
        return Ok(());
    }
    let says = String::from_utf8_lossy(&marker[..marker.len().min(64)]).into_owned();
    Err(OpenError::Foreign {
        directory: directory.to_owned(),
        what: format!("`{MARKER_FILE}` says {says:?}, and this version reads {MARKER:?}"),
    })
}

/// Writes the marker, which is there whole or not at all.
fn mark(directory: &Path) -> io::Result<()> {
    let unfinished = directory.join(MARKER_IN_THE_MAKING);
    let mut file = private_file(&unfinished)?;
    file.set_len(0)?;
    file.write_all(MARKER.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&unfinished, directory.join(MARKER_FILE))?;
    sync_directory(directory)
}

fn remove(directory: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn bytes_in(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let each = entries.map(|entry| match entry.metadata() {
        Ok(of) if of.is_dir() => bytes_in(&entry.path()),
        Ok(of) => of.len(),
        Err(_) => 0,
    });
    each.sum()
}

fn private_directory(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        done => done,
    }
}

fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(path)?.sync_all()?;
    }
    Ok(())
}
