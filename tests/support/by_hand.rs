//! A server that is asked by hand: its rows and logs, and what comes of them.

use runtrail::core::Core;
use runtrail::run::outputs::Wish;
use runtrail::wire::event::RunRef;
use runtrail::wire::time::Time;
use serde_json::{Value, json};

use super::asked::by_id;
use super::trace::spans;
use super::workload::run_id;
use super::{Feed, batches, usage};

/// 2026-05-07T10:00:00Z, when the feeds begin.
pub const BEGIN: Time = Time(1_778_148_000_000_000_000);

pub fn after(seconds: u64) -> Time {
    Time(BEGIN.0 + seconds * 1_000_000_000)
}

pub fn wishes(core: &mut Core) -> Vec<Wish> {
    std::iter::from_fn(|| core.poll_wish()).collect()
}

pub fn named(feed: &Feed) -> RunRef<'_> {
    RunRef {
        project: Some(1),
        workflow: feed.script.as_str().into(),
        id: Some(feed.run.as_str().into()),
        epoch: None,
    }
}

/// A page of the log with so many of its events.
pub fn page(feed: &Feed, events: usize, complete: bool) -> String {
    let lines = &feed.lines[..events];
    let events: Vec<Value> = lines.iter().map(|line| line.logged()).collect();
    json!({"events": events, "complete": complete, "has_more": false,
           "next_after_id": lines.last().map(|line| line.seq)})
    .to_string()
}

pub fn give_log(core: &mut Core, feed: &Feed) {
    let log = page(feed, feed.lines.len(), true);
    core.handle_log_page(&named(feed), 0, log.as_bytes(), after(130));
}

pub fn asks_log(wishes: &[Wish], feed: &Feed) -> usize {
    let is_log =
        |wish: &&Wish| matches!(wish, Wish::ReadLog { run_id, .. } if **run_id == *feed.run);
    wishes.iter().filter(is_log).count()
}

/// A run of one task, which begins 70 seconds in.
pub fn one_task(n: usize) -> Feed {
    let mut feed = Feed::of_run("review", &run_id(n));
    feed.at(70_000).start().task("a");
    feed.at(70_500).task_end("a", 500, usage(10, 5));
    feed.at(71_000).end([10, 5, 1]);
    feed
}

/// The names of the spans that were sent since this was asked last, none of them
/// twice.
pub fn sent(core: &mut Core) -> Vec<String> {
    core.handle_drain();
    let spans = spans(&batches(core));
    by_id(spans.clone());
    spans.into_iter().map(|span| span.name).collect()
}
