//! A cluster of reference nodes that was planned before the first one starts, so that all know all.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::Signal;
use tokio::runtime::Runtime;

use super::leash::Leash;
use super::node::{Addresses, Node};
use super::ports::Ports;
use super::wires::Wires;
use crate::build::Build;
use crate::child::{self, Child};
use crate::report::{Failure, because};

/// The reference node's package and its executable.
pub(crate) const NODE: &str = "node";
/// Under load on a small machine; an idle one needs a moment.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// The unoptimised and the optimised one. Before a landing each is built once for all fleets, which so do not
/// wait for whoever builds something else meanwhile.
static BUILT: [OnceLock<PathBuf>; 2] = [const { OnceLock::new() }; 2];

/// What the nodes of a cluster are given.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) nodes: usize,
    /// Flags that all have in common.
    pub(crate) flags: Vec<String>,
    /// Built as users build it.
    pub(crate) release: bool,
    /// Each node in a network of its own.
    pub(crate) apart: bool,
    /// Where logs and the key are kept.
    pub(crate) directory: PathBuf,
}

/// The nodes, none of them started yet.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) nodes: Vec<Node>,
    pub(crate) program: PathBuf,
    pub(crate) leash: Leash,
    /// Where each node has a network of its own.
    pub(crate) wires: Option<Wires>,
    flags: BTreeSet<String>,
}

impl Fleet {
    /// Builds the reference node and gives each its addresses. A node that is alone knows no others.
    pub(crate) fn plan(plan: &Plan) -> Result<Self, Failure> {
        let built = &BUILT[usize::from(plan.release)];
        if let Some(built) = built.get().filter(|_| child::is_built_once()) {
            return Self::of(plan, built);
        }
        let build = if plan.release {
            Build::optimised(&[NODE])
        } else {
            Build::as_in_tests(NODE)
        };
        let executable = build.executable(NODE)?;
        Self::of(plan, built.get_or_init(|| executable))
    }

    /// The same of a reference node that was built already.
    pub(crate) fn of(plan: &Plan, built: &Path) -> Result<Self, Failure> {
        std::fs::create_dir_all(&plan.directory).map_err(because(plan.directory.display()))?;
        // A build that runs meanwhile must not change what is started later.
        let program = plan.directory.join(NODE);
        std::fs::copy(built, &program).map_err(because(built.display()))?;
        let flags = flags_of(&program)?;
        if plan.nodes > 1 && !flags.contains("--cluster") {
            return Err(Failure::not_run(
                "the reference node knows no --cluster: only --nodes 1 can run",
            ));
        }
        let key = write_key(&plan.directory)?;
        let wires = plan.apart.then(|| Wires::new(plan.nodes)).transpose()?;
        let mut ports = Ports::default();
        let mut addresses = Vec::new();
        for index in 0..plan.nodes {
            addresses.push(match wires {
                Some(_) => Wires::addresses(index),
                None => Addresses {
                    http: ports.pick()?,
                    admin: ports.pick()?,
                    cluster: ports.pick()?,
                },
            });
        }
        let join: Vec<String> = addresses
            .iter()
            .map(|addresses| addresses.cluster.to_string())
            .collect();
        let join = join.join(",");
        let node = |(number, addresses): (usize, Addresses)| {
            let name = format!("n{number}");
            let mut words = vec![
                format!("--name={name}"),
                format!("--http={}", addresses.http),
                format!("--admin={}", addresses.admin),
                format!("--cluster-key={}", key.display()),
            ];
            if plan.nodes > 1 {
                words.push(format!("--cluster={}", addresses.cluster));
                words.push(format!("--join={join}"));
            }
            words.extend(plan.flags.iter().cloned());
            let mut node = Node::new(name, addresses, words, plan.directory.clone());
            if let Some(wires) = &wires {
                node.before = wires.inside(number - 1);
            }
            node
        };
        Ok(Self {
            nodes: (1..).zip(addresses).map(node).collect(),
            program,
            leash: Leash::new()?,
            wires,
            flags,
        })
    }

    /// Gives every node this variable in its environment, from its next start on.
    pub(crate) fn environment(&mut self, name: &'static str, value: &str) {
        for node in &mut self.nodes {
            node.environment.push((name, value.to_owned()));
        }
    }

    /// Whether the reference node has this flag.
    pub(crate) fn has(&self, flag: &str) -> bool {
        self.flags.contains(flag)
    }

    pub(crate) fn start(&mut self, index: usize, more: &[String]) -> Result<(), Failure> {
        self.nodes[index].start(&self.program, more, &mut self.leash)
    }

    pub(crate) async fn ready(&mut self, index: usize) -> Result<(), Failure> {
        self.nodes[index].ready(&mut self.leash, READY_LIMIT).await
    }

    /// Starts these at once and waits for all of them.
    pub(crate) async fn start_all(&mut self, indices: &[usize]) -> Result<(), Failure> {
        for index in indices {
            self.start(*index, &[])?;
        }
        for index in indices {
            self.ready(*index).await?;
        }
        Ok(())
    }

    /// Waits until a node that was told to leave has; anything but a good end is a failure.
    pub(crate) async fn left(&mut self, index: usize, limit: Duration) -> Result<(), Failure> {
        let node = &mut self.nodes[index];
        let status = node.ended(&mut self.leash, limit).await?;
        if status.success() {
            return Ok(());
        }
        let log = node.log();
        Err(Failure::Failed(format!(
            "{} left with {status} (its log: {})",
            node.name,
            log.display()
        )))
    }

    pub(crate) fn running(&self) -> Vec<usize> {
        let all = 0..self.nodes.len();
        all.filter(|index| self.nodes[*index].pid().is_some())
            .collect()
    }

    /// Tells all that run to leave, and waits for them.
    pub(crate) async fn leave_all(&mut self, limit: Duration) -> Result<(), Failure> {
        let running = self.running();
        for index in &running {
            self.nodes[*index].signal(Signal::TERM);
        }
        for index in running {
            self.left(index, limit).await?;
        }
        Ok(())
    }
}

/// The runtime that everything around real processes runs on: one thread, so that the nodes have the rest.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.map_err(because("the runtime"))
}

/// Every long flag of a program, by its own help.
fn flags_of(program: &Path) -> Result<BTreeSet<String>, Failure> {
    let help = Child::new(program).args(["--help"]).silent().listen()?;
    help.require()?;
    Ok(long_flags(&help.lines))
}

fn long_flags(help: &[String]) -> BTreeSet<String> {
    let words = help.iter().flat_map(|line| line.split_whitespace().take(2));
    words
        .filter(|word| word.starts_with("--"))
        .map(|word| word.trim_end_matches(',').to_owned())
        .collect()
}

/// A secret for this cluster only, which nobody else can read.
fn write_key(directory: &Path) -> Result<PathBuf, Failure> {
    let mut random = [0_u8; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut random))
        .map_err(because("/dev/urandom"))?;
    let secret: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let path = directory.join("cluster.key");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
        .open(&path)
        .and_then(|mut file| writeln!(file, "{secret}"))
        .map_err(because(path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_from_the_help() {
        let help = [
            "Options:",
            "      --http <ADDR>  Where it listens, unlike --words in a sentence",
            "  -h, --help  Print help",
        ];
        let flags = long_flags(&help.map(str::to_owned));
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        assert_eq!(flags, ["--help", "--http"]);
    }
}
