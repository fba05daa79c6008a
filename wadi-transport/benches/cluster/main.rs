//! What it costs to move sessions between nodes that are processes of their own, beside what the same
//! bytes cost with nothing behind them, in one run.
//!
//! `cargo bench -p wadi-transport --bench cluster -- migration <sessions>` moves one session after the
//! other, beside a framed echo, and with `apart` at the end has the one that asks on a core of its own;
//! `… -- evacuation <sessions>` moves all of a node's, beside a raw
//! stream. Without arguments a few of both, which shows that it still works. The ratios are the
//! figures; times depend on the machine, and on what else it does.

mod child;
mod echo;
mod evacuation;
mod figures;
mod load;
mod member;
mod migration;
mod place;

const FEW: usize = 400;

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    // Before there are threads.
    match words(&arguments)[..] {
        ["migration", _, "apart"] => place::on(0),
        _ => place::as_told(),
    }
    // As a node's own program is run.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    // On the runtime's own threads, as requests are.
    let work = runtime.spawn(async move { work(&words(&arguments)).await });
    runtime.block_on(work).expect("it does not panic");
    // Whoever still reads a closed pipe is not waited for.
    runtime.shutdown_background();
}

fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

async fn work(words: &[&str]) {
    let count = |text: &str| -> usize { text.parse().expect("a number of sessions") };
    match *words {
        ["member", name, founder, by] => child::serve(name, founder, by.into()).await,
        ["migration", sessions] => migration::run(count(sessions), None).await,
        ["migration", sessions, "apart"] => migration::run(count(sessions), Some(1)).await,
        ["evacuation", sessions] => evacuation::run(count(sessions)).await,
        [] => {
            migration::run(FEW, None).await;
            evacuation::run(FEW * 5).await;
        }
        _ => panic!("migration or evacuation, and a number of sessions: {words:?}"),
    }
}
