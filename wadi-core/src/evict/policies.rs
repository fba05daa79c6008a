//! The policies that most need, and how two become one.

use std::time::Duration;

use super::{Candidate, Evicter, Load};

/// No session goes down by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Never;

/// Every session goes down as soon as nobody uses it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Always;

/// A session goes down when nobody has asked for it for so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AfterIdle(pub Duration);

/// As many go down as there are more than this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoreThan(pub usize);

/// As many go down as it takes that the rest of them, at their average size, is no more than so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoreBytes(pub usize);

/// As many go down as it takes, if sessions are what takes the memory, that no more than so many thousandths
/// of it are taken. Where the system does not say how much is, none go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pressure(pub u16);

/// What either wishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Any<A, B>(pub A, pub B);

/// What both wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct All<A, B>(pub A, pub B);

impl Evicter for Never {
    fn evicts(&self, _: &Candidate) -> bool {
        false
    }
}

impl Evicter for Always {
    fn evicts(&self, _: &Candidate) -> bool {
        true
    }

    fn excess(&self, load: &Load) -> usize {
        load.sessions
    }
}

impl Evicter for AfterIdle {
    fn evicts(&self, session: &Candidate) -> bool {
        session.idle >= self.0
    }
}

impl Evicter for MoreThan {
    fn evicts(&self, _: &Candidate) -> bool {
        false
    }

    fn excess(&self, load: &Load) -> usize {
        load.sessions.saturating_sub(self.0)
    }
}

impl Evicter for MoreBytes {
    fn evicts(&self, _: &Candidate) -> bool {
        false
    }

    fn excess(&self, load: &Load) -> usize {
        part(load.sessions, load.bytes.saturating_sub(self.0), load.bytes)
    }
}

impl Evicter for Pressure {
    fn evicts(&self, _: &Candidate) -> bool {
        false
    }

    fn excess(&self, load: &Load) -> usize {
        let Some(taken) = load.memory_taken else {
            return 0;
        };
        let over = usize::from(taken.saturating_sub(self.0));
        part(load.sessions, over, usize::from(taken))
    }
}

/// So many of `all` as `over` is of `whole`, rounded up.
fn part(all: usize, over: usize, whole: usize) -> usize {
    if whole == 0 {
        return 0;
    }
    let part = (all as u128 * over as u128).div_ceil(whole as u128);
    usize::try_from(part).unwrap_or(all)
}

impl<A: Evicter, B: Evicter> Evicter for Any<A, B> {
    fn evicts(&self, session: &Candidate) -> bool {
        self.0.evicts(session) || self.1.evicts(session)
    }

    fn excess(&self, load: &Load) -> usize {
        self.0.excess(load).max(self.1.excess(load))
    }
}

impl<A: Evicter, B: Evicter> Evicter for All<A, B> {
    fn evicts(&self, session: &Candidate) -> bool {
        self.0.evicts(session) && self.1.evicts(session)
    }

    fn excess(&self, load: &Load) -> usize {
        self.0.excess(load).min(self.1.excess(load))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle_for(seconds: u64) -> Candidate {
        Candidate::new(Duration::from_secs(seconds), 100, true)
    }

    #[test]
    fn each_wishes_what_it_says() {
        let minute = AfterIdle(Duration::from_secs(60));
        assert!(minute.evicts(&idle_for(60)) && !minute.evicts(&idle_for(59)));
        let load = Load::new(1000, 100_000, Some(950));
        assert_eq!(minute.excess(&load), 0);
        assert_eq!(
            (MoreThan(900).excess(&load), MoreThan(1001).excess(&load)),
            (100, 0)
        );
        assert_eq!(MoreBytes(75_000).excess(&load), 250);
        assert_eq!(
            MoreBytes(99_999).excess(&load),
            1,
            "a part of one is one more"
        );
        assert_eq!(Pressure(950).excess(&load), 0);
        assert_eq!(Pressure(900).excess(&load), 53);
        assert_eq!(Pressure(900).excess(&Load::new(1000, 1, None)), 0);
        assert_eq!(
            (Always.excess(&load), Always.evicts(&idle_for(0))),
            (1000, true)
        );
        assert_eq!(
            (Never.excess(&load), Never.evicts(&idle_for(9999))),
            (0, false)
        );
        assert_eq!(MoreBytes(0).excess(&Load::default()), 0);
    }

    #[test]
    fn two_become_one() {
        let minute = AfterIdle(Duration::from_secs(60));
        let load = Load::new(1000, 0, None);
        let any = Any(minute, Any(MoreThan(990), MoreThan(995)));
        assert!(any.evicts(&idle_for(60)) && !any.evicts(&idle_for(1)));
        assert_eq!(any.excess(&load), 10);
        let both = All(MoreThan(990), All(MoreThan(995), Always));
        assert!(!both.evicts(&idle_for(60)));
        assert_eq!(both.excess(&load), 5);
        assert!(All(minute, Always).evicts(&idle_for(60)));
    }
}
