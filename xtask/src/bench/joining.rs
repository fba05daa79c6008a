//! What requests notice of a sixth node that joins five with many sessions, beside the same load in the
//! same run without it.
//!
//! Times of real processes on a shared machine: shown, they fail nothing.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::task::JoinSet;

use super::balance::balanced;
use super::patron::Patron;
use super::spans::Spans;
use super::times::per_mille;
use crate::fleet::{Client, Fleet, Plan, Status, runtime};
use crate::report::{Failure, Outcome, Stopwatch};

const NODES: usize = 5;
const STATE: usize = 1024;
/// So many are created at once, of which some go on to ask.
const AT_ONCE: usize = 32;
const PATRONS: usize = 10_000;
/// Requests a second, whether or not the others were answered.
const RATE: u32 = 500;
const QUIET: Duration = Duration::from_secs(15);
const ANSWER: Duration = Duration::from_secs(10);
const LIMIT: Duration = Duration::from_secs(60);

/// What requests of one time saw.
struct Seen {
    lasted: Duration,
    times: Vec<Duration>,
    failed: usize,
    spans: Spans,
}

pub(super) fn run(sessions: usize) -> Outcome {
    let directory = std::env::temp_dir().join(format!("wadi-joining-{}", std::process::id()));
    let (without, with, moved) = runtime()?.block_on(measure(sessions, &directory))?;
    std::fs::remove_dir_all(&directory).ok();
    println!("\n{sessions} sessions of {STATE} bytes, {RATE} requests a second to any node:\n");
    println!("{}", table(&without, &with));
    let p99 = |seen: &Seen| per_mille(&seen.times, 990).as_secs_f64() * 1e3;
    Ok(format!(
        "p99 {:.1} ms with the join and {:.1} ms without, {} and {} failed; the sixth took {} buckets in {:.1} s",
        p99(&with),
        p99(&without),
        with.failed,
        without.failed,
        moved,
        with.lasted.saturating_sub(QUIET).as_secs_f64()
    ))
}

async fn measure(sessions: usize, directory: &Path) -> Result<(Seen, Seen, u32), Failure> {
    let mut fleet = Fleet::plan(&Plan {
        nodes: NODES + 1,
        flags: vec![
            "--cookie=plain".to_owned(),
            "--deregister-delay=0.1".to_owned(),
            "--idle-timeout=3600".to_owned(),
        ],
        release: true,
        apart: false,
        directory: directory.to_owned(),
    })?;
    fleet.start_all(&(0..NODES).collect::<Vec<_>>()).await?;
    let client = Client::new();
    balanced(&client, &fleet).await?;
    let patrons = populate(&client, &fleet, sessions).await?;
    println!("  {sessions} sessions are there");
    let without = load(&client, &fleet, &patrons, async {
        tokio::time::sleep(QUIET).await;
        Ok(())
    });
    let without = without.await?;
    let admin = fleet.nodes[0].addresses.admin;
    let name = fleet.nodes[NODES].name.clone();
    fleet.start(NODES, &[])?;
    let with = load(&client, &fleet, &patrons, async {
        filled(&client, admin, &name).await?;
        tokio::time::sleep(QUIET).await;
        Ok(())
    });
    let with = with.await?;
    let statuses = balanced(&client, &fleet).await?;
    let buckets = statuses[0].member(&name).map_or(0, |member| member.buckets);
    // A million sessions need not be moved once more.
    drop(fleet);
    Ok((without, with, buckets))
}

