//! All browsers at once, until they are told to stop.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::browser::Browser;
use super::door::Door;
use super::options::Options;
use crate::report::{Failure, because};

/// So many browsers begin at once, and look once more at once, where all are to begin before anything
/// happens.
const AT_ONCE: usize = 64;

/// Browsers at work.
#[derive(Debug)]
pub(super) struct Load {
    browsers: JoinSet<()>,
    stop: watch::Sender<bool>,
    begun: watch::Receiver<u32>,
}

/// What all browsers share.
#[derive(Clone)]
struct Crowd {
    /// Between two steps of one.
    pause: Duration,
    /// Where all are to begin before anything happens: so many do at once.
    turns: Option<Arc<Semaphore>>,
    begun: watch::Sender<u32>,
    stopped: watch::Receiver<bool>,
}

impl Load {
    pub(super) fn start(options: &Options, seed: u64, door: &Arc<Door>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (begins, begun) = watch::channel(0);
        let mut browsers = JoinSet::new();
        // What a browser does at once is one request or several.
        let steps = f64::from(options.rate) / 1.6;
        let all_begin = options.scenario().needs_all_sessions();
        let crowd = Crowd {
            pause: Duration::from_secs_f64(f64::from(options.sessions) / steps),
            turns: all_begin.then(|| Arc::new(Semaphore::new(AT_ONCE))),
            begun: begins,
            stopped,
        };
        for number in 1..=options.sessions {
            let browser = Browser::new(number, seed, options.affinity, Arc::clone(door));
            browsers.spawn(crowd.clone().browse(browser));
        }
        Self {
            browsers,
            stop,
            begun,
        }
    }

    /// Resolves when every browser has a session; at once where they begin as they come.
    pub(super) fn begun(&self, options: &Options) -> impl Future<Output = ()> + use<> {
        let mut begun = self.begun.clone();
        let all = options.sessions;
        let waits = options.scenario().needs_all_sessions();
        async move {
            if waits {
                // Where they are gone there is nobody to wait for.
                let _ = begun.wait_for(|begun| *begun >= all).await;
            }
        }
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

impl Crowd {
    async fn browse(mut self, mut browser: Browser) {
        if let Some(turns) = &self.turns {
            let _turn = turns.acquire().await;
            browser.step().await;
            self.begun.send_modify(|begun| *begun += 1);
        }
        loop {
            let pause = browser.pause(self.pause);
            let told = self.stopped.wait_for(|stopped| *stopped);
            let stop = tokio::time::timeout(pause, told).await.is_ok();
            if stop {
                break;
            }
            browser.step().await;
        }
        // Not all at once: a node is asked no more than before.
        match &self.turns {
            Some(turns) => {
                let _turn = turns.acquire().await;
                browser.finish().await;
            }
            None => {
                tokio::time::sleep(browser.pause(self.pause)).await;
                browser.finish().await;
            }
        }
    }
}
