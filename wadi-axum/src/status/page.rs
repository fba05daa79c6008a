//! The status page: the report as a table, which reloads itself.

use std::fmt::{self, Write};

use super::report::StatusReport;

const STYLE: &str = "body{font:16px system-ui;margin:2em}td,th{text-align:left;padding:.2em 1em .2em 0}\
                     td.n{text-align:right}progress{width:16em}";

/// The report as HTML.
pub(super) fn page(report: &StatusReport) -> String {
    let mut page = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut page, report);
    page
}

fn write(page: &mut String, report: &StatusReport) -> fmt::Result {
    let node = Text(&report.node);
    write!(
        page,
        "<!doctype html><meta charset=utf-8><meta http-equiv=refresh content=2><title>WADI: {node}</title>\
         <style>{STYLE}</style><h1>{node}</h1>"
    )?;
    if let Some(evacuation) = report.evacuation {
        let (of, left) = (evacuation.began_with, evacuation.left);
        let gone = of.saturating_sub(left);
        write!(
            page,
            "<p>Evacuating: <progress value={gone} max={of}></progress> {left} sessions of {of} are still here."
        )?;
    }
    if report.draining {
        page.push_str("<p>Draining: new sessions are created by other nodes.");
    }
    if let Some(away) = report.store.and_then(|store| store.away_for) {
        write!(
            page,
            "<p>The store below has not answered for {away} s: sessions stay in memory, and requests for those that \
             are there are answered 503."
        )?;
    }
    let coordinator = report.coordinator.as_deref().unwrap_or("not known");
    write!(
        page,
        "<table><tr><th>Sessions, live<td class=n>{}<tr><th>Sessions, frozen<td class=n>{}\
         <tr><th>Sessions, in this node's own store<td class=n>{}<tr><th>Away from their bucket's manager<td class=n>{}\
         <tr><th>Migrated here<td class=n>{}<tr><th>Migrated away<td class=n>{}\
         <tr><th>Layout<td class=n>{}.{}<tr><th>Coordinator<td>{}</table>",
        report.sessions.live,
        report.sessions.frozen,
        report.sessions.disc,
        report.displaced,
        report.migrations.arrived,
        report.migrations.left,
        report.generation,
        report.version,
        Text(coordinator),
    )?;
    if let Some(store) = report.store {
        let whose = if store.shared {
            "The store of all nodes"
        } else {
            "The store below"
        };
        let sessions = store.sessions.map(|sessions| sessions.to_string());
        write!(
            page,
            "<h2>{whose}</h2><table><tr><th>Sessions, about<td class=n>{}<tr><th>Went down from here\
             <td class=n>{}<tr><th>Came up by this node<td class=n>{}<tr><th>Calls that failed<td class=n>{}</table>",
            sessions.as_deref().unwrap_or("not known"),
            store.demoted,
            store.promoted,
            store.failed
        )?;
    }
    page.push_str("<h2>Members</h2><table><tr><th>Node<th>Reached at<th>Buckets<th>State");
    for member in &report.members {
        write!(
            page,
            "<tr><td>{}<td>{}<td class=n>{}<td>{}",
            Text(&member.node),
            Text(member.cluster.as_deref().unwrap_or("nowhere: it is alone")),
            member.buckets,
            member.state
        )?;
    }
    page.push_str("</table><p><a href=cluster>The same as JSON</a>");
    Ok(())
}

/// Text of other nodes, which may hold anything.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Text;

    #[test]
    fn a_name_is_no_markup() {
        let hostile = Text("<script>'\"&").to_string();
        assert_eq!(hostile, "&lt;script&gt;&#39;&quot;&amp;");
    }
}
