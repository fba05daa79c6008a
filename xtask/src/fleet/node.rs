//! One reference node: a process in a group of its own, with a log of its own for each start.

use std::ffi::OsStr;
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::leash::Leash;
use crate::report::{Failure, Stopwatch, because, clock};

const LOOK: Duration = Duration::from_millis(20);

/// Where a node listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) http: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) cluster: SocketAddr,
}

/// A node that may be running.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) addresses: Addresses,
    /// Beside what it inherits.
    pub(super) environment: Vec<(&'static str, String)>,
    /// What is put before its command.
    pub(super) before: Vec<String>,
    flags: Vec<String>,
    directory: PathBuf,
    starts: u32,
    process: Option<Child>,
}

impl Node {
    /// Not started yet. Its logs are written into `directory`.
    pub(crate) fn new(
        name: String,
        addresses: Addresses,
        flags: Vec<String>,
        directory: PathBuf,
    ) -> Self {
        Self {
            name,
            addresses,
            environment: Vec::new(),
            before: Vec::new(),
            flags,
            directory,
            starts: 0,
            process: None,
        }
    }

    /// Its command line, for people.
    pub(crate) fn command_line(&self, program: &Path) -> String {
        format!("{} {}", program.display(), self.flags.join(" "))
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// The log of the last start.
    pub(crate) fn log(&self) -> PathBuf {
        let file = format!("{}.{}.log", self.name, self.starts);
        self.directory.join(file)
    }

    /// Starts it with these flags after its own.
    pub(crate) fn start(
        &mut self,
        program: &Path,
        more: &[String],
        leash: &mut Leash,
    ) -> Result<(), Failure> {
        assert!(self.process.is_none(), "{} runs already", self.name);
        self.starts += 1;
        let log = self.log();
        let file = File::create(&log).map_err(because(log.display()))?;
        let errors = file.try_clone().map_err(because(log.display()))?;
        let mut words = self
            .before
            .iter()
            .map(OsStr::new)
            .chain([program.as_os_str()]);
        let mut command = Command::new(words.next().expect("the program is one"));
        command.args(words);
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"WADI_") {
                command.env_remove(name);
            }
        }
        let process = command
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .args(&self.flags)
            .args(more)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(because(format!("cannot start {}", self.name)))?;
        let group = process.id();
        self.process = Some(process);
        leash.hold(group)
    }

    /// Waits for the line that says it is ready.
    pub(crate) async fn ready(
        &mut self,
        leash: &mut Leash,
        limit: Duration,
    ) -> Result<(), Failure> {
        let stopwatch = Stopwatch::start();
        loop {
            if self.said_ready() {
                return Ok(());
            }
            if let Some(status) = self.look(leash) {
                return Err(self.failed(format!("ended with {status} before it was ready")));
            }
            if stopwatch.read() > limit {
                return Err(self.failed(format!("was not ready after {}", clock(limit))));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether it has said that it is ready, since its last start.
    pub(crate) fn said_ready(&self) -> bool {
        self.said().lines().any(|line| line.contains(" ready "))
    }

    /// What it wrote since its last start.
    pub(crate) fn said(&self) -> String {
        let bytes = std::fs::read(self.log()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn failed(&self, why: String) -> Failure {
        let said = self.said();
        let mut last: Vec<&str> = said.lines().rev().take(3).collect();
        last.reverse();
        let (name, log) = (&self.name, self.log());
        Failure::Failed(format!(
            "{name} {why}: {} (its log: {})",
            last.join(" / "),
            log.display()
        ))
    }

    /// Sends its whole group a signal; one that has ended gets none.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            kill_process_group(Pid::from_child(process), signal).ok();
        }
    }

    /// How it ended, if it has.
    pub(crate) fn look(&mut self, leash: &mut Leash) -> Option<ExitStatus> {
        let process = self.process.as_mut()?;
        let status = process.try_wait().ok()??;
        leash.let_go(process.id());
        self.process = None;
        Some(status)
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(
        &mut self,
        leash: &mut Leash,
        limit: Duration,
    ) -> Result<ExitStatus, Failure> {
        let stopwatch = Stopwatch::start();
        loop {
            if let Some(status) = self.look(leash) {
                return Ok(status);
            }
            if self.process.is_none() {
                return Err(self.failed("was not running".to_owned()));
            }
            if stopwatch.read() > limit {
                return Err(self.failed(format!("had not ended after {}", clock(limit))));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        if let Some(process) = &mut self.process {
            process.wait().ok();
        }
    }
}
