//! What came of a program that was disturbed, held against what came of one
//! that was not: the differences, as a person reads them.

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;

use crate::backend::{Ids, Seen};

/// Tells how a run's sums were checked, which depends on how they were got.
const VERIFIED: &str = "runtrail.run.verified";

/// Metrics that tell of runs, by how their names begin.
const OF_RUNS: [&str; 8] = [
    "runtrail_run_",
    "runtrail_runs_",
    "runtrail_task",
    "runtrail_token",
    "runtrail_tool",
    "runtrail_cost",
    "runtrail_time_to_first_chunk",
    "runtrail_validation_failures",
];

/// Metrics of this kind that tell how the runs were heard of.
const OF_HEARING: [&str; 3] = [
    "runtrail_runs_repaired_total",
    "runtrail_runs_verified_total",
    "runtrail_runs_owed",
];

/// How the spans differ; empty when they do not.
pub(crate) fn spans(
    disturbed: &BTreeMap<Ids, Seen>,
    undisturbed: &BTreeMap<Ids, Seen>,
) -> Vec<String> {
    let mut found = missing_runs(disturbed, undisturbed);
    let runs: BTreeSet<_> = disturbed.keys().map(|ids| &ids.0).collect();
    for (ids, seen) in undisturbed {
        if !disturbed.contains_key(ids) && runs.contains(&ids.0) {
            found.push(format!("missing: {}", told(ids, seen, undisturbed)));
        }
    }
    for (ids, seen) in disturbed {
        match undisturbed.get(ids) {
            None => found.push(format!(
                "too many: {}, first in life {}",
                told(ids, seen, disturbed),
                seen.first_in()
            )),
            Some(right) => {
                let differences = difference(seen, right, true);
                if !differences.is_empty() {
                    let differences = differences.join("\n    ");
                    found.push(format!(
                        "not the same: {}\n    {differences}",
                        told(ids, seen, undisturbed)
                    ));
                }
            }
        }
    }
    found
}

/// The runs of which there is nothing, each in a line.
fn missing_runs(disturbed: &BTreeMap<Ids, Seen>, undisturbed: &BTreeMap<Ids, Seen>) -> Vec<String> {
    let runs: BTreeSet<_> = disturbed.keys().map(|ids| &ids.0).collect();
    let roots = undisturbed
        .iter()
        .filter(|(ids, seen)| seen.span.parent_span_id.is_empty() && !runs.contains(&ids.0));
    roots
        .map(|(ids, seen)| format!("a run is missing: {}", told(ids, seen, undisturbed)))
        .collect()
}

/// A span in a line: where it stands and when.
fn told(ids: &Ids, seen: &Seen, all: &BTreeMap<Ids, Seen>) -> String {
    let span = &seen.span;
    let mut path = vec![span.name.as_str()];
    let mut parent = &span.parent_span_id;
    while !parent.is_empty() {
        let Some(above) = all.get(&Ids(ids.0.clone(), parent.clone())) else {
            path.push("…");
            break;
        };
        path.push(&above.span.name);
        parent = &above.span.parent_span_id;
    }
    path.reverse();
    let of_run = all.keys().filter(|other| other.0 == ids.0).count();
    format!(
        "{ids:?} `{}`, {}..{}, one of {of_run} spans of its run",
        path.join(" › "),
        time(span.start_time_unix_nano),
        time(span.end_time_unix_nano),
    )
}

fn time(nanos: u64) -> String {
    let time = runtrail::wire::time::Time(nanos).to_rfc3339();
    time.split('T').nth(1).unwrap_or_default().to_owned()
}

