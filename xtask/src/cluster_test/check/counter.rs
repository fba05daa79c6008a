//! A session's counter: each increment answers with a value of its own, and none is left out.

use super::history::{Asked, Event, Told};
use super::order::{Disorder, Placed, check};
use super::violation::Kind;

/// What is wrong with the counter, if anything: what it is, of which request, in words.
pub(super) fn judge(events: &[Event]) -> Option<(Kind, Placed, String)> {
    let (mut writes, mut maybes, mut looks) = (Vec::new(), Vec::new(), Vec::new());
    for event in events {
        match (&event.asked, &event.told) {
            (Asked::Increment, Told::Count(value)) if *value > 0 => writes.push(Placed {
                position: *value,
                span: event.span,
            }),
            (Asked::Increment, Told::Unknown) => maybes.push(event.span.began),
            (Asked::Count, Told::Count(value)) if *value > 0 => looks.push(Placed {
                position: *value,
                span: event.span,
            }),
            _ => {}
        }
    }
    let disorder = check(writes, maybes, looks).err()?;
    Some(match disorder {
        Disorder::Twice(placed) => {
            let value = placed.position;
            (
                Kind::Fork,
                placed,
                format!("two answers with count {value}"),
            )
        }
        Disorder::Behind(placed) => {
            let value = placed.position;
            let text = format!("an increment gave {value} after a higher count was acknowledged");
            (Kind::Fork, placed, text)
        }
        Disorder::Stale(placed) => {
            let value = placed.position;
            let text = format!("a read gave {value} after a higher count was acknowledged");
            (Kind::Stale, placed, text)
        }
        Disorder::Unasked(placed) => {
            let value = placed.position;
            let text = format!("nobody asked for what made the count {value}");
            (Kind::Duplicate, placed, text)
        }
    })
}
