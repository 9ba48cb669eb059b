//! What a feed should not hold costs at most its own event: its neighbours are
//! all there, the reason is counted, and the memory stays within its bounds.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use runtrail::core::Core;
use runtrail::limits::{Limits, NAME_BYTES_MAX};
use runtrail::run::outputs::GapCause;
use runtrail::wire::event::RunRef;
use runtrail::wire::rejection::Rejection;
use runtrail::wire::time::Time;

use self::common::*;

/// Everything that came of a feed.
#[derive(Default)]
struct Seen {
    spans: Vec<Span>,
    outcomes: Vec<String>,
    events: u64,
    rejected: Vec<(Rejection, u64)>,
}

impl Seen {
    fn names(&self) -> Vec<&str> {
        self.spans.iter().map(|span| span.name.as_str()).collect()
    }
}

fn finish(core: &mut Core) -> Seen {
    core.handle_end_of_input(0, None);
    core.handle_end_of_runs();
    assert_eq!((core.open_runs(), core.open_runs_bytes()), (0, 0));
    let mut seen = Seen::default();
    while let Some(batch) = core.poll_batch() {
        let request = ExportTraceServiceRequest::decode(&batch.body[..]).unwrap();
        let scopes = request
            .resource_spans
            .into_iter()
            .flat_map(|resource| resource.scope_spans);
        seen.spans.extend(scopes.flat_map(|scope| scope.spans));
    }
    while let Some(summary) = core.poll_summary() {
        seen.outcomes.push(summary.outcome.to_string());
    }
    let deltas = core.deltas();
    seen.events = deltas.events_by_type.iter().sum();
    seen.rejected = Rejection::ALL
        .into_iter()
        .zip(deltas.rejected)
        .filter(|(_, count)| *count > 0)
        .collect();
    seen
}

fn read(feed: impl AsRef<[u8]>) -> Seen {
    let mut core = core(Limits::default(), false);
    core.handle_bytes(0, feed.as_ref(), None);
    finish(&mut core)
}

/// A run of two tasks in one batch, with something bad between them.
fn around(bad: &str) -> String {
    batch(&[
        hub(1, 0, &start()),
        hub(1, 1, &task_start("before")),
        hub(1, 2, &task_end("before")),
        bad.to_owned(),
        hub(1, 4, &task_start("after")),
        hub(1, 5, &task_end("after")),
        hub(1, 6, &end()),
    ])
}

const NEIGHBOURS: [&str; 3] = ["task before", "task after", "invoke_workflow review"];

/// The bad one is counted by its reason, and everything around it is there.
fn costs_itself(bad: &str, rejected: &[(Rejection, u64)]) {
    let seen = read(around(bad));
    assert_eq!(seen.names(), NEIGHBOURS, "{:.200}", bad);
    assert_eq!(seen.outcomes, ["success"]);
    assert_eq!(seen.rejected, rejected, "{:.200}", bad);
}

#[test]
fn a_malformed_element_costs_itself() {
    for bad in ["nope", r#"{"type":"Execution""#, r#"{"a":}"#, "{\"a\":\"b}"] {
        costs_itself(bad, &[(Rejection::MalformedJson, 1)]);
    }
}

#[test]
fn a_malformed_frame_costs_itself() {
    let good = around("null");
    let feed = format!("event: batch\ndata: }}nonsense{{\n\nevent: what\ndata: 1\n\n{good}");
    let seen = read(feed);
    assert_eq!(seen.names(), NEIGHBOURS);
    let reasons: Vec<Rejection> = seen.rejected.iter().map(|(reason, _)| *reason).collect();
    assert!(reasons.contains(&Rejection::MalformedJson));
    assert!(reasons.contains(&Rejection::UnknownFrame));
}

