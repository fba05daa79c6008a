//! `cargo xtask`: everything that is done to this repository rather than by it.
//!
//! Each subcommand is one file. Heavy work is left to child `cargo` processes, so that this
//! program itself compiles in seconds. Nothing here is part of the product.

mod absences;
mod apart;
mod bench;
mod build;
mod child;
mod cluster_test;
mod demo;
mod deny;
mod example;
mod features;
mod fix;
mod fleet;
mod fuzz;
mod metadata;
mod models;
mod msrv;
mod promises;
mod report;
mod say;
mod simulate;
mod source;
mod test;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::report::Report;

/// What is done to this repository: test, simulate, measure, verify.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Everything before a landing, stage by stage, with a table at the end.
    Test(test::Options),
    /// Run the pure protocol under a seeded virtual network.
    Simulate(simulate::Options),
    /// Search the models of the safety rules exhaustively, negative controls included.
    Models,
    /// Measure what sessions cost a request, a node and a cluster, beside their budgets.
    Bench(bench::Options),
    /// A cluster to play with: nodes, a proxy before them, and a screen that shows what happens.
    Demo(demo::Options),
    /// Run real nodes under load, let them join, leave and die, and check what clients were told.
    ClusterTest(cluster_test::Options),
    /// Feed the decoders with coverage-guided random bytes.
    Fuzz(fuzz::Options),
    /// Check format, lints, documentation, features, licences, MSRV, promises, absences. Edits nothing.
    Verify,
    /// Format, and apply the compiler's and clippy's own suggestions.
    Fix,
    /// Show which promises are kept, and by which tests.
    Promises,
    /// Check the architecture, stated as what must not be there.
    Absences,
}

fn main() -> ExitCode {
    if let Some(exit) = apart::become_rustc() {
        return exit;
    }
    let mut report = Report::new();
    match Arguments::parse().task {
        Task::Test(options) => test::run(&options, &mut report),
        Task::Simulate(options) => report.stage("simulate", || simulate::run(&options)),
        Task::Models => report.stage("models", models::run),
        Task::Bench(options) => bench::run(&options, &mut report),
        Task::Demo(options) => report.stage("demo", || demo::run(&options)),
        Task::ClusterTest(options) => report.stage("cluster-test", || cluster_test::run(&options)),
        Task::Fuzz(options) => report.stage("fuzz", || fuzz::run(&options)),
        Task::Verify => verify::run(&mut report),
        Task::Fix => fix::run(&mut report),
        Task::Promises => report.stage("promises", promises::run),
        Task::Absences => report.stage("absences", absences::run),
    }
    report.close()
}
