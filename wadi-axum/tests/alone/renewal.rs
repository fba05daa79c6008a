//! A renewal of the id shuts out whoever came with the old one, also while their request is in flight.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::routing::get;
use http::StatusCode;
use parking_lot::Mutex;
use tokio::sync::Barrier;
use wadi_axum::{
    Attachment, DetachedSession, Session, SessionError, SessionFailure, WadiLayer, mode,
};

use crate::browser::{Browser, bench};

async fn login(session: Session) {
    session.cycle_id().await.unwrap();
    session.insert("user", "victim".to_owned()).unwrap();
}

fn base() -> Router<()> {
    Router::new()
        .route(
            "/begin",
            get(async |session: Session| session.insert("n", 1_u8).unwrap()),
        )
        .route(
            "/user",
            get(async |session: Session| format!("{:?}", session.get::<String>("user"))),
        )
        .route("/login", get(login))
}

/// A request that waits in its handler until the test goes on.
#[derive(Clone)]
struct Flight(Arc<Barrier>);

impl Flight {
    fn new() -> Self {
        Self(Arc::new(Barrier::new(2)))
    }

    async fn pause(&self) {
        self.0.wait().await;
        self.0.wait().await;
    }
}

#[tokio::test]
async fn a_request_in_flight_with_the_old_id_can_do_nothing_any_more() {
    let slow = async |State(flight): State<Flight>, session: Session| {
        flight.pause().await;
        let read = session.get::<String>("user").map(drop);
        let wrote = session.insert("mail", "attacker".to_owned());
        let updated = session.update("mail", |mail: &mut String| mail.clear());
        let removed = session.remove::<String>("user").map(drop);
        let all = [
            read,
            wrote,
            updated,
            removed,
            session.clear(),
            session.set_expiry(wadi_axum::Expiry::Default),
            session.cycle_id().await,
            session.flush().await,
            session.detach().get::<String>("user").await.map(drop),
        ];
        format!("{}", all.iter().all(|one| *one == Err(SessionError::Ended)))
    };
    let flight = Flight::new();
    let app = Router::new()
        .route("/slow", get(slow))
        .with_state(flight.clone())
        .merge(base())
        .layer(WadiLayer::in_memory());
    let mut attacker = Browser::new(&app);
    attacker.get("/begin").await;
    let mut victim = attacker.clone();
    let planted = attacker.clone();
    let flying = tokio::spawn(async move { planted.peek("/slow").await });
    flight.0.wait().await;
    victim.get("/login").await;
    flight.0.wait().await;
    let answer = flying.await.unwrap();
    assert_eq!(answer.text, "true");
    assert!(!answer.headers.contains_key("set-cookie"));
    assert_eq!(attacker.get("/user").await.text, "Ok(None)");
    assert_eq!(victim.get("/user").await.text, "Ok(Some(\"victim\"))");
}

#[tokio::test]
async fn a_request_that_waits_to_be_alone_behind_the_renewal_is_refused() {
    // Between the session layer and the mode: both share the session before either wants it alone.
    let meet = async |State(both): State<Arc<Barrier>>, request: Request, next: Next| {
        both.wait().await;
        next.run(request).await
    };
    let both = from_fn_with_state(Arc::new(Barrier::new(2)), meet);
    let user = async |session: Session| format!("{:?}", session.get::<String>("user"));
    let app = base()
        .route(
            "/user-alone",
            get(user).layer(mode::exclusive()).layer(both.clone()),
        )
        .route(
            "/login-alone",
            get(login).layer(mode::exclusive()).layer(both),
        )
        .layer(bench(wadi_axum::Limits::default()).wadi);
    let mut attacker = Browser::new(&app);
    attacker.get("/begin").await;
    let get = |path: &'static str| {
        let browser = attacker.clone();
        tokio::spawn(async move { browser.peek(path).await })
    };
    // Who comes to the meeting last goes on first.
    let (queued, victim) = (get("/user-alone"), get("/login-alone"));
    assert_eq!(victim.await.unwrap().status, StatusCode::OK);
    let queued = queued.await.unwrap();
    assert_eq!(queued.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!queued.headers.contains_key("set-cookie"));
}

#[tokio::test]
async fn a_living_attachment_is_shut_out_and_the_renewing_requests_own_is_not() {
    type Kept = Arc<Mutex<Vec<DetachedSession>>>;
    let keep = async |State(kept): State<Kept>, session: Session| {
        kept.lock().push(session.detach());
        session.insert("n", 2_u8).unwrap();
    };
    let login = async |State(kept): State<Kept>, session: Session| {
        kept.lock().push(session.detach());
        let own: Attachment = session.detach().attach().await.unwrap();
        login(session).await;
        format!("{:?}", own.get::<String>("user"))
    };
    let kept = Kept::default();
    let app = Router::new()
        .route("/keep", get(keep))
        .route("/login-attached", get(login))
        .with_state(Arc::clone(&kept))
        .merge(base())
        .layer(WadiLayer::in_memory());
    let mut browser = Browser::new(&app);
    browser.get("/keep").await;
    let old = kept.lock().pop().unwrap();
    let attached = old.attach().await.unwrap();
    assert_eq!(attached.get::<u8>("n"), Ok(Some(2)));
    let answer = browser.get("/login-attached").await;
    assert_eq!(answer.text, "Ok(Some(\"victim\"))");
    let user = "attacker".to_owned();
    assert_eq!(attached.get::<String>("user"), Err(SessionError::Ended));
    assert_eq!(
        attached.insert("user", user.clone()),
        Err(SessionError::Ended)
    );
    assert_eq!(old.insert("user", user).await, Err(SessionError::Ended));
    let own = kept.lock().pop().unwrap();
    let user = own.get::<String>("user").await;
    assert_eq!(user, Ok(Some("victim".to_owned())));
}

#[tokio::test]
async fn what_ended_under_a_request_is_503_since_a_retry_has_no_session() {
    let slow = async |State(flight): State<Flight>, session: Session| {
        flight.pause().await;
        let n: Result<Option<u8>, SessionFailure> = Ok(session.get("n")?);
        n.map(|n| format!("{n:?}"))
    };
    let flight = Flight::new();
    let app = Router::new()
        .route("/slow", get(slow))
        .with_state(flight.clone())
        .route(
            "/logout",
            get(async |session: Session| session.flush().await.unwrap()),
        )
        .merge(base())
        .layer(WadiLayer::in_memory());
    let mut browser = Browser::new(&app);
    browser.get("/begin").await;
    let flying = browser.clone();
    let flying = tokio::spawn(async move { flying.peek("/slow").await });
    flight.0.wait().await;
    browser.get("/logout").await;
    flight.0.wait().await;
    let answer = flying.await.unwrap();
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers["retry-after"], "1");
}
