//! Runs of which the feed told nothing: the server lists them, its log tells of
//! them, and they come out once. And when its log is asked for at all.

#![allow(clippy::expect_used, reason = "a test that cannot go on should stop")]

mod support;

use runtrail::core::{Core, CoreSettings, Selection};
use runtrail::run::outputs::{GapCause, Wish};
use runtrail::run::table::NoAnswer;
use serde_json::{Value, json};
use support::by_hand::{BEGIN, after, asks_log, give_log, named, one_task, page, sent, wishes};
use support::workload::run_id;
use support::{Feed, core, settings, sse, stamp};

fn repairing(change: impl FnOnce(&mut CoreSettings)) -> Core {
    let mut settings = CoreSettings {
        repair: true,
        feeds: vec![Some(1)],
        ..settings(false)
    };
    change(&mut settings);
    let mut core = core(settings);
    core.handle_connect(0, Some(BEGIN));
    let first = wishes(&mut core);
    assert_eq!(first.len(), 3, "open runs are listed from the start");
    answer_lists(&mut core, &first, &[]);
    core
}

/// The first wish of each is answered with these rows, and every further page is empty.
fn answer_lists(core: &mut Core, asked: &[Wish], rows: &[Value]) {
    let rows = Value::Array(rows.to_vec()).to_string();
    for wish in asked {
        if let Wish::ListRuns { offset, .. } = wish {
            let page = if *offset == 0 { rows.as_str() } else { "[]" };
            core.handle_rows(wish, Some(page.as_bytes()), BEGIN);
        }
    }
}

/// The lists are read to their end. What else is wished for meanwhile.
fn read_lists(core: &mut Core, rows: &[Value]) -> Vec<Wish> {
    let mut others = Vec::new();
    loop {
        let asked = wishes(core);
        if asked.is_empty() {
            return others;
        }
        answer_lists(core, &asked, rows);
        let is_other = |wish: &Wish| !matches!(wish, Wish::ListRuns { .. });
        others.extend(asked.into_iter().filter(is_other));
    }
}

fn lose_and_find_again(core: &mut Core) {
    core.handle_gap(0, GapCause::Disconnect, after(60));
    core.handle_reconnect(0, Some(after(120)));
}

/// A row that leaves out its project: the list was asked for by it.
fn row(feed: &Feed, status: &str) -> Value {
    json!({"id": feed.run, "script_name": feed.script, "status": status,
           "started_at": stamp(70_000), "finished_at": stamp(71_000)})
}

#[test]
fn a_run_that_began_and_ended_while_we_were_away_is_told_counted_and_sent_once() {
    let missed = one_task(1);
    let mut core = repairing(|_| ());
    lose_and_find_again(&mut core);
    let asked = read_lists(&mut core, &[row(&missed, "completed")]);
    assert_eq!(asks_log(&asked, &missed), 1, "four lists had it");
    give_log(&mut core, &missed);
    let summary = core.poll_summary().expect("it has ended");
    assert_eq!((summary.verified, summary.tasks.passed), ("match", 1));
    assert_eq!(summary.project, Some(1), "the list knows it");
    assert_eq!(sent(&mut core), ["task a", "invoke_workflow review"]);

    lose_and_find_again(&mut core);
    let asked = read_lists(&mut core, &[row(&missed, "completed")]);
    assert_eq!(asked, [], "it is sealed");
    assert_eq!((core.open_runs(), sent(&mut core).len()), (0, 0));
}

#[test]
fn a_run_that_began_while_we_were_away_is_joined() {
    let begun = one_task(1);
    let mut core = repairing(|_| ());
    lose_and_find_again(&mut core);
    let asked = read_lists(&mut core, &[row(&begun, "running")]);
    assert_eq!(asks_log(&asked, &begun), 1);
    let log = page(&begun, 2, false);
    core.handle_log_page(&named(&begun), 0, log.as_bytes(), after(130));
    let rest = sse(&begun.script, &begun.lines[2..], 1);
    core.handle_bytes(0, &rest, Some(after(131)));
    assert_eq!(core.poll_summary().expect("it ended").verified, "match");
    assert_eq!(sent(&mut core), ["task a", "invoke_workflow review"]);
}

