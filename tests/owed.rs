//! A time without room for spans: runs go on, are counted and told, and their
//! spans come later, once.

#![allow(clippy::expect_used, reason = "a test that cannot go on should stop")]

mod support;

use runtrail::core::{Core, CoreSettings};
use runtrail::metrics::delta::Delta;
use runtrail::run::outputs::GapCause;
use runtrail::run::table::NoAnswer;
use support::by_hand::{after, asks_log, give_log, named, one_task, page, sent, wishes};
use support::{Feed, core, settings, sse};

const ALL_OF_IT: [&str; 2] = ["task a", "invoke_workflow review"];

fn repairing(change: impl FnOnce(&mut CoreSettings)) -> Core {
    let mut settings = CoreSettings {
        repair: true,
        ..settings(false)
    };
    change(&mut settings);
    core(settings)
}

fn hear(core: &mut Core, feed: &Feed, events: std::ops::Range<usize>) {
    let bytes = sse(&feed.script, &feed.lines[events], 1);
    core.handle_bytes(0, &bytes, Some(after(71)));
}

/// How many tasks and runs the metrics were told of since they were told last.
fn counted(core: &mut Core) -> [usize; 2] {
    let told = &core.deltas().in_order;
    let tasks = told
        .iter()
        .filter(|delta| matches!(delta, Delta::TaskFinished { .. }));
    let runs = told
        .iter()
        .filter(|delta| matches!(delta, Delta::RunFinished { .. }));
    let counted = [tasks.count(), runs.count()];
    core.deltas().clear();
    counted
}

#[test]
fn without_room_an_ended_run_is_counted_and_told_and_its_spans_come_later_once() {
    let feed = one_task(1);
    let mut core = repairing(|_| ());
    core.handle_room(false, after(1));
    hear(&mut core, &feed, 0..feed.lines.len());
    assert_eq!(core.poll_summary().expect("it ended").outcome, "success");
    assert_eq!(counted(&mut core), [1, 1]);
    assert_eq!((sent(&mut core).len(), core.owed_runs()), (0, 1));
    assert_eq!(wishes(&mut core), [], "not before there is room");

    core.handle_room(true, after(80));
    assert_eq!(asks_log(&wishes(&mut core), &feed), 1);
    give_log(&mut core, &feed);
    assert_eq!(sent(&mut core), ALL_OF_IT);
    assert_eq!((counted(&mut core), core.owed_runs()), ([0, 0], 0));
    assert!(core.poll_summary().is_none(), "it was told");
    assert_eq!(core.deltas().spans_lost, 0);
}

#[test]
fn what_waits_for_room_shows_nothing_in_the_metrics_since_it_may_be_lost() {
    let feed = one_task(1);
    for (room, shown) in [(true, 2), (false, 0)] {
        let mut core = repairing(|_| ());
        core.handle_room(room, after(1));
        hear(&mut core, &feed, 0..feed.lines.len());
        let told = core.deltas().in_order.iter();
        let exemplars = told.filter(|delta| {
            let (Delta::TaskFinished { exemplar, .. } | Delta::RunFinished { exemplar, .. }) =
                delta
            else {
                return false;
            };
            exemplar.is_some()
        });
        assert_eq!(exemplars.count(), shown, "{room}");
    }
}

#[test]
fn the_withheld_spans_of_an_open_run_come_once_when_there_is_room_again() {
    let feed = one_task(1);
    let mut core = repairing(|_| ());
    core.handle_room(false, after(1));
    hear(&mut core, &feed, 0..3);
    assert_eq!((counted(&mut core), sent(&mut core).len()), ([1, 0], 0));
    core.handle_room(true, after(80));
    assert_eq!(asks_log(&wishes(&mut core), &feed), 1);
    let log = page(&feed, 3, false);
    core.handle_log_page(&named(&feed), 0, log.as_bytes(), after(81));
    assert_eq!(sent(&mut core), ["task a"]);
    hear(&mut core, &feed, 3..4);
    assert_eq!(sent(&mut core), ["invoke_workflow review"]);
    assert_eq!(counted(&mut core), [0, 1]);
}

