//! One run: nodes, load, scenario, verdict.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::below::{self, Below, Ways};
use super::check::Following;
use super::door::Door;
use super::ledger::{Ledger, Patience};
use super::load::Load;
use super::options::{Networks, Options};
use super::sabotaged::{self, Nodes};
use super::scenario::Scenario;
use super::stage::{LEAVE_LIMIT, Stage};
use super::verdict::Verdict;
use crate::fleet::{Balancer, Client, Fleet, Plan, Status, runtime};
use crate::report::{Failure, Outcome, clock};

/// Whatever the length of a run, nobody waits longer between two things that happen.
const LONGEST_BEAT: Duration = Duration::from_secs(10);
const LEFT_BEHIND: &str = "found no other place";
/// Lines of the nodes' logs that are shown.
const LOG_LINES: usize = 5;

pub(crate) fn run(options: &Options) -> Outcome {
    if let Some(rule) = options.sabotage.as_deref() {
        return sabotaged::run(options, rule);
    }
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(1..1_000_000));
    let verdict = once(options, seed, &Nodes::Ordinary)?;
    verdict
        .outcome()
        .map(|words| format!("{words}, seed {seed}"))
}

/// One run, whatever its verdict.
pub(super) fn once(options: &Options, seed: u64, nodes: &Nodes<'_>) -> Result<Verdict, Failure> {
    let directory = std::env::temp_dir().join(format!("wadi-cluster-{}", std::process::id()));
    println!(
        "{:?}, {} nodes, {} sessions, seed {seed}",
        options.scenario(),
        options.nodes,
        options.sessions
    );
    let played = runtime()?.block_on(async {
        tokio::select! {
            played = play(options, nodes, seed, &directory) => played,
            _ = tokio::signal::ctrl_c() => Err(Failure::failed("stopped by Ctrl-C")),
        }
    });
    let is_clean = match &played {
        Ok(verdict) => verdict.faults.is_empty(),
        Err(failure) => !matches!(failure, Failure::Failed(_)),
    };
    if options.keep_logs || !(is_clean || nodes.leave_a_rule_out()) {
        println!(
            "  seed {seed}; the nodes' logs are in {}",
            directory.display()
        );
    } else {
        std::fs::remove_dir_all(&directory).ok();
    }
    played
}

async fn play(
    options: &Options,
    nodes: &Nodes<'_>,
    seed: u64,
    directory: &Path,
) -> Result<Verdict, Failure> {
    let below = Below::start(options, directory)?;
    let mut fleet = planned(options, nodes, directory, below.as_ref())?;
    if let Some(refused) = options.scenario().refused(&fleet) {
        return Err(refused);
    }
    if let Some(refused) = below.as_ref().and_then(|_| below::refused(&fleet)) {
        return Err(refused);
    }
    let (balancer, door) = doors(options, &fleet);
    let ledger = Arc::clone(&door.ledger);
    let _polling = balancer.poll_all(&door.client);
    let founders = options.scenario().founders(fleet.nodes.len());
    fleet.start_all(&founders).await?;
    while balancer.ready() < founders.len() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let took = clock(ledger.now());
    ledger.note(&format!("{} nodes are ready after {took}", founders.len()));

    let began = ledger.now();
    let load = Load::start(options, seed, &door);
    let at_least = Duration::from_secs(options.seconds);
    let mut stage = Stage {
        fleet: &mut fleet,
        balancer: Arc::clone(&balancer),
        client: door.client.clone(),
        ledger: Arc::clone(&ledger),
        random: fastrand::Rng::with_seed(seed),
        beat: (at_least / 5).min(LONGEST_BEAT),
        lease: options.lease(),
        length: at_least,
        brief: options.brief,
        cuts: BTreeMap::new(),
    };
    let begun = load.begun(options);
    let scenario = async {
        begun.await;
        let ((), played) = tokio::join!(
            tokio::time::sleep(at_least),
            options.scenario().play(&mut stage)
        );
        played
    };
    let played = tokio::select! {
        played = scenario => played,
        () = progress(&door) => unreachable!("it goes on until it is dropped"),
        () = violated(&ledger), if nodes.leave_a_rule_out() => {
            // That is what was to be shown; they need not end in good order.
            drop(load);
            return Ok(Verdict::of(&ledger, fleet.nodes.len(), ledger.now() - began));
        }
    };
    let broken = played.err().map(|failure| failure.to_string());
    if let Some(why) = &broken {
        ledger.note(why);
    }
    ledger.note("the load stops, and every browser looks once more");
    let stops = ledger.now();
    tokio::select! {
        stopped = load.stop() => stopped?,
        () = progress(&door) => unreachable!("it goes on until it is dropped"),
    }
    let lasted = ledger.now() - began;
    let took = clock(ledger.now() - stops);
    ledger.note(&format!("every browser has looked after {took}"));

    let mut verdict = Verdict::of(&ledger, fleet.nodes.len(), lasted);
    verdict.faults.extend(broken);
    if nodes.leave_a_rule_out() {
        // What clients were told is all that counts; the nodes end with the fleet.
        return Ok(verdict);
    }
    statuses(&fleet, &door.client, &mut verdict).await;
    let left = ledger.now();
    match fleet.leave_all(LEAVE_LIMIT).await {
        Ok(()) => verdict.figure(
            "the end",
            format!("all left, after {}", clock(ledger.now() - left)),
        ),
        Err(failure) => verdict.faults.push(failure.to_string()),
    }
    read_logs(directory, &mut verdict);
    Ok(verdict)
}

