//! The authority of a cluster that is one process: the register itself, behind a lock.
//!
//! It is as dead as the process: nothing of it is kept, and nobody else can ask it.

use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::authority::{Answering, Authority, Unreachable};
use crate::authority::{Answer, Charter, Command, Register};
use crate::bucket::{Layout, LayoutVersion};
use crate::clock::Clock;
use crate::member::Founding;

/// A register that the nodes of this process share. The first to join founds the cluster.
pub struct InProcess {
    clock: Arc<dyn Clock>,
    charter: Charter,
    generation: u32,
    register: Mutex<Option<Register>>,
    layouts: watch::Sender<Option<Arc<Layout>>>,
}

impl InProcess {
    /// An authority for the nodes of one process, in a generation above those of earlier processes
    /// of which something is kept (sessions on disc, for instance); else 0.
    #[must_use]
    pub fn new(charter: Charter, generation: u32, clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            charter,
            generation,
            register: Mutex::new(None),
            layouts: watch::Sender::new(None),
        }
    }

    /// What a node that is alone founds its cluster with: its lease never runs out, because whoever
    /// pauses the node pauses its authority with it.
    #[must_use]
    pub fn solo_charter() -> Charter {
        Charter {
            deputies: 0,
            lease: Duration::MAX,
            ..Charter::default()
        }
    }

    fn apply(&self, command: Command) -> Result<Answer, Unreachable> {
        let now = self.clock.now();
        let mut founded = self.register.lock();
        let answer = match (&mut *founded, command) {
            (
                None,
                Command::Join {
                    node,
                    address,
                    place,
                },
            ) => {
                let of = Founding::IN_PROCESS;
                let (mut register, joined) =
                    Register::found(self.charter, of, self.generation, node, address, now);
                register.locate(joined.incarnation, place);
                *founded = Some(register);
                Answer::Joined(joined)
            }
            (None, _) => return Err(Unreachable),
            (Some(register), command) => {
                // Whose lease ran out is dead before anything else is agreed, its own renewal included.
                register.expire(now);
                register.apply(command, now)
            }
        };
        if let Some(register) = &*founded {
            self.publish(register.layout());
        }
        Ok(answer)
    }

    /// Under the register's lock, so that layouts are published in order.
    fn publish(&self, layout: &Layout) {
        self.layouts.send_if_modified(|published| {
            let is_new = published
                .as_ref()
                .is_none_or(|published| published.version < layout.version);
            if is_new {
                *published = Some(Arc::new(layout.clone()));
            }
            is_new
        });
    }
}

impl Authority for InProcess {
    fn command(&self, command: Command) -> Answering<'_, Answer> {
        let answer: Ready<_> = ready(self.apply(command));
        Box::pin(answer)
    }

    fn layout_after(&self, known: Option<LayoutVersion>) -> Answering<'_, Arc<Layout>> {
        let mut layouts = self.layouts.subscribe();
        Box::pin(async move {
            let is_later = |layout: &Option<Arc<Layout>>| {
                let version = layout.as_ref().map(|layout| layout.version);
                version > known
            };
            let later = layouts.wait_for(is_later).await;
            later
                .ok()
                .and_then(|layout| layout.clone())
                .ok_or(Unreachable)
        })
    }
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InProcess")
    }
}
