//! From a number to the run behind it: exemplars as Prometheus keeps them,
//! held against the spans that the backend has.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Attribute;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::Value;

use crate::peers::Prometheus;
use crate::program::eventually;
use crate::receiver::hex;
use crate::world::Watched;

/// What carries exemplars.
const CARRIERS: [&str; 9] = [
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

/// Spans by trace id and span id, both in hexadecimal.
type Spans = BTreeMap<(String, String), Span>;

struct Exemplar {
    carrier: &'static str,
    /// Of its series.
    labels: Value,
    ids: (String, String),
    /// In seconds since the epoch.
    timestamp: f64,
}

/// Exemplars that are missing, or lead nowhere or astray.
pub(crate) fn astray(
    prometheus: &Prometheus,
    watched: &Watched,
    start: f64,
    end: f64,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut exemplars = Vec::new();
    for carrier in CARRIERS {
        let of_carrier = all_of(carrier, prometheus, watched, start, end);
        if of_carrier.is_empty() {
            wrong.push(format!("{carrier} carries no exemplar"));
        }
        exemplars.extend(of_carrier);
    }
    let spans = eventually("every exemplar leads to a span", || {
        let spans = spans(watched);
        let known = |exemplar: &Exemplar| spans.contains_key(&exemplar.ids);
        exemplars.iter().all(known).then_some(spans)
    });
    for exemplar in &exemplars {
        let span = &spans[&exemplar.ids];
        wrong.extend(difference(exemplar, span).map(|what| {
            let Exemplar {
                carrier, labels, ..
            } = exemplar;
            format!("an exemplar of {carrier} {labels} leads to {what}: {span:?}")
        }));
    }
    wrong
}

fn all_of(
    carrier: &'static str,
    prometheus: &Prometheus,
    watched: &Watched,
    start: f64,
    end: f64,
) -> Vec<Exemplar> {
    let query = format!("{carrier}{{instance=\"{}\"}}", watched.name);
    let (start, end) = (start.to_string(), end.to_string());
    let parameters = [("query", &*query), ("start", &start), ("end", &end)];
    let series = prometheus.ask("query_exemplars", &parameters).unwrap();
    let mut all = Vec::new();
    for series in series.as_array().unwrap() {
        for exemplar in series["exemplars"].as_array().unwrap() {
            let id = |name| exemplar["labels"][name].as_str().unwrap().to_owned();
            all.push(Exemplar {
                carrier,
                labels: series["seriesLabels"].clone(),
                ids: (id("trace_id"), id("span_id")),
                timestamp: exemplar["timestamp"].as_f64().unwrap(),
            });
        }
    }
    all
}

fn spans(watched: &Watched) -> Spans {
    let mut spans = Spans::new();
    for received in watched.backend.received().iter().filter(|one| one.taken) {
        for span in received.spans() {
            spans.insert((hex(&span.trace_id), hex(&span.span_id)), span.clone());
        }
    }
    spans
}

/// What is wrong with the span to which an exemplar leads.
fn difference(exemplar: &Exemplar, span: &Span) -> Option<String> {
    let labels = &exemplar.labels;
    let label = |name: &str| labels[name].as_str();
    let is_task = label("task").is_some() || label("model").is_some();
    let begin = match (label("task"), label("tool")) {
        (Some(task), _) => format!("task {task}"),
        (_, Some(tool)) => format!("execute_tool {tool}"),
        _ if is_task => "task ".to_owned(),
        _ => format!("invoke_workflow {}", label("workflow").unwrap_or_default()),
    };
    if !span.name.starts_with(&begin) {
        return Some("another span".to_owned());
    }
    let is_of_run = begin.starts_with("invoke_workflow ");
    if is_of_run && !span.parent_span_id.is_empty() {
        return Some("a span that is no root".to_owned());
    }
    let said = [
        ("outcome", "runtrail.outcome"),
        ("error_type", "error.type"),
        ("model", "gen_ai.request.model"),
    ];
    for (name, key) in said {
        if let Some(value) = label(name)
            && attribute(span, key) != Some(value)
        {
            return Some(format!("one whose {key} is {:?}", attribute(span, key)));
        }
    }
    let fails = label("error_type").is_some()
        || matches!(label("outcome"), Some("error" | "timeout" | "failed"));
    let code = span.status.as_ref().map_or(StatusCode::Unset, |s| s.code());
    if fails && code != StatusCode::Error {
        return Some("one that did not fail".to_owned());
    }
    let late = exemplar.timestamp - span.end_time_unix_nano as f64 / 1e9;
    let is_at_its_end = late.abs() < 0.002 || exemplar.carrier.contains("validation");
    (!is_at_its_end).then(|| format!("one that ended {late} s before"))
}

fn attribute<'s>(span: &'s Span, key: &str) -> Option<&'s str> {
    let found = span.attributes.iter().find(|one| one.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Attribute::StringValue(text) => Some(text),
        _ => None,
    }
}

#[test]
fn an_exemplar_that_leads_astray_is_told() {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
    use opentelemetry_proto::tonic::trace::v1::Status;

    let exemplar = Exemplar {
        carrier: "runtrail_runs_finished_total",
        labels: serde_json::json!({"workflow": "review", "outcome": "error"}),
        ids: Default::default(),
        timestamp: 5.0,
    };
    let root = Span {
        name: "invoke_workflow review".to_owned(),
        end_time_unix_nano: 5_000_000_000,
        attributes: vec![KeyValue {
            key: "runtrail.outcome".to_owned(),
            value: Some(AnyValue {
                value: Some(Attribute::StringValue("error".to_owned())),
            }),
            ..KeyValue::default()
        }],
        status: Some(Status {
            code: StatusCode::Error as i32,
            ..Status::default()
        }),
        ..Span::default()
    };
    assert_eq!(difference(&exemplar, &root), None);
    let changes: [fn(&mut Span); 5] = [
        |span| span.name = "invoke_workflow triage".to_owned(),
        |span| span.parent_span_id = vec![1],
        |span| span.attributes.clear(),
        |span| span.status = None,
        |span| span.end_time_unix_nano += 1_000_000_000,
    ];
    for change in changes {
        let mut other = root.clone();
        change(&mut other);
        assert!(difference(&exemplar, &other).is_some(), "{other:?}");
    }
}
