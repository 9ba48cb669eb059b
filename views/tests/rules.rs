//! The rules, their runbook and their tests belong together.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use runtrail_views::promql::Known;
use runtrail_views::rules::{Alert, groups};
use serde::Deserialize;

#[test]
fn every_rule_uses_what_is_exported_or_recorded() {
    let mut known = Known::exported();
    let groups = groups();
    for recording in groups.iter().flat_map(|group| &group.recordings) {
        known
            .record(&recording.name, &recording.expr)
            .unwrap_or_else(|error| panic!("{}: {error}", recording.name));
    }
    for alert in alerts() {
        let labels = known
            .labels_of(&alert.query())
            .unwrap_or_else(|error| panic!("{}: {error}", alert.name));
        for named in labels_named(alert.summary).chain(labels_named(alert.description)) {
            assert!(
                labels.contains(named),
                "{} tells of {named}, which its query does not give",
                alert.name
            );
        }
    }
}

#[test]
fn every_alert_has_its_section_in_the_runbook_and_every_section_its_alert() {
    let runbook = read("docs/runbook.md");
    let sections: Vec<_> = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .collect();
    let names: Vec<_> = alerts().map(|alert| alert.name).collect();
    assert_eq!(sections, names, "in the order of the rules");
    for (at, section) in sections.iter().enumerate() {
        let text = runbook
            .split(&format!("### {section}\n"))
            .nth(1)
            .and_then(|rest| rest.split("\n#").next())
            .unwrap_or_default();
        for part in ["**Means.** ", "**Look at.** ", "**Do.** "] {
            assert!(text.contains(part), "section {at}, {section}: no {part}");
        }
    }
}

#[test]
fn every_alert_is_shown_to_fire_and_to_stay_quiet() {
    let mut fires = BTreeSet::new();
    let mut stays_quiet = BTreeSet::new();
    for path in test_files() {
        let file: TestFile = parsed(&path);
        // Otherwise promtool takes any order, and a rule may miss what another records.
        let order = groups().into_iter().map(|group| group.name);
        assert!(file.group_eval_order.iter().eq(order), "{}", path.display());
        for test in file.tests {
            assert!(
                !test.name.is_empty(),
                "{}: a case says what it shows",
                path.display()
            );
            for case in test.alert_rule_test {
                match case.exp_alerts.is_empty() {
                    true => stays_quiet.insert(case.alertname),
                    false => fires.insert(case.alertname),
                };
            }
        }
    }
    let names: BTreeSet<_> = alerts().map(|alert| alert.name.to_owned()).collect();
    assert_eq!(
        names.difference(&fires).collect::<Vec<_>>(),
        [""; 0],
        "never fire"
    );
    assert_eq!(
        names.difference(&stays_quiet).collect::<Vec<_>>(),
        [""; 0],
        "never quiet"
    );
    assert!(fires.union(&stays_quiet).all(|name| names.contains(name)));
}

#[test]
fn the_files_say_what_the_source_says() {
    let plain: RulesFile = parsed(&in_repository("deploy/prometheus/rules.yaml"));
    let operator: OperatorFile = parsed(&in_repository("deploy/prometheus/prometheusrule.yaml"));
    assert_eq!(operator.api_version, "monitoring.coreos.com/v1");
    assert_eq!(operator.kind, "PrometheusRule");
    assert_eq!(operator.spec, plain);
    let mut written = plain.groups.into_iter().flat_map(|group| group.rules);
    for group in groups() {
        for recording in &group.recordings {
            let rule = written.next().expect("as many rules as there are");
            assert_eq!(rule.record.as_ref(), Some(&recording.name));
            assert_eq!(rule.expr.trim_end(), recording.expr);
        }
        for alert in group.alerts {
            let rule = written.next().expect("as many rules as there are");
            assert_eq!(rule.alert.as_deref(), Some(alert.name));
            assert_eq!(rule.expr.trim_end(), alert.query());
            assert_eq!(rule.lasts.as_deref(), Some(alert.lasts));
            assert_eq!(rule.labels["severity"], alert.severity.as_str());
            assert_eq!(rule.annotations["summary"], alert.summary);
            assert_eq!(rule.annotations["description"], alert.description);
            assert_eq!(rule.annotations["runbook_url"], alert.runbook());
        }
    }
    assert_eq!(written.next(), None);
}

#[test]
fn an_alert_tells_what_is_wrong_in_a_line_and_more_below_it() {
    let mut seen = BTreeSet::new();
    for alert in alerts() {
        assert!(seen.insert(alert.name), "{} is there twice", alert.name);
        assert!(alert.name.starts_with("Runtrail"), "{}", alert.name);
        assert!(alert.summary.len() <= 120, "{}", alert.name);
        assert!(!alert.summary.ends_with('.'), "{}", alert.name);
        assert!(alert.description.ends_with('.'), "{}", alert.name);
        assert!(alert.description.len() <= 400, "{}", alert.name);
    }
}

/// A file of cases for `promtool test rules`, as far as it matters here.
#[derive(Deserialize)]
struct TestFile {
    group_eval_order: Vec<String>,
    tests: Vec<Test>,
}

#[derive(Deserialize)]
struct Test {
    name: String,
    #[serde(default)]
    alert_rule_test: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    alertname: String,
    #[serde(default)]
    exp_alerts: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {}

#[derive(Debug, PartialEq, Deserialize)]
struct RulesFile {
    groups: Vec<GroupThere>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OperatorFile {
    api_version: String,
    kind: String,
    spec: RulesFile,
}

#[derive(Debug, PartialEq, Deserialize)]
struct GroupThere {
    name: String,
    interval: Option<String>,
    rules: Vec<Rule>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Rule {
    record: Option<String>,
    alert: Option<String>,
    expr: String,
    #[serde(rename = "for")]
    lasts: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

fn alerts() -> impl Iterator<Item = &'static Alert> {
    groups().into_iter().flat_map(|group| group.alerts)
}

/// The labels that a text of an alert tells of.
fn labels_named(text: &str) -> impl Iterator<Item = &str> {
    text.split("$labels.")
        .skip(1)
        .filter_map(|rest| rest.split([' ', '}']).next())
}

fn test_files() -> Vec<PathBuf> {
    let folder = in_repository("deploy/prometheus/tests");
    let entries = std::fs::read_dir(&folder).expect("the folder of cases");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths
}

fn parsed<T: for<'a> Deserialize<'a>>(path: &Path) -> T {
    let text = std::fs::read_to_string(path).expect("the file");
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(in_repository(path)).expect("the file")
}

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
