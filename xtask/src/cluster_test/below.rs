//! The store below all nodes of a run, where it has one: what the nodes are told of it, and its server.

use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;

use super::options::Options;
use super::scenario::Scenario;
use crate::fleet::{Fleet, Postgres, Status};
use crate::report::Failure;

/// The reference node's flag for it.
pub(super) const FLAG: &str = "--shared-store";
/// Short enough that sessions go down between two requests of a browser.
const DEMOTE_AFTER: Duration = Duration::from_secs(1);

/// Which store that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Store {
    /// A file in the run's own directory.
    Sqlite,
    /// A PostgreSQL server of the run's own, from programs that are installed.
    Postgres,
}

/// A store that is there for as long as this is.
#[derive(Debug)]
pub(super) struct Below {
    url: String,
    _server: Option<Postgres>,
}

impl Below {
    /// The store that the options or the scenario ask for.
    pub(super) fn start(options: &Options, directory: &Path) -> Result<Option<Self>, Failure> {
        let needed = (options.scenario() == Scenario::Restart).then_some(Store::Sqlite);
        Ok(match options.store.or(needed) {
            None => None,
            Some(Store::Sqlite) => {
                let file = directory.join("sessions.sqlite");
                Some(Self {
                    url: format!("sqlite:{}", file.display()),
                    _server: None,
                })
            }
            Some(Store::Postgres) => {
                let server = Postgres::start(directory)?;
                Some(Self {
                    url: server.url(),
                    _server: Some(server),
                })
            }
        })
    }

    /// What each node is told.
    pub(super) fn flags(&self, options: &Options) -> [String; 2] {
        let after = options.demote_after.unwrap_or(DEMOTE_AFTER);
        [
            format!("{FLAG}={}", self.url),
            format!("--demote-after={}", after.as_secs_f64()),
        ]
    }
}

/// How many sessions went down and came up, and how many calls failed, as far as the nodes that run say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ways {
    pub(super) down: u64,
    pub(super) up: u64,
    pub(super) failed: u64,
}

impl Ways {
    /// All of these together.
    pub(super) fn of<'a>(statuses: impl IntoIterator<Item = &'a Status>) -> Self {
        let stores = statuses.into_iter().filter_map(|status| status.store);
        stores.fold(Self::default(), |sum, store| Self {
            down: sum.down + store.demoted,
            up: sum.up + store.promoted,
            failed: sum.failed + store.failed,
        })
    }
}

/// Why there can be no store below these nodes.
pub(super) fn refused(fleet: &Fleet) -> Option<Failure> {
    let why = if !fleet.has(FLAG) {
        format!("the reference node knows no {FLAG}")
    } else if fleet.nodes.len() < 2 {
        "a store that nodes share needs --nodes 2 or more".to_owned()
    } else {
        return None;
    };
    Some(Failure::NotRun(why))
}
