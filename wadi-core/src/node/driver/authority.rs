//! Asking the authority, and what its answers mean.
//!
//! Each call is a task of its own, bounded in time; its answer names who asked, for this node may be
//! somebody else by then.

use std::sync::Arc;
use std::time::Duration;

use super::{Driver, Life};
use crate::authority::{Answer, Command, LeftRefused};
use crate::bucket::Layout;
use crate::node::authority::Unreachable;
use crate::node::given::{Asked, Given};
use crate::protocol::coordinator;

impl Driver {
    pub(super) fn ask(&mut self, asked: Asked, command: Command) {
        let authority = Arc::clone(&self.surroundings.authority);
        let (wait, back) = (self.settings.authority_wait, self.back.clone());
        self.tasks.spawn(async move {
            let answer = tokio::time::timeout(wait, authority.command(command)).await;
            let answer = answer.unwrap_or(Err(Unreachable));
            // A driver that is gone has no use for it.
            let _ = back.send(Given::Answered { asked, answer }).await;
        });
    }

    /// Asks for the next layout, all the time.
    pub(super) fn watch_layouts(&mut self) {
        let authority = Arc::clone(&self.surroundings.authority);
        let (wait, back) = (self.settings.authority_wait, self.back.clone());
        let wait = wait.max(SHORTEST_PAUSE);
        self.tasks.spawn(async move {
            let mut known = None;
            loop {
                // Given up and asked again, so that a question that got lost holds nothing up.
                let asked = tokio::time::timeout(wait, authority.layout_after(known)).await;
                match asked {
                    Err(_) => {}
                    Ok(Ok(layout)) => {
                        known = Some(layout.version);
                        if back.send(Given::Layout(layout)).await.is_err() {
                            return;
                        }
                    }
                    Ok(Err(Unreachable)) => tokio::time::sleep(wait).await,
                }
            }
        });
    }

    pub(super) fn answered(&mut self, asked: Asked, answer: Result<Answer, Unreachable>) {
        let asker = match asked {
            Asked::Join { sent_at } => {
                self.join_answered(sent_at, answer);
                return;
            }
            Asked::Declare(me, who) => {
                if self.me() == Some(me) {
                    self.death_answered(who);
                }
                return;
            }
            Asked::Renew(me)
            | Asked::Ready(me)
            | Asked::Leave(me)
            | Asked::Propose(me)
            | Asked::Left(me) => me,
        };
        if self.me() != Some(asker) {
            return;
        }
        match (asked, answer) {
            (_, Ok(Answer::Renewed(Err(_)) | Answer::Recorded(Err(_))))
            | (_, Ok(Answer::Left(Err(LeftRefused::NotAMember(_))))) => self.is_out(),
            (Asked::Left(_), Ok(Answer::Left(Ok(())))) => self.has_left(),
            (Asked::Propose(_), Ok(Answer::Proposed(answer))) => {
                self.coordinate(coordinator::Input::Answer(answer));
            }
            // What was recorded shows in a layout; what was not answered is asked again.
            _ => {}
        }
    }

    /// This incarnation is no member any more: it has left, or was declared dead.
    fn is_out(&mut self) {
        // Which of two answers is heard first says nothing.
        let went = self.member().is_some_and(|member| member.has_asked_to_go);
        if went {
            self.has_left();
        } else {
            self.fence();
        }
    }

    /// Gives an input to the coordinator's role, and does what it says.
    pub(super) fn coordinate(&mut self, input: coordinator::Input) {
        let now = self.now();
        let Life::Member(member) = &mut self.life else {
            return;
        };
        let me = member.me;
        for output in member.coordinator.handle(input, now) {
            match output {
                coordinator::Output::Propose {
                    against,
                    most_moves,
                } => {
                    let command = Command::Propose {
                        against,
                        most_moves,
                    };
                    self.ask(Asked::Propose(me), command);
                }
                // Layouts are asked for all the time.
                coordinator::Output::WantLayout(_) => {}
            }
        }
    }

    /// The authority agreed a layout.
    pub(super) fn learn(&mut self, layout: Arc<Layout>) {
        let known = self.layout.as_ref().map(|known| known.version);
        if known.is_some_and(|known| layout.version <= known) {
            return;
        }
        if layout.buckets() != self.settings.charter.buckets {
            self.tell(crate::node::listen::Told::OtherCluster);
            return;
        }
        let names = |layout: &Arc<Layout>| self.me().is_some_and(|me| layout.is_member(me));
        // Not before it was named: this node may have joined since that layout was agreed.
        let is_out = self.layout.as_ref().is_some_and(names) && !names(&layout);
        self.layout = Some(layout);
        if is_out {
            self.is_out();
        }
        self.take_part();
    }
}

/// An authority that refuses at once is not asked again at once.
pub(super) const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