#[test]
fn with_no_room_again_in_the_middle_nothing_comes_twice_or_is_forgotten() {
    let (open, ended) = (one_task(1), one_task(2));
    let mut core = repairing(|_| ());
    core.handle_room(false, after(1));
    hear(&mut core, &open, 0..3);
    hear(&mut core, &ended, 0..ended.lines.len());
    core.handle_room(true, after(80));
    assert_eq!(wishes(&mut core).len(), 2);
    core.handle_room(false, after(81));
    // What was asked for comes all the same.
    give_log(&mut core, &ended);
    give_log(&mut core, &open);
    assert_eq!((sent(&mut core).len(), core.owed_runs()), (0, 2));
    assert_eq!(counted(&mut core), [2, 2]);

    core.handle_room(true, after(90));
    assert_eq!(wishes(&mut core).len(), 2);
    for feed in [&open, &ended, &open] {
        give_log(&mut core, feed);
    }
    assert_eq!(sent(&mut core).len(), 4);
    assert_eq!((core.owed_runs(), counted(&mut core)), (0, [0, 0]));
}

#[test]
fn the_spans_of_an_owed_run_whose_log_is_gone_are_lost_and_counted() {
    let feed = one_task(1);
    let mut core = repairing(|_| ());
    core.handle_room(false, after(1));
    hear(&mut core, &feed, 0..feed.lines.len());
    core.handle_room(true, after(80));
    core.handle_log_refused(&named(&feed), NoAnswer::ForGood, after(81));
    assert_eq!((core.deltas().spans_lost, core.owed_runs()), (2, 0));
    assert_eq!(sent(&mut core).len(), 0);
}

#[test]
fn an_owed_run_whose_log_cannot_be_had_now_is_asked_for_once_more() {
    let feed = one_task(1);
    let mut core = repairing(|_| ());
    core.handle_room(false, after(1));
    hear(&mut core, &feed, 0..feed.lines.len());
    core.handle_room(true, after(80));
    assert_eq!(wishes(&mut core).len(), 1);
    core.handle_log_refused(&named(&feed), NoAnswer::NotNow, after(81));
    core.handle_tick(after(90));
    assert_eq!(
        wishes(&mut core),
        [],
        "the server is left alone for a while"
    );
    core.handle_tick(after(1_000));
    assert_eq!(asks_log(&wishes(&mut core), &feed), 1);
    give_log(&mut core, &feed);
    assert_eq!(sent(&mut core), ALL_OF_IT);
}

#[test]
fn an_open_run_whose_log_is_gone_loses_what_was_withheld_and_no_more() {
    let feed = one_task(1);
    let mut core = repairing(|_| ());
    core.handle_room(false, after(1));
    hear(&mut core, &feed, 0..3);
    core.handle_room(true, after(80));
    core.handle_log_refused(&named(&feed), NoAnswer::ForGood, after(81));
    assert_eq!(core.deltas().spans_lost, 1);
    hear(&mut core, &feed, 3..4);
    assert_eq!(sent(&mut core), ["invoke_workflow review"]);
    assert_eq!((core.owed_runs(), core.deltas().spans_lost), (0, 1));
}

#[test]
fn of_more_owed_runs_than_there_may_be_the_further_ones_are_lost() {
    let mut core = repairing(|settings| settings.limits.owed_runs_max = 1);
    core.handle_room(false, after(1));
    for n in 1..=2 {
        hear(&mut core, &one_task(n), 0..4);
    }
    core.handle_tick(after(80));
    assert_eq!((core.owed_runs(), core.deltas().spans_lost), (1, 2));
    assert_eq!(counted(&mut core), [2, 2], "their counts are not");
}

#[test]
fn a_gap_in_a_time_without_room_is_repaired_and_counted_then() {
    let feed = one_task(1);
    let mut core = repairing(|_| ());
    core.handle_room(false, after(1));
    hear(&mut core, &feed, 0..2);
    core.handle_gap(0, GapCause::Lagged, after(72));
    assert_eq!(asks_log(&wishes(&mut core), &feed), 1);
    give_log(&mut core, &feed);
    assert_eq!(core.poll_summary().expect("it ended").verified, "match");
    assert_eq!((counted(&mut core), sent(&mut core).len()), ([1, 1], 0));
    core.handle_room(true, after(80));
    give_log(&mut core, &feed);
    assert_eq!(sent(&mut core), ALL_OF_IT);
    assert_eq!(counted(&mut core), [0, 0]);
}

#[test]
fn without_a_log_to_make_them_from_nothing_is_withheld() {
    let feed = one_task(1);
    let mut core = repairing(|settings| settings.repair = false);
    core.handle_room(false, after(1));
    hear(&mut core, &feed, 0..feed.lines.len());
    assert_eq!(sent(&mut core), ALL_OF_IT);
    assert_eq!(core.owed_runs(), 0);
}
