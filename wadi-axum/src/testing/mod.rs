//! For your own tests: a whole cluster in one process, and a clock that the test moves.
//!
//! ```
//! use axum::{Router, body::Body, routing::get};
//! use http::Request;
//! use wadi_axum::testing::Cluster;
//! use wadi_axum::{Session, SessionFailure, WadiLayer};
//!
//! async fn visit(session: Session) -> Result<String, SessionFailure> {
//!     let visits = session.update("visits", |visits: &mut u32| {
//!         *visits += 1;
//!         *visits
//!     })?;
//!     Ok(visits.to_string())
//! }
//!
//! fn app(wadi: WadiLayer) -> Router {
//!     Router::new().route("/", get(visit)).layer(wadi)
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = Cluster::new(3, app).await;
//! let [n1, n2, _] = cluster.nodes().try_into().expect("three nodes");
//!
//! let first = n1.request(Request::get("/").body(Body::empty())?).await;
//! let cookie = first.headers()["set-cookie"].to_str()?.to_owned();
//! let cookie = cookie.split(';').next().expect("name=value");
//!
//! // The session is found from every node …
//! let again = Request::get("/").header("cookie", cookie).body(Body::empty())?;
//! let again = n2.request(again).await;
//! assert_eq!(axum::body::to_bytes(again.into_body(), 9).await?, "2");
//!
//! // … also when the one that has it leaves.
//! n1.leave().await;
//! let again = Request::get("/").header("cookie", cookie).body(Body::empty())?;
//! let again = n2.request(again).await;
//! assert_eq!(axum::body::to_bytes(again.into_body(), 9).await?, "3");
//! # Ok(())
//! # }
//! ```

mod clock;
mod cluster;
mod ground;
mod node;

pub use cluster::{Cluster, ClusterBuilder};
pub use node::Node;
