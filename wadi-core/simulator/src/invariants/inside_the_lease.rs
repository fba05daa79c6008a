//! Whoever answers a client with an effect is a member at that very moment: what stands lies inside
//! its lease.

use crate::world::World;

pub(crate) fn check(world: &mut World, host: usize) {
    let who = world.hosts[host].incarnation();
    if !who.is_some_and(|who| world.register.layout().is_member(who)) {
        world.fail(
            "inside the lease",
            format!("h{host} answered as {who:?}, which is no member"),
        );
    }
}
