//! What open runs give up when room is short, and in which order: texts of
//! chunks, then events of chunks, then what is remembered of ended tasks, and only
//! then a run.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use runtrail::core::Core;
use runtrail::limits::Limits;
use runtrail::wire::time::Time;

use self::common::*;

const BYTES_MAX: usize = 1 << 20;

fn crowded(capture: bool) -> Core {
    let limits = Limits {
        open_runs_bytes_max: BYTES_MAX,
        ..Limits::default()
    };
    core_that_captures(limits, capture)
}

/// So many runs begin a task that says so many pieces.
fn begin(core: &mut Core, runs: std::ops::Range<u32>, pieces: usize, text: &str) {
    for run in runs {
        let mut events = vec![start(), task_start("write")];
        events.extend(vec![chunk_of("write", text); pieces]);
        let events: Vec<String> = events.iter().map(|event| hub(run, run, event)).collect();
        core.handle_bytes(0, batch(&events).as_bytes(), Some(Time(run.into())));
        assert!(core.open_runs_bytes() <= BYTES_MAX);
    }
}

/// All runs end well; gives their tasks.
fn end_all(core: &mut Core, runs: u32) -> Vec<Span> {
    for run in 0..runs {
        let events = [task_end("write"), end()].map(|event| hub(run, 9_999, &event));
        core.handle_bytes(0, batch(&events).as_bytes(), Some(Time(9_999)));
    }
    core.handle_drain();
    let summaries = std::iter::from_fn(|| core.poll_summary());
    let outcomes: Vec<&str> = summaries.map(|summary| summary.outcome).collect();
    assert_eq!(outcomes, vec!["success"; runs as usize], "none is given up");
    let batches = std::iter::from_fn(|| core.poll_batch());
    let spans = batches.flat_map(|batch| {
        let request = ExportTraceServiceRequest::decode(&batch.body[..]).unwrap();
        let resources = request.resource_spans.into_iter();
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect::<Vec<_>>()
    });
    let tasks: Vec<Span> = spans.filter(|span| span.name == "task write").collect();
    assert_eq!(tasks.len(), runs as usize);
    tasks
}

fn has_text(task: &Span) -> bool {
    let mut attributes = task.attributes.iter();
    attributes.any(|attribute| attribute.key == "gen_ai.output.messages")
}

#[test]
fn texts_of_the_longest_silent_go_before_any_event_and_any_run() {
    let mut core = crowded(true);
    begin(&mut core, 0..100, 3, &"x".repeat(2_000));
    assert!(core.open_runs_bytes() > BYTES_MAX / 10 * 7);
    begin(&mut core, 100..200, 3, "");
    assert_eq!(core.open_runs(), 200);
    assert_eq!(core.deltas().chunk_events_thinned, 0);
    let tasks = end_all(&mut core, 200);
    let with_text: Vec<bool> = tasks[..100].iter().map(has_text).collect();
    let given_up = with_text.iter().take_while(|has_text| !**has_text).count();
    assert!(given_up > 0 && with_text.contains(&true), "{with_text:?}");
    assert!(tasks.iter().all(|task| task.events.len() == 3));
}

#[test]
fn events_of_the_longest_silent_go_when_no_text_is_left_and_are_counted() {
    let mut core = crowded(false);
    begin(&mut core, 0..130, 60, "x");
    assert_eq!(core.deltas().chunk_events_thinned, 0);
    begin(&mut core, 130..250, 3, "x");
    let thinned = core.deltas().chunk_events_thinned;
    let tasks = end_all(&mut core, 250);
    let of_first: Vec<usize> = tasks[..130].iter().map(|task| task.events.len()).collect();
    let few = of_first.iter().take_while(|events| **events <= 4).count();
    assert!(few > 0, "{of_first:?}");
    let kept: usize = of_first.iter().sum();
    assert_eq!(thinned, (130 * 60 - kept) as u64);
    let dropped = tasks
        .iter()
        .map(|task| u64::from(task.dropped_events_count));
    assert_eq!(dropped.sum::<u64>(), thinned);
}

/// The end of a task that used a model.
fn paid_end(name: &str) -> String {
    let usage = r#""usage":{"provider":"anthropic","model":"claude","input_tokens":9,"output_tokens":1},"variant""#;
    task_end(name).replace(r#""variant""#, usage)
}

/// So many runs in which so many tasks have ended, and one is open.
fn work(core: &mut Core, runs: std::ops::Range<u32>, tasks: usize) {
    for run in runs {
        let mut events = vec![start()];
        for _ in 0..tasks {
            events.extend([task_start("read"), paid_end("read")]);
        }
        events.push(task_start("write"));
        let events: Vec<String> = events.iter().map(|event| hub(run, run, event)).collect();
        core.handle_bytes(0, batch(&events).as_bytes(), Some(Time(run.into())));
        assert!(core.open_runs_bytes() <= BYTES_MAX);
    }
}

#[test]
fn ends_that_may_be_told_again_are_forgotten_before_a_run_is_closed() {
    let mut bare = crowded(false);
    work(&mut bare, 0..100, 0);
    let of_run = bare.open_runs_bytes() / 100;

    let mut core = crowded(false);
    work(&mut core, 0..100, 50);
    let held = core.open_runs_bytes();
    let remembered = 100 * 50 * 72;
    assert!(held > 100 * of_run + remembered, "{held}");
    // More runs than there is room for beside what is remembered.
    let further = ((BYTES_MAX - held + remembered / 2) / of_run) as u32;
    work(&mut core, 100..100 + further, 0);
    end_all(&mut core, 100 + further);
}

#[test]
fn near_the_bound_no_further_ends_are_remembered() {
    let mut core = crowded(false);
    work(&mut core, 0..10, 0);
    let of_run = core.open_runs_bytes() / 10;
    let runs = (BYTES_MAX / 100 * 92 / of_run) as u32;
    work(&mut core, 10..runs, 0);
    let before = core.open_runs_bytes();
    work(&mut core, 0..1, 300);
    let more = core.open_runs_bytes() - before;
    assert!(more < 300 * 72, "{more}");
    assert_eq!(core.open_runs(), runs as usize);
}

#[test]
fn when_there_is_no_detail_left_runs_go_and_the_bound_is_kept() {
    let mut core = crowded(true);
    begin(&mut core, 0..3_000, 6, "text");
    assert!(core.open_runs() < 1_000);
    core.handle_end_of_runs();
    assert_eq!(std::iter::from_fn(|| core.poll_summary()).count(), 3_000);
}

#[test]
fn runs_that_fall_silent_at_once_end_bit_by_bit() {
    let limits = Limits::default();
    let batch_bytes_max = limits.batch_bytes_max;
    let mut core = core_that_captures(limits, true);
    for run in 0..1_500 {
        let text = "x".repeat(10_000);
        let events = [start(), task_start("write"), chunk_of("write", &text)];
        let events: Vec<String> = events.iter().map(|event| hub(run, run, event)).collect();
        core.handle_bytes(0, batch(&events).as_bytes(), Some(Time(0)));
    }
    let later = Time(0).plus(Limits::default().run_idle_max * 2);
    let mut ticks = 0;
    while core.open_runs() > 0 {
        core.handle_tick(later);
        core.handle_drain();
        let batches = std::iter::from_fn(|| core.poll_batch());
        let bytes: usize = batches.map(|batch| batch.body.len()).sum();
        assert!(bytes <= batch_bytes_max + (64 << 10), "{bytes}");
        ticks += 1;
    }
    assert!(ticks > 2);
}
