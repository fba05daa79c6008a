//! How long a cluster of five needs without a node that is gone: until its buckets answer again, by
//! sessions of those buckets that other nodes hold.
//!
//! A node is gone with proof where the system refuses connections to its address, and without where it
//! only says nothing more. Times of real processes on a shared machine: shown beside what they should
//! be, they fail nothing.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use tokio::task::JoinSet;

use super::balance::balanced;
use super::patron::Patron;
use super::times::{median, worst};
use crate::fleet::{Client, Fleet, Part, Plan, Status, runtime};
use crate::report::{Failure, Outcome, Stopwatch};

const NODES: usize = 5;
const LEASE: Duration = Duration::from_secs(4);
/// Sessions that are asked for, each of another bucket.
const PATRONS: usize = 32;
const STATE: usize = 1024;
const PAUSE: Duration = Duration::from_millis(25);
/// Of one request, and of everything that is waited for.
const ANSWER: Duration = Duration::from_secs(2);
const LIMIT: Duration = Duration::from_secs(60);

/// Who goes, and how.
struct Case {
    leads: bool,
    proof: bool,
    aim: Duration,
}

const CASES: [Case; 4] = [
    Case {
        leads: false,
        proof: true,
        aim: Duration::from_millis(500),
    },
    Case {
        leads: false,
        proof: false,
        aim: Duration::from_secs(LEASE.as_secs() + 1),
    },
    Case {
        leads: true,
        proof: true,
        aim: Duration::from_millis(500),
    },
    Case {
        leads: true,
        proof: false,
        aim: Duration::from_secs(LEASE.as_secs() + 1),
    },
];

impl Case {
    fn word(&self) -> String {
        let who = if self.leads { "leader" } else { "member" };
        let how = if self.proof { "with" } else { "without" };
        format!("{who}, {how} proof")
    }
}

/// What was seen of one case.
#[derive(Default)]
struct Seen {
    /// Of every session, from the signal to its first answer.
    healed: Vec<Duration>,
    /// The last one of each round.
    last: Vec<Duration>,
    /// From the signal until another node said that it leads the authority.
    elected: Vec<Duration>,
}

pub(super) fn run(smoke: bool) -> Outcome {
    let rounds = if smoke { 1 } else { 5 };
    let directory = std::env::temp_dir().join(format!("wadi-healing-{}", std::process::id()));
    let seen = runtime()?.block_on(measure(rounds, &directory))?;
    std::fs::remove_dir_all(&directory).ok();
    println!("\n{rounds} times each, lease {} s:\n", LEASE.as_secs());
    println!("{}", table(&seen));
    let words = CASES.iter().zip(&seen).map(|(case, seen)| {
        let last = worst(&seen.last);
        // Where nobody was elected, that took nothing.
        let within = case.aim + worst(&seen.elected);
        let met = if last <= within { "met" } else { "missed" };
        format!("{} {:.2} s ({met})", case.word(), last.as_secs_f64())
    });
    Ok(format!(
        "at the worst: {}",
        words.collect::<Vec<_>>().join("; ")
    ))
}

async fn measure(rounds: usize, directory: &Path) -> Result<Vec<Seen>, Failure> {
    let mut fleet = Fleet::plan(&Plan {
        nodes: NODES,
        flags: vec![
            "--cookie=plain".to_owned(),
            "--deregister-delay=0.1".to_owned(),
            "--relocate=migrate".to_owned(),
            format!("--lease={}", LEASE.as_secs()),
        ],
        release: true,
        apart: false,
        directory: directory.to_owned(),
    })?;
    fleet.start_all(&(0..NODES).collect::<Vec<_>>()).await?;
    let client = Client::new();
    let mut all = Vec::new();
    for case in &CASES {
        let mut seen = Seen::default();
        for number in 1..=rounds {
            one(&client, &mut fleet, case, &mut seen).await?;
            let last = seen.last.last().copied().unwrap_or_default();
            println!("  {}, {number}: {:.2} s", case.word(), last.as_secs_f64());
        }
        all.push(seen);
    }
    balanced(&client, &fleet).await?;
    fleet.leave_all(LIMIT).await?;
    Ok(all)
}

