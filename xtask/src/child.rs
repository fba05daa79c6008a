//! Child processes: shown, timed, and never waited for without a bound.
//!
//! A child gets no standard input, so none can wait for somebody who is not there.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::report::{Failure, Stopwatch, because, clock};
use crate::say::{Voice, say};

static BUILT_ONCE: AtomicBool = AtomicBool::new(false);

/// What is built once and not debugged: nothing is kept for building it again after a change, which takes as
/// much disc again, and backtraces name functions without their lines. `.ci/run` says the same for this program.
const ONCE: [(&str, &str); 3] = [
    ("CARGO_INCREMENTAL", "0"),
    ("CARGO_PROFILE_DEV_DEBUG", "0"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
];

/// From now on cargo builds as fast as it can.
pub(crate) fn build_once() {
    BUILT_ONCE.store(true, Ordering::Relaxed);
}

/// Whether it does.
pub(crate) fn is_built_once() -> bool {
    BUILT_ONCE.load(Ordering::Relaxed)
}

/// The repository's top directory.
pub(crate) fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask is a directory of the repository")
        .to_owned()
}

/// Whether a program of this name can be started.
pub(crate) fn is_installed(program: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else {
        return false;
    };
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// One child process, before it starts.
pub(crate) struct Child {
    command: Command,
    shown: String,
    limit: Duration,
    silent: bool,
}

/// What a child said and how it ended.
pub(crate) struct Said {
    pub(crate) success: bool,
    /// The exit code; `None` when a signal or the time limit ended it.
    pub(crate) code: Option<i32>,
    pub(crate) ended: String,
    pub(crate) lines: Vec<String>,
}

impl Said {
    /// Fails when the child did, with its last words.
    pub(crate) fn require(&self) -> Result<(), Failure> {
        if self.success {
            return Ok(());
        }
        let last = &self.lines[self.lines.len().saturating_sub(3)..];
        Err(Failure::failed(format!(
            "{}: {}",
            self.ended,
            last.join(" / ")
        )))
    }
}

impl Child {
    /// `program`, in the top directory, for at most ten minutes.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let program = program.as_ref();
        let mut command = Command::new(program);
        command.current_dir(top()).stdin(Stdio::null());
        let name = Path::new(program).file_name().unwrap_or(program);
        Self {
            command,
            shown: name.to_string_lossy().into_owned(),
            limit: Duration::from_secs(600),
            silent: false,
        }
    }

    /// `cargo` with these words.
    pub(crate) fn cargo<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Self {
        let mut cargo = Self::new("cargo").args(arguments);
        if is_built_once() {
            for (name, value) in ONCE {
                cargo = cargo.env(name, value);
            }
        }
        cargo
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        for argument in arguments {
            self.shown.push(' ');
            self.shown += &argument.as_ref().to_string_lossy();
            self.command.arg(argument);
        }
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Kills the child when it takes longer.
    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Takes the child's lines without showing them.
    pub(crate) fn silent(mut self) -> Self {
        self.silent = true;
        self
    }

    /// Runs it with its output shown as it comes.
    pub(crate) fn show(mut self) -> Result<(), Failure> {
        if !Voice::here().is_loud() {
            let said = self.listen()?;
            return if said.success {
                Ok(())
            } else {
                Err(Failure::Failed(said.ended))
            };
        }
        say!("$ {}", self.shown);
        let mut child = self
            .command
            .spawn()
            .map_err(because(format!("cannot start `{}`", self.shown)))?;
        let status = wait(&mut child, self.limit);
        match ended(status, self.limit) {
            (true, _) => Ok(()),
            (false, how) => Err(Failure::Failed(format!("`{}` {how}", self.shown))),
        }
    }

    /// Runs it, showing its lines (unless silent) and giving them back, of both streams.
    pub(crate) fn listen(mut self) -> Result<Said, Failure> {
        let voice = (!self.silent).then(Voice::here);
        if voice.is_some() {
            say!("$ {}", self.shown);
        }
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self
            .command
            .spawn()
            .map_err(because(format!("cannot start `{}`", self.shown)))?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let readers = [
            read(
                child.stdout.take().expect("it is piped"),
                Arc::clone(&lines),
                voice.clone(),
            ),
            read(
                child.stderr.take().expect("it is piped"),
                Arc::clone(&lines),
                voice.clone(),
            ),
        ];
        let status = wait(&mut child, self.limit);
        for reader in readers {
            reader.join().ok();
        }
        let (success, how) = ended(status, self.limit);
        let lines = std::mem::take(&mut *lines.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Said {
            success,
            code: status.and_then(|status| status.code()),
            ended: format!("`{}` {how}", self.shown),
            lines,
        })
    }

    /// Runs it and gives back what it wrote to standard output; errors are shown.
    pub(crate) fn answer(mut self) -> Result<String, Failure> {
        let voice = Voice::here();
        let errors = if voice.is_loud() {
            Stdio::inherit()
        } else {
            Stdio::piped()
        };
        self.command.stdout(Stdio::piped()).stderr(errors);
        let mut child = self
            .command
            .spawn()
            .map_err(because(format!("cannot start `{}`", self.shown)))?;
        let mut stdout = child.stdout.take().expect("it is piped");
        let reader = thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).map(|_| text)
        });
        let errors = child
            .stderr
            .take()
            .map(|stderr| read(stderr, Arc::default(), Some(voice)));
        let status = wait(&mut child, self.limit);
        let text = reader.join().expect("the reader does not panic");
        if let Some(errors) = errors {
            errors.join().ok();
        }
        match ended(status, self.limit) {
            (true, _) => text.map_err(because(format!("`{}` wrote no text", self.shown))),
            (false, how) => Err(Failure::Failed(format!("`{}` {how}", self.shown))),
        }
    }
}

