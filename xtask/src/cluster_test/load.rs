//! All browsers at once, until they are told to stop.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::browser::Browser;
use super::door::Door;
use super::options::Options;
use crate::report::{Failure, because};

/// Browsers at work.
#[derive(Debug)]
pub(super) struct Load {
    browsers: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Load {
    pub(super) fn start(options: &Options, seed: u64, door: &Arc<Door>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut browsers = JoinSet::new();
        // What a browser does at once is one request or several.
        let steps = f64::from(options.rate) / 1.6;
        let pause = Duration::from_secs_f64(f64::from(options.sessions) / steps);
        for number in 1..=options.sessions {
            let browser = Browser::new(number, seed, options.affinity, Arc::clone(door));
            browsers.spawn(browse(browser, pause, stopped.clone()));
        }
        Self { browsers, stop }
    }

    /// Lets every browser end what it does and look at everything once more.
    pub(super) async fn stop(mut self) -> Result<(), Failure> {
        self.stop.send_replace(true);
        while let Some(ended) = self.browsers.join_next().await {
            ended.map_err(because("a browser"))?;
        }
        Ok(())
    }
}

async fn browse(mut browser: Browser, mean: Duration, mut stopped: watch::Receiver<bool>) {
    loop {
        let pause = browser.pause(mean);
        let told = stopped.wait_for(|stopped| *stopped);
        let stop = tokio::time::timeout(pause, told).await.is_ok();
        if stop {
            break;
        }
        browser.step().await;
    }
    // Not all at once: a node is asked no more than before.
    tokio::time::sleep(browser.pause(mean)).await;
    browser.finish().await;
}
