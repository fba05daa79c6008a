//! A configuration is checked once, says how to be mended, and shows no secret.

use std::time::Duration;

use wadi_axum::config::{CookieMode, Copies, SameSite, StaleCopies, WadiConfig, WadiConfigBuilder};
use wadi_core::session::{ClusterKey, Keyring};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn refused(builder: WadiConfigBuilder) -> String {
    builder.build().expect_err("this does not fit").to_string()
}

#[test]
fn defaults_fit_and_are_those_that_the_words_promise() {
    let config = WadiConfig::default();
    assert_eq!(config.idle_timeout(), Duration::from_secs(30 * 60));
    assert_eq!(
        config.absolute_lifetime(),
        Duration::from_secs(24 * 60 * 60)
    );
    assert_eq!(config.unreturned_timeout(), Duration::from_secs(10 * 60));
    assert_eq!(config.freeze_after(), Duration::from_secs(60));
    assert_eq!(config.max_session_bytes(), 1 << 20);
    assert_eq!(config.max_sessions(), 10_000_000);
    assert_eq!(config.cookie(), CookieMode::Secure);
    assert_eq!(config.cookie_name(), "wadi");
    assert_eq!(config.same_site(), SameSite::Lax);
    assert_eq!(config.buckets().get(), 4096);
    assert_eq!(config.lock_wait(), Duration::from_secs(5));
    assert!(!config.x_wadi());
    assert_eq!(config.deregister_delay(), Duration::from_secs(5));
    assert_eq!(config.leave_timeout(), Duration::from_secs(25));
    assert_eq!(config.keep_alive(), Duration::from_secs(75));
}

#[test]
fn a_default_follows_the_options_that_it_depends_on() {
    let short = WadiConfig::builder().idle_timeout(Duration::from_secs(2));
    let short = short.build().unwrap();
    assert_eq!(short.unreturned_timeout(), Duration::from_secs(2));
    assert_eq!(short.freeze_after(), Duration::from_secs(1));
    let month = Duration::from_secs(30 * 24 * 60 * 60);
    let long = WadiConfig::builder().idle_timeout(month).build().unwrap();
    assert_eq!(long.absolute_lifetime(), month);
    let slow = WadiConfig::builder().deregister_delay(Duration::from_secs(60));
    assert_eq!(
        slow.build().unwrap().leave_timeout(),
        Duration::from_secs(80)
    );
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let new = WadiConfig::builder;
    let hour = Duration::from_secs(3600);
    for (builder, option) in [
        (new().idle_timeout(Duration::ZERO), "idle_timeout"),
        (
            new().idle_timeout(Duration::from_millis(10)),
            "idle_timeout",
        ),
        (new().idle_timeout(Duration::MAX), "idle_timeout"),
        (
            new().absolute_lifetime(Duration::from_secs(60)),
            "absolute_lifetime",
        ),
        (new().unreturned_timeout(hour), "unreturned_timeout"),
        (new().freeze_after(hour), "freeze_after"),
        (new().freeze_after(Duration::ZERO), "freeze_after"),
        (new().demote_after(hour), "demote_after"),
        (new().demote_after(Duration::ZERO), "demote_after"),
        (new().lock_wait(Duration::ZERO), "lock_wait"),
        (new().keep_alive(Duration::ZERO), "keep_alive"),
        (
            new()
                .deregister_delay(hour)
                .leave_timeout(Duration::from_secs(1)),
            "deregister_delay",
        ),
        (
            new()
                .deregister_delay(Duration::from_secs(9))
                .leave_timeout(Duration::from_secs(9)),
            "deregister_delay is 9s and leave_timeout is 9s",
        ),
        (new().deregister_delay(Duration::MAX), "deregister_delay"),
        (new().max_session_bytes(255_usize), "max_session_bytes"),
        (new().max_session_bytes(usize::MAX), "max_session_bytes"),
        (new().max_sessions(0_usize), "max_sessions"),
        (new().cookie_name(""), "cookie_name"),
        (new().cookie_name("a b"), "cookie_name"),
        (new().cookie_name("a;b"), "cookie_name"),
        (new().cookie_name("a\r\nb"), "cookie_name"),
        (new().cookie_name("__Host-id"), "cookie_name"),
        (new().name("a b"), "name"),
        (
            new().cookie(CookieMode::Plain).same_site(SameSite::None),
            "same_site",
        ),
        (
            new()
                .cluster(Some("127.0.0.1:0".parse().unwrap()))
                .store_copies(Copies::AtOnce),
            "store_copies",
        ),
    ] {
        let error = refused(builder);
        assert!(error.contains(option), "{option}: {error}");
    }
}

