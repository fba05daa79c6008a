//! bench
use crate::report::Outcome;
use clap::Args;
#[derive(Args)]
pub(crate) struct Options {
    #[arg(long)]
    smoke: bool,
}
impl Options {
    pub(crate) fn smoke() -> Self {
        Self { smoke: true }
    }
}
pub(crate) fn run(_options: &Options) -> Outcome {
    Ok(String::new())
}
