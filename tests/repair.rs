//! What the core does when the feed was not all there is: it asks, and what it
//! is told comes out once and right.

#![allow(clippy::expect_used, reason = "a test that cannot go on should stop")]

mod support;

use runtrail::core::{Core, CoreSettings};
use runtrail::run::outputs::{GapCause, Wish};
use runtrail::run::table::NoAnswer;
use runtrail::wire::time::Time;
use serde_json::{Value, json};
use support::by_hand::named;
use support::trace::{attribute, spans};
use support::{Feed, Line, batches, core, settings, sse, usage};

const HOUR: u64 = 3_600_000_000_000;

fn repairing() -> Core {
    core(CoreSettings {
        repair: true,
        ..settings(false)
    })
}

/// The row of a run that has this status.
fn row(feed: &Feed, status: &str) -> String {
    json!({"id": feed.run, "project_id": 1, "script_name": feed.script, "status": status})
        .to_string()
}

/// The log of a run, from after a place to its end.
fn log(feed: &Feed, after: u64) -> String {
    let lines = feed.lines.iter().filter(|line| line.seq > after);
    let events: Vec<Value> = lines.map(|line| line.logged()).collect();
    let last = feed.lines.last().map_or(0, |line| line.seq);
    json!({"events": events, "complete": true, "has_more": false, "next_after_id": last})
        .to_string()
}

/// A run of one task whose end is the line before the last.
fn one_task() -> Feed {
    let mut feed = Feed::of("review");
    feed.start().at(5).task("a");
    feed.at(500).task_end("a", 495, usage(10, 5));
    feed.at(510).end([10, 5, 1]);
    feed
}

#[test]
fn an_end_of_a_task_that_was_lost_unnoticed_is_fetched_when_the_sums_differ() {
    let feed = one_task();
    let mut lines = feed.lines.clone();
    lines.remove(2);
    let mut core = repairing();
    core.handle_bytes(0, &sse(&feed.script, &lines, 1), Some(Time(1)));
    assert!(core.poll_summary().is_none(), "the run waits for its log");
    let wish = core.poll_wish().expect("the log is asked for");
    assert_eq!(
        wish,
        Wish::ReadLog {
            project: Some(1),
            run_id: feed.run.as_str().into(),
            after: 0
        }
    );
    core.handle_log_page(&named(&feed), 0, log(&feed, 0).as_bytes(), Time(2));
    let summary = core.poll_summary().expect("the run has ended");
    assert_eq!((summary.verified, summary.tasks.passed), ("match", 1));
    core.handle_end_of_runs();
    let spans = spans(&batches(&mut core));
    let task = spans
        .iter()
        .find(|span| span.name == "task a")
        .expect("the task");
    assert_eq!(
        attribute(task, "gen_ai.usage.input_tokens").as_deref(),
        Some("10")
    );
    assert_eq!(attribute(task, "runtrail.incomplete"), None);
    assert_eq!(spans.len(), 2, "the task and the root, once each");
}

#[test]
fn a_run_that_fell_silent_is_asked_about_and_read_from_its_log_when_it_has_ended() {
    let feed = one_task();
    let mut core = repairing();
    core.handle_bytes(0, &sse(&feed.script, &feed.lines[..2], 1), Some(Time(HOUR)));
    core.handle_tick(Time(3 * HOUR));
    assert_eq!(
        core.poll_wish(),
        Some(Wish::AskRow {
            project: Some(1),
            run_id: feed.run.as_str().into()
        })
    );
    let row = row(&feed, "completed");
    core.handle_row(&named(&feed), Some(row.as_bytes()), Time(3 * HOUR));
    assert!(matches!(
        core.poll_wish(),
        Some(Wish::ReadLog { after: 0, .. })
    ));
    core.handle_log_page(&named(&feed), 0, log(&feed, 0).as_bytes(), Time(3 * HOUR));
    let summary = core.poll_summary().expect("the run has ended");
    assert_eq!((summary.outcome, summary.verified), ("success", "match"));
}

