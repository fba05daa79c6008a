//! Runs the models of the safety rules and shows their table.
//!
//! The models say themselves what they counted and what each negative control found.

use std::time::Duration;

use crate::apart::Apart;
use crate::build::Build;
use crate::child::Child;
use crate::report::Outcome;

const MODELS: &str = "wadi-models";

pub(crate) fn run() -> Outcome {
    let models = Apart::Sabotage.executable(Build::of_the_protocol(&[MODELS]), MODELS)?;
    let said = Child::new(models)
        .limit(Duration::from_secs(1800))
        .listen()?;
    said.require()?;
    let closing = said.lines.iter().rev().find(|line| !line.trim().is_empty());
    Ok(closing
        .map(|line| line.trim().to_owned())
        .unwrap_or_default())
}
