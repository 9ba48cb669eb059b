//! A process after another on one store: what was asked for is asked for anew,
//! and whatever is configured by then, nothing is sent twice.

#![allow(clippy::expect_used, reason = "a test that cannot go on should stop")]

mod support;

use runtrail::core::{Core, CoreSettings, Part, RestoreError};
use runtrail::run::outputs::{GapCause, Wish};
use runtrail::run::table::NoAnswer;
use serde_json::{Value, json};
use support::by_hand::{BEGIN, after, asks_log, give_log, named, one_task, page, sent, wishes};
use support::trace::spans;
use support::{Feed, batches, core, settings, sse, stamp};

fn configured() -> CoreSettings {
    CoreSettings {
        repair: true,
        feeds: vec![Some(1)],
        ..settings(false)
    }
}

/// A first life, with nothing left to ask.
fn first_life(settings: &CoreSettings) -> Core {
    let mut core = core(settings.clone());
    core.resume(settings, true, BEGIN);
    core.handle_connect(0, Some(BEGIN));
    answer_lists(&mut core);
    core
}

/// All lists are empty.
fn answer_lists(core: &mut Core) -> Vec<Wish> {
    let asked = wishes(core);
    for wish in &asked {
        core.handle_rows(wish, Some(b"[]"), BEGIN);
    }
    let others = asked.into_iter();
    others
        .filter(|wish| !matches!(wish, Wish::ListRuns { .. }))
        .collect()
}

fn entries(core: &Core) -> Vec<Vec<u8>> {
    core.entries().map(<[u8]>::to_vec).collect()
}

/// A further life, from what was saved.
fn from_checkpoint(core: &Core, settings: &CoreSettings) -> Core {
    let parts: Vec<Part> = core.save().collect();
    let mut next = Core::restore(settings.clone(), parts).expect("our own");
    next.resume(settings, true, after(100));
    next
}

/// A further life, from what was written down; so much of it is in safety.
fn from_journal(journal: &[Vec<u8>], through: u64, settings: &CoreSettings) -> Core {
    let mut next = core(settings.clone());
    next.discard_through(through);
    for entry in journal {
        // A damaged one costs itself.
        let _ = next.replay(entry);
        wishes(&mut next);
    }
    next.resume(settings, true, after(100));
    next
}

fn hear(core: &mut Core, feed: &Feed, events: std::ops::Range<usize>) {
    let bytes = sse(&feed.script, &feed.lines[events], 1);
    core.handle_bytes(0, &bytes, Some(after(71)));
}

#[test]
fn a_page_of_a_log_that_was_asked_for_is_asked_for_anew_once_there_is_a_feed() {
    let feed = one_task(1);
    let mut before = first_life(&configured());
    hear(&mut before, &feed, 1..2);
    assert_eq!(asks_log(&wishes(&mut before), &feed), 1);
    let mut core = from_checkpoint(&before, &configured());
    assert_eq!(asks_log(&wishes(&mut core), &feed), 0);
    core.handle_connect(0, Some(after(101)));
    assert_eq!(asks_log(&answer_lists(&mut core), &feed), 1);
    give_log(&mut core, &feed);
    assert_eq!(core.poll_summary().expect("it ended").verified, "match");
}

#[test]
fn the_facts_of_an_ended_run_are_asked_for_anew() {
    let settings = CoreSettings {
        enrich: true,
        ..configured()
    };
    let feed = one_task(1);
    let mut before = first_life(&settings);
    hear(&mut before, &feed, 0..4);
    let asked = wishes(&mut before);
    assert!(matches!(asked[..], [Wish::AskFacts { .. }]), "{asked:?}");
    let mut core = from_checkpoint(&before, &settings);
    assert_eq!(wishes(&mut core), asked);
    core.handle_facts(&named(&feed), None, None, after(102));
    assert_eq!(sent(&mut core), ["invoke_workflow review"]);
}

#[test]
fn the_row_of_a_silent_run_is_asked_for_anew() {
    let mut before = first_life(&configured());
    hear(&mut before, &one_task(1), 0..2);
    before.handle_tick(after(2 * 3_600));
    let asked = wishes(&mut before);
    assert!(matches!(asked[..], [Wish::AskRow { .. }]), "{asked:?}");
    assert_eq!(wishes(&mut from_checkpoint(&before, &configured())), asked);
}

