//! A server that crashes and begins a run again tells what tasks used once more:
//! it counts once, in metrics, in sums and on spans, whatever was heard of it.

#![allow(clippy::expect_used, reason = "a test that cannot go on should stop")]

mod support;

use opentelemetry_proto::tonic::trace::v1::Span;
use runtrail::core::{Core, CoreSettings, Part};
use runtrail::metrics::delta::Delta;
use runtrail::run::outputs::GapCause;
use runtrail::run::table::NoAnswer;
use runtrail::wire::time::Time;
use serde_json::{Value, json};
use support::by_hand::{named, page};
use support::trace::{attribute, spans};
use support::{Feed, Line, batches, core, settings, sse, usage};

/// Tokens in and out.
type Tokens = (u64, u64);

/// What came of a run.
struct Came {
    metrics: Tokens,
    spans: Vec<Span>,
    /// Of its summary.
    sums: Tokens,
    verified: &'static str,
}

impl Came {
    fn of(mut core: Core) -> Self {
        core.handle_end_of_runs();
        let summary = core.poll_summary().expect("the run has ended");
        let sums = summary.tokens.iter();
        let deltas = core.deltas().in_order.iter();
        let used = deltas.filter_map(|delta| match delta {
            Delta::TaskFinished { tokens, .. } => tokens.as_ref(),
            _ => None,
        });
        Self {
            metrics: used.fold((0, 0), |sum, model| {
                (sum.0 + model.input, sum.1 + model.output)
            }),
            sums: sums.fold((0, 0), |sum, model| {
                (sum.0 + model.input, sum.1 + model.output)
            }),
            verified: summary.verified,
            spans: spans(&batches(&mut core)),
        }
    }

    /// Everything says the same.
    #[track_caller]
    fn says(&self, paid: Tokens) {
        assert_eq!(self.metrics, paid, "the metrics");
        assert_eq!(self.sums, paid, "the summary");
        let on_spans = |key: &str| self.numbers(key).iter().sum::<u64>();
        let usage =
            ["input", "output"].map(|side| on_spans(&format!("gen_ai.usage.{side}_tokens")));
        assert_eq!(usage, [paid.0, paid.1], "the spans");
        let root = self
            .spans
            .iter()
            .find(|span| span.parent_span_id.is_empty());
        let root = root.expect("the run's own");
        let of_root = ["input", "output"]
            .map(|side| attribute(root, &format!("runtrail.tokens.{side}")).expect("a sum"));
        assert_eq!(
            of_root,
            [paid.0.to_string(), paid.1.to_string()],
            "the root"
        );
    }

    /// A number on all spans that have it.
    fn numbers(&self, key: &str) -> Vec<u64> {
        let of = |span: &Span| attribute(span, key)?.parse().ok();
        self.spans.iter().filter_map(of).collect()
    }

    fn replayed(&self) -> usize {
        let of = |span: &&Span| attribute(span, "runtrail.task.replayed").is_some();
        self.spans.iter().filter(of).count()
    }
}

fn heard(feed: &Feed) -> Came {
    let mut core = core(settings(false));
    core.handle_bytes(0, &feed.sse(3), None);
    Came::of(core)
}

/// A run of which a task had ended when its server crashed, and ended once more.
fn crashed() -> Feed {
    let mut feed = Feed::of("review");
    feed.start().at(10).task("read");
    feed.at(500).task_end("read", 490, usage(100, 10));
    feed.at(510).task("write");
    feed.at(60_000).start();
    feed.at(60_001).task("read").replay_hit();
    feed.at(60_002).task_end("read", 490, usage(100, 10));
    feed
}

/// The log of a run from its beginning.
fn log(feed: &Feed) -> String {
    page(feed, feed.lines.len(), true)
}

fn repairing() -> CoreSettings {
    CoreSettings {
        repair: true,
        ..settings(false)
    }
}

