//! The first signal asks and the next one insists, also where the application asked before them.
//!
//! One test alone, because a signal reaches every node of the process.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "alone/client/mod.rs"]
mod client;
#[path = "alone/serving/mod.rs"]
mod serving;

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use client::Browser;
use serving::{plain, serve};
use tokio::sync::Notify;

fn terminate() {
    let pid = std::process::id().to_string();
    let sent = Command::new("kill").args(["-s", "TERM", &pid]).status();
    assert!(sent.unwrap().success());
}

#[tokio::test]
async fn a_first_signal_after_the_application_asked_stops_nothing() {
    let (entered, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = {
        let (entered, go_on) = (Arc::clone(&entered), Arc::clone(&go_on));
        async move || {
            entered.notify_one();
            go_on.notified().await;
            "finished"
        }
    };
    let config = || plain().deregister_delay(Duration::from_millis(500));
    let mut node = serve(config(), Router::new().route("/slow", get(slow))).await;
    let browser = Browser::new(node.address);
    let flying = tokio::spawn(async move { browser.get("/slow").await });
    entered.notified().await;
    node.wadi.leave();
    terminate();
    // It goes on through both parts of leaving: still accepting, and finishing.
    let waited = tokio::time::timeout(Duration::from_millis(800), &mut node.served).await;
    assert!(waited.is_err(), "the first signal stopped it");
    go_on.notify_one();
    assert_eq!(flying.await.unwrap().text(), "finished");
    (&mut node.served).await.unwrap().unwrap();

    let long = config().deregister_delay(Duration::from_secs(60));
    let mut node = serve(long, Router::new()).await;
    node.wadi.leave();
    terminate();
    let waited = tokio::time::timeout(Duration::from_millis(300), &mut node.served).await;
    assert!(waited.is_err(), "the first signal stopped it");
    terminate();
    let stopped = tokio::time::timeout(Duration::from_secs(10), &mut node.served).await;
    stopped.expect("the second one did").unwrap().unwrap();
}