/// Creates the sessions at all nodes in turn, and gives the clients of some of them.
async fn populate(client: &Client, fleet: &Fleet, sessions: usize) -> Result<Vec<Patron>, Failure> {
    let every = (sessions / PATRONS).max(1);
    let mut creating = JoinSet::new();
    for worker in 0..AT_ONCE {
        let client = client.clone();
        let http: Vec<_> = fleet.nodes[..NODES]
            .iter()
            .map(|it| it.addresses.http)
            .collect();
        creating.spawn(async move {
            let mut kept = Vec::new();
            for number in (worker..sessions).step_by(AT_ONCE) {
                let at = http[number % NODES];
                let (patron, _) = Patron::create(&client, at, STATE, ANSWER).await?;
                if number.is_multiple_of(every) {
                    kept.push(patron);
                }
                if number.is_multiple_of(100_000) && number > 0 {
                    println!("  {number} sessions");
                }
            }
            Ok::<_, Failure>(kept)
        });
    }
    let mut patrons = Vec::new();
    while let Some(kept) = creating.join_next().await {
        patrons.extend(kept.expect("creating does not panic")?);
    }
    Ok(patrons)
}

/// Asks at the rate until `meanwhile` is over.
async fn load(
    client: &Client,
    fleet: &Fleet,
    patrons: &[Patron],
    meanwhile: impl Future<Output = Result<(), Failure>>,
) -> Result<Seen, Failure> {
    let nodes = &fleet.nodes[..NODES];
    let admins: Vec<_> = nodes.iter().map(|node| node.addresses.admin).collect();
    let before = Spans::of(client, &admins).await?;
    let stopwatch = Stopwatch::start();
    let mut asking = JoinSet::new();
    let mut random = fastrand::Rng::with_seed(1);
    let asks = async {
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / RATE);
        loop {
            ticks.tick().await;
            let at = nodes[random.usize(0..NODES)].addresses.http;
            let mut patron = patrons[random.usize(0..patrons.len())].clone();
            let client = client.clone();
            asking.spawn(async move { patron.reads(&client, at, false, ANSWER).await });
        }
    };
    tokio::select! {
        () = asks => unreachable!("it goes on until it is dropped"),
        done = meanwhile => done?,
    }
    let lasted = stopwatch.read();
    let (mut times, mut failed) = (Vec::new(), 0);
    while let Some(answered) = asking.join_next().await {
        match answered.expect("asking does not panic") {
            Ok((_, took)) => times.push(took),
            Err(failure) => {
                println!("  {failure}");
                failed += 1;
            }
        }
    }
    let spans = Spans::of(client, &admins).await?.since(&before);
    Ok(Seen {
        lasted,
        times,
        failed,
        spans,
    })
}

/// Waits until the new one has its part of the buckets.
async fn filled(client: &Client, admin: SocketAddr, name: &str) -> Result<(), Failure> {
    let stopwatch = Stopwatch::start();
    while stopwatch.read() < LIMIT {
        let status = Status::ask(client, admin).await;
        let has_its_part = status.is_some_and(|status| {
            let all: u32 = status.members.iter().map(|member| member.buckets).sum();
            let part = all / status.members.len().max(1) as u32;
            let own = status.member(name).map_or(0, |member| member.buckets);
            own > 0 && own >= part
        });
        if has_its_part {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(Failure::failed(
        "the new node does not get its part of the buckets",
    ))
}

fn table(without: &Seen, with: &Seen) -> String {
    let mut table = "| | without | with the join |\n|---|--:|--:|\n".to_owned();
    let mut row = |what: &str, figure: &dyn Fn(&Seen) -> String| {
        table += &format!("| {what} | {} | {} |\n", figure(without), figure(with));
    };
    row("requests", &|seen| seen.times.len().to_string());
    row("failed", &|seen| seen.failed.to_string());
    for (what, part) in [
        ("p50", 500),
        ("p99", 990),
        ("p99.9", 999),
        ("longest", 1000),
    ] {
        let millis = |seen: &Seen| per_mille(&seen.times, part).as_secs_f64() * 1e3;
        row(what, &|seen| format!("{:.1} ms", millis(seen)));
    }
    for (name, ..) in with.spans.iter() {
        row(&format!("`{name}`"), &|seen| {
            let found = seen.spans.iter().find(|span| span.0 == name);
            let (_, count, seconds) = found.unwrap_or((name, 0.0, 0.0));
            let each = seconds * 1e3 / count.max(1.0);
            format!("{count:.0} times, {each:.2} ms each")
        });
    }
    table
}
