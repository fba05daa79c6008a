//! Which of the machine's cores a process runs on, where that is to be known.
//!
//! Two processes that wait for each other may be put on one core, and then a message costs a change of
//! context, or on two, and then it wakes an idle core, which may cost many times as much. Nodes are on
//! machines of their own, where every message wakes somebody.

/// Set for another process: the core that it is to run on.
pub(crate) const CORE: &str = "WADI_BENCH_CORE";

/// Puts this process, and all threads that it starts from now on, on the core that its environment names.
pub(crate) fn as_told() {
    if let Ok(core) = std::env::var(CORE) {
        on(core.parse().expect("a core's number"));
    }
}

#[cfg(target_os = "linux")]
pub(crate) fn on(core: usize) {
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(core);
    rustix::thread::sched_setaffinity(None, &cores).expect("the machine has this core");
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn on(_: usize) {
    panic!("how a process is put on a core is known here for Linux only");
}