#[test]
fn a_list_that_was_not_read_to_its_end_is_asked_for_anew_from_its_beginning() {
    let mut before = first_life(&configured());
    before.handle_gap(0, GapCause::Disconnect, after(10));
    before.handle_reconnect(0, Some(after(20)));
    let asked = wishes(&mut before);
    assert_eq!(asked.len(), 4);
    let row = format!(
        r#"[{{"id": "x", "script_name": "review", "status": "?", "started_at": "{}"}}]"#,
        stamp(1)
    );
    before.handle_rows(&asked[0], Some(row.as_bytes()), after(21));
    let next = wishes(&mut before);
    assert!(
        matches!(next[..], [Wish::ListRuns { offset: 1, .. }]),
        "{next:?}"
    );
    assert_eq!(wishes(&mut from_checkpoint(&before, &configured())), asked);
    let journal = entries(&before);
    assert_eq!(wishes(&mut from_journal(&journal, 0, &configured())), asked);
}

#[test]
fn what_is_owed_is_paid_by_a_later_life() {
    let (paying, waiting) = (one_task(1), one_task(2));
    let mut before = first_life(&configured());
    before.handle_room(false, after(1));
    for feed in [&paying, &waiting] {
        hear(&mut before, feed, 0..4);
    }
    assert_eq!(before.owed_runs(), 2);
    let mut core = from_checkpoint(&before, &configured());
    assert_eq!(wishes(&mut core), [], "there is no room yet");
    core.handle_room(true, after(101));
    assert_eq!(wishes(&mut core).len(), 2);
    let mut core = from_checkpoint(&core, &configured());
    let asked = wishes(&mut core);
    assert_eq!(
        (asks_log(&asked, &paying), asks_log(&asked, &waiting)),
        (1, 1)
    );
    for feed in [&paying, &waiting] {
        give_log(&mut core, feed);
    }
    assert_eq!((sent(&mut core).len(), core.owed_runs()), (4, 0));
}

#[test]
fn the_store_of_another_source_is_refused() {
    let before = first_life(&configured());
    let other = CoreSettings {
        source: "other".to_owned(),
        ..configured()
    };
    let refused = Core::restore(other, before.save());
    assert!(
        matches!(refused, Err(RestoreError::OtherSource { .. })),
        "{refused:?}"
    );
}

/// A run that is open, whose first task is sent, in small batches; what of it was
/// written down, and until where all is in safety.
fn half_a_run(settings: &CoreSettings) -> (Vec<Vec<u8>>, u64, Vec<String>) {
    let mut before = first_life(settings);
    hear(&mut before, &one_task(1), 0..3);
    before.handle_drain();
    let batches = batches(&mut before);
    let through = batches.last().expect("the task").through;
    let names = spans(&batches).into_iter().map(|span| span.name).collect();
    (entries(&before), through, names)
}

#[test]
fn what_is_in_safety_is_not_made_again_whatever_is_configured_by_then() {
    let smaller = |change: fn(&mut CoreSettings)| {
        let mut settings = configured();
        change(&mut settings);
        settings
    };
    for later in [
        configured(),
        smaller(|settings| settings.limits.batch_bytes_max = 300),
        smaller(|settings| settings.limits.open_runs_max = 1),
        smaller(|settings| settings.limits.repair_wait_max = std::time::Duration::ZERO),
        smaller(|settings| settings.limits.published_nodes_max = 1),
        smaller(|settings| settings.limits.sealed_runs_max = 1),
        smaller(|settings| settings.repair = false),
        smaller(|settings| settings.enrich = true),
    ] {
        let (journal, through, names) = half_a_run(&configured());
        assert_eq!(names, ["task a"]);
        let mut core = from_journal(&journal, through, &later);
        core.handle_connect(0, Some(after(101)));
        answer_lists(&mut core);
        core.handle_tick(after(101));
        let log = page(&one_task(1), 3, false);
        core.handle_log_page(&named(&one_task(1)), 0, log.as_bytes(), after(102));
        hear(&mut core, &one_task(1), 2..4);
        core.handle_facts(&named(&one_task(1)), None, None, after(103));
        assert_eq!(
            sent(&mut core),
            ["invoke_workflow review"],
            "{:?}",
            later.limits
        );
    }
}

#[test]
fn what_was_sent_while_nobody_could_be_asked_is_not_sent_again_by_a_life_with_repair() {
    let without = CoreSettings {
        repair: false,
        ..configured()
    };
    let feed = one_task(1);
    let mut first = first_life(&configured());
    hear(&mut first, &feed, 0..2);
    let mut second = from_checkpoint(&first, &without);
    second.handle_connect(0, Some(after(101)));
    hear(&mut second, &feed, 2..3);
    assert_eq!(sent(&mut second), ["task a"]);
    let mut third = from_checkpoint(&second, &configured());
    third.handle_connect(0, Some(after(102)));
    answer_lists(&mut third);
    third.handle_log_page(
        &named(&feed),
        0,
        page(&feed, 3, false).as_bytes(),
        after(103),
    );
    hear(&mut third, &feed, 3..4);
    assert_eq!(sent(&mut third), ["invoke_workflow review"]);
}

