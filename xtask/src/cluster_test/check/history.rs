//! What one client asked of one session, and what it was told.

use std::fmt;
use std::time::Duration;

/// From the moment before a request was sent to the moment after its answer was read, both since the
/// run began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) began: Duration,
    pub(crate) ended: Duration,
}

impl Span {
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.began <= other.ended && other.began <= self.ended
    }
}

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// `POST /counter`
    Increment,
    /// `GET /counter`
    Count,
    /// `POST /list/{list}` with a value that is never written again.
    Append { list: u8, value: u32 },
    /// `GET /list/{list}`
    List { list: u8 },
    /// `POST /login`, which renews the id. Nothing else is under way meanwhile.
    Login,
    /// `GET /me`
    Me,
    /// `POST /logout`. Nothing else is under way meanwhile.
    Logout,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Count(u64),
    /// A whole list; `None` for a value that this session's client did not write.
    List(Vec<Option<u32>>),
    /// Whether the session knows its login.
    Me {
        logged_in: bool,
    },
    Done,
    /// An answer of another session than the one that was asked for.
    Fresh,
    /// An error or nothing at all: it may have happened, may yet happen, or not.
    Unknown,
    /// It was never sent.
    NotSent,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) asked: Asked,
    pub(crate) told: Told,
    pub(crate) span: Span,
    /// The node that was asked.
    pub(crate) to: usize,
    /// The node whose handler ran, where an answer tells.
    pub(crate) at: Option<usize>,
}

impl Event {
    /// Whether the session itself answered.
    pub(crate) fn is_acknowledged(&self) -> bool {
        !matches!(self.told, Told::Fresh | Told::Unknown | Told::NotSent)
            && self.told != Told::Count(0)
    }

    /// Whether the session must have been there for this answer: one without a session looks otherwise.
    pub(crate) fn shows_its_session(&self) -> bool {
        match &self.told {
            Told::Count(count) => *count > 0,
            Told::List(list) => !list.is_empty(),
            Told::Me { logged_in } => *logged_in,
            Told::Done => self.asked != Asked::Logout,
            Told::Fresh | Told::Unknown | Told::NotSent => false,
        }
    }

    pub(crate) fn was_sent(&self) -> bool {
        self.told != Told::NotSent
    }

    /// Whether an answer came, and it was not the session's. Every session here counts from one: a
    /// counter at nothing is that of no session.
    pub(crate) fn is_fresh(&self) -> bool {
        self.told == Told::Fresh || self.told == Told::Count(0)
    }
}

/// One session from the answer that created it to its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Life {
    /// `browser.session`
    pub(crate) name: String,
    pub(crate) events: Vec<Event>,
}

impl Life {
    /// What was asked until `at`, the last of it.
    pub(crate) fn before(&self, at: Duration, most: usize) -> Vec<&Event> {
        let mut events: Vec<&Event> = self.events.iter().collect();
        events.retain(|event| event.span.ended <= at);
        events.sort_by_key(|event| event.span.ended);
        events.split_off(events.len().saturating_sub(most))
    }

    /// The whole of it in one line for people: who answered, from when to when, and what did not.
    pub(crate) fn story(&self) -> String {
        let mut parts: Vec<(String, Span)> = Vec::new();
        let mut events: Vec<&Event> = self.events.iter().collect();
        events.sort_by_key(|event| event.span.ended);
        for event in events {
            let what = match (&event.told, event.at) {
                (Told::NotSent, _) => continue,
                (Told::Unknown, _) => "errors".to_owned(),
                (Told::Fresh | Told::Count(0), _) => "not known".to_owned(),
                (_, Some(at)) if event.shows_its_session() => format!("n{}", at + 1),
                (_, Some(at)) => format!("n{} with nothing of it", at + 1),
                (_, None) => format!("{:?}", event.asked),
            };
            match parts.last_mut() {
                Some((last, span)) if *last == what => span.ended = event.span.ended,
                _ => parts.push((what, event.span)),
            }
        }
        let told = parts.iter().map(|(what, span)| {
            let (began, ended) = (span.began.as_secs_f64(), span.ended.as_secs_f64());
            format!("{what} {began:.1}–{ended:.1}")
        });
        told.collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (began, ended) = (self.span.began.as_secs_f64(), self.span.ended.as_secs_f64());
        write!(f, "{began:.3}–{ended:.3} s  {:?}", self.asked)?;
        if self.was_sent() {
            write!(f, " of n{}", self.to + 1)?;
        }
        write!(f, ": {:?}", self.told)?;
        match self.at {
            Some(at) => write!(f, " by n{}", at + 1),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
pub(super) mod by_hand {
    use super::*;

    /// A span in milliseconds.
    pub(in super::super) fn span(began: u64, ended: u64) -> Span {
        Span {
            began: Duration::from_millis(began),
            ended: Duration::from_millis(ended),
        }
    }

    /// A request to node 0, answered by node 0.
    pub(in super::super) fn event(began: u64, ended: u64, asked: Asked, told: Told) -> Event {
        Event {
            asked,
            told,
            span: span(began, ended),
            to: 0,
            at: Some(0),
        }
    }

    pub(in super::super) fn life(events: impl IntoIterator<Item = Event>) -> Life {
        Life {
            name: "1.1".to_owned(),
            events: events.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::by_hand::{event, life};
    use super::*;

    #[test]
    fn a_story_says_who_answered_and_when_nobody_did() {
        let empty = Told::List(Vec::new());
        let (one, two) = (Told::Count(1), Told::Count(2));
        let told = [one, two, Told::Unknown, empty, Told::Fresh];
        let events = (0..).zip(told).map(|(second, told)| {
            let began = second * 1000;
            event(began, began + 100, Asked::Increment, told)
        });
        let story = life(events).story();
        let expected =
            "n1 0.0–1.1, errors 2.0–2.1, n1 with nothing of it 3.0–3.1, not known 4.0–4.1";
        assert_eq!(story, expected);
    }
}