#[test]
fn a_missed_run_without_a_log_is_counted_as_its_row_says() {
    for (status, outcome) in [("failed", "error"), ("cancelled", "cancelled")] {
        let missed = one_task(1);
        let mut core = repairing(|_| ());
        lose_and_find_again(&mut core);
        read_lists(&mut core, &[row(&missed, status)]);
        core.handle_log_refused(&named(&missed), NoAnswer::ForGood, after(130));
        let summary = core.poll_summary().expect("it has ended");
        assert_eq!((summary.outcome, summary.verified), (outcome, "unchecked"));
        assert_eq!(summary.duration.total_ms, 1_000, "by its row");
        assert_eq!(sent(&mut core), ["invoke_workflow review"]);
    }
}

#[test]
fn a_missed_run_that_must_make_room_ends_as_its_row_says() {
    let (missed, next) = (one_task(1), one_task(2));
    let mut core = repairing(|settings| settings.limits.open_runs_max = 1);
    lose_and_find_again(&mut core);
    read_lists(&mut core, &[row(&missed, "completed")]);
    core.handle_bytes(0, &next.sse(1), Some(after(130)));
    let summary = core.poll_summary().expect("it made room");
    assert_eq!(*summary.execution_id, *missed.run);
    assert_eq!(summary.outcome, "success");
}

#[test]
fn a_run_that_may_have_ended_and_been_forgotten_is_not_opened_again() {
    let (old, newer) = (one_task(1), one_task(2));
    let mut core = repairing(|settings| settings.limits.sealed_runs_max = 1);
    core.handle_bytes(0, &old.sse(1), Some(after(71)));
    core.handle_bytes(0, &newer.sse(1), Some(after(71)));
    assert_eq!(core.open_runs(), 0);
    lose_and_find_again(&mut core);
    let rows = [row(&old, "completed"), row(&newer, "completed")];
    assert_eq!(read_lists(&mut core, &rows), []);
    assert_eq!(core.open_runs(), 0);
}

#[test]
fn a_listed_run_that_nobody_wants_or_whose_state_is_unknown_is_left_alone() {
    let exclude = ["review".to_owned()];
    let unwanted = Selection::new(&[], &exclude, 1.0).expect("a pattern");
    let mut core = repairing(|settings| settings.selection = unwanted);
    lose_and_find_again(&mut core);
    assert_eq!(read_lists(&mut core, &[row(&one_task(1), "completed")]), []);

    let mut core = repairing(|_| ());
    lose_and_find_again(&mut core);
    assert_eq!(read_lists(&mut core, &[row(&one_task(1), "dreaming")]), []);
    assert_eq!(core.open_runs(), 0);
}

#[test]
fn a_list_goes_on_until_a_page_is_empty_whatever_size_pages_have() {
    let mut core = repairing(|_| ());
    lose_and_find_again(&mut core);
    let asked = wishes(&mut core);
    let rows = json!([
        row(&one_task(1), "completed"),
        row(&one_task(2), "completed")
    ]);
    core.handle_rows(&asked[0], Some(rows.to_string().as_bytes()), BEGIN);
    let next = wishes(&mut core);
    assert!(
        matches!(next[..], [.., Wish::ListRuns { offset: 2, .. }]),
        "{next:?}"
    );
    let list = next.last().expect("it is there");
    core.handle_rows(list, Some(b"[]"), BEGIN);
    assert_eq!(wishes(&mut core), []);
}

#[test]
fn a_list_that_could_not_be_had_is_asked_for_again_without_another_gap() {
    let missed = one_task(1);
    let mut core = repairing(|_| ());
    lose_and_find_again(&mut core);
    for wish in &wishes(&mut core) {
        core.handle_rows(wish, None, after(120));
    }
    core.handle_tick(after(121));
    assert_eq!(wishes(&mut core), [], "not at once");
    core.handle_tick(after(180));
    let asked = read_lists(&mut core, &[row(&missed, "completed")]);
    assert_eq!(asks_log(&asked, &missed), 1);
    give_log(&mut core, &missed);
    assert_eq!(sent(&mut core), ["task a", "invoke_workflow review"]);
}

