//! Which absences are looked for, and where.

use super::dependencies;
use super::floors::{self, Floors};
use super::names::{Forbidden, module_names};
use crate::metadata::Metadata;
use crate::report::{Failure, Outcome};
use crate::source::Source;

/// Crates that speak HTTP.
const HTTP_CRATES: &[&str] = &[
    "axum",
    "axum_core",
    "axum_extra",
    "cookie",
    "h2",
    "h3",
    "headers",
    "http",
    "http_body",
    "http_body_util",
    "hyper",
    "hyper_util",
    "reqwest",
    "tonic",
    "tower",
    "tower_http",
    "tower_layer",
    "tower_service",
];

const SOCKETS: Forbidden = Forbidden {
    paths: &[
        "tokio::net",
        "std::net::TcpStream",
        "std::net::TcpListener",
        "std::net::UdpSocket",
        "std::os::unix::net",
    ],
    names: &[
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "UnixStream",
        "UnixListener",
        "TcpSocket",
    ],
    roots: &[],
    parts: &[],
};

const HTTP: Forbidden = Forbidden {
    paths: &[],
    names: &[],
    roots: HTTP_CRATES,
    parts: &[],
};

const IMPURE: Forbidden = Forbidden {
    paths: &[
        "std::thread",
        "std::time::Instant",
        "std::time::SystemTime",
        "std::env",
        "std::fs",
    ],
    names: &[
        "async",
        "await",
        "Mutex",
        "RwLock",
        "Condvar",
        "Instant",
        "SystemTime",
        "spawn",
        "spawn_blocking",
        "sleep",
    ],
    roots: &[
        "tokio",
        "parking_lot",
        "futures",
        "rand",
        "getrandom",
        "tracing",
    ],
    parts: &[],
};

const SESSIONS: Forbidden = Forbidden {
    paths: &[],
    names: &[],
    roots: &[],
    parts: &["session"],
};

const PROTOCOL: Forbidden = Forbidden {
    paths: &["wadi_core::protocol", "wadi_core::message"],
    names: &[],
    roots: &[],
    parts: &[],
};

const OURS: &[&str] = &[
    "wadi-core/src",
    "wadi-transport/src",
    "wadi-axum/src",
    "examples/src",
    "xtask/src",
];

/// Looks for everything that must not be there.
pub(crate) fn run() -> Outcome {
    let metadata = Metadata::read()?;
    let mut absences = Absences {
        findings: Vec::new(),
        count: 0,
    };

    absences.check("wadi-core depends on no crate that speaks HTTP", || {
        Ok(dependencies::among(&metadata, "wadi-core", HTTP_CRATES))
    })?;
    absences.check("wadi-core names no crate that speaks HTTP", || {
        HTTP.in_directories(&["wadi-core/src"])
    })?;
    absences.check("wadi-core opens no socket", || {
        SOCKETS.in_directories(&["wadi-core/src"])
    })?;
    absences.check(
        "wadi-core/src/protocol awaits nothing, locks nothing, reads no clock",
        || IMPURE.in_directories(&["wadi-core/src/protocol"]),
    )?;
    absences.check("the floors of wadi-core import downwards only", || {
        Ok(Floors::OF_CORE.check(&sources("wadi-core/src")?))
    })?;
    absences.check("no circles between modules", || {
        let mut findings = Vec::new();
        for directory in ["wadi-core/src", "wadi-transport/src", "wadi-axum/src"] {
            findings.extend(floors::circles(directory, &sources(directory)?));
        }
        Ok(findings)
    })?;
    absences.check(
        "wadi-transport and wadi-axum do not depend on each other",
        || {
            let mut findings = dependencies::among(&metadata, "wadi-transport", &["wadi_axum"]);
            findings.extend(dependencies::among(
                &metadata,
                "wadi-axum",
                &["wadi_transport"],
            ));
            Ok(findings)
        },
    )?;
    absences.check("wadi-core depends on neither of them", || {
        Ok(dependencies::among(
            &metadata,
            "wadi-core",
            &["wadi_axum", "wadi_transport"],
        ))
    })?;
    absences.check("wadi-transport does not know what a session is", || {
        SESSIONS.in_directories(&["wadi-transport/src"])
    })?;
    absences.check("wadi-axum knows no protocol", || {
        PROTOCOL.in_directories(&["wadi-axum/src"])
    })?;
    absences.check("no module is called utils, helpers, common or misc", || {
        Ok(OURS
            .iter()
            .map(|directory| sources(directory))
            .collect::<Result<Vec<_>, _>>()?
            .iter()
            .flat_map(|sources| module_names(sources))
            .collect())
    })?;
    absences.check("no crate leaves the workspace's lints out", || {
        dependencies::without_lints(&metadata)
    })?;
    absences.check("no cargo feature switches a safety rule off", || {
        Ok(dependencies::sabotage_features(&metadata))
    })?;

    absences.close()
}

fn sources(directory: &str) -> Result<Vec<Source>, Failure> {
    Source::read_all(&[directory])
}

struct Absences {
    findings: Vec<String>,
    count: usize,
}

impl Absences {
    fn check(
        &mut self,
        absence: &str,
        look: impl FnOnce() -> Result<Vec<String>, Failure>,
    ) -> Result<(), Failure> {
        let found = look()?;
        println!("  {} {absence}", if found.is_empty() { '✓' } else { '✗' });
        for finding in &found {
            println!("      {finding}");
        }
        self.count += 1;
        self.findings.extend(found);
        Ok(())
    }

    fn close(self) -> Outcome {
        match self.findings.as_slice() {
            [] => Ok(format!("{} absences hold", self.count)),
            [first, rest @ ..] => Err(Failure::failed(if rest.is_empty() {
                first.clone()
            } else {
                format!("{first}, and {} more", rest.len())
            })),
        }
    }
}
