//! Whether writes and looks can have happened one after another, each while it was under way.
//!
//! Writes stand in an order that their answers give away: the first, the second, and so on. So this is
//! not a search: going through the positions, each write happens as early as it can. Where that is
//! later than its own end, something must have happened before it that was asked after it.
//! Linear but for the sorting, and exact (linearizability of a sequence whose order is known).

use std::time::Duration;

use super::history::Span;

/// A write or a look, and the position that it made or saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) position: u64,
    pub(super) span: Span,
}

/// Why there is no such order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disorder {
    /// Two writes made the same position.
    Twice(Placed),
    /// No write can have made this position.
    Unasked(Placed),
    /// A write made a position below one that was known before it was asked.
    Behind(Placed),
    /// A look saw less than what was known before it was asked.
    Stale(Placed),
}

/// Who decides how early the next one can be.
#[derive(Clone, Copy)]
enum Bound {
    Write(Placed),
    Guess(Placed),
    Look(Placed),
}

impl Bound {
    fn disorder(self) -> Disorder {
        match self {
            Self::Write(write) => Disorder::Behind(write),
            Self::Guess(position) => Disorder::Unasked(position),
            Self::Look(look) => Disorder::Stale(look),
        }
    }
}

/// Looks for an order of `writes`, of as many of `maybes` (when each was asked; none has an end) as
/// are needed to fill the positions between, and of `looks`.
pub(super) fn check(
    mut writes: Vec<Placed>,
    mut maybes: Vec<Duration>,
    mut looks: Vec<Placed>,
) -> Result<(), Disorder> {
    writes.sort_by_key(|write| (write.position, write.span.began));
    maybes.sort_unstable();
    looks.sort_by_key(|look| look.position);
    if let Some(pair) = writes
        .windows(2)
        .find(|pair| pair[0].position == pair[1].position)
    {
        return Err(Disorder::Twice(pair[1]));
    }
    let highest = writes.last().into_iter().chain(looks.last());
    let highest = highest.map(|placed| placed.position).max().unwrap_or(0);
    let (mut writes, mut maybes) = (writes.into_iter().peekable(), maybes.into_iter());
    let mut looks = looks.into_iter().peekable();

    let mut earliest = Duration::ZERO;
    let mut bound = None;
    for position in 0..=highest {
        if position > 0 {
            let write = writes.next_if(|write| write.position == position);
            let (began, ended, own) = match write {
                Some(write) => (write.span.began, write.span.ended, Bound::Write(write)),
                // The one that was asked first is never the worse choice, because none has an end.
                None => {
                    let began = maybes.next();
                    let first = looks.peek().copied();
                    let seen = writes.peek().copied().or(first);
                    let guess = Placed {
                        position,
                        span: seen.map_or(WHENEVER, |placed| placed.span),
                    };
                    let began = began.ok_or(Disorder::Unasked(guess))?;
                    (began, Duration::MAX, Bound::Guess(guess))
                }
            };
            if began > earliest {
                (earliest, bound) = (began, Some(own));
            }
            if earliest > ended {
                return Err(bound.unwrap_or(own).disorder());
            }
        }
        let mut latest: Option<Placed> = None;
        while let Some(look) = looks.next_if(|look| look.position == position) {
            if earliest > look.span.ended {
                return Err(bound.unwrap_or(Bound::Look(look)).disorder());
            }
            if latest.is_none_or(|latest| look.span.began > latest.span.began) {
                latest = Some(look);
            }
        }
        if let Some(look) = latest.filter(|look| look.span.began > earliest) {
            (earliest, bound) = (look.span.began, Some(Bound::Look(look)));
        }
    }
    Ok(())
}

const WHENEVER: Span = Span {
    began: Duration::ZERO,
    ended: Duration::MAX,
};

#[cfg(test)]
mod tests {
    use super::super::history::by_hand::span;
    use super::*;

    fn at(position: u64, began: u64, ended: u64) -> Placed {
        Placed {
            position,
            span: span(began, ended),
        }
    }

    fn began(moments: &[u64]) -> Vec<Duration> {
        moments.iter().copied().map(Duration::from_millis).collect()
    }

    #[test]
    fn overlapping_writes_may_have_happened_in_any_order() {
        let writes = vec![at(2, 0, 10), at(1, 5, 15), at(3, 12, 20)];
        let looks = vec![at(0, 0, 6), at(2, 4, 20), at(3, 14, 21)];
        assert_eq!(check(writes, vec![], looks), Ok(()));
    }

