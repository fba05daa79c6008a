//! A reference node as a process, and what it answers.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test program uses what it needs of it"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

pub struct Node {
    process: Child,
    output: BufReader<ChildStdout>,
    pub http: SocketAddr,
    pub admin: SocketAddr,
}

pub struct Answer {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Node {
    pub fn start(flags: &[&str]) -> Self {
        Self::start_from(command(), flags)
    }

    pub fn start_from(mut command: Command, flags: &[&str]) -> Self {
        let mut process = command
            .args(["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the node starts");
        let mut output = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut line = String::new();
        while !line.contains(" ready ") {
            line.clear();
            let read = output.read_line(&mut line).expect("text");
            assert!(read > 0, "the node ended before it was ready");
        }
        let address = |name: &str| {
            let word = line
                .split_whitespace()
                .find_map(|word| word.strip_prefix(name));
            word.expect("the line says where")
                .parse()
                .expect("an address")
        };
        let (http, admin) = (address("http="), address("admin="));
        Self {
            process,
            output,
            http,
            admin,
        }
    }

    pub fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Whether it ended well, and what it said in the end.
    pub fn ended(mut self) -> (bool, String) {
        let mut said = String::new();
        self.output.read_to_string(&mut said).expect("text");
        let ended = self.process.wait().expect("it ends").success();
        (ended, said)
    }

    pub fn ask(&self, line: &str, cookie: &str, body: &str) -> Answer {
        ask(self.http, line, cookie, body)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_node"));
    command.env_remove("RUST_LOG");
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"WADI_") {
            command.env_remove(name);
        }
    }
    command
}

pub fn ask(address: SocketAddr, line: &str, cookie: &str, body: &str) -> Answer {
    ask_as(&address.to_string(), address, line, cookie, body)
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it accepts");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    stream
}

/// Asks `address` for what is called `host`.
pub fn ask_as(host: &str, address: SocketAddr, line: &str, cookie: &str, body: &str) -> Answer {
    let mut stream = connect(address);
    let length = body.len();
    let kind = "application/x-www-form-urlencoded";
    write!(
        stream,
        "{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nCookie: {cookie}\r\n\
         Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("a whole answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).expect("a status");
    Answer {
        status: status.parse().expect("a number"),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let of_name = |line: &'_ str| line.to_ascii_lowercase().starts_with(&format!("{name}: "));
        let line = self.head.lines().find(|line| of_name(line))?;
        Some(&line[name.len() + 2..])
    }

    pub fn cookie(&self) -> String {
        let set = self.header("set-cookie").expect("a cookie");
        set.split(';').next().unwrap_or_default().to_owned()
    }
}
