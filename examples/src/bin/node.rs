//! The reference node: `cargo run -p wadi-examples --bin node -- --help`.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use wadi_examples::node::{Node, Options, RunError, SpanTimes};

/// What is logged by default. Whatever comes of elections, votes and who is not to be reached WADI says
/// itself; openraft calls each step of it an error, also while nodes come and go in good order.
const LOGGED: &str = "info,openraft=off";

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOGGED));
    let lines = tracing_subscriber::fmt::layer().with_ansi(std::io::stdout().is_terminal());
    let subscriber = tracing_subscriber::registry().with(filter).with(lines);
    subscriber.with(SpanTimes).init();
    #[cfg(wadi_sabotage = "choose")]
    if let Err(unknown) = leave_out() {
        tracing::error!("{unknown}");
        return ExitCode::FAILURE;
    }
    match run(&options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<(), RunError> {
    Node::open(options).await?.run().await
}

/// A build for negative controls leaves out the rule that its environment names, and says so.
#[cfg(wadi_sabotage = "choose")]
fn leave_out() -> Result<(), String> {
    use wadi_core::sabotage::{Rule, choose_everywhere};

    const NAMED_BY: &str = "SABOTAGE_WADI";
    let Ok(name) = std::env::var(NAMED_BY) else {
        return Ok(());
    };
    let rule = Rule::named(&name).ok_or_else(|| format!("{NAMED_BY}={name}: no such rule"))?;
    choose_everywhere(rule);
    tracing::warn!("this node leaves the rule {name} out");
    Ok(())
}