#[test]
fn what_one_feed_missed_is_listed_from_when_it_was_lost_though_others_go_on() {
    let mut core = repairing(|settings| settings.feeds = vec![Some(1), Some(2)]);
    core.handle_connect(1, Some(BEGIN));
    read_lists(&mut core, &[]);
    core.handle_gap(0, GapCause::Disconnect, after(10));
    let mut other = Feed::of_run("other", &run_id(7));
    other.at(900_000).start();
    core.handle_bytes(1, &other.sse(1), Some(after(900)));
    core.handle_reconnect(0, Some(after(901)));
    let asked = wishes(&mut core);
    let since = asked.iter().find_map(|wish| match wish {
        Wish::ListRuns { since, .. } => *since,
        _ => None,
    });
    assert!(since.expect("it is known") < after(10), "{since:?}");
}

#[test]
fn a_server_whose_clock_is_years_ahead_does_not_hide_what_is_missed() {
    let mut core = repairing(|_| ());
    let mut future = one_task(1);
    future.at(50 * 365 * 86_400_000).task("late");
    core.handle_bytes(0, &future.sse(1), Some(after(71)));
    lose_and_find_again(&mut core);
    let asked = wishes(&mut core);
    let is_since_now = |wish: &Wish| matches!(wish, Wish::ListRuns { since: Some(since), .. } if *since <= after(60));
    assert!(asked.iter().any(is_since_now), "{asked:?}");
}

#[test]
fn while_the_feed_is_away_no_log_is_asked_for() {
    let feed = one_task(1);
    let mut core = repairing(|_| ());
    core.handle_bytes(0, &sse(&feed.script, &feed.lines[..2], 1), Some(after(71)));
    core.handle_gap(0, GapCause::Disconnect, after(72));
    assert_eq!(wishes(&mut core), []);
    core.handle_reconnect(0, Some(after(80)));
    assert_eq!(asks_log(&wishes(&mut core), &feed), 1);
}

#[test]
fn a_page_that_was_on_its_way_when_the_feed_was_lost_does_not_end_the_hold() {
    let feed = one_task(1);
    let mut core = repairing(|_| ());
    core.handle_bytes(0, &sse(&feed.script, &feed.lines[..2], 1), Some(after(71)));
    core.handle_gap(0, GapCause::Lagged, after(72));
    assert_eq!(asks_log(&wishes(&mut core), &feed), 1);
    core.handle_gap(0, GapCause::Disconnect, after(73));
    let early = page(&feed, 2, false);
    core.handle_log_page(&named(&feed), 0, early.as_bytes(), after(74));
    assert!(core.runs().all(|run| run.held), "more may have been missed");
    assert_eq!(wishes(&mut core), []);
    core.handle_reconnect(0, Some(after(80)));
    assert_eq!(asks_log(&wishes(&mut core), &feed), 1);
    let rest: Vec<Value> = feed.lines[2..].iter().map(|line| line.logged()).collect();
    let last = feed.lines.last().map(|line| line.seq);
    let rest = json!({"events": rest, "complete": true, "has_more": false, "next_after_id": last});
    let from = feed.lines[1].seq;
    core.handle_log_page(&named(&feed), from, rest.to_string().as_bytes(), after(81));
    assert_eq!(core.poll_summary().expect("it ended").verified, "match");
}

#[test]
fn a_run_that_is_met_while_the_feed_is_away_is_not_read_before_it_is_there_again() {
    let begun = one_task(1);
    let mut core = repairing(|_| ());
    lose_and_find_again(&mut core);
    let asked = wishes(&mut core);
    core.handle_gap(0, GapCause::Disconnect, after(121));
    answer_lists(&mut core, &asked, &[row(&begun, "running")]);
    assert_eq!(core.open_runs(), 1);
    assert_eq!(asks_log(&wishes(&mut core), &begun), 0);
    core.handle_reconnect(0, Some(after(140)));
    assert_eq!(asks_log(&wishes(&mut core), &begun), 1);
}
