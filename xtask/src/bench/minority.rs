//! How long two nodes of five go on serving after they were parted from the others, where consistency
//! counts: at most one lease. Needs a network for each node.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::task::JoinSet;

use super::balance::balanced;
use super::patron::Patron;
use super::times::worst;
use crate::fleet::{Client, Fleet, Plan, runtime};
use crate::report::{Failure, Outcome, Stopwatch};

const NODES: usize = 5;
const LEASE: Duration = Duration::from_secs(4);
const MINORITY: [usize; 2] = [3, 4];
const PATRONS: usize = 4;
const STATE: usize = 1024;
const PAUSE: Duration = Duration::from_millis(10);
const ANSWER: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(60);

pub(super) fn run(smoke: bool) -> Outcome {
    let rounds = if smoke { 1 } else { 5 };
    let directory = std::env::temp_dir().join(format!("wadi-minority-{}", std::process::id()));
    let stopped = runtime()?.block_on(measure(rounds, &directory))?;
    std::fs::remove_dir_all(&directory).ok();
    let latest = worst(&stopped);
    let words = format!(
        "served its own sessions for {:.2} s at most of a lease of {} s, in {rounds} times",
        latest.as_secs_f64(),
        LEASE.as_secs()
    );
    // This one is no matter of speed.
    if latest > LEASE {
        return Err(Failure::Failed(words));
    }
    Ok(words)
}

async fn measure(rounds: usize, directory: &Path) -> Result<Vec<Duration>, Failure> {
    let mut fleet = Fleet::plan(&Plan {
        nodes: NODES,
        flags: vec![
            "--cookie=plain".to_owned(),
            "--deregister-delay=0.1".to_owned(),
            format!("--lease={}", LEASE.as_secs()),
        ],
        release: true,
        apart: true,
        directory: directory.to_owned(),
    })?;
    fleet.start_all(&(0..NODES).collect::<Vec<_>>()).await?;
    let client = Client::new();
    let mut stopped = Vec::new();
    for _ in 0..rounds {
        balanced(&client, &fleet).await?;
        let mut patrons = Vec::new();
        for index in MINORITY {
            let at = fleet.nodes[index].addresses.http;
            for _ in 0..PATRONS {
                patrons.push((create(&client, at).await?, at));
            }
        }
        let stopwatch = Stopwatch::start();
        cut(&mut fleet, true)?;
        let mut reading = JoinSet::new();
        for (patron, at) in patrons {
            let client = client.clone();
            reading.spawn(async move { served_last(&client, patron, at, stopwatch).await });
        }
        let mut latest = Duration::ZERO;
        while let Some(last) = reading.join_next().await {
            latest = latest.max(last.expect("reading does not panic")?);
        }
        println!("  stopped after {:.2} s", latest.as_secs_f64());
        stopped.push(latest);
        cut(&mut fleet, false)?;
        // By then whoever was cut off has renewed, or was declared dead and is somebody new.
        tokio::time::sleep(2 * LEASE).await;
    }
    balanced(&client, &fleet).await?;
    fleet.leave_all(LIMIT).await?;
    Ok(stopped)
}

/// A session on a node that may have been cut off a moment ago, and then answers 503 until it has renewed.
async fn create(client: &Client, at: SocketAddr) -> Result<Patron, Failure> {
    let stopwatch = Stopwatch::start();
    loop {
        match Patron::create(client, at, STATE, ANSWER).await {
            Ok((patron, _)) => return Ok(patron),
            Err(_) if stopwatch.read() < LIMIT => tokio::time::sleep(PAUSE).await,
            Err(trouble) => return Err(trouble),
        }
    }
}

fn cut(fleet: &mut Fleet, off: bool) -> Result<(), Failure> {
    let wires = fleet.wires.as_mut().expect("they are apart");
    let others = (0..NODES).filter(|index| !MINORITY.contains(index));
    let ways = others.flat_map(|other| MINORITY.map(|one| [(one, other), (other, one)]));
    let ways: BTreeSet<_> = ways.flatten().filter(|_| off).collect();
    wires.cut(ways)
}

/// When the last request was sent that its node served.
async fn served_last(
    client: &Client,
    mut patron: Patron,
    at: SocketAddr,
    stopwatch: Stopwatch,
) -> Result<Duration, Failure> {
    let mut last = Duration::ZERO;
    loop {
        let now = stopwatch.read();
        match patron.read(client, at, true, ANSWER).await {
            Ok(answer) if answer.status.is_success() => last = now,
            Ok(answer) if answer.status.as_u16() == 503 => return Ok(last),
            Ok(answer) => {
                let status = answer.status;
                return Err(Failure::failed(format!("a session answers {status}")));
            }
            Err(trouble) => return Err(Failure::failed(format!("reading: {trouble}"))),
        }
        if now > LIMIT {
            return Err(Failure::failed("the minority goes on"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}
