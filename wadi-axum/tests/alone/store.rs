//! A node with a store below its memory, behind a real listener.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use crate::client::Browser;
use crate::serving::{Serving, plain};
use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use http::StatusCode;
use http::header::RETRY_AFTER;
use tokio::net::TcpListener;
use wadi_axum::config::{Copies, WadiConfigBuilder};
use wadi_axum::{Session, Settings, StartError, WadiLayer, mode};
use wadi_core::evict::{Always, Evicter, Never};
use wadi_core::session::{ClusterKey, Keyring, SessionId};
use wadi_core::store::{
    Claim, Ended, Head, MemoryStore, Page, Put, Row, SessionStore, StoreError, Storing, Took,
};

async fn count(session: Session) -> String {
    let n = session.update("n", |n: &mut u64| {
        *n += 1;
        *n
    });
    n.unwrap().to_string()
}

fn routes() -> Router {
    Router::new()
        .route("/count", post(count))
        .route("/alone", post(count).layer(mode::exclusive()))
        .route(
            "/n",
            get(async |session: Session| format!("{:?}", session.get::<u64>("n").unwrap())),
        )
        .route(
            "/origin",
            get(async |session: Session| format!("{:?}", session.origin())),
        )
        .route(
            "/put/{key}",
            post(async |Path(key): Path<String>, session: Session| {
                session.insert(&key, key.clone()).unwrap();
            }),
        )
        .route(
            "/renew",
            post(async |session: Session| session.cycle_id().await.unwrap()),
        )
        .route(
            "/logout",
            post(async |session: Session| session.flush().await.unwrap()),
        )
}

/// The configuration of a node that is started again with the same keys.
fn kept() -> WadiConfigBuilder {
    let key = ClusterKey::from_secret(&[7; 32]).unwrap();
    plain().cluster_key(Some(Keyring::new(key))).x_wadi(true)
}

async fn serve(
    config: WadiConfigBuilder,
    store: impl SessionStore,
    evicter: impl Evicter,
) -> Serving {
    let settings = Settings::from(config.build().unwrap());
    let wadi = WadiLayer::new(settings.store(store).evicter(evicter));
    let app = routes().layer(wadi.clone()).merge(wadi.health());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let node = wadi.clone();
    let served = tokio::spawn(async move { node.serve(listener, app).await });
    wadi.started().await;
    Serving {
        wadi,
        address,
        served,
    }
}

