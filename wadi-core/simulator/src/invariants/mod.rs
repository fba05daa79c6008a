//! What must hold whatever goes wrong: one file for each invariant.

pub(crate) mod inside_the_lease;
mod one_servable;
pub(crate) mod settles;
mod sound_directory;

use crate::world::World;

/// Checks what must hold after every single step.
pub(crate) fn after_each_step(world: &mut World) {
    one_servable::check(world);
    sound_directory::check(world);
    world.touched.clear();
}
