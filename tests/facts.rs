//! What the server knows of a run beside its events: the root waits for it, for
//! a while, and carries it.

#![allow(clippy::expect_used, reason = "a test that cannot go on should stop")]

mod support;

use opentelemetry_proto::tonic::trace::v1::Span;
use runtrail::core::{Core, CoreSettings};
use runtrail::run::outputs::{GapCause, Wish};
use runtrail::wire::rejection::Rejection;
use serde_json::json;
use support::by_hand::{after, named, one_task, sent, wishes};
use support::trace::{attribute, spans};
use support::workload::run_id;
use support::{batches, core, settings, sse};

/// A core whose run has ended, and waits for its facts.
fn waiting() -> Core {
    let mut core = core(CoreSettings {
        repair: true,
        enrich: true,
        ..settings(false)
    });
    core.handle_bytes(0, &one_task(1).sse(1), Some(after(71)));
    assert!(core.poll_summary().is_none(), "its root waits");
    assert_eq!(sent(&mut core), ["task a"]);
    core
}

fn row() -> String {
    json!({
        "id": run_id(1), "project_id": 1, "script_name": "review", "status": "completed",
        "cost_usd": 0.25, "version_id": 17, "channel": "stable", "triggered_by": "schedule",
        "parent_execution_id": run_id(9), "error": "sk-ant-api03-AbCdEf1234567890",
    })
    .to_string()
}

fn root(core: &mut Core) -> Span {
    core.handle_drain();
    let mut spans = spans(&batches(core));
    let root = spans.pop().expect("the root");
    assert_eq!(
        (root.name.as_str(), spans.len()),
        ("invoke_workflow review", 0)
    );
    root
}

#[test]
fn the_root_carries_what_the_row_tells_and_the_summary_its_cost() {
    let mut core = waiting();
    let run_id = one_task(1).run.as_str().into();
    assert_eq!(
        wishes(&mut core),
        [Wish::AskFacts {
            project: Some(1),
            run_id
        }]
    );
    core.handle_facts(
        &named(&one_task(1)),
        Some(row().as_bytes()),
        None,
        after(72),
    );
    let summary = core.poll_summary().expect("it has ended");
    assert_eq!(summary.cost.map(|cost| cost.total_usd), Some(0.25));
    let root = root(&mut core);
    for (name, value) in [
        ("runtrail.cost.usd", "0.25"),
        ("runtrail.cost.basis", "server"),
        ("runtrail.workflow.version", "17"),
        ("runtrail.run.channel", "stable"),
        ("runtrail.run.triggered_by", "schedule"),
    ] {
        assert_eq!(attribute(&root, name).as_deref(), Some(value), "{name}");
    }
    let [link] = &root.links[..] else {
        panic!("one link: {:?}", root.links)
    };
    assert_eq!(link.trace_id.last(), Some(&0xaa));
    assert!(!link.span_id.is_empty(), "it leads to the parent's root");
}

#[test]
fn the_root_goes_out_without_what_is_not_told_or_comes_too_late() {
    let mut refused = waiting();
    refused.handle_facts(&named(&one_task(1)), None, None, after(72));
    assert_eq!(attribute(&root(&mut refused), "runtrail.cost.usd"), None);

    let mut late = waiting();
    late.handle_tick(after(73));
    assert!(late.poll_summary().is_none(), "not yet");
    late.handle_tick(after(77));
    assert!(late.poll_summary().is_some());
    let root = root(&mut late);
    assert_eq!(attribute(&root, "runtrail.run.channel"), None);
    late.handle_facts(
        &named(&one_task(1)),
        Some(row().as_bytes()),
        None,
        after(78),
    );
    assert_eq!(sent(&mut late).len(), 0, "it is sealed");
}

#[test]
fn facts_that_cannot_be_read_are_as_none() {
    let mut core = waiting();
    core.handle_facts(&named(&one_task(1)), Some(b"{"), Some(b"["), after(72));
    assert_eq!(core.deltas().rejected.iter().sum::<u64>(), 2);
    assert_eq!(attribute(&root(&mut core), "runtrail.cost.usd"), None);
}

#[test]
fn what_comes_after_the_end_is_refused_and_a_gap_does_not_open_the_run_again() {
    let mut core = waiting();
    wishes(&mut core);
    let mut feed = one_task(1);
    let told = feed.lines.len();
    feed.at(72_000).task("late");
    core.handle_bytes(
        0,
        &sse(&feed.script, &feed.lines[told..], 1),
        Some(after(72)),
    );
    assert_eq!(core.deltas().rejected[Rejection::AfterEnd as usize], 1);
    core.handle_gap(0, GapCause::Lagged, after(72));
    let is_log = |wish: &Wish| matches!(wish, Wish::ReadLog { .. });
    assert!(!wishes(&mut core).iter().any(is_log));
    core.handle_facts(&named(&feed), Some(row().as_bytes()), None, after(73));
    assert_eq!(root(&mut core).events.len(), 0);
}

#[test]
fn what_is_known_of_an_owed_run_stands_on_its_root_when_it_is_paid() {
    let feed = one_task(1);
    let mut core = core(CoreSettings {
        repair: true,
        enrich: true,
        ..settings(false)
    });
    core.handle_room(false, after(1));
    core.handle_bytes(0, &feed.sse(1), Some(after(71)));
    core.handle_facts(&named(&feed), Some(row().as_bytes()), None, after(72));
    assert!(core.poll_summary().is_some());
    core.handle_room(true, after(80));
    support::by_hand::give_log(&mut core, &feed);
    core.handle_drain();
    let spans = spans(&batches(&mut core));
    let root = spans.last().expect("the root");
    assert_eq!(
        attribute(root, "runtrail.run.channel").as_deref(),
        Some("stable")
    );
}
