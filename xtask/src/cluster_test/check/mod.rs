//! The checker: what the clients asked and were told, judged without knowing anything of the inside.
//!
//! It takes histories and gives violations; it asks nobody and waits for nothing, so each kind of
//! violation is tested on a history made by hand.

mod counter;
mod following;
mod harm;
mod history;
mod list;
mod order;
mod session;
mod violation;

pub(crate) use following::Following;
pub(crate) use harm::{Departure, Done, Fate, Harm, Hold};
pub(crate) use history::{Asked, Event, Life, Span, Told};
pub(crate) use session::{Ended, judge, judge_ended};
pub(crate) use violation::{Kind, Violation};