#[test]
fn a_task_that_ends_once_more_was_paid_once_and_its_span_says_so() {
    let mut feed = crashed();
    feed.at(60_003).task("write");
    feed.at(61_000).task_end("write", 990, usage(40, 4));
    feed.at(61_001).end([140, 14, 2]);
    let came = heard(&feed);
    came.says((140, 14));
    assert_eq!((came.verified, came.replayed()), ("match", 1));
    let again = came
        .spans
        .iter()
        .find(|span| attribute(span, "runtrail.task.replayed").is_some());
    let again = again.expect("it is marked");
    for (key, value) in [
        ("runtrail.tokens.input", Some("100")),
        ("runtrail.tokens.output", Some("10")),
        ("gen_ai.operation.name", None),
        ("gen_ai.request.model", None),
    ] {
        assert_eq!(attribute(again, key).as_deref(), value, "{key}");
    }
    assert_eq!(again.links.len(), 1, "it leads to the first");
    let first = |span: &&Span| span.span_id == again.links[0].span_id;
    let first = came.spans.iter().find(first).expect("it was sent");
    assert_eq!(
        attribute(first, "gen_ai.usage.input_tokens").as_deref(),
        Some("100")
    );
}

#[test]
fn a_server_that_adds_up_what_it_told_twice_agrees_all_the_same() {
    let mut feed = crashed();
    feed.end([200, 20, 2]);
    let came = heard(&feed);
    came.says((100, 10));
    assert_eq!(came.verified, "match");
}

#[test]
fn a_model_that_was_called_again_is_paid_again() {
    let mut feed = Feed::of("review");
    feed.start().task("read");
    feed.at(500).task_end("read", 500, usage(100, 10));
    feed.at(60_000).start().task("read");
    feed.at(60_500).task_end("read", 500, usage(100, 10));
    feed.end([200, 20, 2]);
    let came = heard(&feed);
    came.says((200, 20));
    assert_eq!(came.replayed(), 0);
}

#[test]
fn a_task_that_was_open_at_the_crash_is_paid_with_its_replayed_answers() {
    let mut feed = crashed();
    // Two of its answers are replayed, the third is new.
    feed.at(60_003).task("write").replay_hit().replay_hit();
    feed.at(61_000).task_end("write", 990, usage(75, 7));
    feed.end([175, 17, 2]);
    let came = heard(&feed);
    came.says((175, 17));
    assert_eq!(came.replayed(), 1);
}

#[test]
fn a_task_that_goes_further_than_before_is_paid_for_what_is_new() {
    let mut feed = Feed::of("review");
    feed.start().task("read");
    let mut failed = usage(100, 10);
    support::merge(&mut failed, json!({"variant": "failed"}));
    feed.at(500).task_end("read", 500, failed);
    feed.at(60_000).start().task("read").replay_hit();
    feed.at(60_500).task_end("read", 500, usage(180, 25));
    feed.end([180, 25, 1]);
    let came = heard(&feed);
    came.says((180, 25));
    assert_eq!(came.numbers("gen_ai.usage.input_tokens"), [100, 80]);
    let further = came.spans.iter().find(|span| !span.links.is_empty());
    let whole = further.and_then(|span| attribute(span, "runtrail.tokens.input"));
    assert_eq!(whole.as_deref(), Some("180"), "what it told as a whole");
    assert_eq!(came.verified, "match");
}

#[test]
fn what_ended_in_a_sub_script_is_paid_once_too() {
    let call = json!({"script_name": "child", "parent_task": "x"});
    let mut feed = Feed::of("parent");
    feed.start()
        .inside(Some(call.clone()))
        .start()
        .task("inner");
    feed.at(500).task_end("inner", 500, usage(2, 3));
    feed.at(60_000).inside(None).start();
    feed.inside(Some(call)).start().task("inner").replay_hit();
    feed.at(60_001)
        .task_end("inner", 500, usage(2, 3))
        .end([2, 3, 1]);
    feed.inside(None).end([2, 3, 1]);
    let came = heard(&feed);
    came.says((2, 3));
    assert_eq!(came.replayed(), 1);
}

#[test]
fn a_run_that_crashes_twice_is_paid_once() {
    let mut feed = crashed();
    for ms in [120_000, 180_000] {
        feed.at(ms).start().at(ms + 1).task("read").replay_hit();
        feed.at(ms + 2).task_end("read", 490, usage(100, 10));
    }
    feed.end([100, 10, 1]);
    let came = heard(&feed);
    came.says((100, 10));
    assert_eq!(came.replayed(), 3);
}