/// How two spans of one id differ.
pub(crate) fn difference(ours: &Seen, right: &Seen, verified_aside: bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut field = |name: &str, ours: String, right: String| {
        if ours != right {
            found.push(format!("{name}: {} instead of {}", cut(&ours), cut(&right)));
        }
    };
    field("of", ours.around.to_string(), right.around.to_string());
    let (a, b) = (&ours.span, &right.span);
    field("name", a.name.clone(), b.name.clone());
    field("kind", a.kind.to_string(), b.kind.to_string());
    let parent = |span: &Span| format!("{:?}", Ids(Vec::new(), span.parent_span_id.clone()));
    field("parent", parent(a), parent(b));
    let start = |span: &Span| span.start_time_unix_nano;
    field("start", time(start(a)), time(start(b)));
    let end = |span: &Span| span.end_time_unix_nano;
    field("end", time(end(a)), time(end(b)));
    field(
        "status",
        format!("{:?}", a.status),
        format!("{:?}", b.status),
    );
    field("links", format!("{:?}", a.links), format!("{:?}", b.links));
    let lost = |span: &Span| {
        format!(
            "{} attributes, {} events, {} links",
            span.dropped_attributes_count, span.dropped_events_count, span.dropped_links_count
        )
    };
    field("dropped", lost(a), lost(b));
    let others = |span: &Span| format!("{:?} {:?}", span.trace_state, span.flags);
    field("state", others(a), others(b));
    attributes(&a.attributes, &b.attributes, verified_aside, &mut field);
    let events = |span: &Span| -> Vec<String> {
        let event = |event| format!("{event:?}");
        span.events.iter().map(event).collect()
    };
    let (a, b) = (events(a), events(b));
    field("number of events", a.len().to_string(), b.len().to_string());
    if let Some(place) = (0..a.len().min(b.len())).find(|place| a[*place] != b[*place]) {
        field(
            &format!("event {place}"),
            a[place].clone(),
            b[place].clone(),
        );
    }
    found
}

fn attributes(
    ours: &[KeyValue],
    right: &[KeyValue],
    verified_aside: bool,
    field: &mut impl FnMut(&str, String, String),
) {
    let by_key = |attributes: &[KeyValue]| -> BTreeMap<String, String> {
        let attributes = attributes.iter();
        attributes
            .filter(|attribute| !(verified_aside && attribute.key == VERIFIED))
            .map(|attribute| (attribute.key.clone(), format!("{:?}", attribute.value)))
            .collect()
    };
    let (ours, right) = (by_key(ours), by_key(right));
    let keys: BTreeSet<_> = ours.keys().chain(right.keys()).collect();
    for key in keys {
        let of = |map: &BTreeMap<String, String>| map.get(key).cloned().unwrap_or("none".into());
        field(key, of(&ours), of(&right));
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(400) {
        Some((at, _)) => format!("{}… ({} bytes)", &text[..at], text.len()),
        None => text.to_owned(),
    }
}

/// How the runs' sums were checked, and how often.
pub(crate) fn verdicts(spans: &BTreeMap<Ids, Seen>) -> BTreeMap<String, usize> {
    let mut verdicts = BTreeMap::new();
    for attribute in spans.values().flat_map(|seen| &seen.span.attributes) {
        if attribute.key == VERIFIED
            && let Some(Value::StringValue(verdict)) = attribute
                .value
                .as_ref()
                .and_then(|value| value.value.as_ref())
        {
            *verdicts.entry(verdict.clone()).or_default() += 1;
        }
    }
    verdicts
}

/// The series of a page of metrics.
pub(crate) fn series(page: &str) -> BTreeMap<String, f64> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        })
        .collect()
}

/// The sum over all series of a metric.
pub(crate) fn sum(page: &str, metric: &str) -> f64 {
    let all = series(page);
    let of_metric = all.iter().filter(|(name, _)| {
        let rest = name.strip_prefix(metric);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
    });
    of_metric.map(|(_, value)| value).sum()
}

/// How the metrics of runs differ; empty when they do not. Sums of seconds may
/// have been added up in another order.
pub(crate) fn metrics(disturbed: &str, undisturbed: &str) -> Vec<String> {
    let of_runs = |page: &str| -> BTreeMap<String, f64> {
        let mut all = series(page);
        all.retain(|name, _| {
            OF_RUNS.iter().any(|begin| name.starts_with(begin))
                && !OF_HEARING.iter().any(|begin| name.starts_with(begin))
        });
        all
    };
    let (ours, right) = (of_runs(disturbed), of_runs(undisturbed));
    let names: BTreeSet<_> = ours.keys().chain(right.keys()).collect();
    let mut found = Vec::new();
    for name in names {
        // A series that stands at zero tells as much as none.
        let (a, b) = (
            ours.get(name).copied().unwrap_or(0.0),
            right.get(name).copied().unwrap_or(0.0),
        );
        if (a - b).abs() > b.abs() * 1e-9 {
            found.push(format!("{name}: {a} instead of {b}"));
        }
    }
    // The buckets tell least.
    found.sort_by_key(|line| line.contains("_bucket{"));
    found
}
