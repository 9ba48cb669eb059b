//! What must not leave the process is not on its disk either.

#![allow(clippy::expect_used, reason = "a test that cannot go on should stop")]

mod support;

use runtrail::core::{Core, CoreSettings};
use runtrail::wire::event::RunRef;
use runtrail::wire::time::Time;
use serde_json::{Value, json};
use support::content::talkative;
use support::trace::{attribute, spans};
use support::{Feed, batches, core, settings};

const SECRET: &str = "sk-ant-api03-AbCdEf1234567890";

/// A core that writes down what it is told, and keeps to itself what is content.
fn recording(capture: bool) -> Core {
    let settings = CoreSettings {
        repair: true,
        ..settings(capture)
    };
    let mut core = core(settings.clone());
    core.resume(&settings, true, Time(1));
    core
}

/// All that a core would have on disk, as it lies there.
fn on_disk(core: &Core) -> Vec<u8> {
    let mut bytes: Vec<u8> = core.entries().flatten().copied().collect();
    for part in core.save() {
        bytes.extend(part.bytes);
    }
    bytes
}

#[track_caller]
fn assert_lacks(bytes: &[u8], words: &[&str]) {
    for word in words {
        let found = bytes
            .windows(word.len())
            .any(|part| part == word.as_bytes());
        assert!(!found, "{word} is on disk");
    }
}

#[track_caller]
fn assert_has(bytes: &[u8], word: &str) {
    let found = bytes
        .windows(word.len())
        .any(|part| part == word.as_bytes());
    assert!(found, "{word} is not even there");
}

#[test]
fn without_capture_no_content_of_a_feed_is_written_down_or_saved() {
    let mut feed = talkative();
    let mut core = recording(false);
    core.handle_bytes(0, &feed.sse(3), Some(Time(2)));
    let open = on_disk(&core);
    assert_has(&open, "example.com/path");
    assert_lacks(&open, &["private"]);
    let told = feed.lines.len();
    feed.at(600).event(
        "WorkflowEnd",
        json!({"value": "private result", "total_input_tokens": 1, "total_output_tokens": 2,
               "total_cached_input_tokens": 0, "total_thinking_tokens": 0,
               "total_tool_tokens": 0, "total_cost_usd": 0.0, "task_count": 1}),
    );
    let end = support::sse(&feed.script, &feed.lines[told..], 1);
    core.handle_bytes(0, &end, Some(Time(3)));
    assert_eq!(core.open_runs(), 0);
    assert_lacks(&on_disk(&core), &["private"]);
}

#[test]
fn the_same_is_true_of_pages_of_a_log() {
    let feed = talkative();
    let mut core = recording(false);
    // It is first seen in the middle, so its log is asked for.
    core.handle_bytes(
        0,
        &support::sse(&feed.script, &feed.lines[1..2], 1),
        Some(Time(2)),
    );
    assert!(core.poll_wish().is_some());
    let events: Vec<Value> = feed.lines.iter().map(|line| line.logged()).collect();
    let page = json!({"events": events, "complete": false, "has_more": true, "next_after_id": 9});
    let run = RunRef {
        project: Some(1),
        workflow: feed.script.as_str().into(),
        id: Some(feed.run.as_str().into()),
        epoch: None,
    };
    core.handle_log_page(&run, 0, page.to_string().as_bytes(), Time(3));
    assert!(core.poll_wish().is_some(), "the next page is asked for");
    let bytes = on_disk(&core);
    assert_has(&bytes, "example.com/path");
    assert_lacks(&bytes, &["private"]);
}

#[test]
fn a_secret_in_an_error_message_is_not_written_down_whatever_is_captured() {
    for capture in [false, true] {
        let mut feed = Feed::of("review");
        feed.start().at(5).task("a");
        let fatal = json!({"FatalError": {"message": format!("denied: {SECRET}")},
            "error_kind": "AuthError", "code": "AKRIBES-E-AUTH"});
        feed.at(10)
            .task_end("a", 5, json!({"variant": "failed", "value": fatal}));
        feed.event(
            "ToolApprovalSkipped",
            json!({"tool_ref": "web.search", "reason": format!("token={SECRET}")}),
        );
        let mut core = recording(capture);
        core.handle_bytes(0, &feed.sse(1), Some(Time(2)));
        if !capture {
            assert_lacks(&on_disk(&core), &[SECRET]);
        }
        let told = feed.lines.len();
        feed.at(20).event(
            "Error",
            json!({"message": format!("the key {SECRET} was refused"), "kind": "AuthError",
                   "code": "Other", "user_message": ""}),
        );
        core.clear_entries();
        let end = support::sse(&feed.script, &feed.lines[told..], 1);
        core.handle_bytes(0, &end, Some(Time(3)));
        assert_lacks(&on_disk(&core), &[SECRET]);
        core.handle_end_of_runs();
        let spans = spans(&batches(&mut core));
        let root = spans.iter().find(|span| span.parent_span_id.is_empty());
        let status = root.and_then(|root| root.status.as_ref());
        assert_eq!(
            status.map(|status| status.message.as_str()),
            Some("the key [redacted] was refused")
        );
        let task = spans.iter().find(|span| span.name == "task a");
        assert!(task.is_some_and(|task| attribute(task, "error.type").is_some()));
    }
}

#[test]
fn open_runs_take_no_more_on_disk_than_they_may_hold_in_memory() {
    let mut settings = settings(true);
    settings.limits.open_runs_bytes_max = 2 << 20;
    let bound = settings.limits.open_runs_bytes_max;
    // Small ones until some are closed, and such with texts until texts are left out.
    for (runs, text_bytes) in [(4_000, 8), (400, 4_000)] {
        let mut core = core(settings.clone());
        for run in 0..runs {
            let id = format!("6513270e-1234-4abc-8def-{run:012}");
            let mut feed = Feed::of_run("review", &id);
            feed.start().at(5).task("a");
            feed.chunk("a", "t1", &"x".repeat(text_bytes));
            core.handle_bytes(0, &feed.sse(3), Some(Time(1)));
            batches(&mut core);
        }
        let saved: usize = core.save().map(|part| part.bytes.len()).sum();
        assert!(core.open_runs() < runs || saved > bound / 3, "it is felt");
        assert!(saved < bound, "{saved}");
    }
}
