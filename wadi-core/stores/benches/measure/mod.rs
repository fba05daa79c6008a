//! What a bench of stores says of a process and its directory, and how it starts another one.

use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

pub(crate) fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok())
            .unwrap_or_default()
            / 1024
    };
    format!("{} MiB resident (most {})", line("VmRSS:"), line("VmHWM:"))
}

pub(crate) fn on_disc(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(is) if is.is_dir() => on_disc(&entry.path()),
            Ok(is) => is.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

#[allow(clippy::disallowed_methods, reason = "a bench measures time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

pub(crate) fn report(
    what: &str,
    rows: u64,
    took: Duration,
    mut each: Vec<Duration>,
    directory: &Path,
) {
    each.sort_unstable();
    let at = |part: usize| {
        each.get(each.len() * part / 1000)
            .copied()
            .unwrap_or_default()
    };
    println!(
        "  {what}: {:.0} rows/s, a call p50 {:.2?} p99 {:.2?} longest {:.2?}; {} MiB on disc; {}",
        rows as f64 / took.as_secs_f64(),
        at(500),
        at(990),
        each.last().copied().unwrap_or_default(),
        on_disc(directory) >> 20,
        resident()
    );
}

pub(crate) struct Part(pub(crate) Child);

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
