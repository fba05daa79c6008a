//! The command line of `cluster-test`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::below::Store;
use super::scenario::Scenario;

#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// How many nodes.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub(super) nodes: u8,
    /// How many browsers, each with a session at a time.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) sessions: u32,
    /// Load for at least so long; a scenario that takes longer is not cut off.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) seconds: u64,
    /// What happens under the load [default: steady, and for a rule that is left out, what shows it]
    #[arg(long, value_enum)]
    pub(super) scenario: Option<Scenario>,
    /// Decides what the browsers do and who is chosen [default: drawn at random, and printed]
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
    /// Whether the balancer sends a browser to the node that answered it last.
    #[arg(long, value_enum, default_value_t = Affinity::None)]
    pub(super) affinity: Affinity,
    /// Requests per second, of all browsers together.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) rate: u32,
    /// For how many seconds a node may act that hears nothing, as its own flag says it [default: 4; 2 where
    /// the scenario is about leases]
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub(super) lease: Option<Duration>,
    /// The store below all nodes [default: none; for a restart a SQLite file]
    #[arg(long, value_enum)]
    pub(super) store: Option<Store>,
    /// How long a session is idle before it goes there, as the nodes' own flag says it [default: 1]
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub(super) demote_after: Option<Duration>,
    /// Whether each node is in a network of its own, in namespaces (which takes root), or all are on
    /// loopback [default: on loopback; for partitions in namespaces, and for a storm where that is possible]
    #[arg(long, value_enum)]
    pub(super) network: Option<Networks>,
    /// Within how many seconds all other sessions must be served again after a death, and all after a node
    /// came back.
    #[arg(long, value_name = "S", default_value_t = 10)]
    pub(super) heal_within: u64,
    /// For how much longer the dead node's own sessions may be in doubt, and answered 503.
    #[arg(long, value_name = "S", default_value_t = 30)]
    pub(super) doubt: u64,
    /// How long a leaving node is unready and still accepts, as its own flag says it.
    #[arg(long, value_name = "S", default_value_t = 1.5)]
    pub(super) deregister_delay: f64,
    /// Build and run the nodes optimised; without it the build is quicker.
    #[arg(long)]
    pub(super) release: bool,
    /// A flag for every node besides, as in `--node-flag=--relocate=proxy`; may be given several times.
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    pub(super) node_flag: Vec<String>,
    /// Have the nodes leave this safety rule out and expect a violation, one after another where there are
    /// several; `all` goes through every rule that is known to show.
    #[arg(long, value_name = "RULE,…")]
    pub(super) sabotage: Option<String>,
    /// Keep the nodes' logs also when all is well.
    #[arg(long)]
    pub(super) keep_logs: bool,
    /// Only the shortest form of the scenario.
    #[arg(skip)]
    pub(super) brief: bool,
}

/// Where nodes listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Networks {
    /// All on this host's loopback.
    Loopback,
    /// Each in a namespace of its own.
    Apart,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

impl Options {
    pub(super) fn scenario(&self) -> Scenario {
        self.scenario.unwrap_or(Scenario::Steady)
    }

    pub(super) fn lease(&self) -> Duration {
        self.lease.unwrap_or_else(|| self.scenario().lease())
    }

    /// Enough to notice what is broken, with a seed that is always the same. Optimised, because a node
    /// that checks all of its invariants is late on a busy machine, and that is no verdict.
    pub(crate) fn smoke(scenario: Scenario) -> Self {
        Self {
            nodes: 4,
            sessions: 100,
            seconds: 10,
            scenario: Some(scenario),
            seed: Some(1),
            affinity: Affinity::None,
            rate: 200,
            heal_within: 10,
            doubt: 30,
            deregister_delay: 1.5,
            lease: None,
            network: None,
            store: None,
            demote_after: None,
            brief: true,
            release: true,
            // Where all leave at the end there is nobody to wait for.
            node_flag: vec!["--leave-timeout=10".to_owned()],
            sabotage: None,
            keep_logs: false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Affinity {
    /// Every request goes to any ready node.
    None,
    /// A browser's requests go to the node that held its session last, while that is ready.
    Sticky,
}
