//! Waits until a cluster is at rest, which is where measuring begins.

use std::time::Duration;

use crate::fleet::{Client, Fleet, Member, Part, Status};
use crate::report::{Failure, Stopwatch};

const LIMIT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);
const BUCKETS: u32 = 4096;

/// Waits until every node that runs is a ready member with its part of the buckets, and the authority
/// has its voters and one leader; gives what each says then.
pub(super) async fn balanced(client: &Client, fleet: &Fleet) -> Result<Vec<Status>, Failure> {
    let stopwatch = Stopwatch::start();
    let running = fleet.running();
    while stopwatch.read() < LIMIT {
        let mut statuses = Vec::new();
        for index in &running {
            let admin = fleet.nodes[*index].addresses.admin;
            statuses.extend(Status::ask(client, admin).await);
        }
        if statuses.len() == running.len() && is_at_rest(&statuses) {
            return Ok(statuses);
        }
        tokio::time::sleep(LOOK).await;
    }
    Err(Failure::failed("the cluster does not come to rest"))
}

fn is_at_rest(statuses: &[Status]) -> bool {
    let count = statuses.len();
    let leaders = statuses.iter().filter(|it| it.part() == Some(Part::Leads));
    let voting = |status: &&Status| matches!(status.part(), Some(Part::Leads | Part::Votes));
    let voters = statuses.iter().filter(voting).count();
    let expected = match count {
        0..=2 => 1,
        3..=4 => 3,
        _ => 5,
    };
    leaders.count() == 1
        && voters == expected
        && statuses.iter().all(|status| {
            let buckets = |member: &Member| member.buckets;
            let least = BUCKETS / count as u32;
            status.version == statuses[0].version
                && status.members.len() == count
                && status.members.iter().map(buckets).all(|own| own >= least)
        })
}
