//! What a node's status looks like to whoever counts: gauges and counters of the `metrics` facade.
//!
//! They are set when somebody is about to read them, so a request pays nothing for them. No label is
//! an id, and each has few values.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

use super::report::StatusReport;
use crate::WadiLayer;

impl WadiLayer {
    /// Describes this layer's metrics to the recorder that is installed; once, after installing it.
    pub fn describe_metrics() {
        describe_gauge!(
            "wadi_ready",
            "Whether this node is a ready member that may act"
        );
        describe_gauge!("wadi_sessions", "Sessions of this node, by where they are");
        describe_gauge!(
            "wadi_displaced_sessions",
            "Sessions here whose bucket another member manages"
        );
        describe_gauge!(
            "wadi_draining",
            "Whether new sessions are created by others"
        );
        describe_gauge!(
            "wadi_available_on_quorum_loss",
            "Whether this node goes on when it cannot reach those who agree; 0 where it answers 503"
        );
        describe_gauge!(
            "wadi_generation",
            "The generation of the cluster's agreement; grows where most of those who agree died"
        );
        describe_gauge!("wadi_members", "Members of the cluster, by state");
        describe_gauge!("wadi_buckets", "Buckets that this node manages");
        describe_gauge!("wadi_layout_version", "The layout that this node goes by");
        describe_gauge!(
            "wadi_evacuation_sessions",
            Unit::Count,
            "Sessions that an evacuation has still to move; 0 where there is none"
        );
        describe_counter!(
            "wadi_requests_total",
            "Requests whose session was not simply here, by what became of them"
        );
        describe_counter!(
            "wadi_migrations_total",
            "Sessions that came to this node and went to others, by direction"
        );
        describe_counter!(
            "wadi_store_sessions_total",
            "Sessions that went into the store below this node and came out of it, by direction"
        );
        describe_counter!(
            "wadi_store_failures_total",
            "Calls that the store did not do; what they were about was tried again, or answered 503"
        );
        describe_gauge!(
            "wadi_store_away",
            "Whether the store below does not answer this node"
        );
        describe_gauge!(
            "wadi_store_rows",
            "Sessions in the store below, about, where it says so; of a cluster's each node says the same"
        );
        describe_counter!(
            "wadi_lost_sessions_total",
            "Sessions that died with their node, as far as this node managed them"
        );
        describe_counter!(
            "wadi_stale_copies_total",
            "Copies that served nobody, of nodes that were away: older ones that serve, and those that were \
             dropped, by why"
        );
    }

    /// Gives the recorder that is installed what this node knows now. Call it just before the figures
    /// are read, as a handler of `/metrics` does.
    pub fn record_metrics(&self) {
        record(&self.status(), self.is_ready());
    }
}

fn record(status: &StatusReport, is_ready: bool) {
    let set = |name, value: usize| gauge!(name).set(value as f64);
    set("wadi_ready", usize::from(is_ready));
    let sessions = status.sessions;
    for (place, number) in [
        ("live", sessions.live),
        ("frozen", sessions.frozen),
        ("disc", sessions.disc),
        ("replicas", sessions.replicas),
    ] {
        gauge!("wadi_sessions", "state" => place).set(number as f64);
    }
    set("wadi_displaced_sessions", status.displaced);
    for state in ["joining", "ready", "leaving"] {
        let members = status.members.iter();
        let number = members.filter(|member| member.state == state).count();
        gauge!("wadi_members", "state" => state).set(number as f64);
    }
    let own = status.members.iter().filter(|m| m.node == status.node);
    set("wadi_buckets", own.map(|member| member.buckets).sum());
    gauge!("wadi_layout_version").set(status.version as f64);
    set(
        "wadi_evacuation_sessions",
        status.evacuation.map_or(0, |evacuation| evacuation.left),
    );
    set("wadi_draining", usize::from(status.draining));
    let goes_on = status.on_quorum_loss == Some("available");
    set("wadi_available_on_quorum_loss", usize::from(goes_on));
    gauge!("wadi_generation").set(f64::from(status.generation));
    for (outcome, number) in status.requests.iter().flat_map(|counts| counts.named()) {
        counter!("wadi_requests_total", "outcome" => outcome).absolute(number);
    }
    let migrations = status.migrations;
    counter!("wadi_migrations_total", "direction" => "in").absolute(migrations.arrived);
    counter!("wadi_migrations_total", "direction" => "out").absolute(migrations.left);
    if let Some(store) = status.store {
        counter!("wadi_store_sessions_total", "direction" => "down").absolute(store.demoted);
        counter!("wadi_store_sessions_total", "direction" => "up").absolute(store.promoted);
        counter!("wadi_store_failures_total").absolute(store.failed);
        set("wadi_store_away", usize::from(store.away_for.is_some()));
        if let Some(rows) = store.sessions {
            gauge!("wadi_store_rows").set(rows as f64);
        }
    }
    let aftermath = status.aftermath;
    counter!("wadi_lost_sessions_total").absolute(aftermath.lost);
    for (outcome, number) in [
        ("older", aftermath.older),
        ("outdated", aftermath.outdated),
        ("refused", aftermath.refused),
        ("ended", aftermath.ended),
    ] {
        counter!("wadi_stale_copies_total", "outcome" => outcome).absolute(number);
    }
}
