//! What a node says of itself and its cluster: `GET /wadi/cluster` on the admin listener.
//!
//! Only what is promised is read, so that a node may say more.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

use super::ask::Client;

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Status {
    /// Nothing before it has joined.
    #[serde(default)]
    pub(crate) incarnation: Option<u64>,
    pub(crate) version: u64,
    pub(crate) generation: u32,
    pub(crate) coordinator: Option<String>,
    pub(crate) members: Vec<Member>,
    pub(crate) sessions: Sessions,
    pub(crate) displaced: u64,
    pub(crate) migrations: Migrations,
    /// Nothing where there is no store below.
    #[serde(default)]
    pub(crate) store: Option<Store>,
    /// Nothing while it has no part in the authority.
    #[serde(default)]
    pub(crate) authority: Option<Authority>,
    /// Its form is the node's own affair; nothing while it does not leave.
    #[serde(default)]
    pub(crate) evacuation: serde_json::Value,
}

/// What went into the store below and came out of it.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Store {
    pub(crate) demoted: u64,
    pub(crate) promoted: u64,
    /// Calls that it did not do.
    pub(crate) failed: u64,
}

/// A node's part in the authority.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Authority {
    pub(crate) part: Part,
    /// How many vote, as far as it knows.
    pub(crate) voters: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part {
    Leads,
    Votes,
    Follows,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Member {
    pub(crate) node: String,
    pub(crate) buckets: u32,
    pub(crate) state: String,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Sessions {
    pub(crate) live: u64,
    pub(crate) frozen: u64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Migrations {
    #[serde(rename = "in")]
    pub(crate) arrived: u64,
    #[serde(rename = "out")]
    pub(crate) left: u64,
}

impl Status {
    /// Asks a node; `None` when it does not answer, or not in the promised form.
    pub(crate) async fn ask(client: &Client, admin: SocketAddr) -> Option<Self> {
        let limit = Duration::from_secs(1);
        let answer = client.get(admin, "/wadi/cluster", limit).await.ok()?;
        serde_json::from_slice(&answer.body).ok()
    }

    /// Sessions in its memory.
    pub(crate) fn held(&self) -> u64 {
        self.sessions.live + self.sessions.frozen
    }

    /// What it does in the authority.
    pub(crate) fn part(&self) -> Option<Part> {
        self.authority.map(|authority| authority.part)
    }

    /// What it knows of the member of this name.
    pub(crate) fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.node == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_promised_form_is_read() {
        let json = r#"{"node":"n1","incarnation":1,"version":3,"generation":0,"coordinator":"n1",
            "members":[{"node":"n1","cluster":null,"buckets":4096,"state":"ready"}],
            "sessions":{"live":2,"frozen":1,"disc":0,"replicas":0},"displaced":0,
            "migrations":{"in":0,"out":4},"evacuation":null,"more":true,
            "store":{"shared":true,"demoted":5,"promoted":4,"failed":0},
            "authority":{"part":"leads","voters":3}}"#;
        let status: Status = serde_json::from_str(json).expect("it is that form");
        assert_eq!(status.held(), 3);
        assert_eq!(status.migrations.left, 4);
        assert_eq!(status.member("n1").map(|member| member.buckets), Some(4096));
        assert!(status.evacuation.is_null());
        assert_eq!(status.part(), Some(Part::Leads));
        assert_eq!(status.incarnation, Some(1));
        assert_eq!(status.store.map(|store| store.demoted), Some(5));
    }
}
