//! Another process with a node, and how it is told what to do: a line each, over its standard input
//! and output. It ends when the line does.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::echo;
use crate::figures::processor_time;
use crate::load::Load;
use crate::member::{By, Member, parse};
use crate::place;

/// What raw streams are called.
pub(crate) const RAW: &str = "bench";

/// Does what it is told until nobody tells anything any more.
pub(crate) async fn serve(name: &str, founder: &str, by: By) {
    let member = std::sync::Arc::new(Member::start(name, Some(founder), by).await);
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    let mut load = None;
    println!("ready");
    while let Ok(Some(order)) = orders.next_line().await {
        let words: Vec<String> = order.split(' ').map(str::to_owned).collect();
        let answer = match words[0].as_str() {
            "echo" => echo::serve(by).await,
            "create" => {
                let count = words[1].parse().expect("a number");
                member.create(count).await.join(" ")
            }
            "fetch" => {
                for id in parse(&words[1..]) {
                    member.migrate(&id).await;
                }
                "fetched".to_owned()
            }
            "listen" => {
                // Before the first call streams are refused.
                let soon = std::time::Duration::from_millis(1);
                let listened = member.connections.streams.accept(RAW);
                let _ = tokio::time::timeout(soon, listened).await;
                "listening".to_owned()
            }
            "sink" => {
                let (_, mut stream) = member.connections.streams.accept(RAW).await.expect("one");
                let mut block = vec![0; 64 * 1024];
                let mut read = 0;
                loop {
                    match stream.read(&mut block).await.expect("it is open") {
                        0 => break read.to_string(),
                        more => read += more,
                    }
                }
            }
            "load" => {
                load = Some(Load::start(member.clone(), parse(&words[1..])));
                "loading".to_owned()
            }
            "take" => load.as_ref().expect("it was started").take().to_text(),
            "held" => member.node.sessions().map().len().to_string(),
            "processor" => processor_time().as_millis().to_string(),
            other => panic!("nobody knows {other}"),
        };
        println!("{answer}");
    }
}

/// Another process, as this one sees it; killed when it is dropped.
pub(crate) struct Remote {
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl Remote {
    /// A node that joins the one at `founder`.
    pub(crate) async fn start(name: &str, founder: &str, by: By) -> Self {
        Self::start_on(None, name, founder, by).await
    }

    /// The same on this core, where one is given.
    pub(crate) async fn start_on(core: Option<usize>, name: &str, founder: &str, by: By) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut process = Command::new(program)
            .envs(core.map(|core| (place::CORE, core.to_string())))
            .args(["member", name, founder, by.word()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("this program can be started");
        let orders = process.stdin.take().expect("it is piped");
        let answers = process.stdout.take().expect("it is piped");
        let mut remote = Self {
            orders,
            answers: BufReader::new(answers).lines(),
            _process: process,
        };
        assert_eq!(remote.answer().await, "ready");
        remote
    }

    pub(crate) async fn order(&mut self, order: &str) {
        let line = format!("{order}\n");
        self.orders
            .write_all(line.as_bytes())
            .await
            .expect("it listens");
    }

    pub(crate) async fn answer(&mut self) -> String {
        let answer = self.answers.next_line().await.expect("it answers");
        answer.expect("it runs")
    }

    pub(crate) async fn ask(&mut self, order: &str) -> String {
        self.order(order).await;
        self.answer().await
    }
}
