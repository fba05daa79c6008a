//! Builds of our own crates with flags that their dependencies need not have: with a safety rule that can be
//! left out at run time, and so that coverage guides a fuzzer.
//!
//! Cargo is told to call a copy of this very program in rustc's place for the workspace's own crates; it adds
//! the flags and calls rustc. So dependencies are compiled once for all kinds of build, while cargo
//! keeps our own crates apart by itself, by where the copy is.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::build::Build;
use crate::child;
use crate::report::{Failure, because};

/// A kind of build, by the name of the copy that stands in rustc's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Apart {
    Sabotage,
    Fuzz,
}

impl Apart {
    const ALL: [Self; 2] = [Self::Sabotage, Self::Fuzz];

    const fn name(self) -> &'static str {
        match self {
            Self::Sabotage => "rustc-for-sabotage",
            Self::Fuzz => "rustc-for-fuzz",
        }
    }

    const fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Sabotage => &["--cfg", "wadi_sabotage=\"choose\""],
            // `level=4`: every edge, and the comparisons that lead there. Optimised over several units at
            // once, everything would be counted twice.
            Self::Fuzz => &[
                "--cfg",
                "fuzzing",
                "-Cpasses=sancov-module",
                "-Cllvm-args=-sanitizer-coverage-level=4",
                "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
                "-Cllvm-args=-sanitizer-coverage-pc-table",
                "-Cllvm-args=-sanitizer-coverage-trace-compares",
                "-Cdebug-assertions",
                "-Coverflow-checks",
                "-Clto=off",
                // Optimised as well as the others, they take longer to compile than they are fuzzed.
                "-Copt-level=1",
            ],
        }
    }

    /// Builds the executables of these names, and puts each where nobody takes it for the ordinary one.
    pub(crate) fn executables(self, build: Build, names: &[&str]) -> Result<Vec<PathBuf>, Failure> {
        let apart = child::top().join("target/apart");
        std::fs::create_dir_all(&apart).map_err(because(apart.display()))?;
        let this = std::env::current_exe().map_err(because("this program's own path"))?;
        let wrapper = place(&this, &apart, OsStr::new(self.name()))?;
        let built = build
            .env("RUSTC_WORKSPACE_WRAPPER", wrapper)
            .executables(names)?;
        let directory = apart.join(self.name().trim_start_matches("rustc-"));
        std::fs::create_dir_all(&directory).map_err(because(directory.display()))?;
        let pairs = built.iter().zip(names);
        pairs
            .map(|(built, name)| place(built, &directory, OsStr::new(name)))
            .collect()
    }

    /// The same of one.
    pub(crate) fn executable(self, build: Build, name: &str) -> Result<PathBuf, Failure> {
        Ok(self.executables(build, &[name])?.remove(0))
    }
}

/// When called in rustc's place: becomes rustc, with flags added. Returns only otherwise.
pub(crate) fn become_rustc() -> Option<ExitCode> {
    let mut words = std::env::args_os();
    let called = PathBuf::from(words.next()?);
    let kind = Apart::ALL
        .into_iter()
        .find(|kind| called.file_name() == Some(OsStr::new(kind.name())))?;
    let rustc: OsString = words.next()?;
    let words: Vec<OsString> = words.collect();
    let mut command = Command::new(rustc);
    command.args(&words).args(kind.flags());
    let error = command.exec();
    eprintln!("cannot start rustc: {error}");
    Some(ExitCode::FAILURE)
}

/// Copies a program. One that is being executed cannot be written to, so the new one takes its place.
fn place(program: &Path, directory: &Path, name: &OsStr) -> Result<PathBuf, Failure> {
    let placed = directory.join(name);
    let mut new = name.to_owned();
    new.push(format!(".{}", std::process::id()));
    let new = directory.join(new);
    std::fs::copy(program, &new).map_err(because(new.display()))?;
    std::fs::rename(&new, &placed).map_err(because(placed.display()))?;
    Ok(placed)
}
