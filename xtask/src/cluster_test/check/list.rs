//! A session's list: every answer is a part, from the front, of one list, and each append ends its own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::history::{Asked, Event, Span, Told};
use super::order::{Disorder, Placed, check};
use super::violation::Kind;

/// What is wrong with the lists, if anything: what it is, when, in words. An empty list is no list
/// where the session was `lost`.
pub(super) fn judge(events: &[Event], lost: bool) -> Vec<(Kind, Span, String)> {
    let lists: BTreeSet<u8> = events.iter().filter_map(list_of).collect();
    let found = lists.into_iter().filter_map(|list| {
        let events = events.iter().filter(|event| list_of(event) == Some(list));
        let fault = judge_one(&events.collect::<Vec<_>>(), lost)?;
        Some((fault.0, fault.1, format!("list {list}: {}", fault.2)))
    });
    found.collect()
}

fn list_of(event: &Event) -> Option<u8> {
    match event.asked {
        Asked::Append { list, .. } | Asked::List { list } => Some(list),
        _ => None,
    }
}

fn judge_one(events: &[&Event], lost: bool) -> Option<(Kind, Span, String)> {
    let mut answers: Vec<(&[Option<u32>], &Event)> = Vec::new();
    for event in events {
        if let Told::List(list) = &event.told
            && !(lost && list.is_empty())
        {
            answers.push((list, event));
        }
    }
    answers.sort_by_key(|(list, _)| list.len());
    for pair in answers.windows(2) {
        let ((short, _), (long, event)) = (&pair[0], &pair[1]);
        if !long.starts_with(short) {
            let text = format!("answers that part: {} and {}", said(short), said(long));
            return Some((Kind::Fork, event.span, text));
        }
    }
    let longest = answers.last().map_or(&[][..], |(list, _)| list);
    let seen = answers.last().map(|(_, event)| event.span);

    let written: BTreeMap<u32, &Event> = events
        .iter()
        .filter_map(|event| match event.asked {
            Asked::Append { value, .. } => Some((value, *event)),
            _ => None,
        })
        .collect();
    let mut writes = Vec::new();
    let mut counted = BTreeSet::new();
    for (position, value) in (1..).zip(longest) {
        let span = seen?;
        let Some(write) = value.and_then(|value| written.get(&value)) else {
            let text = format!("value {position} was never written here");
            return Some((Kind::Foreign, span, text));
        };
        if !counted.insert(value) {
            let text = format!("one value stands there twice: {}", said(longest));
            return Some((Kind::Duplicate, span, text));
        }
        let ended = match write.told {
            // What is seen was sent, whatever its client was told.
            Told::Unknown | Told::NotSent | Told::Fresh => Duration::MAX,
            _ => write.span.ended,
        };
        let span = Span {
            began: write.span.began,
            ended,
        };
        writes.push(Placed { position, span });
    }
    let mut looks = Vec::new();
    for (list, event) in answers {
        let position = list.len() as u64;
        match event.asked {
            Asked::Append { value, .. } if list.last() != Some(&Some(value)) => {
                let text = format!("an append's answer ends with another value: {}", said(list));
                return Some((Kind::Fork, event.span, text));
            }
            Asked::Append { .. } => {}
            _ => looks.push(Placed {
                position,
                span: event.span,
            }),
        }
    }
    Some(match check(writes, Vec::new(), looks).err()? {
        Disorder::Stale(placed) => {
            let length = placed.position;
            let text = format!("a read gave {length} values after more were acknowledged");
            (Kind::Stale, placed.span, text)
        }
        Disorder::Twice(placed) | Disorder::Unasked(placed) | Disorder::Behind(placed) => {
            let position = placed.position;
            let text = format!("value {position} stands before one that was acknowledged first");
            (Kind::Fork, placed.span, text)
        }
    })
}

/// The last few values.
fn said(list: &[Option<u32>]) -> String {
    let tail = &list[list.len().saturating_sub(5)..];
    let words = tail
        .iter()
        .map(|value| value.map_or("?".to_owned(), |value| value.to_string()));
    let dots = if tail.len() < list.len() { "… " } else { "" };
    format!("[{dots}{}]", words.collect::<Vec<_>>().join(" "))
}
