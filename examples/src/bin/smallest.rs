//! The smallest useful application: it counts your visits.

use axum::{Router, routing::get};
use wadi_axum::config::{CookieMode, WadiConfig};
use wadi_axum::{Session, SessionFailure, WadiLayer};

async fn visit(session: Session) -> Result<String, SessionFailure> {
    let visits = session.update("visits", |visits: &mut u32| {
        *visits += 1;
        *visits
    })?;
    Ok(format!("Visit number {visits}.\n"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = WadiConfig::builder().cookie(CookieMode::Plain).build()?;
    let wadi = WadiLayer::new(config);
    let app = Router::new().route("/", get(visit)).layer(wadi.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("http://{}", listener.local_addr()?);
    wadi.serve(listener, app).await?;
    Ok(())
}
