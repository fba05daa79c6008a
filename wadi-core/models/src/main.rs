//! Runs every model and every negative control, and prints a table.
//!
//! Exits with 1 when a model fails, when a control finds nothing, or when a model never reaches
//! what it is about. `--steps` prints each counterexample; `--deep` searches larger bounds;
//! `--only=WORD` runs those with the word in their name.

use std::fmt;
use std::hash::Hash;
use std::process::ExitCode;

use stateright::Model;
use wadi_models::generations::{self, Generations};
use wadi_models::leases::{Control, Leases};
use wadi_models::report::{Expected, run};
use wadi_models::sessions::{self, Sessions};
use wadi_models::succession::Succession;

struct Table {
    only: String,
    steps: bool,
    all_good: bool,
    states: usize,
}

impl Table {
    fn row<M>(&mut self, name: &str, bounds: &str, model: M, expected: Expected)
    where
        M: Model + Send + Sync + 'static,
        M::State: Hash + Clone + fmt::Debug + PartialEq + Send + Sync,
        M::Action: Clone + fmt::Debug + PartialEq,
    {
        if !name.contains(&self.only) {
            return;
        }
        let row = run(name, bounds, model, expected);
        println!("{row}");
        let is_model = expected == Expected::Holds;
        if is_model {
            self.states += row.states;
            println!("     within: {}", row.bounds);
        }
        if let Some((_, path)) = row.failure.as_ref().filter(|_| self.steps || is_model) {
            for (number, step) in path.iter().enumerate() {
                println!("     {:>3} {step}", number + 1);
            }
        }
        self.all_good &= row.good;
    }
}

fn main() -> ExitCode {
    let mut table = Table {
        only: String::new(),
        steps: false,
        all_good: true,
        states: 0,
    };
    let mut deep = false;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--steps" => table.steps = true,
            "--deep" => deep = true,
            other => match other.strip_prefix("--only=") {
                Some(word) => word.clone_into(&mut table.only),
                None => {
                    eprintln!("{other}: no such flag; there are --steps, --deep and --only=WORD");
                    return ExitCode::FAILURE;
                }
            },
        }
    }
    println!(
        "   {:<52} {:>9} {:>5} {:>7}  verdict",
        "model", "states", "depth", "time"
    );
    for (name, model) in Leases::instances(deep) {
        table.row(name, &model.bounds(), model, Expected::Holds);
    }
    for control in Control::ALL {
        let model = control.model();
        table.row(control.name(), &model.bounds(), model, Expected::Fails);
    }
    for (name, model) in Sessions::instances(deep) {
        table.row(name, &model.bounds(), model, Expected::Holds);
    }
    let can_leave_out = cfg!(wadi_sabotage = "choose");
    if !can_leave_out {
        println!("   (this build leaves no rule of the sessions out; `cargo xtask models` does)");
    }
    for control in sessions::Control::ALL.iter().filter(|_| can_leave_out) {
        let model = control.model();
        table.row(&control.name(), &model.bounds(), model, Expected::Fails);
    }
    let rules = generations::Rules::ALL;
    let five = Generations {
        rules,
        voters: 5,
        deaths: 4,
    };
    let three = Generations {
        voters: 3,
        deaths: 2,
        ..five
    };
    let (three_voters, five_voters) = ("generations: three voters", "generations: five voters");
    table.row(three_voters, &three.bounds(), three, Expected::Holds);
    table.row(five_voters, &five.bounds(), five, Expected::Holds);
    for (name, model) in five.controls() {
        table.row(name, &model.bounds(), model, Expected::Fails);
    }
    for (name, model) in Succession::instances() {
        table.row(name, &model.bounds(), model, Expected::Holds);
    }
    for (name, model) in Succession::controls() {
        table.row(name, &model.bounds(), model, Expected::Fails);
    }
    println!("{} states in the models that hold", table.states);
    if table.all_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
