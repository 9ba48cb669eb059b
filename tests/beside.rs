//! What the core does for whoever runs it beside a server: it tells of open
//! runs, listens to several feeds, chooses what is told of, and counts silence
//! only while there is somebody to hear.

#![allow(clippy::expect_used, reason = "a test that cannot go on should stop")]

mod support;

use runtrail::core::{Core, CoreSettings, Selection};
use runtrail::run::outputs::GapCause;
use runtrail::wire::time::Time;
use support::trace::spans;
use support::{Feed, batches, core, settings, sse, usage};

const HOUR: u64 = 3_600_000_000_000;

/// A run of one task whose end is the line before the last.
fn one_task() -> Feed {
    let mut feed = Feed::of("review");
    feed.start().at(5).task("a");
    feed.at(500).task_end("a", 495, usage(10, 5));
    feed.at(510).end([10, 5, 1]);
    feed
}

fn listening(feeds: Vec<Option<i64>>) -> Core {
    core(CoreSettings {
        feeds,
        ..settings(false)
    })
}

fn choosing(selection: Selection) -> Core {
    core(CoreSettings {
        selection,
        ..settings(false)
    })
}

#[test]
fn an_open_run_is_told_of_as_it_stands() {
    let feed = one_task();
    let mut core = listening(vec![None]);
    core.handle_bytes(0, &sse(&feed.script, &feed.lines[..3], 1), Some(Time(HOUR)));
    let runs: Vec<_> = core.runs().collect();
    let [run] = &runs[..] else {
        panic!("one run is open: {runs:?}");
    };
    assert_eq!((run.tasks.passed, run.tasks.total), (1, 1));
    assert_eq!((run.input_tokens, run.output_tokens), (10, 5));
    assert!(!run.waiting && !run.held);
    let summary = core.summary_so_far(&run.meta.trace_id).expect("it is open");
    assert_eq!((summary.outcome, summary.finished_at), ("running", None));
    assert_eq!(summary.duration.total_ms, 500);

    core.handle_bytes(0, &sse(&feed.script, &feed.lines[3..], 1), Some(Time(HOUR)));
    assert_eq!(core.runs().count(), 0);
    assert!(core.summary_so_far(&run.meta.trace_id).is_none());
    let ended = core.poll_summary().expect("it has ended");
    assert_eq!(ended.tasks, summary.tasks);
    assert!(ended.finished_at.is_some());
}

#[test]
fn a_run_that_could_not_be_heard_has_not_been_silent() {
    let feed = one_task();
    let mut core = listening(vec![None]);
    let lines = sse(&feed.script, &feed.lines[..2], 1);
    core.handle_bytes(0, &lines, Some(Time(HOUR)));
    core.handle_gap(0, GapCause::Disconnect, Time(HOUR + 1));
    core.handle_tick(Time(5 * HOUR));
    core.handle_reconnect(0, Some(Time(6 * HOUR)));
    core.handle_tick(Time(6 * HOUR + 1));
    assert_eq!(core.open_runs(), 1);
    core.handle_tick(Time(7 * HOUR + 1));
    assert_eq!(core.open_runs(), 0, "an hour of silence is enough");
}

#[test]
fn a_clock_that_was_set_abandons_no_run_and_holds_no_batch_back() {
    let feed = one_task();
    for set_to in [Time(1), Time(50 * HOUR)] {
        let mut core = listening(vec![None]);
        core.handle_bytes(
            0,
            &sse(&feed.script, &feed.lines[..3], 1),
            Some(Time(10 * HOUR)),
        );
        core.handle_clock_set(set_to);
        assert_eq!(core.poll_batch().map(|batch| batch.spans), Some(1));
        core.handle_tick(Time(set_to.0 + HOUR / 2));
        assert_eq!(core.open_runs(), 1, "{set_to:?}");
        core.handle_tick(Time(set_to.0 + 2 * HOUR));
        assert_eq!(core.open_runs(), 0, "{set_to:?}");
    }
}

