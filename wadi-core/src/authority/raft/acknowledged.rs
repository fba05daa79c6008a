//! Who has acknowledged something lately, as the leader sees it: who is told, and silent, may be dead
//! and is not counted upon. Members renew all the time, so there always is something to acknowledge.

use std::collections::BTreeMap;
use std::time::Duration;

use openraft::LogId;

use super::types::{Metrics, raft_id};
use crate::clock::Moment;
use crate::member::Incarnation;

/// By raft id, how far each has acknowledged.
#[derive(Debug, Default)]
pub(super) struct Acknowledged(BTreeMap<u64, Heard>);

/// What was heard of one.
#[derive(Clone, Copy, Debug)]
struct Heard {
    matching: LogId<u64>,
    /// When it was heard of for the first time, while this node leads.
    first: Moment,
    /// When it acknowledged more for the last time.
    last: Moment,
}

impl Acknowledged {
    /// What the leader's metrics say at `now`; nothing where another one leads.
    pub(super) fn note(&mut self, metrics: &Metrics, now: Moment) {
        let replication = metrics.replication.iter().flatten();
        let matching = replication.filter_map(|(id, matching)| Some((*id, (*matching)?)));
        self.note_matching(matching, now);
    }

    fn note_matching(&mut self, matching: impl Iterator<Item = (u64, LogId<u64>)>, now: Moment) {
        let before = std::mem::take(&mut self.0);
        self.0 = matching
            .map(|(id, matching)| {
                let known = before.get(&id);
                let same = known.filter(|known| known.matching == matching);
                let first = known.map_or(now, |known| known.first);
                let last = same.map_or(now, |same| same.last);
                let heard = Heard {
                    matching,
                    first,
                    last,
                };
                (id, heard)
            })
            .collect();
    }

    /// Whether this one has acknowledged more within that time.
    pub(super) fn within(&self, time: Duration, who: Incarnation, now: Moment) -> bool {
        let heard = self.0.get(&raft_id(who));
        heard.is_some_and(|heard| now.since(heard.last) <= time)
    }

    /// Whether this one was heard of so long ago already.
    pub(super) fn for_at_least(&self, time: Duration, who: Incarnation, now: Moment) -> bool {
        let heard = self.0.get(&raft_id(who));
        heard.is_some_and(|heard| now.since(heard.first) >= time)
    }
}

#[cfg(test)]
mod tests {
    use openraft::CommittedLeaderId;

    use super::*;

    #[test]
    fn who_is_silent_is_not_counted_upon_after_a_while() {
        let at = |seconds| Moment::ZERO + Duration::from_secs(seconds);
        let log = |index| LogId::new(CommittedLeaderId::new(1, 1), index);
        let mut acknowledged = Acknowledged::default();
        let lately = |acknowledged: &Acknowledged, who, seconds| {
            let who = Incarnation::new(who);
            acknowledged.within(Duration::from_secs(2), who, at(seconds))
        };
        acknowledged.note_matching([(2, log(5)), (3, log(5))].into_iter(), at(1));
        assert!(lately(&acknowledged, 2, 3) && lately(&acknowledged, 3, 3));
        assert!(!lately(&acknowledged, 4, 1), "nobody knows it");
        acknowledged.note_matching([(2, log(6)), (3, log(5))].into_iter(), at(3));
        assert!(lately(&acknowledged, 2, 5) && !lately(&acknowledged, 3, 5));
        // Where it speaks again it counts again.
        acknowledged.note_matching([(2, log(6)), (3, log(6))].into_iter(), at(6));
        assert!(!lately(&acknowledged, 2, 6) && lately(&acknowledged, 3, 6));
        let long = |seconds, who, now| {
            let time = Duration::from_secs(seconds);
            acknowledged.for_at_least(time, Incarnation::new(who), at(now))
        };
        assert!(long(5, 2, 6) && long(5, 3, 6) && !long(6, 3, 6));
        assert!(!long(0, 4, 6), "nobody knows it");
    }
}
