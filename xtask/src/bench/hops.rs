//! How far requests go: real ones, to three nodes that are processes of their own. Each answer says how
//! it was served, which does not depend on the machine, so another way than the expected one fails.

use std::net::SocketAddr;
use std::time::Duration;

use super::balance::balanced;
use super::patron::Patron;
use super::times::median;
use crate::fleet::{Client, Fleet, Plan, runtime};
use crate::report::{Failure, Outcome, Stopwatch};

const LIMIT: Duration = Duration::from_secs(10);
const STATE: usize = 1024;

/// One request of each session, in this order.
struct Step {
    what: &'static str,
    /// Index of the node that is asked.
    at: usize,
    /// Whether the client brings the cookie that names the node of its session.
    hinted: bool,
    /// How it is to be served.
    way: &'static str,
}

/// The session is created on n1, which proxies as n3 does; n2 has sessions come to it.
const STEPS: [Step; 6] = [
    Step {
        what: "creates its session",
        at: 0,
        hinted: false,
        way: "created; node=n1; hops=0",
    },
    Step {
        what: "session here",
        at: 0,
        hinted: true,
        way: "local; node=n1; hops=0",
    },
    Step {
        what: "proxied, the route cookie right",
        at: 2,
        hinted: true,
        way: "proxied; node=n1; hops=1",
    },
    Step {
        what: "proxied, no route cookie, session at home",
        at: 2,
        hinted: false,
        way: "proxied; node=n1; hops=1",
    },
    Step {
        what: "migrated from home",
        at: 1,
        hinted: true,
        way: "migrated; node=n2; hops=1",
    },
    Step {
        what: "proxied, no route cookie, session displaced",
        at: 2,
        hinted: false,
        way: "proxied; node=n2; hops=2",
    },
];

const RELOCATE: [&str; 3] = ["proxy", "migrate", "proxy"];

/// What the requests of one step took.
type Times = Vec<Duration>;

pub(super) fn run(smoke: bool) -> Outcome {
    let sessions = if smoke { 20 } else { 500 };
    let directory = std::env::temp_dir().join(format!("wadi-hops-{}", std::process::id()));
    let measured = runtime()?.block_on(async {
        let mut fleet = Fleet::plan(&Plan {
            nodes: RELOCATE.len(),
            flags: vec![
                "--cookie=plain".to_owned(),
                "--deregister-delay=0.1".to_owned(),
            ],
            release: true,
            apart: false,
            directory: directory.clone(),
        })?;
        for (index, relocate) in RELOCATE.iter().enumerate() {
            fleet.start(index, &[format!("--relocate={relocate}")])?;
        }
        for index in 0..RELOCATE.len() {
            fleet.ready(index).await?;
        }
        let client = Client::new();
        balanced(&client, &fleet).await?;
        let times = ask_all(&client, &fleet, sessions).await?;
        fleet.leave_all(Duration::from_secs(60)).await?;
        Ok(times)
    })?;
    std::fs::remove_dir_all(&directory).ok();
    println!("\nRequests of {sessions} sessions of {STATE} bytes, each as expected:\n");
    println!("{}", table(&measured));
    Ok(format!(
        "created 0, here 0, hint 1, home 1, displaced 2, {sessions} times each"
    ))
}

async fn ask_all(client: &Client, fleet: &Fleet, sessions: usize) -> Result<Vec<Times>, Failure> {
    let mut times = vec![Times::new(); STEPS.len()];
    // The first ones make the connections.
    for number in 0..sessions + 5 {
        let mut patron = None;
        for (step, times) in STEPS.iter().zip(&mut times) {
            let took = ask(
                client,
                fleet.nodes[step.at].addresses.http,
                step,
                &mut patron,
            );
            let took = took.await?;
            if number >= 5 {
                times.push(took);
            }
        }
    }
    Ok(times)
}

async fn ask(
    client: &Client,
    address: SocketAddr,
    step: &Step,
    patron: &mut Option<Patron>,
) -> Result<Duration, Failure> {
    let named = |failure: Failure| Failure::failed(format!("{}: {failure}", step.what));
    let stopwatch = Stopwatch::start();
    let (answer, took) = match patron {
        None => {
            let created = Patron::create(client, address, STATE, LIMIT).await;
            let (created, answer) = created.map_err(named)?;
            *patron = Some(created);
            (answer, stopwatch.read())
        }
        Some(patron) => {
            let read = patron.reads(client, address, step.hinted, LIMIT).await;
            read.map_err(named)?
        }
    };
    let way = answer.header("x-wadi").unwrap_or("nothing");
    if way != step.way {
        let (what, expected) = (step.what, step.way);
        return Err(Failure::failed(format!(
            "{what}: {way}, and not {expected}; status {}",
            answer.status
        )));
    }
    Ok(took)
}

fn table(times: &[Times]) -> String {
    let medians: Vec<f64> = times
        .iter()
        .map(|times| median(times).as_secs_f64())
        .collect();
    let here = medians[1];
    let mut table =
        "| request | hops | p50 | times the local one |\n|---|--:|--:|--:|\n".to_owned();
    for (step, median) in STEPS.iter().zip(&medians) {
        let hops = step.way.rsplit('=').next().unwrap_or_default();
        table += &format!(
            "| {} | {hops} | {:.0} us | {:.2} |\n",
            step.what,
            median * 1e6,
            median / here
        );
    }
    table
}