fn read(
    stream: impl Read + Send + 'static,
    lines: Arc<Mutex<Vec<String>>>,
    voice: Option<Voice>,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut bytes = Vec::new();
        while stream
            .read_until(b'\n', &mut bytes)
            .is_ok_and(|read| read > 0)
        {
            let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            if let Some(voice) = &voice {
                voice.line(&line);
            }
            lines
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(line);
            bytes.clear();
        }
    })
}

/// The status, or `None` when the child was killed for taking too long.
fn wait(child: &mut std::process::Child, limit: Duration) -> Option<ExitStatus> {
    let stopwatch = Stopwatch::start();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if stopwatch.read() < limit => thread::sleep(Duration::from_millis(20)),
            Ok(None) | Err(_) => {
                child.kill().ok();
                child.wait().ok();
                return None;
            }
        }
    }
}

fn ended(status: Option<ExitStatus>, limit: Duration) -> (bool, String) {
    match status {
        Some(status) => (status.success(), format!("ended with {status}")),
        None => (false, format!("was stopped after {}", clock(limit))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_takes_too_long_is_stopped_and_that_is_a_failure() {
        let stopwatch = Stopwatch::start();
        let said = Child::new("sleep")
            .args(["30"])
            .limit(Duration::from_millis(50))
            .silent()
            .listen();
        let said = said.expect("sleep can be started");
        assert!(!said.success);
        assert!(said.ended.contains("was stopped after"), "{}", said.ended);
        assert!(stopwatch.read() < Duration::from_secs(10));
    }

    #[test]
    fn both_streams_are_heard_and_the_exit_code_told() {
        let child = Child::new("sh")
            .args(["-c", "echo out; echo err >&2; exit 3"])
            .silent();
        let said = child.listen().expect("sh can be started");
        assert!(!said.success);
        assert!(said.lines.contains(&"out".to_owned()) && said.lines.contains(&"err".to_owned()));
        assert!(said.ended.contains('3'), "{}", said.ended);
    }
}