#[test]
fn a_life_without_repair_waits_for_no_answer_and_asks_for_nothing() {
    let feed = one_task(1);
    let without = CoreSettings {
        repair: false,
        ..configured()
    };
    let mut before = first_life(&configured());
    before.handle_room(false, after(1));
    hear(&mut before, &one_task(2), 0..4);
    hear(&mut before, &feed, 1..4);
    assert!(wishes(&mut before).len() == 1, "its log is asked for");
    let mut core = from_checkpoint(&before, &without);
    assert_eq!(core.poll_summary().expect("it had ended").tasks.passed, 1);
    core.handle_connect(0, Some(after(101)));
    core.handle_tick(after(102));
    assert_eq!(wishes(&mut core), []);
}

#[test]
fn a_damaged_entry_costs_itself_and_its_run_is_made_whole_from_its_log() {
    let feed = one_task(1);
    let mut before = first_life(&configured());
    for n in 0..3 {
        hear(&mut before, &feed, n..n + 1);
    }
    let mut journal = entries(&before);
    let damaged = journal.len() - 2;
    journal[damaged].truncate(3);
    let mut core = from_journal(&journal, 0, &configured());
    core.handle_connect(0, Some(after(101)));
    assert_eq!(asks_log(&answer_lists(&mut core), &feed), 1);
    give_log(&mut core, &feed);
    let summary = core.poll_summary().expect("it ended");
    assert_eq!((summary.verified, summary.tasks.passed), ("match", 1));
    assert_eq!(sent(&mut core), ["task a", "invoke_workflow review"]);
}

#[test]
fn a_damaged_page_of_a_log_is_read_again_and_so_are_those_behind_it() {
    let feed = one_task(1);
    let mut before = first_life(&configured());
    hear(&mut before, &feed, 1..2);
    let first = more_to_come(&feed, 0..2);
    before.handle_log_page(&named(&feed), 0, first.as_bytes(), after(72));
    let damaged = entries(&before).len() - 1;
    let second = more_to_come(&feed, 2..3);
    before.handle_log_page(
        &named(&feed),
        feed.lines[1].seq,
        second.as_bytes(),
        after(73),
    );
    let mut journal = entries(&before);
    let half = journal[damaged].len() - 4;
    journal[damaged].truncate(half);
    let mut core = from_journal(&journal, 0, &configured());
    core.handle_connect(0, Some(after(101)));
    assert_eq!(asks_log(&answer_lists(&mut core), &feed), 1);
    give_log(&mut core, &feed);
    let summary = core.poll_summary().expect("it ended");
    assert_eq!((summary.verified, summary.tasks.passed), ("match", 1));
    assert_eq!(sent(&mut core), ["task a", "invoke_workflow review"]);
}

/// A page of the log that is not the last one.
fn more_to_come(feed: &Feed, events: std::ops::Range<usize>) -> String {
    let lines = &feed.lines[events];
    let events: Vec<Value> = lines.iter().map(|line| line.logged()).collect();
    let last = lines.last().map(|line| line.seq);
    json!({"events": events, "complete": false, "has_more": true, "next_after_id": last})
        .to_string()
}

#[test]
fn an_answer_that_cannot_be_read_is_counted_by_whoever_is_told_again() {
    let feed = one_task(1);
    let mut before = first_life(&configured());
    hear(&mut before, &feed, 0..2);
    before.handle_row(&named(&feed), Some(b"{"), after(72));
    let rejected = before.deltas().rejected;
    assert_eq!(rejected.iter().sum::<u64>(), 1);
    let mut again = core(configured());
    for entry in &entries(&before) {
        again.replay(entry).expect("our own");
    }
    assert_eq!(again.deltas().rejected, rejected);
}

#[test]
fn a_log_that_is_refused_in_one_life_is_refused_when_it_is_told_again() {
    let feed = one_task(1);
    let mut before = first_life(&configured());
    hear(&mut before, &feed, 1..2);
    before.handle_log_refused(&named(&feed), NoAnswer::ForGood, after(72));
    hear(&mut before, &feed, 2..4);
    let names = sent(&mut before);
    let mut again = core(configured());
    for entry in &entries(&before) {
        assert!(again.replay(entry).expect("our own"));
    }
    assert_eq!(sent(&mut again), names);
    assert_eq!(again.position(), before.position());
}
