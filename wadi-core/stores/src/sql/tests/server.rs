//! A PostgreSQL server of a test's own, on a free port, from programs that are installed.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Ends with this.
pub(super) struct Server {
    port: u16,
    programs: PathBuf,
    process: Child,
    directory: tempfile::TempDir,
}

/// Where the programs are; none where they are not installed.
fn programs() -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let debian = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut places: Vec<PathBuf> = debian.map(|version| version.path().join("bin")).collect();
    places.sort();
    places.reverse();
    places.extend(std::env::split_paths(&on_path));
    places
        .into_iter()
        .find(|place| place.join("postgres").is_file() && place.join("initdb").is_file())
}

/// PostgreSQL refuses to run as root: then another user does, if there is one.
fn command(program: &Path) -> Command {
    let is_root = std::fs::metadata("/proc/self")
        .is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !is_root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"])
        .arg(program);
    command
}

impl Server {
    /// Starts one; none, said on the error output, where that cannot be.
    pub(super) fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            eprintln!("skipped: PostgreSQL's programs are not installed");
            return None;
        };
        let directory = tempfile::tempdir().expect("there is room");
        let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(directory.path(), everybody).expect("it is ours");
        let made = command(&programs.join("initdb"))
            .arg("-D")
            .arg(directory.path().join("data"))
            .args([
                "-A",
                "trust",
                "-U",
                "wadi",
                "--no-sync",
                "--no-locale",
                "-E",
                "UTF8",
            ])
            .output();
        match made {
            Ok(made) if made.status.success() => {}
            made => {
                eprintln!("skipped: no PostgreSQL can be made here: {made:?}");
                return None;
            }
        }
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a port is free")
            .port();
        let process = run(&programs, directory.path(), port);
        let server = Self {
            port,
            programs,
            process,
            directory,
        };
        server.wait();
        Some(server)
    }

    pub(super) fn address(&self) -> String {
        format!("postgres://wadi@127.0.0.1:{}/postgres", self.port)
    }

    /// Stops it, as its machine's shutdown does.
    pub(super) fn stop(&mut self) {
        let own = self.process.id().to_string();
        let told = Command::new("kill").args(["-INT", &own]).status();
        assert!(told.is_ok_and(|told| told.success()), "it can be told");
        self.process.wait().expect("it is ours");
    }

    /// Starts it again, with what it had.
    pub(super) fn start_again(&mut self) {
        self.process = run(&self.programs, self.directory.path(), self.port);
        self.wait();
    }

    /// Tells every process of it, for each connection has one.
    pub(super) fn signal(&self, signal: &str) {
        let own = self.process.id();
        let tell = |who: u32| {
            let told = Command::new("kill")
                .args([signal, "--", &who.to_string()])
                .status();
            told.is_ok_and(|told| told.success())
        };
        assert!(tell(own), "it can be told");
        for child in children(own) {
            // It may have ended meanwhile.
            tell(child);
        }
    }

    fn wait(&self) {
        for _ in 0..600 {
            let ready = Command::new(self.programs.join("pg_isready"))
                .args([
                    "-q",
                    "-h",
                    "127.0.0.1",
                    "-U",
                    "wadi",
                    "-d",
                    "postgres",
                    "-p",
                ])
                .arg(self.port.to_string())
                .status();
            if ready.is_ok_and(|ready| ready.success()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the server did not start in half a minute");
    }
}

fn run(programs: &Path, directory: &Path, port: u16) -> Child {
    let mut command = command(&programs.join("postgres"));
    command
        .arg("-D")
        .arg(directory.join("data"))
        .args([
            "-p",
            &port.to_string(),
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "fsync=off",
        ])
        .arg("-k")
        .arg(directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts")
}

fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let parent = format!("PPid:\t{parent}");
    processes
        .filter_map(|process| {
            let id = process.file_name().to_str()?.parse().ok()?;
            let status = std::fs::read_to_string(process.path().join("status")).ok()?;
            status.lines().any(|line| line == parent).then_some(id)
        })
        .collect()
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its other processes notice.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