/// Waits until nothing is in memory.
async fn all_went_down(node: &Serving) {
    for _ in 0..1000 {
        if node.wadi.sessions().map().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("they stay in memory");
}

async fn left(mut node: Serving) {
    node.wadi.leave();
    (&mut node.served).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_go_down_and_come_up() {
    let node = serve(kept(), MemoryStore::default(), Always).await;
    let browser = Browser::new(node.address);
    assert_eq!(browser.post("/count").await.text(), "1");
    all_went_down(&node).await;
    assert_eq!(node.wadi.status().sessions.disc, 1);
    let answer = browser.post("/count").await;
    assert_eq!(answer.text(), "2");
    let said = answer.headers["x-wadi"].to_str().unwrap();
    assert!(said.starts_with("promoted;"), "{said}");
    all_went_down(&node).await;
    assert_eq!(browser.post("/alone").await.text(), "3");
    let store = node.wadi.status().store.unwrap();
    assert!(store.demoted >= 2 && store.promoted >= 2 && store.failed == 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overlapping_requests_lose_nothing_while_their_session_goes_up_and_down() {
    let node = serve(kept(), MemoryStore::default(), Always).await;
    let browser = Arc::new(Browser::new(node.address));
    browser.post("/put/first").await;
    // All the time somebody has it go down.
    let goes_down = {
        let tier = Arc::downgrade(node.wadi.store_below().unwrap());
        tokio::spawn(async move {
            while let Some(tier) = tier.upgrade() {
                tier.evict(64).await;
                tokio::task::yield_now().await;
            }
        })
    };
    for round in 0..20 {
        let asked: Vec<_> = (0..32)
            .map(|n| {
                let browser = Arc::clone(&browser);
                let path = if n % 2 == 0 { "/count" } else { "/alone" };
                tokio::spawn(async move { browser.post(path).await.status })
            })
            .collect();
        for asked in asked {
            assert_eq!(asked.await.unwrap(), StatusCode::OK);
        }
        let all = 32 * (round + 1);
        assert_eq!(browser.get("/n").await.text(), format!("Some({all})"));
    }
    goes_down.abort();
    let store = node.wadi.status().store.unwrap();
    assert!(store.demoted > 5, "{store:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_leaves_and_starts_again_has_its_sessions() {
    let store = Arc::new(MemoryStore::default());
    let node = serve(kept(), Arc::clone(&store), Never).await;
    let mut browsers = Vec::new();
    for n in 0..20 {
        let browser = Browser::new(node.address);
        for _ in 0..=n {
            browser.post("/count").await;
        }
        browsers.push(browser);
    }
    let destroyed = browsers.pop().unwrap();
    let cookie = destroyed.cookie().unwrap();
    assert_eq!(destroyed.post("/logout").await.status, StatusCode::OK);
    left(node).await;
    assert_eq!(store.rows(), Some(19));

    let node = serve(kept(), Arc::clone(&store), Never).await;
    for (n, before) in browsers.iter().enumerate() {
        let browser = Browser::new(node.address);
        browser.set_cookie(&before.cookie().unwrap());
        assert_eq!(
            browser.get("/n").await.text(),
            format!("Some({})", n + 1),
            "its cookie is good"
        );
    }
    let browser = Browser::new(node.address);
    browser.set_cookie(&cookie);
    assert_eq!(browser.get("/n").await.text(), "None");
    // With other keys the cookies are nobody's, and cost the store nothing.
    left(node).await;
    let other = plain().x_wadi(true);
    let node = serve(other, Arc::clone(&store), Never).await;
    let browser = Browser::new(node.address);
    browser.set_cookie(&browsers[0].cookie().unwrap());
    assert_eq!(browser.get("/origin").await.text(), "New");
}

/// A store that is away, or not.
#[derive(Debug, Default)]
struct Away {
    store: MemoryStore,
    is_away: AtomicBool,
}

impl Away {
    fn answer<'a, T: Send + 'a>(&'a self, answer: Storing<'a, T>) -> Storing<'a, T> {
        if self.is_away.load(SeqCst) {
            let away = StoreError::Unavailable("it is away".to_owned());
            return Box::pin(async { Err(away) });
        }
        answer
    }
}

impl SessionStore for Away {
    fn put(&self, rows: Vec<Row>) -> Storing<'_, Vec<Put>> {
        if self.is_away.load(SeqCst) {
            return self.answer(Box::pin(async { Ok(Vec::new()) }));
        }
        self.store.put(rows)
    }

    fn take(&self, id: SessionId, claim: Claim) -> Storing<'_, Took> {
        if self.is_away.load(SeqCst) {
            return self.answer(Box::pin(async { Ok(Took::Nothing) }));
        }
        self.store.take(id, claim)
    }

    fn end(&self, ended: Vec<Ended>) -> Storing<'_, ()> {
        self.store.end(ended)
    }

    fn begin(&self, after: u32) -> Storing<'_, u32> {
        self.store.begin(after)
    }

    fn page(&self, page: Page) -> Storing<'_, Vec<Head>> {
        self.answer(self.store.page(page))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_store_is_away_nobody_is_given_a_new_session_for_an_old_one() {
    let store = Arc::new(Away::default());
    let node = serve(kept(), Arc::clone(&store), Always).await;
    let below = Browser::new(node.address);
    below.post("/count").await;
    all_went_down(&node).await;
    store.is_away.store(true, SeqCst);
    let here = Browser::new(node.address);
    assert_eq!(here.post("/count").await.text(), "1");
    let refused = below.post("/count").await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers.contains_key(RETRY_AFTER) && refused.cookie().is_none());
    let said = refused.headers["x-wadi"].to_str().unwrap();
    assert!(said.ends_with("why=store"), "{said}");
    // In memory nobody notices.
    for n in 2..10 {
        assert_eq!(here.post("/count").await.text(), n.to_string());
    }
    store.is_away.store(false, SeqCst);
    assert_eq!(below.post("/count").await.text(), "2");
    // It is tried again by itself.
    all_went_down(&node).await;
    assert_eq!(here.post("/count").await.text(), "10");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_outlives_a_process_that_is_killed() {
    let store = Arc::new(MemoryStore::default());
    let copying = || kept().store_copies(Copies::AtOnce);
    let node = serve(copying(), Arc::clone(&store), Never).await;
    let (counts, gone) = (Browser::new(node.address), Browser::new(node.address));
    let renewed = Browser::new(node.address);
    for browser in [&counts, &gone, &renewed] {
        browser.post("/count").await;
    }
    assert_eq!(counts.post("/count").await.text(), "2");
    let (destroyed, former) = (gone.cookie().unwrap(), renewed.cookie().unwrap());
    assert_eq!(gone.post("/logout").await.status, StatusCode::OK);
    assert_eq!(renewed.post("/renew").await.status, StatusCode::OK);
    // It puts nothing down any more.
    drop(node);

    let node = serve(copying(), Arc::clone(&store), Never).await;
    let with = |cookie: &str| {
        let browser = Browser::new(node.address);
        browser.set_cookie(cookie);
        browser
    };
    assert_eq!(
        with(&counts.cookie().unwrap()).get("/n").await.text(),
        "Some(2)"
    );
    assert_eq!(
        with(&renewed.cookie().unwrap()).get("/n").await.text(),
        "Some(1)"
    );
    for cookie in [&destroyed, &former] {
        assert_eq!(with(cookie).get("/n").await.text(), "None");
    }
}

#[tokio::test]
async fn in_a_cluster_a_store_of_ones_own_is_refused() {
    let config = kept().cluster(Some("127.0.0.1:0".parse().unwrap()));
    let config = config.build().unwrap();
    let settings = Settings::from(config.clone()).store(Away::default());
    let started = WadiLayer::new(settings).start().await;
    assert!(matches!(started, Err(StartError::StoreNotShared)));
    let said = started.unwrap_err().to_string();
    assert!(said.contains("one store that they share"), "{said}");
    // This one may be shared, so it is something else that is missing.
    let settings = Settings::from(config).store(MemoryStore::default());
    let started = WadiLayer::new(settings).start().await;
    assert!(matches!(started, Err(StartError::Join(_))), "{started:?}");
}
