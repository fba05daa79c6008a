//! Kills what we started when we are gone, whatever we died of.
//!
//! A shell holds the other end of a pipe. When this program ends, panics or is killed, the system closes
//! the pipe, and the shell kills the process groups that it was told of. Ctrl-C does not reach it.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use crate::report::{Failure, because};

const GUARD: &str = r#"
trap '' HUP INT TERM
groups=
while read -r verb group; do
    kept=
    for other in $groups; do
        [ "$other" = "$group" ] || kept="$kept $other"
    done
    groups=$kept
    [ "$verb" = hold ] && groups="$groups $group"
done
for group in $groups; do
    kill -s KILL -- "-$group" 2>/dev/null
done
exit 0
"#;

/// Holds process groups until it is dropped.
#[derive(Debug)]
pub(crate) struct Leash {
    guard: Child,
}

impl Leash {
    pub(crate) fn new() -> Result<Self, Failure> {
        let guard = Command::new("sh")
            .args(["-c", GUARD])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn();
        Ok(Self {
            guard: guard.map_err(because("cannot start `sh`"))?,
        })
    }

    /// Kills this group when we are gone.
    pub(crate) fn hold(&mut self, group: u32) -> Result<(), Failure> {
        self.tell("hold", group)
    }

    /// Lets a group go whose processes have ended.
    pub(crate) fn let_go(&mut self, group: u32) {
        // A guard that is gone cannot harm anybody.
        self.tell("drop", group).ok();
    }

    fn tell(&mut self, verb: &str, group: u32) -> Result<(), Failure> {
        let pipe = self.guard.stdin.as_mut().expect("it is piped");
        writeln!(pipe, "{verb} {group}").map_err(because("the guard of our processes is gone"))
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        self.guard.wait().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> Child {
        let mut sleeper = Command::new("sleep");
        let sleeper = sleeper.arg("60").process_group(0).spawn();
        sleeper.expect("sleep can be started")
    }

    #[test]
    fn what_is_held_ends_with_it_and_what_was_let_go_does_not() {
        let (mut held, mut free) = (sleeper(), sleeper());
        let mut leash = Leash::new().expect("sh can be started");
        leash.hold(held.id()).expect("it listens");
        leash.hold(free.id()).expect("it listens");
        leash.let_go(free.id());
        drop(leash);
        assert!(!held.wait().expect("it ends").success());
        assert!(matches!(free.try_wait(), Ok(None)));
        free.kill().expect("it runs");
        free.wait().expect("it ends");
    }
}
