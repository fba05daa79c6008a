//! A session's cookie is one client's own: caches are told, and what is for everybody carries none.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::header::CACHE_CONTROL;
use wadi_axum::{Limits, Session};

use crate::browser::{Answer, Bench, Browser, bench};

fn app(wadi: &wadi_axum::WadiLayer) -> Router {
    let asset = async || {
        (
            [(CACHE_CONTROL, "public, max-age=31536000, immutable")],
            "x",
        )
    };
    let shop = async |session: Session| {
        session.insert("n", 1_u8).unwrap();
        ([(CACHE_CONTROL, "public, s-maxage=60")], "x")
    };
    Router::new()
        .route("/asset", get(asset))
        .route("/shop", get(shop))
        .route(
            "/begin",
            get(async |session: Session| session.insert("n", 1_u8).unwrap()),
        )
        .layer(wadi.clone())
}

fn all(answer: &Answer, name: &str) -> String {
    let values = answer.headers.get_all(name).iter();
    let values: Vec<_> = values.map(|value| value.to_str().unwrap()).collect();
    values.join(", ")
}

#[tokio::test]
async fn a_response_with_the_cookie_is_for_one_client() {
    let wadi = bench(Limits::default()).wadi;
    let begun = Browser::new(&app(&wadi)).get("/begin").await;
    assert!(begun.headers.contains_key("set-cookie"));
    assert_eq!(all(&begun, "cache-control"), "private");
    assert_eq!(all(&begun, "vary"), "cookie");
    // A new session has no other way to its client.
    let shop = Browser::new(&app(&wadi)).get("/shop").await;
    assert!(shop.headers.contains_key("set-cookie"));
    let told = "public, s-maxage=60, no-cache=\"set-cookie\"";
    assert_eq!(all(&shop, "cache-control"), told);
}

#[tokio::test]
async fn a_renewal_waits_for_a_response_that_is_not_for_everybody() {
    let Bench { wadi, clock, .. } = bench(Limits::default());
    let mut browser = Browser::new(&app(&wadi));
    browser.get("/begin").await;
    clock.advance(Duration::from_secs(200));
    let asset = browser.get("/asset").await;
    assert!(!asset.headers.contains_key("set-cookie"));
    assert!(!asset.headers.contains_key("vary"));
    let next = browser.get("/begin").await;
    assert!(next.headers.contains_key("set-cookie"));
}
