//! The coordinator: a role of one member, which decides when the buckets are re-assigned.
//!
//! Every member runs this; only the one that the election policy picks from the agreed members
//! proposes. It never decides who is a member or what a layout looks like, and it needs no
//! safety of its own: a proposal names the version it was made against, so a stale one does
//! nothing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::authority::ProposeRefused;
use crate::bucket::{AssignmentTerms, Layout, LayoutVersion};
use crate::clock::Moment;
use crate::member::{Incarnation, Standing};

/// Picks the coordinator from the agreed members.
///
/// It must give the same answer for the same layout on every member: nothing else may go into it,
/// least of all a clock. While members see different versions, several may think themselves
/// picked; that does no harm.
pub trait ElectionPolicy: fmt::Debug {
    /// The coordinator at this layout; `None` only where there is no member.
    fn elect(&self, layout: &Layout) -> Option<Incarnation>;
}

/// The oldest by join order: of the ready members, else of those joining, else of those leaving.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Oldest;

impl ElectionPolicy for Oldest {
    fn elect(&self, layout: &Layout) -> Option<Incarnation> {
        let rank = |standing| match standing {
            Standing::Ready => 0,
            Standing::Joining => 1,
            Standing::Leaving => 2,
        };
        let members = layout.members.iter();
        members
            .min_by_key(|(incarnation, member)| (rank(member.standing), **incarnation))
            .map(|(incarnation, _)| *incarnation)
    }
}

/// The coordinator's pace; each time is counted on its own clock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pace {
    /// How many buckets change manager in one step for balance's sake, for instance to fill a
    /// member that joined. Buckets whose manager is gone or leaving never wait. Default 256; 0
    /// means that balance alone moves nothing.
    pub moves_per_step: u16,
    /// The least time between two such steps. Default 1 s; longer than a hand-over takes.
    pub between_steps: Duration,
    /// How long a proposal waits for its answer before it is made again. Default 100 ms; a few
    /// network round trips.
    pub retry: Duration,
    /// The longest such wait: each is twice the one before, up to this. Default 2 s; at least
    /// `retry`.
    pub retry_most: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            moves_per_step: 256,
            between_steps: Duration::from_secs(1),
            retry: Duration::from_millis(100),
            retry_most: Duration::from_secs(2),
        }
    }
}

/// Something that the coordinator has to know.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// The authority agreed a layout; older ones than the last seen are ignored.
    Layout(Arc<Layout>),
    /// The authority's answer to a proposal.
    Answer(Result<LayoutVersion, ProposeRefused>),
    /// The moment that [`Coordinator::wake_at`] named has come.
    Wake,
}

/// Something that the driver must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// Put [`Command::Propose`](crate::authority::Command::Propose) to the authority.
    Propose {
        /// The version that this was decided on.
        against: LayoutVersion,
        /// At most so many moves for balance alone.
        most_moves: Option<u16>,
    },
    /// A layout of at least this version exists; fetch it from the authority.
    WantLayout(LayoutVersion),
}

/// One member's view of the role.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Coordinator<P = Oldest> {
    me: Incarnation,
    policy: P,
    terms: AssignmentTerms,
    pace: Pace,
    layout: Option<Arc<Layout>>,
    /// The proposal under way, if any.
    waiting: Option<Waiting>,
    /// When this member last allowed moves for balance alone.
    last_step: Option<Moment>,
    wake_at: Option<Moment>,
}

/// A proposal under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Waiting {
    /// How long it waits for its answer before it is made again.
    wait: Duration,
    /// Whether it allows moves for balance alone.
    step: bool,
}

impl<P: ElectionPolicy> Coordinator<P> {
    /// The role as seen by `me`, before any layout is known. `terms` are the cluster's; their
    /// limit on moves is replaced by the pace's.
    #[must_use]
    pub fn new(me: Incarnation, policy: P, terms: AssignmentTerms, pace: Pace) -> Self {
        Self {
            me,
            policy,
            terms,
            pace,
            layout: None,
            waiting: None,
            last_step: None,
            wake_at: None,
        }
    }

    /// Who is the coordinator, as far as this member knows.
    #[must_use]
    pub fn coordinator(&self) -> Option<Incarnation> {
        self.layout
            .as_ref()
            .and_then(|layout| self.policy.elect(layout))
    }

    /// Whether this member is the coordinator, as far as it knows.
    #[must_use]
    pub fn is_me(&self) -> bool {
        self.coordinator() == Some(self.me)
    }

    /// When to give [`Input::Wake`]; `None`: not before some other input.
    #[must_use]
    pub const fn wake_at(&self) -> Option<Moment> {
        self.wake_at
    }

    /// Takes one input; what to do comes back in order.
    pub fn handle(&mut self, input: Input, now: Moment) -> Vec<Output> {
        match input {
            Input::Layout(layout) => {
                let known = self.layout.as_ref().map(|known| known.version);
                if known.is_some_and(|known| known >= layout.version) {
                    return Vec::new();
                }
                self.layout = Some(layout);
                self.waiting = None;
                self.decide(now)
            }
            Input::Answer(answer) => self.answered(&answer),
            Input::Wake => {
                if self.wake_at.is_none_or(|at| now < at) {
                    return Vec::new();
                }
                self.decide(now)
            }
        }
    }

    /// An answer is only a hint that a newer layout exists. Of the known version it says nothing: it
    /// may be late, and answer the very proposal that made this layout.
    fn answered(&self, answer: &Result<LayoutVersion, ProposeRefused>) -> Vec<Output> {
        let (Ok(version) | Err(ProposeRefused::Conflict(version))) = *answer;
        let known = self.layout.as_ref().map(|known| known.version);
        if known.is_some_and(|known| version <= known) {
            return Vec::new();
        }
        // The decision comes with that layout; until then the retry goes on.
        vec![Output::WantLayout(version)]
    }

    fn decide(&mut self, now: Moment) -> Vec<Output> {
        self.wake_at = None;
        let Some(layout) = self.layout.clone().filter(|_| self.is_me()) else {
            self.waiting = None;
            return Vec::new();
        };
        let would_change = |most_moves| {
            let terms = self.terms.with_most_moves(Some(most_moves));
            layout.reassigned(&terms).is_some()
        };
        let next_step = self
            .last_step
            .map_or(now, |last| last + self.pace.between_steps);
        // A proposal made again is no further step: at most one of the two is applied.
        let may_step = now >= next_step || self.waiting.is_some_and(|waiting| waiting.step);
        let moves = if may_step {
            self.pace.moves_per_step
        } else {
            0
        };
        if would_change(moves) {
            if moves > 0 {
                self.last_step = Some(now);
            }
            let wait = self.waiting.map_or(self.pace.retry, |waiting| {
                (waiting.wait * 2).min(self.pace.retry_most)
            });
            self.waiting = Some(Waiting {
                wait,
                step: moves > 0,
            });
            self.wake_at = Some(now + wait);
            return vec![Output::Propose {
                against: layout.version,
                most_moves: Some(moves),
            }];
        }
        self.waiting = None;
        if !may_step && would_change(self.pace.moves_per_step) {
            self.wake_at = Some(next_step);
        }
        Vec::new()
    }
}

#[cfg(test)]
#[path = "coordinator_tests.rs"]
mod tests;