#[test]
fn only_runs_of_the_feed_that_is_away_are_not_silent() {
    let feed = one_task();
    for (lost, open) in [(0, 1), (1, 0), (2, 1)] {
        let mut core = listening(vec![Some(1), Some(2), None]);
        core.handle_bytes(0, &sse(&feed.script, &feed.lines[..2], 1), Some(Time(HOUR)));
        core.handle_gap(lost, GapCause::Disconnect, Time(HOUR));
        core.handle_tick(Time(3 * HOUR));
        assert_eq!(core.open_runs(), open, "feed {lost}");
    }
}

#[test]
fn each_feed_is_cut_into_frames_and_remembered_on_its_own() {
    let feed = one_task();
    let bytes = sse(&feed.script, &feed.lines, 1);
    let (head, tail) = bytes.split_at(bytes.len() / 2 + 7);
    let mut core = listening(vec![Some(1), Some(2)]);
    core.handle_bytes(0, head, Some(Time(HOUR)));
    core.handle_bytes(1, b"retry: 5000\nid: 77\ndata: []\n\n", Some(Time(HOUR)));
    core.handle_bytes(0, tail, Some(Time(HOUR)));
    assert!(core.poll_summary().is_some());
    assert_eq!(core.last_event_id(1), "77");
    assert_ne!(core.last_event_id(0), "77");
    assert_eq!(
        (core.retry(0), core.retry(1).map(|wait| wait.as_secs())),
        (None, Some(5))
    );
    // One that does not exist says nothing.
    core.handle_bytes(2, &bytes, Some(Time(HOUR)));
    assert_eq!((core.last_event_id(2), core.retry(2)), ("", None));
}

#[test]
fn a_gap_in_one_feed_holds_only_runs_that_it_tells_of() {
    let feed = one_task();
    for (lost, held) in [(0, true), (1, false), (2, true)] {
        let mut core = core(CoreSettings {
            repair: true,
            feeds: vec![Some(1), Some(2), None],
            ..settings(false)
        });
        core.handle_bytes(0, &sse(&feed.script, &feed.lines[..2], 1), Some(Time(HOUR)));
        core.handle_gap(lost, GapCause::Lagged, Time(HOUR));
        assert_eq!(
            core.runs().next().map(|run| run.held),
            Some(held),
            "feed {lost}"
        );
    }
}

#[test]
fn an_excluded_workflow_is_counted_as_events_and_no_further() {
    let feed = one_task();
    let exclude = Selection::new(&[], &["rev*".to_owned()], 1.0).expect("a pattern");
    let mut core = choosing(exclude);
    core.handle_bytes(0, &sse(&feed.script, &feed.lines, 1), Some(Time(HOUR)));
    core.handle_end_of_runs();
    assert!(core.poll_summary().is_none());
    assert!(batches(&mut core).is_empty());
    assert_eq!(core.deltas().events_by_type.iter().sum::<u64>(), 4);
}

#[test]
fn a_trace_that_is_left_out_still_counts() {
    let feed = one_task();
    let mut core = choosing(Selection::new(&[], &[], 0.0).expect("a share"));
    core.handle_bytes(0, &sse(&feed.script, &feed.lines, 1), Some(Time(HOUR)));
    core.handle_drain();
    assert!(core.poll_summary().is_some());
    assert!(spans(&batches(&mut core)).is_empty());
    let told = &core.deltas().in_order;
    assert!(told.len() >= 3, "start, task, end");
    assert!(
        !format!("{told:?}").contains("Exemplar"),
        "an exemplar leads to a trace"
    );
}

#[test]
fn a_batch_grows_old_also_while_there_is_no_feed() {
    let feed = one_task();
    let mut core = listening(vec![None]);
    core.handle_bytes(0, &sse(&feed.script, &feed.lines[..3], 1), Some(Time(HOUR)));
    assert!(core.poll_batch().is_none());
    core.handle_gap(0, GapCause::Disconnect, Time(HOUR));
    core.handle_tick(Time(HOUR + 2_000_000_000));
    assert_eq!(core.poll_batch().map(|batch| batch.spans), Some(1));
    core.handle_drain();
    assert!(core.poll_batch().is_none(), "an open run stays open");
    assert_eq!(core.open_runs(), 1);
}
