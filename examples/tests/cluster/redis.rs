//! A Redis or Valkey server of a test's own, from a program that is installed; without one nothing is tested.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Ends with this.
pub(crate) struct Redis {
    address: String,
    process: Child,
}

impl Redis {
    /// Starts one at this free address; none, said on the error output, where none is installed.
    pub(crate) fn start(address: &str) -> Option<Self> {
        let Some(program) = program() else {
            eprintln!("skipped: neither redis-server nor valkey-server is installed");
            return None;
        };
        let (host, port) = address.split_once(':').expect("it has a port");
        let process = Command::new(program)
            .args(["--port", port, "--bind", host])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(std::env::temp_dir())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        Some(Self {
            address: address.to_owned(),
            process,
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}/0", self.address)
    }

    pub(crate) fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(&self.address) else {
            return false;
        };
        let waits = stream.set_read_timeout(Some(Duration::from_secs(1)));
        let mut answer = [0; 5];
        waits.is_ok()
            && stream.write_all(b"PING\r\n").is_ok()
            && stream.read_exact(&mut answer).is_ok()
            && answer == *b"+PONG"
    }
}

fn program() -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = std::env::split_paths(&on_path).collect();
    let programs = ["redis-server", "valkey-server"].into_iter();
    programs
        .flat_map(|program| places.iter().map(move |place| place.join(program)))
        .find(|program| program.is_file())
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
