//! The rules as YAML, as far as rules need it: keys, texts and blocks.

use super::{Alert, Group, Recording};

/// The file that Prometheus reads.
pub(super) fn plain(groups: &[Group]) -> String {
    let mut text = HEADER.to_owned();
    text.push_str("groups:\n");
    write_groups(groups, 2, &mut text);
    text
}

/// The same for the operator of Prometheus.
pub(super) fn operator(groups: &[Group]) -> String {
    let mut text = HEADER.to_owned();
    text.push_str(OPERATOR);
    write_groups(groups, 4, &mut text);
    text
}

const HEADER: &str = "\
# Alerts of runtrail, and what they are made from. What each means and what to do
# about it stands in docs/runbook.md; how to load them in deploy/prometheus/README.md.
# Written from views/src/rules by `cargo run -p runtrail-views`.
";

const OPERATOR: &str = "\
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: runtrail
  labels:
    app.kubernetes.io/name: runtrail
spec:
  groups:
";

fn write_groups(groups: &[Group], depth: usize, text: &mut String) {
    for group in groups {
        line(text, depth, &format!("- name: {}", group.name));
        if let Some(interval) = group.interval {
            line(text, depth + 2, &format!("interval: {interval}"));
        }
        line(text, depth + 2, "rules:");
        for recording in &group.recordings {
            write_recording(recording, depth + 4, text);
        }
        for alert in group.alerts {
            write_alert(alert, depth + 4, text);
        }
    }
}

fn write_recording(recording: &Recording, depth: usize, text: &mut String) {
    if !recording.about.is_empty() {
        line(text, depth, &format!("# {}", recording.about));
    }
    line(text, depth, &format!("- record: {}", recording.name));
    write_query(&recording.expr, depth + 2, text);
}

fn write_alert(alert: &Alert, depth: usize, text: &mut String) {
    line(text, depth, &format!("- alert: {}", alert.name));
    let depth = depth + 2;
    write_query(&alert.query(), depth, text);
    line(text, depth, &format!("for: {}", alert.lasts));
    line(text, depth, "labels:");
    line(
        text,
        depth + 2,
        &format!("severity: {}", alert.severity.as_str()),
    );
    line(text, depth, "annotations:");
    for (key, value) in [
        ("summary", alert.summary),
        ("description", alert.description),
        ("runbook_url", &alert.runbook()),
    ] {
        line(text, depth + 2, &format!("{key}: {}", quoted(value)));
    }
}

/// A query in a block, where nothing has to be escaped.
fn write_query(query: &str, depth: usize, text: &mut String) {
    line(text, depth, "expr: |");
    for part in query.lines() {
        line(text, depth + 2, part);
    }
}

/// A text on one line. In single quotes only these themselves are special.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn line(text: &mut String, depth: usize, content: &str) {
    text.push_str(&" ".repeat(depth));
    text.push_str(content);
    text.push('\n');
}