/// The nodes, on the networks that the scenario needs; a storm goes without where there are none.
fn planned(
    options: &Options,
    nodes: &Nodes<'_>,
    directory: &Path,
    below: Option<&Below>,
) -> Result<Fleet, Failure> {
    let (apart, or_not) = match (options.network, options.scenario()) {
        (Some(networks), _) => (networks == Networks::Apart, false),
        (None, Scenario::Partition) => (true, false),
        (None, Scenario::Storm) => (true, true),
        (None, _) => (false, false),
    };
    match nodes.plan(&plan(options, directory, below, apart)) {
        Err(Failure::NotRun(why)) if or_not => {
            println!("  without partitions: {why}");
            nodes.plan(&plan(options, directory, below, false))
        }
        planned => planned,
    }
}

fn plan(options: &Options, directory: &Path, below: Option<&Below>, apart: bool) -> Plan {
    let mut flags = vec![
        "--cookie=plain".to_owned(),
        format!("--deregister-delay={}", options.deregister_delay),
    ];
    if options.nodes > 1 {
        flags.push(format!("--lease={}", options.lease().as_secs_f64()));
    }
    flags.extend(below.iter().flat_map(|below| below.flags(options)));
    flags.extend(options.node_flag.iter().cloned());
    Plan {
        nodes: usize::from(options.nodes),
        flags,
        release: options.release,
        apart,
        directory: directory.to_owned(),
    }
}

fn doors(options: &Options, fleet: &Fleet) -> (Arc<Balancer>, Arc<Door>) {
    let addresses = fleet.nodes.iter().map(|node| node.addresses.http);
    let balancer = Arc::new(Balancer::new(addresses));
    let names = fleet.nodes.iter().map(|node| node.name.clone());
    let nodes: BTreeMap<String, usize> = names.zip(0..).collect();
    let patience = Patience {
        heal: Duration::from_secs(options.heal_within),
        doubt: Duration::from_secs(options.doubt),
        lease: options.lease(),
    };
    let door = Arc::new(Door {
        balancer: Arc::clone(&balancer),
        client: Client::new(),
        ledger: Arc::new(Ledger::new(patience, Following::of(&options.node_flag))),
        nodes,
    });
    (balancer, door)
}

/// Until clients were told something that must not be.
async fn violated(ledger: &Ledger) {
    while ledger.seen().violations.is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A line now and then, in place where there is a terminal.
async fn progress(door: &Door) {
    let in_place = std::io::stdout().is_terminal();
    let pause = Duration::from_secs(if in_place { 1 } else { 5 });
    let mut before = 0;
    loop {
        tokio::time::sleep(pause).await;
        let (requests, created, failed, violations) = {
            let seen = door.ledger.seen();
            let (created, failed) = (seen.tally.created, seen.tally.failed.len());
            (
                seen.tally.requests(),
                created,
                failed,
                seen.violations.len(),
            )
        };
        let rate = (requests - before) as f64 / pause.as_secs_f64();
        before = requests;
        let ready = door.balancer.ready();
        let line = format!(
            "{:8.3} s  {requests} requests ({rate:.0}/s), {created} sessions, {failed} errors, {violations} violations, {ready} ready",
            door.ledger.now().as_secs_f64()
        );
        if in_place {
            print!("\r\x1b[K{line}\r");
        } else {
            println!("{line}");
        }
        std::io::stdout().flush().ok();
    }
}

/// What the nodes say of themselves when the load has stopped.
async fn statuses(fleet: &Fleet, client: &Client, verdict: &mut Verdict) {
    for index in fleet.running() {
        let node = &fleet.nodes[index];
        let Some(status) = Status::ask(client, node.addresses.admin).await else {
            verdict
                .faults
                .push(format!("{} tells no status", node.name));
            continue;
        };
        let buckets = status.member(&node.name).map_or(0, |member| member.buckets);
        let text = format!(
            "version {}.{}, {} members, {buckets} buckets, {} sessions, {} displaced, {} migrated in, {} out",
            status.generation,
            status.version,
            status.members.len(),
            status.held(),
            status.displaced,
            status.migrations.arrived,
            status.migrations.left
        );
        let below = status.store.map(|_| Ways::of([&status]));
        let below = below.map_or(String::new(), |ways| {
            let Ways { down, up, failed } = ways;
            format!("; of the store: {down} down, {up} up, {failed} calls failed")
        });
        let text = text + &below;
        verdict.figure(&node.name, text);
    }
}

/// A panic is a violation wherever it happened; errors in a log are shown.
fn read_logs(directory: &Path, verdict: &mut Verdict) {
    let mut shown = 0;
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut logs: Vec<PathBuf> = files.map(|file| file.path()).collect();
    logs.retain(|path| path.extension().is_some_and(|end| end == "log"));
    logs.sort();
    for path in logs {
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_default()).into_owned();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if let Some(line) = text.lines().find(|line| line.contains("panicked at")) {
            verdict.faults.push(format!("{name}: {line}"));
        }
        // Who leaves says how many it could not give to anybody.
        for line in text.lines().filter(|line| line.contains(LEFT_BEHIND)) {
            verdict.figure("left", format!("{name}: {line}"));
        }
        for line in text.lines().filter(|line| line.contains(" ERROR ")) {
            shown += 1;
            if shown <= LOG_LINES {
                verdict.figure("log", format!("{name}: {line}"));
            }
        }
    }
    if shown > LOG_LINES {
        verdict.figure("log", format!("{} more errors", shown - LOG_LINES));
    }
}
