//! What every store is held to.

use wadi_core::store::conformance;

use super::super::{DiscSettings, DiscStore};

#[tokio::test]
async fn a_store_on_disc_conforms() {
    let directory = tempfile::tempdir().expect("there is room");
    let store = DiscStore::open(directory.path().join("disc"), DiscSettings::new());
    conformance::check(store.expect("it opens")).await;
}
