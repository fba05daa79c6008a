//! A PostgreSQL server of a run's own, on a free port, from programs that are installed. It ends with the run.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::leash::Leash;
use super::ports::Ports;
use crate::report::{Failure, Stopwatch, because};

/// On a busy machine.
const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Postgres {
    port: u16,
    process: Child,
    /// Kills it where this does not.
    _leash: Leash,
}

impl Postgres {
    /// Makes a database in `directory`, and starts its server.
    pub(crate) fn start(directory: &Path) -> Result<Self, Failure> {
        let programs = programs().ok_or_else(|| {
            Failure::not_run("PostgreSQL's programs (initdb, postgres) are not installed")
        })?;
        let place = directory.join("postgres");
        std::fs::create_dir_all(&place).map_err(because(place.display()))?;
        // Somebody else runs it where we are root.
        let everybody = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(&place, everybody).map_err(because(place.display()))?;
        let data = place.join("data");
        let made = command(&programs.join("initdb"))
            .arg("-D")
            .arg(&data)
            .args(["-A", "trust", "-U", "wadi", "--no-sync", "--no-locale"])
            .args(["-E", "UTF8"])
            .output()
            .map_err(because("initdb"))?;
        if !made.status.success() {
            let said = String::from_utf8_lossy(&made.stderr).into_owned();
            return Err(Failure::NotRun(format!(
                "no PostgreSQL can be made here: {said}"
            )));
        }
        let port = Ports::default().pick()?.port();
        let log = std::fs::File::create(place.join("postgres.txt"))
            .map_err(because("PostgreSQL's log"))?;
        let process = command(&programs.join("postgres"))
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "max_connections=400"])
            .arg("-k")
            .arg(&place)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn()
            .map_err(because("cannot start PostgreSQL"))?;
        let mut leash = Leash::new()?;
        leash.hold(process.id())?;
        let server = Self {
            port,
            process,
            _leash: leash,
        };
        server.wait(&programs)?;
        Ok(server)
    }

    /// How a client reaches it.
    pub(crate) fn url(&self) -> String {
        format!("postgres://wadi@127.0.0.1:{}/postgres", self.port)
    }

    fn wait(&self, programs: &Path) -> Result<(), Failure> {
        let stopwatch = Stopwatch::start();
        while stopwatch.read() < START_LIMIT {
            let ready = Command::new(programs.join("pg_isready"))
                .args(["-q", "-h", "127.0.0.1", "-U", "wadi", "-d", "postgres"])
                .args(["-p", &self.port.to_string()])
                .status();
            if ready.is_ok_and(|ready| ready.success()) {
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
        Err(Failure::failed("PostgreSQL does not start"))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Its fast shutdown; what does not heed that is killed by the leash, with all its processes.
        kill_process(Pid::from_child(&self.process), Signal::INT).ok();
        let stopwatch = Stopwatch::start();
        while stopwatch.read() < STOP_LIMIT {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(LOOK);
        }
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Where the programs are; none where they are not installed.
fn programs() -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let debian = std::fs::read_dir("/usr/lib/postgresql");
    let debian = debian.into_iter().flatten().flatten();
    let mut places: Vec<PathBuf> = debian.map(|version| version.path().join("bin")).collect();
    places.sort();
    places.reverse();
    places.extend(std::env::split_paths(&on_path));
    places
        .into_iter()
        .find(|place| place.join("postgres").is_file() && place.join("initdb").is_file())
}

/// PostgreSQL refuses to run as root: then another user does.
fn command(program: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"])
        .arg(program);
    command
}
