//! Every node's directory keeps its own invariants.

use crate::world::World;

pub(crate) fn check(world: &mut World) {
    let fault = world
        .hosts
        .iter()
        .filter_map(crate::host::Host::participant)
        .find_map(|participant| participant.check().err());
    if let Some(fault) = fault {
        world.fail("sound directories", fault.to_string());
    }
}