#[test]
fn an_unknown_type_is_counted_and_harmless() {
    let unknown = event("Quantum", r#"{"deep":[{"er":1}]}"#);
    for bad in [hub(1, 3, &unknown), event("Quantum", "7")] {
        let seen = read(around(&bad));
        assert_eq!(seen.names(), NEIGHBOURS);
        assert_eq!((seen.events, seen.rejected), (7, vec![]));
    }
}

#[test]
fn a_field_of_the_wrong_type_costs_its_event() {
    for payload in ["7", r#"{"task_name":7,"chunk":"x"}"#, r#"{"chunk":"x"}"#] {
        let bad = hub(1, 3, &event("AgentOutput", payload));
        costs_itself(&bad, &[(Rejection::WrongShape, 1)]);
    }
}

#[test]
fn a_line_of_a_hundred_megabytes_costs_its_frame_and_is_not_kept() {
    let mut core = core(Limits::default(), false);
    core.handle_bytes(0, b"event: batch\ndata: [", None);
    let piece = vec![b' '; 1 << 20];
    for _ in 0..100 {
        core.handle_bytes(0, &piece, None);
    }
    core.handle_bytes(0, b"]\n\n", None);
    assert_eq!(core.open_runs_bytes(), 0);
    core.handle_bytes(0, around("null").as_bytes(), None);
    let seen = finish(&mut core);
    assert_eq!(seen.names(), NEIGHBOURS);
    assert!(seen.rejected.contains(&(Rejection::LineTooLong, 1)));
}

#[test]
fn bytes_that_are_no_utf8_are_replaced_and_counted() {
    let feed = around(&hub(1, 3, &task_start("n?me")));
    let feed: Vec<u8> = feed
        .bytes()
        .map(|byte| if byte == b'?' { 0xE9 } else { byte })
        .collect();
    let seen = read(feed);
    assert_eq!(seen.names().len(), 4);
    assert!(seen.names().contains(&"task n\u{FFFD}me"));
    assert_eq!(seen.rejected, [(Rejection::InvalidUtf8, 1)]);
}

#[test]
fn a_time_that_is_none_costs_the_time_and_not_the_event() {
    for at in ["yesterday", "2026-13-01T00:00:00Z", "9999999"] {
        let seen = read(around(&hub_at(1, at, &task_start("between"))));
        assert!(seen.names().contains(&"task between"));
        assert_eq!(seen.names().len(), 4);
        assert_eq!(seen.rejected, [(Rejection::InvalidTime, 1)]);
    }
}

#[test]
fn a_time_that_runs_back_makes_no_span_end_before_it_starts() {
    let feed = batch(&[
        hub(1, 9_000, &start()),
        hub(1, 8_000, &task_start("a")),
        hub(1, 3_000, &task_end("a")),
        hub(1, 2_000, &task_start("a")),
        hub(1, 1_000, &end()),
    ]);
    let seen = read(feed);
    assert_eq!(seen.names(), ["task a", "task a", "invoke_workflow review"]);
    assert_ne!(seen.spans[0].span_id, seen.spans[1].span_id);
    for span in &seen.spans {
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
    }
}

#[test]
fn an_end_without_a_start_makes_a_task_as_long_as_it_says() {
    let seen = read(around(&hub(1, 103, &task_end("between"))));
    let task = seen.spans.iter().find(|span| span.name == "task between");
    let task = task.unwrap();
    assert_eq!(
        task.end_time_unix_nano - task.start_time_unix_nano,
        5_000_000
    );
    assert_eq!(seen.rejected, []);
}

#[test]
fn an_end_of_a_run_that_never_began_is_a_run() {
    let seen = read(batch(&[hub(7, 5, &end())]) + &around("null"));
    assert_eq!(seen.outcomes, ["success", "success"]);
    assert_eq!(seen.names()[1..], NEIGHBOURS);
}

#[test]
fn after_the_end_of_a_run_nothing_of_it_is_sent() {
    let late = batch(&[
        hub(1, 7, &end()),
        hub(1, 8, &task_start("late")),
        hub(1, 9, &event("Error", r#"{"message":"m","kind":"Panic"}"#)),
    ]);
    let seen = read(around(&hub(2, 3, &start())) + &late);
    assert_eq!(seen.names()[..3], NEIGHBOURS);
    assert_eq!(seen.outcomes, ["success", "abandoned"]);
    assert_eq!(seen.rejected, [(Rejection::AfterEnd, 3)]);
}

#[test]
fn ten_thousand_runs_that_never_end_stay_within_their_bounds() {
    let limits = Limits {
        open_runs_max: 500,
        open_runs_bytes_max: 4 << 20,
        ..Limits::default()
    };
    let (runs_max, bytes_max) = (limits.open_runs_max, limits.open_runs_bytes_max);
    let mut core = core(limits, false);
    for run in 0..10_000 {
        let feed = batch(&[hub(run, run, &start()), hub(run, run, &task_start("t"))]);
        core.handle_bytes(0, feed.as_bytes(), None);
        assert!(core.open_runs() <= runs_max);
        assert!(core.open_runs_bytes() <= bytes_max);
    }
    let seen = finish(&mut core);
    assert_eq!(seen.outcomes.len(), 10_000);
    assert!(seen.outcomes.iter().all(|outcome| outcome == "abandoned"));
    assert_eq!(seen.spans.len(), 20_000);
}

#[test]
fn a_name_of_a_megabyte_is_cut() {
    let name = "n".repeat(1 << 20);
    let mut core = core(Limits::default(), false);
    let bad = hub(1, 3, &task_start(&name));
    core.handle_bytes(0, around(&bad).replace(&end(), &start()).as_bytes(), None);
    assert!(core.open_runs_bytes() < 64 << 10);
    let seen = finish(&mut core);
    assert_eq!(seen.spans.len(), 4);
    let bytes_max = "task ".len() + NAME_BYTES_MAX;
    assert!(seen.names().iter().all(|name| name.len() <= bytes_max));
}

#[test]
fn json_that_nests_ten_thousand_deep_where_nobody_reads_costs_nothing() {
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    for bad in ["StateUpdate", "Log", "Quantum"] {
        costs_itself(&hub(1, 3, &event(bad, &deep)), &[]);
    }
}

#[test]
fn sub_runs_that_nest_ten_thousand_deep_cost_their_event() {
    costs_itself(&hub(1, 3, &nested()), &[(Rejection::TooDeep, 1)]);
}

fn nested() -> String {
    let open = r#"{"type":"SubScript","payload":{"script_name":"s","parent_task":"x","child":"#;
    open.repeat(10_000) + &start() + &"}}".repeat(10_000)
}

#[test]
fn a_log_that_contradicts_the_feed_sends_no_node_twice() {
    let mut core = core(Limits::default(), true);
    let live = batch(&[
        hub(1, 0, &start()),
        hub(1, 1, &task_start("t")),
        hub(1, 9, &task_end("t")),
    ]);
    core.handle_bytes(0, live.as_bytes(), None);
    core.handle_gap(0, GapCause::Disconnect, Time(1));
    // The log has the task's start and not its end.
    let stamped = |event: String, ms: u32| {
        let at = format!(r#","at":"2026-05-07T10:23:00.00{ms}Z"}}"#);
        event.strip_suffix('}').unwrap().to_owned() + &at
    };
    let events = [stamped(start(), 0), stamped(task_start("t"), 1)].join(",");
    let page = format!(r#"{{"events":[{events}],"next_after_id":2,"has_more":false}}"#);
    let id = run_id(1);
    let run = RunRef {
        id: Some(id.as_str().into()),
        ..RunRef::default()
    };
    core.handle_log_page(&run, 0, page.as_bytes(), Time(2));
    core.handle_bytes(0, batch(&[hub(1, 20, &end())]).as_bytes(), None);
    let seen = finish(&mut core);
    assert_eq!(seen.names(), ["task t", "invoke_workflow review"]);
}

fn replay(feed: &[u8], emit: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_runtrail"))
        .args(["replay", "--system", "akribes", "--emit", emit, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feed = feed.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&feed));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    output
}

#[test]
fn the_program_reads_on_behind_a_line_of_a_hundred_megabytes() {
    let mut feed = b"data: ".to_vec();
    feed.resize(100 << 20, b'[');
    feed.extend_from_slice(b"\n\n");
    feed.extend_from_slice(around("null").as_bytes());
    let output = replay(&feed, "summaries");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1);
    assert!(text.contains(r#""outcome":"success""#), "{text}");
}

#[test]
fn the_program_survives_everything_bad_at_once_and_counts_it() {
    let bad = [
        "nope".to_owned(),
        hub(1, 3, &nested()),
        hub(1, 3, &event("AgentOutput", "7")),
    ];
    let output = replay(around(&bad.join(",")).as_bytes(), "metrics");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    for reason in ["malformed_json", "too_deep", "wrong_shape"] {
        let counted = |line: &str| line.contains(reason) && line.ends_with(" 1");
        assert!(text.lines().any(counted), "{reason}: {text}");
    }
}
