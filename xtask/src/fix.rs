//! The edits that need no thought: format, and what the compiler and clippy suggest.

use crate::child::Child;
use crate::report::Report;

pub(crate) fn run(report: &mut Report) {
    report.stage("clippy --fix", || {
        let flags = [
            "clippy",
            "--fix",
            "--workspace",
            "--all-targets",
            "--allow-dirty",
            "--allow-staged",
        ];
        Child::cargo(flags).show().map(|()| String::new())
    });
    report.stage("fmt", || {
        Child::cargo(["fmt", "--all"])
            .show()
            .map(|()| String::new())
    });
}
