//! The operating system's requests to stop: SIGTERM and SIGINT, or Ctrl-C where there are no
//! signals.
//!
//! Once listened for, the process no longer ends by itself on them.

use std::io;

/// The signals that ask a node to leave.
#[derive(Debug)]
pub(crate) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    /// How many came.
    came: usize,
}

impl Signals {
    /// Starts listening; a signal that comes before [`Signals::next`] is kept.
    #[cfg(unix)]
    pub(crate) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            came: 0,
        })
    }

    /// Starts listening.
    #[cfg(not(unix))]
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self { came: 0 })
    }

    /// The next signal's name. Safe to drop at any await: no signal is lost.
    pub(crate) async fn next(&mut self) -> &'static str {
        let name = self.receive().await;
        self.came += 1;
        name
    }

    /// Resolves with a signal that is not the first of all: somebody insists. Safe to drop at any
    /// await.
    pub(crate) async fn again(&mut self) {
        loop {
            let name = self.next().await;
            if self.came > 1 {
                return;
            }
            tracing::info!(
                asked_by = name,
                "leaving already; another signal stops at once"
            );
        }
    }

    #[cfg(unix)]
    async fn receive(&mut self) -> &'static str {
        tokio::select! {
            Some(()) = self.terminate.recv() => "SIGTERM",
            Some(()) = self.interrupt.recv() => "SIGINT",
            else => std::future::pending().await,
        }
    }

    #[cfg(not(unix))]
    async fn receive(&mut self) -> &'static str {
        match tokio::signal::ctrl_c().await {
            Ok(()) => "Ctrl-C",
            Err(_) => std::future::pending().await,
        }
    }
}