#[test]
fn a_run_that_has_ended_without_a_log_ends_as_its_row_says() {
    let feed = one_task();
    let mut core = repairing();
    core.handle_bytes(0, &sse(&feed.script, &feed.lines[..2], 1), Some(Time(HOUR)));
    let row = row(&feed, "cancelled");
    core.handle_row(&named(&feed), Some(row.as_bytes()), Time(2 * HOUR));
    core.handle_log_refused(&named(&feed), NoAnswer::ForGood, Time(2 * HOUR));
    let summary = core.poll_summary().expect("the run has ended");
    assert_eq!(summary.outcome, "cancelled");
    assert_eq!(core.open_runs(), 0);
}

#[test]
fn a_silent_run_of_which_the_server_says_nothing_is_abandoned_in_the_end() {
    let feed = one_task();
    let mut core = repairing();
    core.handle_bytes(0, &sse(&feed.script, &feed.lines[..2], 1), Some(Time(HOUR)));
    core.handle_tick(Time(3 * HOUR));
    assert!(core.poll_wish().is_some());
    core.handle_tick(Time(4 * HOUR));
    assert_eq!(core.poll_wish(), None, "once is enough");
    assert_eq!(
        core.poll_summary().expect("it is over").outcome,
        "abandoned"
    );
}

#[test]
fn a_held_run_is_let_go_when_its_log_does_not_come() {
    let feed = one_task();
    let mut core = repairing();
    // It is first seen in the middle, so its beginning is asked for.
    core.handle_bytes(0, &sse(&feed.script, &feed.lines[1..], 1), Some(Time(HOUR)));
    assert!(matches!(core.poll_wish(), Some(Wish::ReadLog { .. })));
    assert!(core.poll_summary().is_none());
    core.handle_tick(Time(2 * HOUR));
    let summary = core.poll_summary().expect("nobody waits any longer");
    assert_eq!((summary.outcome, summary.tasks.passed), ("success", 1));
}

#[test]
fn a_page_that_nobody_waits_for_changes_nothing() {
    let feed = one_task();
    let mut core = repairing();
    core.handle_bytes(
        0,
        &sse(&feed.script, &feed.lines[1..2], 1),
        Some(Time(HOUR)),
    );
    assert!(matches!(
        core.poll_wish(),
        Some(Wish::ReadLog { after: 0, .. })
    ));
    core.handle_log_page(&named(&feed), 16, log(&feed, 16).as_bytes(), Time(HOUR));
    assert!(
        core.poll_summary().is_none(),
        "a page from the middle is not the one"
    );
    core.handle_log_page(&named(&feed), 0, log(&feed, 0).as_bytes(), Time(HOUR));
    assert_eq!(
        core.poll_summary().expect("the run has ended").verified,
        "match"
    );
}

/// A page of a log in which a run goes on; an empty one does not say where it ends.
fn page(lines: &[Line]) -> String {
    let events: Vec<Value> = lines.iter().map(Line::logged).collect();
    let last = lines.last().map(|line| line.seq);
    json!({"events": events, "complete": false, "has_more": false, "next_after_id": last})
        .to_string()
}

fn cut(core: &mut Core, at: u64) {
    core.handle_gap(0, GapCause::Disconnect, Time(at));
}

fn asked_after(core: &mut Core) -> Option<u64> {
    let wishes = std::iter::from_fn(|| core.poll_wish());
    let after = wishes.filter_map(|wish| match wish {
        Wish::ReadLog { after, .. } => Some(after),
        _ => None,
    });
    after.last()
}

