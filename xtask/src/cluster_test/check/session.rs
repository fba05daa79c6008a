//! One session's whole life: whether it was there each time, and what its values say.

use std::time::Duration;

use super::history::{Asked, Event, Life, Span, Told};
use super::violation::{Kind, Violation};
use super::{counter, list};

/// Everything that is wrong with a life.
pub(crate) fn judge(life: &Life) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut tell = |kind, span: Span, text| {
        found.push(Violation {
            kind,
            session: life.name.clone(),
            at: span.ended,
            text,
        });
    };
    let fresh = life.events.iter().filter(|event| event.is_fresh());
    let forgotten = forgotten_login(life);
    let gone = forgotten.filter(|event| !is_shown_after(life, &event.span));
    let fresh = fresh.chain(gone).min_by_key(|event| event.span.ended);
    if let Some(event) = fresh
        && !may_be_gone(life, &event.span)
    {
        let text = format!(
            "{:?} was answered by n{} with nothing of what was acknowledged",
            event.asked,
            event.at.unwrap_or(event.to) + 1
        );
        tell(Kind::Lost, event.span, text);
    }
    if let Some((kind, placed, text)) = counter::judge(&life.events) {
        tell(kind, placed.span, text);
    }
    for (kind, span, text) in list::judge(&life.events, fresh.is_some()) {
        tell(kind, span, text);
    }
    if let Some(event) = forgotten.filter(|_| fresh.is_none()) {
        let text = "an acknowledged login is not there".to_owned();
        tell(Kind::Login, event.span, text);
    }
    found
}

/// Whether its client ended the session, or renewed its id without learning the new one.
fn may_be_gone(life: &Life, span: &Span) -> bool {
    life.events.iter().any(|event| {
        let before = event.span.began < span.ended;
        match event.asked {
            Asked::Logout => before && event.told != Told::NotSent,
            Asked::Login => before && event.told == Told::Unknown,
            _ => false,
        }
    })
}

/// Whether the session was there for what was asked after this.
fn is_shown_after(life: &Life, span: &Span) -> bool {
    let mut events = life.events.iter();
    events.any(|event| event.shows_its_session() && event.span.began > span.ended)
}

/// The first answer that does not know of a login that was acknowledged before it was asked. Whether its
/// session is gone with it, or lives on without, is seen by what comes after.
fn forgotten_login(life: &Life) -> Option<&Event> {
    let login = life
        .events
        .iter()
        .filter(|event| event.asked == Asked::Login && event.told == Told::Done)
        .map(|event| event.span.ended)
        .min()?;
    let forgotten = Told::Me { logged_in: false };
    let me = |event: &&Event| event.told == forgotten && event.span.began > login;
    life.events.iter().find(me)
}

/// Why an id has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Its session was destroyed.
    LoggedOut,
    /// Its session goes by another id now.
    Renewed,
    /// Its client was answered as if there were no such session.
    Lost,
}

