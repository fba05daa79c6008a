//! What requests waited for besides their handlers, as the nodes' own spans tell: `node_span_seconds` in
//! their metrics.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::fleet::Client;
use crate::report::Failure;

const LIMIT: Duration = Duration::from_secs(5);
const METRIC: &str = "node_span_seconds_";

/// Of each span how often it was, and for how many seconds in all.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Spans(BTreeMap<String, (f64, f64)>);

impl Spans {
    /// Of all these nodes together, since they started.
    pub(super) async fn of(client: &Client, admins: &[SocketAddr]) -> Result<Self, Failure> {
        let mut spans = Self::default();
        for admin in admins {
            let answer = client.get(*admin, "/metrics", LIMIT).await;
            let answer =
                answer.map_err(|trouble| Failure::failed(format!("metrics: {trouble}")))?;
            spans.add(&String::from_utf8_lossy(&answer.body));
        }
        Ok(spans)
    }

    fn add(&mut self, metrics: &str) {
        for line in metrics.lines() {
            let Some((kind, name, value)) = read(line) else {
                continue;
            };
            let (count, seconds) = self.0.entry(name.to_owned()).or_default();
            match kind {
                "count" => *count += value,
                "sum" => *seconds += value,
                _ => {}
            }
        }
    }

    pub(super) fn since(&self, before: &Self) -> Self {
        let difference = |(name, now): (&String, &(f64, f64))| {
            let then = before.0.get(name).copied().unwrap_or_default();
            (name.clone(), (now.0 - then.0, now.1 - then.1))
        };
        Self(self.0.iter().map(difference).collect())
    }

    /// By name: how often, and for how long in all.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, f64, f64)> {
        let spans = self.0.iter();
        spans.map(|(name, (count, seconds))| (name.as_str(), *count, *seconds))
    }
}

/// `node_span_seconds_<kind>{span="<name>"} <value>`.
fn read(line: &str) -> Option<(&str, &str, f64)> {
    let (kind, rest) = line.strip_prefix(METRIC)?.split_once("{span=\"")?;
    let (name, value) = rest.split_once("\"} ")?;
    Some((kind, name, value.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_metrics_say_is_read() {
        let mut spans = Spans::default();
        spans.add(concat!(
            "# TYPE node_span_seconds summary\n",
            "node_span_seconds{span=\"wadi.locate\",quantile=\"0.5\"} 0.25\n",
            "node_span_seconds_sum{span=\"wadi.locate\"} 1.5\n",
            "node_span_seconds_count{span=\"wadi.locate\"} 3\n",
            "node_requests_total 7\n",
        ));
        let before = spans.clone();
        spans.add("node_span_seconds_count{span=\"wadi.locate\"} 2\n");
        let since: Vec<_> = spans.since(&before).iter().map(|it| (it.1, it.2)).collect();
        assert_eq!(since, [(2.0, 0.0)]);
        assert_eq!(before.iter().next(), Some(("wadi.locate", 3.0, 1.5)));
    }
}
