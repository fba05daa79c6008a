//! Everything that can be said of the sources without running them. Edits nothing.

use crate::child::Child;
use crate::report::Report;
use crate::{absences, deny, features, msrv, promises};

/// Each part is a stage of its own, cheap ones first.
pub(crate) fn run(report: &mut Report) {
    report.stage("verify: fmt", || {
        Child::cargo(["fmt", "--all", "--check"])
            .show()
            .map(|()| String::new())
    });
    report.stage("verify: promises", promises::run);
    report.stage("verify: absences", absences::run);
    report.stage("verify: licences", deny::run);
    report.stage("verify: advisories", deny::advisories);
    report.stage("verify: msrv", msrv::run);
    report.stage("verify: clippy", || {
        let words = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--all-features",
            "--",
            "--deny",
            "warnings",
        ];
        Child::cargo(words).show().map(|()| String::new())
    });
    report.stage("verify: features", features::run);
    report.stage("verify: docs", || {
        let words = ["doc", "--workspace", "--no-deps", "--all-features"];
        Child::cargo(words)
            .env("RUSTDOCFLAGS", "--deny warnings")
            .show()
            .map(|()| String::new())
    });
}
