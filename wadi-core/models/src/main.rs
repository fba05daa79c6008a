//! Runs every model and every negative control, and prints a table.
//!
//! Exits with 1 when a model fails, when a control finds nothing, or when a model never reaches
//! what it is about. `--steps` prints each counterexample; `--deep` searches larger bounds.

use std::process::ExitCode;

use wadi_models::generations::{self, Generations};
use wadi_models::leases::{Control, Leases};
use wadi_models::report::{Expected, Row, run};

fn main() -> ExitCode {
    let (mut steps, mut deep) = (false, false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--steps" => steps = true,
            "--deep" => deep = true,
            other => {
                eprintln!("{other}: no such flag; there are --steps and --deep");
                return ExitCode::FAILURE;
            }
        }
    }
    println!(
        "   {:<52} {:>9} {:>5} {:>7}  verdict",
        "model", "states", "depth", "time"
    );
    let mut all_good = true;
    let mut show = |row: Row, is_model: bool| {
        println!("{row}");
        if is_model {
            println!("     within: {}", row.bounds);
        }
        if let Some((_, path)) = row.failure.as_ref().filter(|_| steps || is_model) {
            for (number, step) in path.iter().enumerate() {
                println!("     {:>3} {step}", number + 1);
            }
        }
        all_good &= row.good;
    };

    for (name, model) in Leases::instances(deep) {
        show(run(name, &model.bounds(), model, Expected::Holds), true);
    }
    for control in Control::ALL {
        let model = control.model();
        show(
            run(control.name(), &model.bounds(), model, Expected::Fails),
            false,
        );
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
    show(
        run(
            "generations: three voters",
            &three.bounds(),
            three,
            Expected::Holds,
        ),
        true,
    );
    show(
        run(
            "generations: five voters",
            &five.bounds(),
            five,
            Expected::Holds,
        ),
        true,
    );
    for (name, model) in five.controls() {
        show(run(name, &model.bounds(), model, Expected::Fails), false);
    }
    if all_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
