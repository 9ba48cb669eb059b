//! The dashboards as Grafana gets them: what they use is exported, and they are
//! laid out as they should be.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop"
)]

use std::collections::BTreeSet;
use std::sync::OnceLock;

use runtrail_views::dashboards::{all, grafana};
use runtrail_views::promql;
use serde_json::{Value, json};

const COLUMNS: u64 = 24;

fn dashboards() -> &'static [Value] {
    static DASHBOARDS: OnceLock<Vec<Value>> = OnceLock::new();
    DASHBOARDS.get_or_init(|| all().iter().map(grafana::json).collect())
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// All panels but the headings of rows.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    list(dashboard, "panels")
        .iter()
        .filter(|panel| panel["type"] != "row")
}

/// What is wrong with the queries of a dashboard.
fn faults(dashboard: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for panel in panels(dashboard) {
        for target in list(panel, "targets") {
            if let Err(fault) = fits(panel, target) {
                faults.push(format!(
                    "{} / {}: {fault}",
                    text(dashboard, "title"),
                    text(panel, "title")
                ));
            }
        }
    }
    for variable in list(&dashboard["templating"], "list") {
        if variable["type"] == "query"
            && let Err(fault) = offers(variable)
        {
            faults.push(format!("{}: {fault}", text(dashboard, "title")));
        }
    }
    faults
}

/// The query is right, and its legend names labels that the answer has.
fn fits(panel: &Value, target: &Value) -> Result<(), String> {
    let labels = promql::labels_of(text(target, "expr"))?;
    if panel["type"] == "table" {
        return Ok(());
    }
    let legend = text(target, "legendFormat");
    let named: BTreeSet<_> = legend
        .split("{{")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once("}}")?.0.to_owned()))
        .collect();
    // An instance is the one of its job, and that of its namespace.
    let all_named = labels
        .iter()
        .all(|label| named.contains(label) || label == "job" || label == "namespace");
    if all_named && named.is_subset(&labels) {
        return Ok(());
    }
    Err(format!(
        "the legend {legend} names {named:?}, the answer has {labels:?}"
    ))
}

/// A variable offers the values of a label that the series has.
fn offers(variable: &Value) -> Result<(), String> {
    let query = text(&variable["query"], "query");
    let inner = query
        .strip_prefix("label_values(")
        .and_then(|rest| rest.strip_suffix(')'));
    let (series, label) = inner
        .and_then(|inner| inner.rsplit_once(", "))
        .ok_or(query)?;
    match promql::labels_of(series)?.contains(label) {
        true => Ok(()),
        false => Err(format!("the series of {query} have no such label")),
    }
}

