//! One session after the other comes to a node that asks for it, beside frames that come back from the
//! same process: in turns, so that what else the machine does meets both.

use bytes::Bytes;

use crate::child::Remote;
use crate::echo::Echo;
use crate::figures::{Times, ratio};
use crate::member::{By, Member, STATE, parse};

/// So many in a row.
const TURN: usize = 50;

/// The other processes are put on this core, where one is given.
pub(crate) async fn run(sessions: usize, core: Option<usize>) {
    for by in [By::Nothing, By::Key] {
        between(by, sessions, core).await;
    }
}

/// What sessions and frames took.
#[derive(Default)]
struct Seen {
    echo: Times,
    runs: Times,
    answers: Times,
}

async fn between(by: By, sessions: usize, core: Option<usize>) {
    let asker = Member::start("asker", None, by).await;
    let founder = asker.connections.address.clone();
    let mut manager = Remote::start_on(core, "manager", &founder, by).await;
    let mut holder = Remote::start_on(core, "holder", &founder, by).await;
    asker.balanced(3).await;
    let mut echo = Echo::dial(&manager.ask("echo").await, by).await;
    let payload = Bytes::from(vec![7; STATE]);
    let (mut home, mut displaced) = (Seen::default(), Seen::default());
    // The first turn warms everything up.
    for turn in 0..=sessions.div_ceil(TURN) {
        if turn == 1 {
            (home, displaced) = (Seen::default(), Seen::default());
        }
        let ids = manager.ask(&format!("create {TURN}")).await;
        one_turn(&asker, &mut echo, &payload, &ids, &mut home).await;
        let ids = manager.ask(&format!("create {TURN}")).await;
        holder.ask(&format!("fetch {ids}")).await;
        one_turn(&asker, &mut echo, &payload, &ids, &mut displaced).await;
    }
    for (seen, what) in [(home, "home"), (displaced, "displaced")] {
        tell(&seen, &format!("migration, {what}, {}", by.word()));
    }
}

async fn one_turn(asker: &Member, echo: &mut Echo, payload: &Bytes, ids: &str, seen: &mut Seen) {
    let ids: Vec<String> = ids.split(' ').map(str::to_owned).collect();
    let ids = parse(&ids);
    for _ in &ids {
        seen.echo.add(echo.ask(payload).await);
    }
    for id in &ids {
        let (runs, answers) = asker.migrate(id).await;
        seen.runs.add(runs);
        seen.answers.add(answers);
    }
}

fn tell(seen: &Seen, case: &str) {
    let Seen {
        echo,
        runs,
        answers,
    } = seen;
    println!(
        "{case}, until the handler runs: {:.2} times the echo at p50, {:.2} at p99; {runs}, echo {echo}; {} sessions",
        ratio(runs.p50(), echo.p50()),
        ratio(runs.p99(), echo.p99()),
        runs.len(),
    );
    println!(
        "{case}, until it may answer: {:.2} times the echo at p50, {:.2} at p99; {answers}",
        ratio(answers.p50(), echo.p50()),
        ratio(answers.p99(), echo.p99()),
    );
}
