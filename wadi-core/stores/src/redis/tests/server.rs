//! A Redis or Valkey server of a test's own, on a free port, from a program that is installed.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Ends with this.
pub(super) struct Server {
    port: u16,
    program: PathBuf,
    process: Child,
    directory: tempfile::TempDir,
    options: Vec<String>,
}

fn program() -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = std::env::split_paths(&on_path).collect();
    let programs = ["redis-server", "valkey-server"].into_iter();
    programs
        .flat_map(|program| places.iter().map(move |place| place.join(program)))
        .find(|program| program.is_file())
}

impl Server {
    /// Starts one with these options too; none, said on the error output, where that cannot be.
    pub(super) fn start(options: &[&str]) -> Option<Self> {
        let Some(program) = program() else {
            eprintln!("skipped: neither redis-server nor valkey-server is installed");
            return None;
        };
        let options: Vec<String> = options.iter().map(|it| (*it).to_owned()).collect();
        // Between asking for a free port and using it, somebody else may.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0")
                .and_then(|listener| listener.local_addr())
                .expect("a port is free")
                .port();
            let directory = tempfile::tempdir().expect("there is room");
            let mut server = Self {
                process: run(&program, &directory, port, &options),
                port,
                program: program.clone(),
                directory,
                options: options.clone(),
            };
            if server.answers() {
                return Some(server);
            }
        }
        panic!("the server did not start");
    }

    pub(super) fn address(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Ends it at once.
    pub(super) fn kill(&mut self) {
        self.process.kill().expect("it is ours");
        self.process.wait().expect("it is ours");
    }

    /// Starts it again, with what it had.
    pub(super) fn start_again(&mut self) {
        self.process = run(&self.program, &self.directory, self.port, &self.options);
        assert!(self.answers(), "the server did not start again");
    }

    pub(super) fn signal(&self, signal: &str) {
        let own = self.process.id().to_string();
        let sent = Command::new("kill").args([signal, &own]).status();
        assert!(sent.is_ok_and(|sent| sent.success()), "it can be told");
    }

    /// Whether it serves within half a minute; not, where it has ended.
    fn answers(&mut self) -> bool {
        let client = redis::Client::open(self.address()).expect("it is an address");
        for _ in 0..600 {
            let reached = client.get_connection_with_timeout(Duration::from_secs(1));
            if let Ok(mut connection) = reached
                && redis::cmd("PING").exec(&mut connection).is_ok()
            {
                return true;
            }
            if self.process.try_wait().expect("it is ours").is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }
}

fn run(program: &PathBuf, directory: &tempfile::TempDir, port: u16, options: &[String]) -> Child {
    Command::new(program)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no", "--dir"])
        .arg(directory.path())
        .args(options)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts")
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
