//! The demo from its first line to its last.

use std::io::{IsTerminal as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;

use super::clicks::Clicks;
use super::proxy;
use super::screen::{self, Row, Seen};
use crate::fleet::{Balancer, Client, Fleet, Plan, Status, runtime};
use crate::report::{Failure, Outcome, Stopwatch, because, clock};

/// Leaving takes 25 s at most.
const LEAVE_LIMIT: Duration = Duration::from_secs(30);

#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// How many nodes are started; one more is planned, for you to start.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    nodes: u8,
    /// Where the proxy listens on 127.0.0.1; 0 picks a free port.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Browsers that click by themselves.
    #[arg(long, default_value_t = 20)]
    browsers: u32,
    /// End after so long [default: at Ctrl-C]
    #[arg(long, value_name = "S")]
    seconds: Option<u64>,
}

impl Options {
    /// Starts, shows itself a few times, and ends.
    pub(crate) fn smoke() -> Self {
        Self {
            nodes: 3,
            port: 0,
            browsers: 20,
            seconds: Some(6),
        }
    }
}

pub(crate) fn run(options: &Options) -> Outcome {
    let directory = std::env::temp_dir().join(format!("wadi-demo-{}", std::process::id()));
    let outcome = runtime()?.block_on(play(options, &directory));
    if matches!(outcome, Err(Failure::Failed(_))) {
        println!("  the nodes' logs are in {}", directory.display());
    } else {
        std::fs::remove_dir_all(&directory).ok();
    }
    outcome
}

async fn play(options: &Options, directory: &Path) -> Outcome {
    let started = usize::from(options.nodes);
    let mut fleet = Fleet::plan(&Plan {
        // A node that is alone has no list to be on.
        nodes: if started == 1 { 1 } else { started + 1 },
        flags: vec![
            "--cookie=plain".to_owned(),
            "--deregister-delay=2".to_owned(),
        ],
        release: false,
        apart: false,
        directory: directory.to_owned(),
    })?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
    let proxy = TcpListener::bind(address).await;
    let proxy = proxy.map_err(because(format!(
        "cannot listen on {address} (--port chooses another)"
    )))?;
    let address = proxy.local_addr().map_err(because("the proxy"))?;
    let scripts = write_scripts(&fleet, directory)?;
    let founders: Vec<usize> = (0..started).collect();
    fleet.start_all(&founders).await?;

    let client = Client::new();
    let http = fleet.nodes.iter().map(|node| node.addresses.http);
    let balancer = Arc::new(Balancer::new(http));
    let _polling = balancer.poll_all(&client);
    while balancer.ready() == 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let clicks = Arc::new(Clicks::default());
    let browsers = clicks.start(options.browsers, &client, address);
    let show = Show {
        clicks: &clicks,
        client: &client,
        balancer: &balancer,
        scripts: &scripts,
        browsers: options.browsers,
        welcome: welcome(address, &fleet),
    };
    let ended = tokio::select! {
        () = proxy::serve(proxy, Arc::clone(&balancer)) => unreachable!("it serves until it is dropped"),
        () = show.go_on(&mut fleet) => unreachable!("it shows until it is dropped"),
        ended = end(options.seconds) => ended,
    };
    drop(browsers);
    println!("\n{ended}: the nodes leave; Ctrl-C once more stops them at once");
    let stopwatch = Stopwatch::start();
    tokio::select! {
        left = fleet.leave_all(LEAVE_LIMIT) => left?,
        _ = tokio::signal::ctrl_c() => return Ok("stopped at once".to_owned()),
    }
    let seen = show.seen();
    let text = format!(
        "all left in good order after {}; {} clicks, {} errors, {} sessions lost",
        clock(stopwatch.read()),
        seen.clicks,
        seen.errors,
        seen.lost
    );
    Ok(text)
}

/// Why the demo ends.
async fn end(seconds: Option<u64>) -> &'static str {
    let over = async {
        match seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = over => "the time is over",
        _ = tokio::signal::ctrl_c() => "Ctrl-C",
    }
}

/// A script for each node, to start it by hand.
fn write_scripts(fleet: &Fleet, directory: &Path) -> Result<Vec<String>, Failure> {
    let scripts = fleet.nodes.iter().map(|node| {
        let path = directory.join(format!("start-{}", node.name));
        let text = format!("exec {}\n", node.command_line(&fleet.program));
        std::fs::write(&path, text).map_err(because(path.display()))?;
        Ok(path.display().to_string())
    });
    scripts.collect()
}

/// What to open and what to try.
fn welcome(proxy: SocketAddr, fleet: &Fleet) -> Vec<String> {
    let mut lines = vec![
        format!(
            "A proxy without affinity: http://{proxy}/counter   (each request goes to the next node)"
        ),
        format!(
            "  curl -i -c jar -b jar -X POST http://{proxy}/counter     # again and again: it counts on, wherever it is answered"
        ),
        "One node leaves in good order, or dies; watch the line of the browsers:".to_owned(),
        "  kill PROCESS            # it hands its sessions to the others first, none is lost"
            .to_owned(),
        "  kill -9 PROCESS         # its sessions die with it, the others' do not".to_owned(),
        "The nodes' own pages:".to_owned(),
    ];
    for node in &fleet.nodes {
        lines.push(format!(
            "  {}: http://{}/wadi/",
            node.name, node.addresses.admin
        ));
    }
    lines.push("Ctrl-C ends it all.".to_owned());
    lines.push(String::new());
    lines
}

struct Show<'a> {
    clicks: &'a Clicks,
    client: &'a Client,
    balancer: &'a Balancer,
    scripts: &'a [String],
    browsers: u32,
    welcome: Vec<String>,
}

impl Show<'_> {
    /// Draws every second on a terminal; elsewhere a line every few.
    async fn go_on(&self, fleet: &mut Fleet) {
        let terminal = std::io::stdout().is_terminal();
        if !terminal {
            println!("{}", self.welcome.join("\n"));
        }
        let mut ticks = tokio::time::interval(Duration::from_secs(if terminal { 1 } else { 3 }));
        loop {
            ticks.tick().await;
            let rows = self.rows(fleet).await;
            if terminal {
                let lines = self.welcome.iter().cloned();
                let lines = lines.chain(screen::whole(&rows, self.seen()));
                // Home; each line with what was right of it cleared; then what was below.
                let text: String = lines.map(|line| format!("{line}\x1b[K\n")).collect();
                print!("\x1b[H{text}\x1b[J");
            } else {
                println!("{}", screen::line(&rows, self.seen()));
            }
            std::io::stdout().flush().ok();
        }
    }

    async fn rows(&self, fleet: &mut Fleet) -> Vec<Row> {
        let mut rows = Vec::new();
        for index in 0..fleet.nodes.len() {
            let leash = &mut fleet.leash;
            let node = &mut fleet.nodes[index];
            node.look(leash);
            rows.push(Row {
                name: node.name.clone(),
                pid: node.pid(),
                ready: self.balancer.is_ready(index),
                status: Status::ask(self.client, node.addresses.admin).await,
                start: self.scripts[index].clone(),
            });
        }
        rows
    }

    fn seen(&self) -> Seen {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Seen {
            browsers: self.browsers,
            clicks: count(&self.clicks.clicks),
            errors: count(&self.clicks.errors),
            lost: count(&self.clicks.lost),
            moved: count(&self.clicks.moved),
        }
    }
}
