//! Builds with a safety rule that can be left out at run time.
//!
//! Cargo is told to call this very program in rustc's place for the workspace's own crates; it adds one
//! flag and calls rustc. So dependencies are compiled once for both kinds of build, while cargo keeps
//! our own crates apart by itself.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::build::Build;
use crate::child;
use crate::report::{Failure, because};

/// Set for the children that are to call us; its value says nothing.
const MARK: &str = "WADI_XTASK_SABOTAGES";
const FLAGS: [&str; 2] = ["--cfg", "wadi_sabotage=\"choose\""];

/// When called in rustc's place: becomes rustc, with the flag added. Returns only otherwise.
pub(crate) fn become_rustc() -> Option<ExitCode> {
    std::env::var_os(MARK)?;
    let mut words = std::env::args_os().skip(1);
    let rustc: OsString = words.next()?;
    let error = Command::new(rustc).args(words).args(FLAGS).exec();
    eprintln!("cannot start rustc: {error}");
    Some(ExitCode::FAILURE)
}

/// Builds `package`'s executable `name` so that it can leave rules out, and puts it where nobody takes it
/// for the ordinary one.
pub(crate) fn executable(package: &str, name: &str) -> Result<PathBuf, Failure> {
    let wrapper = std::env::current_exe().map_err(because("this program's own path"))?;
    let built = Build::new(["--release", "--package", package])
        .env("RUSTC_WORKSPACE_WRAPPER", wrapper)
        .env(MARK, "1")
        .executable(name)?;
    let apart = child::top().join("target/sabotage");
    std::fs::create_dir_all(&apart).map_err(because(apart.display()))?;
    let apart = apart.join(name);
    std::fs::copy(&built, &apart).map_err(because(apart.display()))?;
    Ok(apart)
}
