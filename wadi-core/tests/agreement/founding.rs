//! Founding by several.

use std::time::Duration;

use crate::world::{LEASE, World, list, pass};

#[tokio::test(start_paused = true)]
async fn three_that_start_together_found_one_cluster() {
    let world = World::of(&["n1", "n2", "n3"]).await;
    world.voters_count(3).await;
}
