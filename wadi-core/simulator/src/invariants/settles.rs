//! Once faults stop, the cluster settles: nothing stays on its way, the layout is balanced, and
//! every session can be reached from every node, unless it ended or was lost.

use wadi_core::member::Standing;

use crate::clients::Wish;
use crate::world::{SECOND, World, name};

pub(crate) fn check(world: &mut World) {
    let layout = world.register.layout().clone();
    if layout.members.len() != world.hosts.len()
        || layout
            .members
            .values()
            .any(|member| member.standing != Standing::Ready)
    {
        world.fail(
            "settles",
            format!(
                "{:?} are the members of {} hosts",
                layout.members,
                world.hosts.len()
            ),
        );
        return;
    }
    let mut counts: Vec<_> = layout
        .members
        .keys()
        .map(|who| layout.managed_by(*who))
        .collect();
    counts.sort_unstable();
    if counts
        .last()
        .zip(counts.first())
        .is_some_and(|(most, least)| most - least > 1)
    {
        world.fail("settles", format!("unbalanced: {counts:?} buckets"));
        return;
    }
    for host in 0..world.hosts.len() {
        let Some(participant) = world.hosts[host].participant() else {
            world.fail("settles", format!("h{host} is not a member"));
            return;
        };
        if participant
            .layout()
            .is_none_or(|known| known.version != layout.version)
        {
            world.fail("settles", format!("h{host} does not know the layout"));
            return;
        }
        if !participant.is_settled() {
            let timers: Vec<_> = participant.running_timers().collect();
            world.note(|| format!("{:#?}", world.hosts[host].participant()));
            world.fail("settles", format!("h{host} is not settled: {timers:?}"));
            return;
        }
    }
    markers_are_kept(world);
    rows_have_ended(world);
    everything_can_be_reached(world);
}

/// A bucket's manager and its deputy have the markers of every session that ended for good.
fn markers_are_kept(world: &mut World) {
    let layout = world.register.layout().clone();
    let ended: Vec<_> = world.oracle.ended_for_good().collect();
    for id in ended {
        let placement = layout.placement(id.bucket(layout.buckets()));
        for keeper in std::iter::once(&placement.manager).chain(&placement.deputies) {
            let host = world.where_is[keeper];
            if !world.hosts[host]
                .participant()
                .is_some_and(|participant| participant.keeps_marker(&id))
            {
                let id = name(&id);
                world.fail("settles", format!("h{host} has no marker of {id}"));
                return;
            }
        }
    }
}

/// Where an end was acknowledged, the store has no row any more, whoever else remembers it.
fn rows_have_ended(world: &mut World) {
    let ended = world.oracle.ended_for_clients();
    let left = ended.into_iter().find(|id| world.has_row(id));
    if let Some(id) = left {
        world.fail(
            "settles",
            format!("the store has {}, which has ended", name(&id)),
        );
    }
}

fn everything_can_be_reached(world: &mut World) {
    let ids: Vec<_> = world.oracle.ids().collect();
    for id in ids {
        if world.oracle.was_forgotten(&id) {
            // The loss may be noticed only now, and is waited for like any other.
            continue;
        }
        for host in 0..world.hosts.len() {
            let (served, refused) = (world.acknowledged, world.unavailable);
            world.request(Wish::Read, id, host);
            let until = world.now + SECOND;
            while world.now < until
                && (world.acknowledged, world.unavailable) == (served, refused)
                && world.violation.is_none()
            {
                world.run_until(world.now + SECOND / 50);
            }
            if world.violation.is_some() {
                return;
            }
            let answered = world.acknowledged > served;
            if world.unavailable > refused || (!answered && !world.oracle.may_be_gone(&id)) {
                // A session may be unavailable for a while after its holder died.
                world.fail(
                    "settles",
                    format!("{} cannot be reached from h{host}", name(&id)),
                );
                return;
            }
        }
    }
}