#[test]
fn what_an_earlier_page_held_is_not_taken_again_when_the_last_one_is_empty() {
    let feed = one_task();
    let mut core = repairing();
    core.handle_connect(0, Some(Time(1)));
    core.handle_bytes(0, &sse(&feed.script, &feed.lines[..1], 1), Some(Time(2)));
    cut(&mut core, 3);
    core.handle_reconnect(0, Some(Time(4)));
    assert_eq!(asked_after(&mut core), Some(0));
    cut(&mut core, 5);
    let first = page(&feed.lines[..3]);
    core.handle_log_page(&named(&feed), 0, first.as_bytes(), Time(6));
    assert_eq!(asked_after(&mut core), None, "more may be missed");
    core.handle_reconnect(0, Some(Time(7)));
    assert_eq!(asked_after(&mut core), Some(feed.lines[2].seq));
    // The server goes back to what was missed.
    core.handle_bytes(0, &sse(&feed.script, &feed.lines[1..3], 1), Some(Time(8)));
    let after = feed.lines[2].seq;
    core.handle_log_page(&named(&feed), after, page(&[]).as_bytes(), Time(9));
    core.handle_bytes(0, &sse(&feed.script, &feed.lines[3..], 1), Some(Time(10)));
    let summary = core.poll_summary().expect("the run has ended");
    assert_eq!((summary.verified, summary.tasks.total), ("match", 1));
    core.handle_end_of_runs();
    assert_eq!(spans(&batches(&mut core)).len(), 2);
}

#[test]
fn an_empty_page_is_not_the_last_one_while_the_feed_is_away() {
    let feed = one_task();
    let mut core = repairing();
    core.handle_connect(0, Some(Time(1)));
    core.handle_bytes(0, &sse(&feed.script, &feed.lines[..1], 1), Some(Time(2)));
    cut(&mut core, 3);
    core.handle_reconnect(0, Some(Time(4)));
    assert_eq!(asked_after(&mut core), Some(0));
    cut(&mut core, 5);
    core.handle_log_page(&named(&feed), 0, page(&[]).as_bytes(), Time(6));
    core.handle_reconnect(0, Some(Time(7)));
    assert_eq!(asked_after(&mut core), Some(0), "the task was missed");
    let all = page(&feed.lines[..3]);
    core.handle_log_page(&named(&feed), 0, all.as_bytes(), Time(8));
    core.handle_bytes(0, &sse(&feed.script, &feed.lines[3..], 1), Some(Time(9)));
    let summary = core.poll_summary().expect("the run has ended");
    assert_eq!((summary.verified, summary.tasks.passed), ("match", 1));
}

#[test]
fn a_run_without_an_id_has_the_same_trace_whatever_came_before_it() {
    let nameless = |feed: &Feed| {
        let text = String::from_utf8(feed.sse(1)).expect("a feed is text");
        text.replace("\"execution_id\":", "\"was\":").into_bytes()
    };
    let trace = |feeds: &[&Feed]| {
        let mut core = core(settings(false));
        for feed in feeds {
            core.handle_bytes(0, &nameless(feed), None);
        }
        core.handle_end_of_runs();
        let spans = spans(&batches(&mut core));
        spans.last().expect("a root").trace_id.clone()
    };
    let mut other = Feed::of("other");
    other.start().at(3).end([0, 0, 0]);
    let one = one_task();
    assert_eq!(trace(&[&one]), trace(&[&other, &one]));
    assert_ne!(trace(&[&one]), trace(&[&one, &one]), "two of them are two");
}

#[test]
fn one_greedy_run_does_not_cost_the_others_theirs() {
    let mut limited = settings(false);
    limited.limits.open_runs_bytes_max = 1 << 20;
    let mut core = core(limited);
    for n in 0..3 {
        let mut small = Feed::of_run("small", &support::workload::run_id(n));
        small.start();
        core.handle_bytes(0, &small.sse(1), None);
    }
    let mut greedy = Feed::of_run("greedy", &support::workload::run_id(9));
    greedy.start();
    for n in 0..4_000 {
        greedy.at(n).task(&format!("task {n} {}", "x".repeat(150)));
    }
    core.handle_bytes(0, &greedy.sse(50), None);
    assert!(core.open_runs_bytes() <= 1 << 20);
    assert_eq!(core.open_runs(), 3, "the small ones are still there");
}
