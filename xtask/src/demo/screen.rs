//! What is shown: the nodes as they see themselves, and what the clients see of all of them.
//!
//! It makes text of figures and asks nobody, so that it can be tested.

use crate::fleet::Status;

/// One node, as far as it is known.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) name: String,
    /// Of a process that we started and that runs.
    pub(super) pid: Option<u32>,
    /// At its last poll.
    pub(super) ready: bool,
    /// What it says of itself; `None` when it does not answer.
    pub(super) status: Option<Status>,
    /// How to start it again.
    pub(super) start: String,
}

/// What the browsers saw.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) browsers: u32,
    pub(super) clicks: u64,
    pub(super) errors: u64,
    pub(super) lost: u64,
    pub(super) moved: u64,
}

/// The whole screen.
pub(super) fn whole(rows: &[Row], seen: Seen) -> Vec<String> {
    let mut lines = vec![format!(
        "{:5} {:>8}  {:9} {:>7} {:>8} {:>9} {:>8} {:>8}  evacuation",
        "node", "process", "state", "buckets", "sessions", "displaced", "moved in", "moved out"
    )];
    lines.extend(rows.iter().map(row));
    lines.push(String::new());
    lines.push(cluster(rows));
    lines.push(browsers(seen));
    let gone = rows.iter().filter(|row| row.status.is_none());
    let again: Vec<String> = gone
        .map(|row| {
            format!(
                "  start {} in another terminal:  sh {}",
                row.name, row.start
            )
        })
        .collect();
    if !again.is_empty() {
        lines.push(String::new());
        lines.extend(again);
    }
    lines
}

/// One line, for where there is no terminal.
pub(super) fn line(rows: &[Row], seen: Seen) -> String {
    let nodes = rows.iter().map(|row| match &row.status {
        None => format!("{} not there", row.name),
        Some(status) => {
            let buckets = buckets(row, status);
            let (name, state, held) = (&row.name, state(row, status), status.held());
            let pid = row
                .pid
                .map_or(String::new(), |pid| format!(" (process {pid})"));
            format!("{name}{pid} {state}, {buckets} buckets, {held} sessions")
        }
    });
    let nodes: Vec<String> = nodes.collect();
    format!("{} | {}", nodes.join(" | "), browsers(seen))
}

fn row(row: &Row) -> String {
    let pid = row.pid.map_or("-".to_owned(), |pid| pid.to_string());
    let name = &row.name;
    let Some(status) = &row.status else {
        return format!("{name:5} {pid:>8}  not there");
    };
    let evacuation = if status.evacuation.is_null() {
        String::new()
    } else {
        evacuation(&status.evacuation)
    };
    let line = format!(
        "{name:5} {pid:>8}  {:9} {:>7} {:>8} {:>9} {:>8} {:>8}   {evacuation}",
        state(row, status),
        buckets(row, status),
        status.held(),
        status.displaced,
        status.migrations.arrived,
        status.migrations.left,
    );
    line.trim_end().to_owned()
}

/// `12 of 40 left` where it is told that way, else whatever is told.
fn evacuation(told: &serde_json::Value) -> String {
    match (told["left"].as_u64(), told["began_with"].as_u64()) {
        (Some(left), Some(of)) => format!("{left} of {of} sessions to go"),
        _ => told.to_string(),
    }
}

/// Its own word for it, or why no client comes to it.
fn state(row: &Row, status: &Status) -> String {
    let state = status.member(&row.name).map(|member| member.state.as_str());
    match state {
        Some("ready") | None if !row.ready => "not ready".to_owned(),
        Some(state) => state.to_owned(),
        None => "ready".to_owned(),
    }
}

fn buckets(row: &Row, status: &Status) -> u32 {
    status.member(&row.name).map_or(0, |member| member.buckets)
}

/// What the cluster agrees on, as its newest view has it.
fn cluster(rows: &[Row]) -> String {
    let statuses = rows.iter().filter_map(|row| row.status.as_ref());
    let newest = statuses
        .clone()
        .max_by_key(|status| (status.generation, status.version));
    let Some(newest) = newest else {
        return "nobody is there".to_owned();
    };
    let sessions: u64 = statuses.map(Status::held).sum();
    format!(
        "cluster   layout {}.{}, {} members, coordinator {}, {sessions} sessions",
        newest.generation,
        newest.version,
        newest.members.len(),
        newest.coordinator.as_deref().unwrap_or("unknown"),
    )
}

fn browsers(seen: Seen) -> String {
    let Seen {
        browsers,
        clicks,
        errors,
        lost,
        moved,
    } = seen;
    format!(
        "browsers  {browsers} click through the proxy: {clicks} clicks, {moved} answered by another node than \
         before, {errors} errors, {lost} sessions lost"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there(name: &str, evacuation: &str) -> Row {
        let json = format!(
            r#"{{"node":"{name}","version":3,"generation":0,"coordinator":"n1",
            "members":[{{"node":"{name}","buckets":2048,"state":"ready"}}],
            "sessions":{{"live":5,"frozen":2}},"displaced":1,"migrations":{{"in":3,"out":4}},
            "evacuation":{evacuation}}}"#
        );
        Row {
            name: name.to_owned(),
            pid: Some(42),
            ready: true,
            status: serde_json::from_str(&json).expect("it is a status"),
            start: format!("/d/{name}"),
        }
    }

    fn gone(name: &str) -> Row {
        Row {
            pid: None,
            ready: false,
            status: None,
            ..there(name, "null")
        }
    }

    #[test]
    fn each_node_has_its_line_and_who_is_gone_can_be_started() {
        let rows = [there("n1", "null"), gone("n2")];
        let screen = whole(&rows, Seen::default()).join("\n");
        assert!(screen.contains("2048"), "{screen}");
        assert!(screen.contains("sh /d/n2"), "{screen}");
        assert!(!screen.contains("sh /d/n1"), "{screen}");
        let line = line(&rows, Seen::default());
        assert!(
            line.contains("n1 (process 42) ready, 2048 buckets, 7 sessions"),
            "{line}"
        );
        assert!(line.contains("n2 not there"), "{line}");
    }

    #[test]
    fn an_evacuation_is_seen_and_so_is_who_gets_no_clients() {
        let leaving = there("n1", r#"{"began_with":40,"left":12}"#);
        let line = row(&leaving);
        assert!(line.ends_with("12 of 40 sessions to go"), "{line}");
        let unready = Row {
            ready: false,
            ..there("n1", "null")
        };
        assert!(row(&unready).contains("not ready"));
    }
}