#[test]
fn any_serde_format_will_do() {
    let config: WadiConfig = serde_json::from_str(
        r#"{"idle_timeout": "1h 30m", "lock_wait": 0.5, "freeze_after": 10, "cookie": "plain",
            "same_site": "Strict", "max_sessions": 7, "x_wadi": true, "buckets": 16}"#,
    )
    .unwrap();
    assert_eq!(config.idle_timeout(), Duration::from_secs(90 * 60));
    assert_eq!(config.lock_wait(), Duration::from_millis(500));
    assert_eq!(config.freeze_after(), Duration::from_secs(10));
    assert_eq!(config.same_site(), SameSite::Strict);
    assert_eq!(config.max_sessions(), 7);
}

#[test]
fn bad_files_are_refused_with_the_reason() {
    for (text, reason) in [
        (r#"{"idle_timout": 5}"#, "unknown field `idle_timout`"),
        (r#"{"idle_timeout": -5}"#, "not negative"),
        (r#"{"idle_timeout": "soon"}"#, "number of seconds"),
        (r#"{"idle_timeout": 1e300}"#, "number of seconds"),
        (r#"{"idle_timeout": []}"#, "invalid type"),
        (r#"{"name": null}"#, "invalid type"),
        (r#"{"max_sessions": 1.5}"#, "whole number"),
        (r#"{"name": "a", "name": "b"}"#, "given twice"),
        (
            r#"{"idle_timeout": 60, "freeze_after": 61}"#,
            "freeze_after is 61s",
        ),
        (r#"{"cookie": "chocolate"}"#, "secure or plain"),
        (r#"{"buckets": 0}"#, "1 to 65535"),
        (r#"{"x_wadi": "perhaps"}"#, "true or false"),
        (r#"{"cluster_key": "/does/not/exist"}"#, "cannot be read"),
        (r#"{"cluster": "here"}"#, "such as 127.0.0.1:7000"),
        (r#"{"cluster": "0.0.0.0:7000"}"#, "same key file"),
        (r#"{"join": "a:1, b:2"}"#, "cluster is not"),
        (r#"{"advertise": "a:1"}"#, "cluster is not"),
        (r#"{"public_url": "https://a"}"#, "cluster is not"),
        (
            r#"{"public_url": "https://a/b", "cluster": "127.0.0.1:0"}"#,
            "as in https://",
        ),
        (
            r#"{"public_url": "http://a", "cluster": "127.0.0.1:0"}"#,
            "over https only",
        ),
        (r#"{"relocate": "there"}"#, "redirect or none"),
        (r#"{"stale_copies": "merge"}"#, "offer or drop"),
        (r#"{"lease": "1h"}"#, "1 second to 5 minutes"),
    ] {
        let error = serde_json::from_str::<WadiConfig>(text).unwrap_err();
        assert!(error.to_string().contains(reason), "{text}: {error}");
        let option = text.split('"').nth(1).expect("an option");
        assert!(error.to_string().contains(option), "{text}: {error}");
    }
}

#[test]
fn a_secret_is_never_shown() {
    let key = ClusterKey::from_secret(SECRET.as_bytes()).unwrap();
    let builder = WadiConfig::builder().cluster_key(Keyring::new(key));
    let shown = format!("{builder:?} {builder:#?} {:?}", builder.clone().build());
    assert!(!shown.contains(SECRET));
    assert!(shown.contains("ClusterKey(…)"), "{shown}");
}

#[test]
fn what_comes_back_is_offered_unless_it_is_to_be_dropped() {
    let read = |text: &str| serde_json::from_str::<WadiConfig>(text).unwrap();
    assert_eq!(read("{}").stale_copies(), StaleCopies::Offer);
    let drop = read(r#"{"stale_copies": "drop"}"#);
    assert_eq!(drop.stale_copies(), StaleCopies::Drop);
    assert_eq!("offer".parse(), Ok(StaleCopies::Offer));
}