    #[test]
    fn a_write_below_what_was_acknowledged_is_found() {
        let second = at(2, 0, 5);
        let first = at(1, 6, 9);
        assert_eq!(
            check(vec![second, first], vec![], vec![]),
            Err(Disorder::Behind(first))
        );
    }

    #[test]
    fn a_look_that_misses_an_acknowledged_write_is_found() {
        let look = at(1, 20, 25);
        let writes = vec![at(1, 0, 5), at(2, 6, 9)];
        assert_eq!(
            check(writes.clone(), vec![], vec![look]),
            Err(Disorder::Stale(look))
        );
        assert_eq!(check(writes, vec![], vec![at(1, 8, 25)]), Ok(()));
    }

    #[test]
    fn looks_one_after_another_never_go_back() {
        // The write is unknown, so that only the looks contradict each other.
        let back = at(0, 20, 25);
        let looks = vec![at(1, 10, 15), back];
        assert_eq!(
            check(vec![], began(&[1]), looks),
            Err(Disorder::Stale(back))
        );
    }

    #[test]
    fn a_maybe_fills_one_position_and_no_more() {
        let writes = vec![at(1, 0, 5), at(3, 10, 15)];
        assert_eq!(check(writes.clone(), began(&[6]), vec![]), Ok(()));
        assert!(matches!(
            check(writes.clone(), vec![], vec![]),
            Err(Disorder::Unasked(Placed { position: 2, .. }))
        ));
        // Nobody had asked for it yet.
        assert!(matches!(
            check(writes, began(&[16]), vec![]),
            Err(Disorder::Unasked(Placed { position: 2, .. }))
        ));
    }

    #[test]
    fn a_maybe_may_happen_long_after_its_client_gave_up() {
        let writes = vec![at(1, 0, 5), at(2, 10, 15), at(4, 90, 95)];
        assert_eq!(check(writes, began(&[6]), vec![at(2, 80, 85)]), Ok(()));
    }

    #[test]
    fn one_position_twice_is_found() {
        assert_eq!(
            check(vec![at(1, 0, 9), at(1, 1, 8)], vec![], vec![]),
            Err(Disorder::Twice(at(1, 1, 8)))
        );
    }

    /// The same question answered by trying every order.
    fn by_search(writes: &[Placed], maybes: &[Duration], looks: &[Placed]) -> bool {
        fn step(
            position: u64,
            now: Duration,
            writes: &[Placed],
            maybes: &[Duration],
            looks: &[Placed],
        ) -> bool {
            if writes.is_empty() && looks.is_empty() {
                return true;
            }
            let without = |all: &[Placed], index: usize| {
                let mut rest = all.to_vec();
                rest.remove(index);
                rest
            };
            for (index, write) in writes.iter().enumerate() {
                let then = now.max(write.span.began);
                if write.position == position + 1
                    && then <= write.span.ended
                    && step(position + 1, then, &without(writes, index), maybes, looks)
                {
                    return true;
                }
            }
            for (index, look) in looks.iter().enumerate() {
                let then = now.max(look.span.began);
                if look.position == position
                    && then <= look.span.ended
                    && step(position, then, writes, maybes, &without(looks, index))
                {
                    return true;
                }
            }
            for (index, maybe) in maybes.iter().enumerate() {
                let mut rest = maybes.to_vec();
                rest.remove(index);
                if step(position + 1, now.max(*maybe), writes, &rest, looks) {
                    return true;
                }
            }
            false
        }
        step(0, Duration::ZERO, writes, maybes, looks)
    }

    #[test]
    fn it_agrees_with_trying_every_order() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut found = [0, 0];
        for _ in 0..20_000 {
            let mut some = |most: usize| -> Vec<Placed> {
                let count = random.usize(0..=most);
                let mut one = || {
                    let began = random.u64(0..12);
                    at(random.u64(0..4), began, began + random.u64(0..6))
                };
                (0..count).map(|_| one()).collect()
            };
            let mut writes = some(3);
            writes.retain(|write| write.position > 0);
            let looks = some(3);
            let maybes: Vec<Duration> = some(2).iter().map(|placed| placed.span.began).collect();
            let expected = by_search(&writes, &maybes, &looks);
            found[usize::from(expected)] += 1;
            let checked = check(writes.clone(), maybes.clone(), looks.clone());
            assert_eq!(
                checked.is_ok(),
                expected,
                "{writes:?} {maybes:?} {looks:?}: {checked:?}"
            );
        }
        assert!(found.iter().all(|count| *count > 1_000), "{found:?}");
    }
}