/// One node goes, is missed, and comes back.
async fn one(
    client: &Client,
    fleet: &mut Fleet,
    case: &Case,
    seen: &mut Seen,
) -> Result<(), Failure> {
    let statuses = balanced(client, fleet).await?;
    let cast = Cast::of(case, &statuses, fleet)?;
    let http = |index: usize| fleet.nodes[index].addresses.http;
    let mut patrons = Vec::new();
    for _ in 0..PATRONS {
        let at = http(cast.goes);
        let (mut patron, _) = Patron::create(client, at, STATE, ANSWER).await?;
        patron.reads(client, http(cast.holds), true, ANSWER).await?;
        patrons.push(patron);
    }
    let asked = http(cast.asked);
    let others: Vec<SocketAddr> = (0..NODES)
        .filter(|index| *index != cast.goes)
        .map(|index| fleet.nodes[index].addresses.admin)
        .collect();
    let (signal, back) = if case.proof {
        (Signal::KILL, None)
    } else {
        (Signal::STOP, Some(Signal::CONT))
    };
    let stopwatch = Stopwatch::start();
    fleet.nodes[cast.goes].signal(signal);
    let mut asking = JoinSet::new();
    for patron in patrons {
        let client = client.clone();
        asking.spawn(async move { answered(&client, patron, asked, stopwatch).await });
    }
    if case.leads {
        seen.elected
            .push(elected(client, &others, stopwatch).await?);
    }
    let mut last = Duration::ZERO;
    while let Some(healed) = asking.join_next().await {
        let healed = healed.expect("asking does not panic")?;
        last = last.max(healed);
        seen.healed.push(healed);
    }
    seen.last.push(last);
    match back {
        Some(signal) => {
            // It is to find itself declared dead, and to come back as somebody new.
            let before = statuses[cast.goes].incarnation;
            fleet.nodes[cast.goes].signal(signal);
            somebody_new(client, fleet.nodes[cast.goes].addresses.admin, before).await
        }
        None => {
            let Fleet { nodes, leash, .. } = fleet;
            nodes[cast.goes].ended(leash, LIMIT).await?;
            fleet.start_all(&[cast.goes]).await
        }
    }
}

/// Who does what in a round: the one that goes had the sessions' buckets, another holds them, and a
/// third is asked for them.
struct Cast {
    goes: usize,
    holds: usize,
    asked: usize,
}

impl Cast {
    fn of(case: &Case, statuses: &[Status], fleet: &Fleet) -> Result<Self, Failure> {
        let leads = |index: &usize| statuses[*index].part() == Some(Part::Leads);
        let coordinates = |index: &usize| {
            let name = &fleet.nodes[*index].name;
            statuses[*index].coordinator.as_ref() == Some(name)
        };
        let mut all = 0..NODES;
        let goes = if case.leads {
            all.find(leads)
        } else {
            all.find(|index| !leads(index) && !coordinates(index))
        };
        let goes = goes.ok_or_else(|| Failure::failed("there is no such node"))?;
        let mut others = (0..NODES).filter(|index| *index != goes);
        match (others.next(), others.next()) {
            (Some(holds), Some(asked)) => Ok(Self { goes, holds, asked }),
            _ => Err(Failure::failed("there are not enough nodes")),
        }
    }
}

/// Asks until the session answers, and gives when that was.
async fn answered(
    client: &Client,
    mut patron: Patron,
    at: SocketAddr,
    stopwatch: Stopwatch,
) -> Result<Duration, Failure> {
    loop {
        let answer = patron.read(client, at, false, ANSWER).await;
        let now = stopwatch.read();
        match answer {
            Ok(answer) if answer.status.is_success() => return Ok(now),
            Ok(answer) if answer.status.as_u16() != 503 => {
                let status = answer.status;
                return Err(Failure::failed(format!(
                    "a session that is held answers {status}"
                )));
            }
            _ if now > LIMIT => return Err(Failure::failed("a session never answers again")),
            _ => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn elected(
    client: &Client,
    others: &[SocketAddr],
    stopwatch: Stopwatch,
) -> Result<Duration, Failure> {
    while stopwatch.read() < LIMIT {
        for admin in others {
            let status = Status::ask(client, *admin).await;
            if status.is_some_and(|status| status.part() == Some(Part::Leads)) {
                return Ok(stopwatch.read());
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(Failure::failed("nobody leads the authority"))
}

async fn somebody_new(
    client: &Client,
    admin: SocketAddr,
    before: Option<u64>,
) -> Result<(), Failure> {
    let stopwatch = Stopwatch::start();
    while stopwatch.read() < LIMIT {
        let status = Status::ask(client, admin).await;
        let now = status.and_then(|status| status.incarnation);
        if now.is_some() && now != before {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(Failure::failed("a node does not come back"))
}

fn table(seen: &[Seen]) -> String {
    let mut table = "| who goes | answers again, p50 | the last session, worst round | elected, worst | aim |\n\
                     |---|--:|--:|--:|---|\n"
        .to_owned();
    for (case, seen) in CASES.iter().zip(seen) {
        let elected = match seen.elected.as_slice() {
            [] => String::new(),
            elected => format!("{:.2} s", worst(elected).as_secs_f64()),
        };
        let and = if case.leads { " + election" } else { "" };
        table += &format!(
            "| {} | {:.2} s | {:.2} s | {elected} | {:.1} s{and} |\n",
            case.word(),
            median(&seen.healed).as_secs_f64(),
            worst(&seen.last).as_secs_f64(),
            case.aim.as_secs_f64()
        );
    }
    table
}
