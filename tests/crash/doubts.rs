//! Whether the tests would notice: what they hold against each other, and what
//! goes wrong on purpose.

use http::HeaderMap;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use crate::backend::{Book, Mood};
use crate::compare;
use crate::gate::Weather;
use crate::load::Pace;
use crate::program::eventually;
use crate::receiver::Received;
use crate::rounds::too_often;
use crate::world::{World, sum};

fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

fn span(id: u8, attributes: &[(&str, &str)]) -> Span {
    let attributes = attributes.iter();
    Span {
        trace_id: vec![1; 16],
        span_id: vec![id; 8],
        parent_span_id: if id > 1 { vec![1; 8] } else { Vec::new() },
        name: format!("span {id}"),
        attributes: attributes
            .map(|(key, value)| attribute(key, value))
            .collect(),
        ..Span::default()
    }
}

fn body(life: u32, spans: &[Span]) -> Received {
    let mut headers = HeaderMap::new();
    headers.insert("x-life", life.into());
    let scope = ScopeSpans {
        spans: spans.to_vec(),
        ..ScopeSpans::default()
    };
    let resource = ResourceSpans {
        scope_spans: vec![scope],
        ..ResourceSpans::default()
    };
    Received {
        number: 0,
        path: String::new(),
        headers,
        request: ExportTraceServiceRequest {
            resource_spans: vec![resource],
        },
        taken: false,
    }
}

fn book(bodies: &[(Mood, Received)]) -> Book {
    let mut book = Book::default();
    for (mood, body) in bodies {
        book.mood = Some(*mood);
        book.receive(body);
    }
    book
}

fn differences(ours: &[Span], right: &[Span]) -> Vec<String> {
    let [ours, right] = [ours, right].map(|spans| book(&[(Mood::Takes, body(1, spans))]).held());
    compare::spans(&ours, &right)
}

#[test]
fn spans_that_are_missing_or_otherwise_are_told_and_the_verdict_is_not() {
    let right = [
        span(1, &[("runtrail.run.verified", "match")]),
        span(2, &[("a", "1"), ("b", "2")]),
    ];
    let ours = [
        span(1, &[("runtrail.run.verified", "unchecked")]),
        span(2, &[("b", "2"), ("a", "1")]),
    ];
    assert_eq!(differences(&ours, &right), [""; 0]);
    let missing = differences(&ours[..1], &right);
    assert_eq!(missing.len(), 1);
    assert!(missing[0].starts_with("missing: 0101"), "{missing:?}");
    assert!(missing[0].contains("span 1 › span 2"), "{missing:?}");
    let missing = differences(&[], &right);
    assert!(
        missing[0].starts_with("a run is missing: 0101"),
        "{missing:?}"
    );
    let many = differences(&right, &right[..1]);
    assert!(many[0].starts_with("too many: 0101"), "{many:?}");
    let other = differences(
        &[right[0].clone(), span(2, &[("a", "1"), ("b", "3")])],
        &right,
    );
    assert_eq!(other.len(), 1);
    assert!(
        other[0].contains("b: ") && !other[0].contains("a: "),
        "{other:?}"
    );
    let mut later = right.clone();
    later[1].end_time_unix_nano = 1;
    assert!(differences(&later, &right)[0].contains("end: "));
}

#[test]
fn an_id_with_two_contents_is_noticed_whether_the_backend_took_it_or_not() {
    let one = body(1, &[span(1, &[("a", "1")])]);
    let other = body(2, &[span(1, &[("a", "2")])]);
    let same = book(&[(Mood::Away, one.clone()), (Mood::Takes, one.clone())]);
    assert!(same.two_contents.is_empty());
    for moods in [
        [Mood::Answers(503), Mood::Takes],
        [Mood::Takes, Mood::Hangs],
        [Mood::Cuts, Mood::Cuts],
    ] {
        let book = book(&[(moods[0], one.clone()), (moods[1], other.clone())]);
        assert_eq!(book.two_contents.len(), 1, "{moods:?}");
    }
}

#[test]
fn what_comes_again_counts_once_it_was_answered() {
    let of = |life, id| body(life, &[span(id, &[]), span(id + 1, &[])]);
    let again = |bodies: &[(Mood, Received)]| too_often(&book(bodies), 1);
    let nothing = again(&[
        (Mood::Answers(503), of(1, 1)),
        (Mood::Hangs, of(1, 1)),
        (Mood::Cuts, of(1, 1)),
        (Mood::Takes, of(1, 1)),
    ]);
    assert_eq!(nothing, [""; 0]);
    let within_a_life = again(&[(Mood::Takes, of(1, 1)), (Mood::Takes, of(1, 1))]);
    assert_eq!(within_a_life.len(), 1, "{within_a_life:?}");
    let one_in_flight = again(&[
        (Mood::Takes, of(1, 1)),
        (Mood::Answers(503), of(2, 1)),
        (Mood::Takes, of(2, 1)),
        (Mood::Takes, of(3, 1)),
    ]);
    assert_eq!(one_in_flight, [""; 0]);
    let two = again(&[
        (Mood::Takes, of(1, 1)),
        (Mood::Takes, of(1, 3)),
        (Mood::Takes, of(2, 1)),
        (Mood::Takes, of(2, 3)),
    ]);
    assert_eq!(two.len(), 1, "{two:?}");
}

#[test]
fn metrics_of_runs_are_compared_and_those_of_hearing_are_not() {
    let ours = "# TYPE x counter\nruntrail_runs_finished_total{outcome=\"error\"} 3\n\
                runtrail_run_duration_seconds_sum 1.00000000000001\n\
                runtrail_runs_repaired_total 7\nruntrail_events_total 9\n";
    let right = "runtrail_runs_finished_total{outcome=\"error\"} 3\n\
                 runtrail_run_duration_seconds_sum 1\nruntrail_tasks_finished_total 0\n";
    assert_eq!(compare::metrics(ours, right), [""; 0]);
    let fewer = right.replace(" 3", " 4");
    assert_eq!(
        compare::metrics(ours, &fewer),
        ["runtrail_runs_finished_total{outcome=\"error\"}: 3 instead of 4"]
    );
    assert_eq!(compare::sum(ours, "runtrail_runs_finished_total"), 3.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_loses_cuts_and_forgets_as_it_is_told() {
    let pace = Pace {
        seed: 3,
        speed: 60.0,
        chunks_per_second: 300.0,
        chunk_bytes_min: 0,
        open_most: 10,
    };
    let mut world = World::new(pace).await;
    let program = world.begin(pace).await;
    let reaches = |metric: &str, least: f64| {
        eventually(metric, || (sum(&program, metric) >= least).then_some(()));
    };
    world.gate.weather(Weather {
        frames_lost: 3,
        ..Weather::default()
    });
    reaches("runtrail_feed_gaps_total", 1.0);
    assert!(world.gate.damage().lags >= 1);
    assert!(world.gate.damage().events_lost >= 3);
    assert_eq!(sum(&program, "runtrail_source_reconnects_total"), 0.0);
    world.gate.weather(Weather {
        cut_after_frames: Some(2),
        forgets: true,
        ..Weather::default()
    });
    reaches("runtrail_source_reconnects_total", 1.0);
    assert!(world.gate.damage().cuts >= 1);
    world.gate.cut();
    reaches("runtrail_source_reconnects_total", 3.0);
    world.over(&program.kill());
}
