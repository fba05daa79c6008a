//! Starts the smallest example as a user would, and asks it over HTTP.
//!
//! It reads nothing from inside the example: a counter that does not grow with the cookie is a failure.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::build::Build;
use crate::child;
use crate::report::{Failure, Outcome, Stopwatch, because};

const EXAMPLE: &str = "smallest";
const ADDRESS: &str = "127.0.0.1:3000";
const START_LIMIT: Duration = Duration::from_secs(10);

/// Two requests, the second with the first one's cookie.
pub(crate) fn run() -> Outcome {
    if TcpStream::connect(ADDRESS).is_ok() {
        return Err(Failure::not_run(format!(
            "something else listens on {ADDRESS} already"
        )));
    }
    let program = Build::as_in_tests(EXAMPLE).executable(EXAMPLE)?;
    let mut running = Command::new(program)
        .current_dir(child::top())
        .stdin(Stdio::null())
        .spawn()
        .map_err(because(EXAMPLE))?;
    let outcome = wait_for_listener().and_then(|()| converse());
    running.kill().ok();
    running.wait().ok();
    outcome
}

fn wait_for_listener() -> Result<(), Failure> {
    let stopwatch = Stopwatch::start();
    while TcpStream::connect(ADDRESS).is_err() {
        if stopwatch.read() > START_LIMIT {
            return Err(Failure::failed(format!(
                "{EXAMPLE} does not listen on {ADDRESS}"
            )));
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn converse() -> Outcome {
    let first = ask(None)?;
    let cookie = first
        .cookie
        .ok_or_else(|| Failure::failed("the first answer sets no cookie"))?;
    let second = ask(Some(&cookie))?;
    if second.body == first.body {
        return Err(Failure::failed(
            "the second request with the same cookie got the first one's answer",
        ));
    }
    let stranger = ask(None)?;
    if stranger.body != first.body {
        return Err(Failure::failed(
            "a client without a cookie got somebody's session",
        ));
    }
    Ok(format!(
        "{} said {:?}, then {:?}",
        EXAMPLE, first.body, second.body
    ))
}

struct Answer {
    cookie: Option<String>,
    body: String,
}

/// `GET /`, as plain HTTP/1.0, so that the end of the connection is the end of the body.
fn ask(cookie: Option<&str>) -> Result<Answer, Failure> {
    let asked = because::<std::io::Error>(format!("asking {ADDRESS}"));
    (|| {
        let mut stream = TcpStream::connect(ADDRESS)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let cookie = cookie.map_or(String::new(), |cookie| format!("Cookie: {cookie}\r\n"));
        write!(stream, "GET / HTTP/1.0\r\nHost: {ADDRESS}\r\n{cookie}\r\n")?;
        let mut stream = BufReader::new(stream);
        let mut head = String::new();
        while stream.read_line(&mut head)? > 2 {}
        let mut body = String::new();
        stream.read_to_string(&mut body)?;
        Ok((head, body))
    })()
    .map_err(asked)
    .and_then(|(head, body)| read(&head, body))
}

fn read(head: &str, body: String) -> Result<Answer, Failure> {
    let status = head.lines().next().unwrap_or_default();
    if !status.contains(" 200 ") {
        return Err(Failure::failed(format!("the answer is {status}")));
    }
    let cookie = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let pair = value.split(';').next()?.trim();
        name.eq_ignore_ascii_case("set-cookie")
            .then(|| pair.to_owned())
    });
    Ok(Answer { cookie, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_the_pair_without_its_attributes() {
        let head = "HTTP/1.1 200 OK\r\nSet-Cookie: id=abc; Path=/; HttpOnly\r\n\r\n";
        assert_eq!(
            read(head, String::new()).expect("200").cookie.as_deref(),
            Some("id=abc")
        );
    }

    #[test]
    fn anything_but_200_is_a_failure() {
        assert!(read("HTTP/1.1 503 Service Unavailable\r\n\r\n", String::new()).is_err());
        assert!(read("", String::new()).is_err());
    }
}