#[test]
fn what_was_heard_only_when_it_was_told_again_counts_then() {
    let mut feed = crashed();
    feed.end([100, 10, 1]);
    // The first end was lost, and there is no log to ask for.
    feed.lines.remove(2);
    let came = heard(&feed);
    came.says((100, 10));
    assert_eq!(came.replayed(), 0);
}

#[test]
fn an_end_that_is_found_in_the_log_does_not_count_beside_its_repeat() {
    let mut feed = crashed();
    // The server adds up both lives, so that the run is doubted and its log is read.
    feed.end([200, 20, 2]);
    let second_life = &feed.lines[4..];
    let mut core = core(repairing());
    core.handle_bytes(0, &sse(&feed.script, second_life, 1), Some(Time(1)));
    assert!(core.poll_summary().is_none(), "the run waits for its log");
    core.handle_log_page(&named(&feed), 0, log(&feed).as_bytes(), Time(2));
    let came = Came::of(core);
    came.says((100, 10));
    let reads = came.spans.iter().filter(|span| span.name == "task read");
    assert_eq!(reads.count(), 2);
}

/// There is no room when the listener hears a run from its second life on, and then
/// there is again.
#[test]
fn an_end_that_is_found_when_there_is_room_again_does_not_count_beside_its_repeat() {
    let mut feed = crashed();
    feed.end([200, 20, 2]);
    for (gaps, ends) in [(0, true), (0, false), (1, false), (2, false)] {
        let mut core = core(repairing());
        core.handle_room(false, Time(1));
        let end = feed.lines.len() - usize::from(!ends);
        let second_life = &feed.lines[4..end];
        core.handle_bytes(0, &sse(&feed.script, second_life, 1), Some(Time(1)));
        for gap in 0..gaps {
            // The log is read, or given up, while there is no room yet.
            core.handle_gap(0, GapCause::Lagged, Time(1));
            match gap {
                0 => core.handle_log_refused(&named(&feed), NoAnswer::ForGood, Time(1)),
                _ => core.handle_log_page(&named(&feed), 0, log(&feed).as_bytes(), Time(1)),
            }
        }
        core.handle_room(true, Time(2));
        core.handle_log_page(&named(&feed), 0, log(&feed).as_bytes(), Time(2));
        let mut came = Came::of(core);
        came.says((100, 10));
        came.spans.retain(|span| span.name == "task read");
        assert_eq!(came.spans.len(), 2, "{gaps} {ends}");
    }
}

#[test]
fn what_is_doubted_and_told_by_a_log_while_there_is_no_room_counts_once() {
    let mut feed = crashed();
    feed.end([200, 20, 2]);
    let mut core = core(repairing());
    // Its repeat is heard and sent, and then there is no room.
    let second_life = &feed.lines[4..];
    let (heard, end) = second_life.split_at(second_life.len() - 1);
    core.handle_bytes(0, &sse(&feed.script, heard, 1), Some(Time(1)));
    core.handle_room(false, Time(1));
    core.handle_bytes(0, &sse(&feed.script, end, 1), Some(Time(1)));
    for (room, at) in [(false, 2), (true, 3)] {
        core.handle_room(room, Time(at));
        core.handle_log_page(&named(&feed), 0, log(&feed).as_bytes(), Time(at));
    }
    Came::of(core).says((100, 10));
}

#[test]
fn a_log_that_cannot_be_had_makes_nothing_count_twice() {
    let mut feed = crashed();
    feed.end([1, 1, 1]);
    let mut core = core(repairing());
    core.handle_bytes(0, &feed.sse(1), Some(Time(1)));
    core.handle_log_refused(&named(&feed), NoAnswer::ForGood, Time(2));
    Came::of(core).says((100, 10));
}

/// The run, whose listener is saved and restored after so many of its events.
fn restored(feed: &Feed, after: usize, change: impl Fn(&mut Vec<Part>)) -> Came {
    let (before, then) = feed.lines.split_at(after);
    let mut first = core(settings(false));
    first.handle_bytes(0, &sse(&feed.script, before, 1), None);
    first.handle_drain();
    let mut parts: Vec<Part> = first.save().collect();
    change(&mut parts);
    let mut second = Core::restore(settings(false), parts).expect("our own");
    second.handle_bytes(0, &sse(&feed.script, then, 1), None);
    gone_on(first, second)
}

