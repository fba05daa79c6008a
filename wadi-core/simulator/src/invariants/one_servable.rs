//! At every instant at most one node may serve a session: it has a confirmed copy in its map and
//! a lease that is valid by its own clock.

use crate::world::{World, name};

pub(crate) fn check(world: &mut World) {
    let mut forks = Vec::new();
    for id in &world.touched {
        let serving: Vec<_> = world
            .hosts
            .iter()
            .enumerate()
            .filter(|(_, host)| host.serves(world.now, id))
            .map(|(number, host)| (number, host.map.sessions[id].tenure))
            .collect();
        if serving.len() > 1 {
            forks.push(format!("{} is served at {serving:?}", name(id)));
        }
    }
    if let Some(fork) = forks.pop() {
        world.fail("one servable copy", fork);
    }
}
