//! How long the parts of an agreement may take, all of them as parts of the lease.

use std::time::Duration;

/// The timers of the authority, in relation to the lease L that nodes renew every L/4 and count
/// nine tenths of.
///
/// A node whose last renewal was answered just before the leader died has at least 0.9 L - 0.25 L
/// left, or 2.6 s of the default L = 4 s. A fail-over must fit into that, or every node would stop
/// serving each time a leader dies: followers notice after at most [`Timing::election_most`]
/// twice (openraft waits for the former leader's lease and then for the drawn timeout), 1 s; then
/// come a round of votes, which may fail once and is drawn for again, the taking over, and a
/// redirected renewal.
///
/// None of these decides about ownership: were they all wrong, nothing would be agreed, and nobody
/// would be declared dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    lease: Duration,
}

impl Timing {
    /// The shortest lease that these timers make sense for.
    pub const SHORTEST_LEASE: Duration = Duration::from_millis(400);

    /// Timers for leases of this length; a shorter one than [`Timing::SHORTEST_LEASE`] counts as
    /// that.
    #[must_use]
    pub fn of(lease: Duration) -> Self {
        Self {
            lease: lease.max(Self::SHORTEST_LEASE),
        }
    }

    /// The lease that all of this is about.
    #[must_use]
    pub const fn lease(self) -> Duration {
        self.lease
    }

    /// L/20 (200 ms): the leader's heart beats. It is also how long a replication message may take,
    /// so it has to be well above a round trip; and an election needs two missing ones at least.
    #[must_use]
    pub fn heartbeat(self) -> Duration {
        self.lease / 20
    }

    /// L/10 (400 ms): nobody stands for election earlier after the former leader's lease. Two
    /// heartbeats.
    #[must_use]
    pub fn election_least(self) -> Duration {
        self.lease / 10
    }

    /// L/8 (500 ms): the other end of what is drawn from, so that two seldom stand at once; also
    /// how long voters keep to a leader that they have heard from, so that somebody who cannot hear
    /// it disturbs nobody.
    #[must_use]
    pub fn election_most(self) -> Duration {
        self.lease / 8
    }

    /// L/8 (500 ms): how long one attempt to ask a node may take before another one is asked.
    #[must_use]
    pub fn attempt(self) -> Duration {
        self.lease / 8
    }

    /// L/4 (1 s): how long a part of a snapshot may take.
    #[must_use]
    pub fn chunk(self) -> Duration {
        self.lease / 4
    }

    /// L/100 (40 ms): the pause before the second attempt; it doubles up to [`Timing::longest_pause`].
    #[must_use]
    pub fn first_pause(self) -> Duration {
        self.lease / 100
    }

    /// L/10 (400 ms): the longest pause between attempts.
    #[must_use]
    pub fn longest_pause(self) -> Duration {
        self.lease / 10
    }

    /// L/2 (2 s): how long one change of the voters is waited for, before it is looked at again.
    #[must_use]
    pub fn change(self) -> Duration {
        self.lease / 2
    }

    /// L/2 (2 s): a leader that did nothing, or agreed on nothing, for longer gives every member
    /// one more whole lease before it ends any: they could not renew, whatever the reason. Four
    /// times what a leader that is well ever lets pass.
    #[must_use]
    pub fn absence(self) -> Duration {
        self.lease / 2
    }

    /// 4 L (16 s): for how long a founding by several may take. Whoever takes part in it does nothing
    /// else meanwhile; where somebody dies in the middle, the others start over after that.
    #[must_use]
    pub fn founding(self) -> Duration {
        self.lease.saturating_mul(4)
    }

    /// L/40 (100 ms): how often the leader looks again at what nobody tells it of.
    #[must_use]
    pub fn look(self) -> Duration {
        self.lease / 40
    }

    pub(super) fn config(self) -> openraft::Config {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        openraft::Config {
            cluster_name: "wadi".to_owned(),
            heartbeat_interval: millis(self.heartbeat()),
            election_timeout_min: millis(self.election_least()),
            election_timeout_max: millis(self.election_most()),
            // A snapshot is one register, a few hundred kilobytes as a rule.
            install_snapshot_timeout: millis(self.chunk()),
            snapshot_max_chunk_size: super::message::LARGEST_CHUNK,
            max_payload_entries: super::message::MOST_ENTRIES,
            // Renewals come every L/4 from each member, and each keeps an entry at most: snapshots
            // every thousand entries keep the log small, and a follower that was away for less than
            // that catches up by entries.
            snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(1_000),
            max_in_snapshot_log_to_keep: 500,
            replication_lag_threshold: 2_000,
            ..openraft::Config::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openraft_accepts_the_shortest_and_the_default() {
        for lease in [Duration::ZERO, Duration::from_secs(4)] {
            let config = Timing::of(lease).config().validate();
            assert!(config.is_ok(), "{config:?}");
        }
    }

    #[test]
    fn a_fail_over_fits_into_what_is_left_of_a_lease() {
        let lease = Duration::from_secs(4);
        let timing = Timing::of(lease);
        let noticed = timing.election_most() * 2;
        let drawn_again = timing.election_most();
        let redirected = timing.attempt() + timing.longest_pause();
        let left = lease * 9 / 10 - lease / 4;
        assert!(noticed + drawn_again + redirected < left);
    }
}
