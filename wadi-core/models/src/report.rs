//! Runs a model and says what came of it, in one row of a table.

use std::fmt;
use std::hash::Hash;
use std::time::Duration;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

/// What a model is run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Every property holds.
    Holds,
    /// With a rule left out, some property fails.
    Fails,
}

/// What came of one run.
#[derive(Clone, Debug)]
pub struct Row {
    /// The model, and what was left out of it.
    pub name: String,
    /// How far it was searched.
    pub bounds: String,
    /// Distinct states.
    pub states: usize,
    /// The longest path looked at.
    pub depth: usize,
    /// The property that failed and the steps of its counterexample.
    pub failure: Option<(&'static str, Vec<String>)>,
    /// What should have been reached and was not.
    pub unreached: Vec<&'static str>,
    /// How long it took.
    pub took: Duration,
    /// Whether it came out as expected.
    pub good: bool,
}

/// Searches `model` to the end, or to its first counterexample, of which only the steps are kept
/// that it needs.
pub fn run<M>(name: &str, bounds: &str, model: M, expected: Expected) -> Row
where
    M: Model + Send + Sync + 'static,
    M::State: Hash + Clone + fmt::Debug + PartialEq + Send + Sync,
    M::Action: Clone + fmt::Debug + PartialEq,
{
    let threads = match expected {
        Expected::Holds => 2,
        Expected::Fails => 1,
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "measures the run; no model sees it"
    )]
    let started = std::time::Instant::now();
    let checker = model
        .checker()
        .threads(threads)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let took = started.elapsed();
    let found = checker.discoveries();
    let mut failure = None;
    let mut unreached = Vec::new();
    for property in checker.model().properties() {
        match (property.expectation, found.get(property.name)) {
            (Expectation::Sometimes, None) => unreached.push(property.name),
            (Expectation::Always, Some(path)) => {
                let steps = shrink(
                    checker.model(),
                    property.condition,
                    path.clone().into_actions(),
                );
                let steps = steps.iter().map(|action| format!("{action:?}")).collect();
                failure = Some((property.name, steps));
            }
            _ => {}
        }
    }
    let good = match expected {
        Expected::Holds => failure.is_none() && unreached.is_empty() && checker.is_done(),
        Expected::Fails => failure.is_some(),
    };
    Row {
        name: name.to_owned(),
        bounds: bounds.to_owned(),
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        failure,
        unreached,
        took,
        good,
    }
}

/// Leaves out of a counterexample every step that it does not need.
fn shrink<M: Model>(
    model: &M,
    condition: fn(&M, &M::State) -> bool,
    mut steps: Vec<M::Action>,
) -> Vec<M::Action>
where
    M::Action: Clone + PartialEq,
{
    let mut at = steps.len();
    while at > 0 {
        at -= 1;
        let mut fewer = steps.clone();
        fewer.remove(at);
        if let Some(length) = fails_after(model, condition, &fewer) {
            fewer.truncate(length);
            steps = fewer;
            at = steps.len();
        }
    }
    steps
}

/// After how many of these steps the condition fails; `None` when they cannot be taken, or it
/// does not.
fn fails_after<M: Model>(
    model: &M,
    condition: fn(&M, &M::State) -> bool,
    steps: &[M::Action],
) -> Option<usize>
where
    M::Action: Clone + PartialEq,
{
    let mut state = model.init_states().into_iter().next()?;
    for (number, step) in steps.iter().enumerate() {
        let mut possible = Vec::new();
        model.actions(&state, &mut possible);
        if !possible.contains(step) {
            return None;
        }
        state = model.next_state(&state, step.clone())?;
        if !condition(model, &state) {
            return Some(number + 1);
        }
    }
    None
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match (&self.failure, self.unreached.as_slice()) {
            (Some((property, steps)), _) => {
                format!("fails \"{property}\" in {} steps", steps.len())
            }
            (None, []) => "holds".to_owned(),
            (None, unreached) => format!("never reached {unreached:?}"),
        };
        write!(
            f,
            "{} {:<52} {:>9} {:>5} {:>6.1}s  {verdict}",
            if self.good { "  " } else { "!!" },
            self.name,
            self.states,
            self.depth,
            self.took.as_secs_f32(),
        )
    }
}