/// What a `GET /counter` with an id that has ended must not give.
pub(crate) fn judge_ended(
    session: &str,
    why: Ended,
    told: &Told,
    at: Duration,
) -> Option<Violation> {
    let Told::Count(count @ 1..) = told else {
        return None;
    };
    let (kind, of) = match why {
        Ended::LoggedOut => (Kind::Resurrected, "of a session that was logged out"),
        Ended::Renewed => (Kind::Resurrected, "from before a login"),
        Ended::Lost => (
            Kind::SilentNew,
            "whose client was answered as if it had none",
        ),
    };
    Some(Violation {
        kind,
        session: session.to_owned(),
        at,
        text: format!("an id {of} answered with count {count}"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::history::by_hand::{event, life};
    use super::*;

    fn kinds(events: impl IntoIterator<Item = Event>) -> Vec<Kind> {
        let found = judge(&life(events));
        found.iter().map(|violation| violation.kind).collect()
    }

    fn increment(began: u64, ended: u64, count: u64) -> Event {
        event(began, ended, Asked::Increment, Told::Count(count))
    }

    fn count(began: u64, ended: u64, count: u64) -> Event {
        event(began, ended, Asked::Count, Told::Count(count))
    }

    fn unknown(began: u64, asked: Asked) -> Event {
        event(began, began + 5, asked, Told::Unknown)
    }

    fn values(values: &[u32]) -> Told {
        Told::List(values.iter().copied().map(Some).collect())
    }

    fn append(began: u64, ended: u64, value: u32, list: &[u32]) -> Event {
        event(began, ended, Asked::Append { list: 0, value }, values(list))
    }

    fn list(began: u64, ended: u64, list: &[u32]) -> Event {
        event(began, ended, Asked::List { list: 0 }, values(list))
    }

    #[test]
    fn a_good_life_with_overlaps_and_maybes_is_clean() {
        let found = kinds([
            increment(0, 1, 1),
            increment(10, 20, 3),
            increment(11, 19, 2),
            unknown(22, Asked::Increment),
            count(30, 31, 4),
            increment(40, 41, 5),
            append(50, 60, 7, &[8, 7]),
            append(50, 60, 8, &[8]),
            unknown(61, Asked::Append { list: 0, value: 9 }),
            list(70, 71, &[8, 7]),
            append(80, 81, 10, &[8, 7, 9, 10]),
            event(90, 91, Asked::Login, Told::Done),
            event(92, 93, Asked::Me, Told::Me { logged_in: true }),
            event(95, 96, Asked::Logout, Told::Done),
        ]);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn a_session_that_starts_again_is_lost() {
        let fresh = event(5, 6, Asked::Increment, Told::Fresh);
        assert_eq!(kinds([increment(0, 1, 1), fresh]), [Kind::Lost]);
        assert_eq!(kinds([increment(0, 1, 1), count(5, 6, 0)]), [Kind::Lost]);
        // Its lists are gone with it, and that is one violation, not two.
        let found = kinds([
            increment(0, 1, 1),
            append(2, 3, 7, &[7]),
            list(4, 5, &[]),
            count(5, 6, 0),
        ]);
        assert_eq!(found, [Kind::Lost]);
    }

    #[test]
    fn a_session_that_its_client_ended_is_not_lost() {
        let logout = event(5, 6, Asked::Logout, Told::Done);
        assert!(kinds([increment(0, 1, 1), logout, count(7, 8, 0)]).is_empty());
        let unsure = unknown(5, Asked::Logout);
        assert!(kinds([increment(0, 1, 1), unsure, count(17, 18, 0)]).is_empty());
        let renewed = unknown(5, Asked::Login);
        assert!(kinds([increment(0, 1, 1), renewed, count(17, 18, 0)]).is_empty());
        let never_sent = event(5, 6, Asked::Logout, Told::NotSent);
        assert_eq!(
            kinds([increment(0, 1, 1), never_sent, count(7, 8, 0)]),
            [Kind::Lost]
        );
    }

    #[test]
    fn one_count_twice_is_a_fork() {
        let found = kinds([increment(0, 1, 1), increment(2, 9, 2), increment(3, 8, 2)]);
        assert_eq!(found, [Kind::Fork]);
    }

    #[test]
    fn a_count_that_falls_back_is_a_fork() {
        let found = kinds([
            increment(0, 1, 1),
            increment(2, 3, 3),
            increment(4, 5, 2),
            increment(6, 7, 4),
        ]);
        assert_eq!(found, [Kind::Fork]);
    }

    #[test]
    fn lists_that_part_are_a_fork() {
        let found = kinds([
            append(0, 1, 1, &[1]),
            append(2, 9, 2, &[1, 2]),
            append(3, 8, 3, &[1, 3]),
        ]);
        assert_eq!(found, [Kind::Fork]);
        let not_its_own = [append(0, 1, 1, &[1]), append(2, 3, 2, &[1])];
        assert_eq!(kinds(not_its_own), [Kind::Fork]);
    }

    #[test]
    fn a_read_that_misses_an_acknowledged_write_is_stale() {
        let found = kinds([increment(0, 1, 1), increment(2, 3, 2), count(4, 5, 1)]);
        assert_eq!(found, [Kind::Stale]);
        let found = kinds([
            append(0, 1, 1, &[1]),
            append(2, 3, 2, &[1, 2]),
            list(4, 5, &[1]),
        ]);
        assert_eq!(found, [Kind::Stale]);
    }

    #[test]
    fn a_write_that_counts_twice_is_found() {
        let found = kinds([increment(0, 1, 1), increment(2, 3, 3)]);
        assert_eq!(found, [Kind::Duplicate]);
        let one_maybe = unknown(2, Asked::Increment);
        let found = kinds([increment(0, 1, 1), one_maybe, increment(20, 21, 4)]);
        assert_eq!(found, [Kind::Duplicate]);
        let found = kinds([append(0, 1, 1, &[1]), list(4, 5, &[1, 1])]);
        assert_eq!(found, [Kind::Duplicate]);
    }

    #[test]
    fn a_value_of_somebody_else_is_found() {
        let foreign = Told::List(vec![Some(1), None]);
        let seen = event(4, 5, Asked::List { list: 0 }, foreign);
        assert_eq!(kinds([append(0, 1, 1, &[1]), seen]), [Kind::Foreign]);
    }

    #[test]
    fn a_login_that_is_forgotten_is_found() {
        let found = kinds([
            increment(0, 1, 1),
            event(2, 3, Asked::Login, Told::Done),
            event(4, 5, Asked::Me, Told::Me { logged_in: false }),
            count(6, 7, 1),
        ]);
        assert_eq!(found, [Kind::Login]);
    }

    #[test]
    fn a_login_that_is_forgotten_by_a_session_that_is_not_seen_again_is_lost_with_it() {
        let me = event(4, 5, Asked::Me, Told::Me { logged_in: false });
        let life = |later: &[Event]| {
            let login = event(2, 3, Asked::Login, Told::Done);
            let begun = [increment(0, 1, 1), login, me.clone()];
            kinds(begun.into_iter().chain(later.iter().cloned()))
        };
        assert_eq!(life(&[]), [Kind::Lost]);
        assert_eq!(life(&[unknown(6, Asked::Count)]), [Kind::Lost]);
        assert_eq!(life(&[list(6, 7, &[])]), [Kind::Lost]);
        assert_eq!(life(&[count(6, 7, 0)]), [Kind::Lost]);
    }

    #[test]
    fn an_ended_id_that_answers_is_found() {
        let at = Duration::from_secs(1);
        let kind = |why, told| judge_ended("1.1", why, &told, at).map(|found| found.kind);
        assert_eq!(
            kind(Ended::LoggedOut, Told::Count(3)),
            Some(Kind::Resurrected)
        );
        assert_eq!(
            kind(Ended::Renewed, Told::Count(3)),
            Some(Kind::Resurrected)
        );
        assert_eq!(kind(Ended::Lost, Told::Count(3)), Some(Kind::SilentNew));
        assert_eq!(kind(Ended::LoggedOut, Told::Count(0)), None);
        assert_eq!(kind(Ended::Lost, Told::Unknown), None);
    }
}