#[test]
fn every_query_uses_what_is_exported_and_every_legend_what_is_answered() {
    let faults: Vec<_> = dashboards().iter().flat_map(faults).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// A dashboard of one panel.
fn smallest() -> Value {
    let mut dashboard = dashboards()[0].clone();
    dashboard["panels"] = json!([dashboard["panels"][1]]);
    assert_eq!(faults(&dashboard), [""; 0]);
    dashboard
}

#[test]
fn a_dashboard_with_a_wrong_query_legend_or_variable_would_be_found_out() {
    for (place, wrong) in [
        ("expr", "sum(runtrail_runs_opened)"),
        ("expr", "sum by (task) (runtrail_runs_open)"),
        ("expr", "sum(runtrail_runs_open{state=\"idle\"})"),
        ("legendFormat", "{{workflow}}"),
    ] {
        let mut dashboard = smallest();
        let panel = dashboard["panels"][0].as_object_mut().unwrap();
        panel["targets"][0][place] = json!(wrong);
        assert_eq!(faults(&dashboard).len(), 1, "{wrong}");
    }
    for wrong in [
        "label_values(runtrail_runs_open, task)",
        "label_values(runtrail_runs, workflow)",
        "workflow",
    ] {
        let mut dashboard = smallest();
        dashboard["templating"]["list"][1]["query"]["query"] = json!(wrong);
        assert_eq!(faults(&dashboard).len(), 1, "{wrong}");
    }
}

#[test]
fn no_id_or_title_is_given_twice_and_no_query_letter_twice_in_a_panel() {
    let mut uids = BTreeSet::new();
    for dashboard in dashboards() {
        assert!(
            uids.insert(text(dashboard, "uid").to_owned()),
            "a uid is given twice"
        );
        let mut ids = BTreeSet::new();
        for panel in list(dashboard, "panels") {
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        }
        let mut titles = BTreeSet::new();
        for panel in panels(dashboard) {
            let title = text(panel, "title");
            assert!(titles.insert(title), "two panels are called {title}");
            let letters: BTreeSet<_> = list(panel, "targets")
                .iter()
                .map(|t| text(t, "refId"))
                .collect();
            assert_eq!(
                letters.len(),
                list(panel, "targets").len(),
                "{}",
                text(panel, "title")
            );
        }
    }
}

#[test]
fn no_panel_lies_over_another_or_beside_the_page() {
    for dashboard in dashboards() {
        let mut taken = BTreeSet::new();
        for panel in list(dashboard, "panels") {
            let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            assert!(at("x") + at("w") <= COLUMNS, "{}", text(panel, "title"));
            assert!(at("w") > 0 && at("h") > 0, "{}", text(panel, "title"));
            for x in at("x")..at("x") + at("w") {
                for y in at("y")..at("y") + at("h") {
                    assert!(taken.insert((x, y)), "{}", text(panel, "title"));
                }
            }
        }
        let height = taken.iter().map(|(_, y)| y + 1).max().unwrap();
        let free = COLUMNS * height - taken.len() as u64;
        assert_eq!(free, 0, "{} has holes", text(dashboard, "title"));
    }
}

#[test]
fn every_panel_says_what_it_shows_and_what_is_there_when_there_is_nothing() {
    for dashboard in dashboards() {
        for panel in panels(dashboard) {
            let title = text(panel, "title");
            assert!(text(panel, "description").ends_with('.'), "{title}");
            assert!(
                !text(&panel["fieldConfig"]["defaults"], "noValue").is_empty(),
                "{title}"
            );
            assert!(!list(panel, "targets").is_empty(), "{title}");
        }
    }
}

#[test]
fn no_data_source_is_fixed_and_each_choice_of_the_reader_is_heard() {
    for dashboard in dashboards() {
        let variables = list(&dashboard["templating"], "list");
        for panel in panels(dashboard) {
            let title = text(panel, "title");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
            for target in list(panel, "targets") {
                assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
                let expr = text(target, "expr");
                for variable in variables.iter().skip(1).filter(|v| v["hide"] == 0) {
                    let name = text(variable, "name");
                    let heard = expr.contains(&format!("{name}=~\"${name}\""));
                    assert!(
                        heard || expr.contains("ALERTS{"),
                        "{title} does not hear {name}"
                    );
                }
            }
        }
    }
}

#[test]
fn failures_and_durations_lead_to_traces_and_nothing_without_exemplars_promises_to() {
    const WITH_EXEMPLARS: [&str; 9] = [
        "runtrail_run_duration_seconds_bucket",
        "runtrail_task_duration_seconds_bucket",
        "runtrail_tool_duration_seconds_bucket",
        "runtrail_time_to_first_chunk_seconds_bucket",
        "runtrail_run_errors_total",
        "runtrail_runs_finished_total",
        "runtrail_tasks_finished_total",
        "runtrail_tool_calls_total",
        "runtrail_validation_failures_total",
    ];
    let mut leading: BTreeSet<&str> = BTreeSet::new();
    for dashboard in dashboards() {
        for panel in panels(dashboard) {
            for target in list(panel, "targets") {
                let expr = text(target, "expr");
                let found = WITH_EXEMPLARS.iter().filter(|name| expr.contains(**name));
                let found: Vec<_> = found.collect();
                let shown = target["exemplar"] == true;
                assert!(!shown || !found.is_empty(), "{}", text(panel, "title"));
                // An answer for one moment has none.
                assert!(
                    !shown || target["range"] == true,
                    "{}",
                    text(panel, "title")
                );
                if shown {
                    leading.extend(found);
                }
            }
        }
    }
    for name in &WITH_EXEMPLARS[..7] {
        assert!(
            leading.contains(name),
            "no panel leads from {name} to a trace"
        );
    }
}