/// What came of a run that ended in the second of two lives of its listener.
fn gone_on(mut first: Core, second: Core) -> Came {
    let mut came = Came::of(second);
    let earlier = first.deltas().in_order.iter();
    let used = earlier.filter_map(|delta| match delta {
        Delta::TaskFinished { tokens, .. } => tokens.as_ref(),
        _ => None,
    });
    came.metrics = used.fold(came.metrics, |sum, model| {
        (sum.0 + model.input, sum.1 + model.output)
    });
    came.spans.extend(spans(&batches(&mut first)));
    came
}

#[test]
fn whenever_its_listener_begins_again_too_a_run_is_paid_once() {
    let mut feed = crashed();
    feed.end([100, 10, 1]);
    for after in 1..feed.lines.len() {
        restored(&feed, after, |_| ()).says((100, 10));
    }
}

/// The last part without what may be missing behind it, and how much that was.
fn cut(parts: &mut [Part]) -> usize {
    let last = parts.len() - 1;
    let whole = parts[last].bytes.clone();
    let reads = |bytes: usize| {
        let mut parts = parts.to_vec();
        parts[last].bytes.truncate(bytes);
        Core::restore(settings(false), parts).is_ok()
    };
    let needed = (0..=whole.len()).rev().take_while(|bytes| reads(*bytes));
    let needed = needed.last().expect("the whole is read");
    parts[last].bytes.truncate(needed);
    whole.len() - needed
}

#[test]
fn a_store_of_a_version_that_did_not_know_of_repeats_is_read() {
    let mut feed = crashed();
    feed.end([100, 10, 1]);
    // What was not remembered counts as it did then.
    let came = restored(&feed, 4, |parts| assert!(cut(parts) > 16));
    came.says((200, 20));
}

#[test]
fn what_is_behind_a_run_in_another_form_is_passed_over() {
    let mut feed = crashed();
    feed.end([100, 10, 1]);
    let came = restored(&feed, 4, |parts| {
        cut(parts);
        let last = parts.last_mut().expect("the run");
        last.bytes.extend([255; 40]);
    });
    came.says((200, 20));
}

/// A listener that begins again when it has read the first life of the run's log.
fn begun_again_within_the_log(feed: &Feed, mut first: Core) -> [Core; 2] {
    let (before, then) = feed.lines.split_at(4);
    let page = |lines: &[Line], has_more| {
        let events: Vec<Value> = lines.iter().map(|line| line.logged()).collect();
        let last = lines.last().map(|line| line.seq);
        json!({"events": events, "complete": true, "has_more": has_more,
               "next_after_id": last})
        .to_string()
    };
    first.handle_log_page(&named(feed), 0, page(before, true).as_bytes(), Time(3));
    first.handle_drain();
    let mut second = Core::restore(repairing(), first.save()).expect("our own");
    let rest = page(then, false);
    second.handle_log_page(&named(feed), before[3].seq, rest.as_bytes(), Time(4));
    second.handle_drain();
    [first, second]
}

#[test]
fn a_run_that_is_held_is_paid_once_though_its_listener_begins_again_within_its_log() {
    let mut feed = crashed();
    feed.end([200, 20, 2]);
    let mut first = core(repairing());
    let second_life = &feed.lines[4..];
    first.handle_bytes(0, &sse(&feed.script, second_life, 1), Some(Time(1)));
    let [first, second] = begun_again_within_the_log(&feed, first);
    gone_on(first, second).says((100, 10));
}

#[test]
fn a_run_that_is_owed_is_paid_once_though_its_listener_begins_again_within_its_log() {
    let mut feed = crashed();
    feed.end([100, 10, 1]);
    let mut first = core(repairing());
    first.handle_room(false, Time(1));
    first.handle_bytes(0, &feed.sse(1), Some(Time(1)));
    first.handle_room(true, Time(2));
    let [_, mut second] = begun_again_within_the_log(&feed, first);
    let mut spans = spans(&batches(&mut second));
    let used = |span: &Span| attribute(span, "gen_ai.usage.input_tokens");
    assert_eq!(spans.iter().filter_map(used).collect::<Vec<_>>(), ["100"]);
    spans.retain(|span| span.name == "task read");
    assert_eq!(spans.len(), 2);
}
