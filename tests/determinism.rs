//! The same feed gives the same spans, however it comes: cut anywhere, runs
//! interleaved in any way, read twice, or with gaps that are repaired.

#![allow(clippy::expect_used, reason = "a test that cannot go on should stop")]

mod support;

use std::borrow::Cow;
use std::collections::BTreeMap;

use opentelemetry_proto::tonic::trace::v1::Span;
use proptest::prelude::*;
use runtrail::core::{Core, CoreSettings};
use runtrail::run::outputs::{GapCause, Wish};
use runtrail::wire::event::RunRef;
use runtrail::wire::time::Time;
use serde_json::{Value, json};
use support::workload::{interleave, run, run_id, steps};
use support::{Feed, Line, batches, core, settings, sse};

/// All batches of a feed that is given in pieces of these sizes.
fn bodies(bytes: &[u8], sizes: &[usize]) -> Vec<Vec<u8>> {
    let mut core = core(settings(false));
    let mut rest = bytes;
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let size = sizes
            .next()
            .map_or(rest.len(), |size| (*size).clamp(1, rest.len()));
        core.handle_bytes(&rest[..size], None);
        rest = &rest[size..];
    }
    finished(core).into_iter().map(|batch| batch.body).collect()
}

fn finished(mut core: Core) -> Vec<runtrail::trace::batch::Batch> {
    core.handle_end_of_input(None);
    core.handle_end_of_runs();
    batches(&mut core)
}

fn spans_of(bytes: &[u8]) -> Vec<Span> {
    let mut core = core(settings(false));
    core.handle_bytes(bytes, None);
    let spans = support::trace::spans(&finished(core));
    support::trace::check(&spans);
    spans
}

/// Spans by id, and no id twice.
fn by_id(spans: Vec<Span>) -> ById {
    let count = spans.len();
    let map: BTreeMap<_, _> = spans
        .into_iter()
        .map(|span| ((span.trace_id.clone(), span.span_id.clone()), span))
        .collect();
    assert_eq!(map.len(), count, "an id was sent twice");
    map
}

/// The first difference between two sets of spans, in few words.
fn difference(one: &ById, other: &ById) -> Option<String> {
    let told = |span: &Span| {
        support::trace::tree(&[Span {
            parent_span_id: vec![],
            ..span.clone()
        }])
    };
    let missing = |from: &ById, id, whose| {
        let span: &Span = &from[id];
        Some(format!(
            "only in {whose}, from {}: {}",
            span.start_time_unix_nano,
            told(span)
        ))
    };
    if let Some(id) = one.keys().find(|id| !other.contains_key(*id)) {
        return missing(one, id, "the first");
    }
    if let Some(id) = other.keys().find(|id| !one.contains_key(*id)) {
        return missing(other, id, "the second");
    }
    let id = one.keys().find(|id| one[*id] != other[*id])?;
    Some(format!(
        "first: {}second: {}",
        told(&one[id]),
        told(&other[id])
    ))
}

type ById = BTreeMap<(Vec<u8>, Vec<u8>), Span>;

fn feeds(runs: &[Vec<support::workload::Step>]) -> Vec<Feed> {
    runs.iter()
        .enumerate()
        .map(|(n, steps)| run(&run_id(n), steps))
        .collect()
}

/// A server with a log of each run, and a feed that loses events.
struct Server<'f> {
    feeds: &'f [Feed],
    /// How many events of each run have happened.
    happened: BTreeMap<String, usize>,
    page: usize,
}

impl Server<'_> {
    fn feed_of(&self, run: &str) -> &Feed {
        self.feeds
            .iter()
            .find(|feed| feed.run == run)
            .expect("a run of the workload")
    }

    /// Answers all that the core asks for, from what has happened so far.
    fn answer(&self, core: &mut Core, now: Time) {
        let mut asked = 0;
        while let Some(wish) = core.poll_wish() {
            let Wish::ReadLog { run_id, after } = wish else {
                continue;
            };
            asked += 1;
            assert!(asked < 10_000, "the core asks for ever");
            let feed = self.feed_of(&run_id);
            let log = &feed.lines[..self.happened[&*run_id]];
            let page: Vec<&Line> = log
                .iter()
                .filter(|line| line.seq > after)
                .take(self.page)
                .collect();
            let next = page.last().map_or(after, |line| line.seq);
            let has_more = log.last().is_some_and(|line| line.seq > next);
            let body = json!({
                "execution_id": &*run_id,
                "status": "running",
                "complete": log.len() == feed.lines.len(),
                "events": page.iter().map(|line| line.logged()).collect::<Vec<Value>>(),
                "next_after_id": next,
                "has_more": has_more,
            });
            let run = RunRef {
                project: Some(1),
                workflow: Cow::Borrowed(&feed.script),
                id: Some(Cow::Borrowed(&*run_id)),
                epoch: None,
            };
            core.handle_log_page(&run, body.to_string().as_bytes(), now);
        }
    }
}

/// The spans of a feed of which some stretches are lost and repaired. Each
/// number says whether its event arrives, and whether the server is asked now.
fn spans_with_gaps(
    feeds: &[Feed],
    lines: &[Line],
    fate: &[u8],
    page: usize,
    noticed: bool,
) -> Vec<Span> {
    let mut core = core(CoreSettings {
        repair: true,
        ..settings(false)
    });
    let mut server = Server {
        feeds,
        happened: feeds.iter().map(|feed| (feed.run.clone(), 0)).collect(),
        page,
    };
    let mut lost = false;
    let mut fate = fate.iter().cycle();
    for line in lines {
        let fate = fate.next().copied().unwrap_or_default();
        let now = Time(1_778_148_000_000_000_000 + line.ms * 1_000_000);
        *server
            .happened
            .get_mut(&line.run)
            .expect("a run of the workload") += 1;
        if fate < 60 {
            lost = true;
            continue;
        }
        if lost && noticed {
            core.handle_gap(GapCause::Disconnect, now);
            core.handle_reconnect(Some(now));
        }
        lost = false;
        core.handle_bytes(&sse("random", std::slice::from_ref(line), 1), Some(now));
        if fate % 3 == 0 {
            server.answer(&mut core, now);
        }
    }
    let now = Time(1_778_148_900_000_000_000);
    core.handle_gap(GapCause::Disconnect, now);
    server.answer(&mut core, now);
    support::trace::spans(&finished(core))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cutting_of_the_bytes_gives_the_same_bytes(
        runs in prop::collection::vec(steps(40), 1..4),
        order in prop::collection::vec(any::<u8>(), 1..30),
        sizes in prop::collection::vec(1usize..700, 1..20),
        per_frame in 1usize..9,
    ) {
        let bytes = sse("random", &interleave(&feeds(&runs), &order), per_frame);
        prop_assert_eq!(bodies(&bytes, &[bytes.len()]), bodies(&bytes, &sizes));
    }

    #[test]
    fn any_interleaving_of_runs_gives_the_same_spans(
        runs in prop::collection::vec(steps(40), 1..4),
        order in prop::collection::vec(any::<u8>(), 1..30),
    ) {
        let feeds = feeds(&runs);
        let mixed = spans_of(&sse("random", &interleave(&feeds, &order), 4));
        let mut alone = Vec::new();
        for feed in &feeds {
            alone.extend(spans_of(&feed.sse(4)));
        }
        let difference = difference(&by_id(mixed), &by_id(alone));
        prop_assert!(difference.is_none(), "{}", difference.unwrap_or_default());
    }

    #[test]
    fn no_chunk_and_no_end_of_a_task_is_missing_from_the_spans(
        runs in prop::collection::vec(steps(80), 1..4),
        order in prop::collection::vec(any::<u8>(), 1..30),
    ) {
        let lines = interleave(&feeds(&runs), &order);
        let spans = spans_of(&sse("random", &lines, 4));
        let said = |name: &str| {
            let of = |line: &&Line| {
                let event = &line.event;
                event["type"] == name || event["payload"]["child"]["type"] == name
            };
            lines.iter().filter(of).count() as u64
        };
        let count = |span: &Span| support::trace::attribute(span, "runtrail.chunks.count");
        let chunks: u64 = spans.iter().filter_map(count).filter_map(|n| n.parse::<u64>().ok()).sum();
        prop_assert_eq!(chunks, said("AgentOutput"));
        let ended = |span: &&Span| {
            span.name.starts_with("task ")
                && support::trace::attribute(span, "runtrail.incomplete").is_none()
        };
        prop_assert_eq!(spans.iter().filter(ended).count() as u64, said("TaskEnd"));
    }

    #[test]
    fn any_prefix_read_again_changes_nothing(
        steps in steps(60),
        prefix in any::<prop::sample::Index>(),
        with_places in any::<bool>(),
    ) {
        let feed = run(&run_id(0), &steps);
        let seen = prefix.index(feed.lines.len()) + 1;
        let mut core = core(settings(false));
        core.handle_bytes(&sse("random", &feed.lines[..seen], 3), None);
        core.handle_reconnect(None);
        let mut again = String::from_utf8(feed.sse(3)).expect("a feed is text");
        if !with_places {
            again = again.replace("\"seq\":", "\"was\":");
        }
        core.handle_bytes(again.as_bytes(), None);
        let spans = support::trace::spans(&finished(core));
        let difference = difference(&by_id(spans), &by_id(spans_of(&feed.sse(3))));
        prop_assert!(difference.is_none(), "{}", difference.unwrap_or_default());
    }

    #[test]
    fn a_feed_with_gaps_and_its_rebuild_give_the_spans_of_the_full_feed(
        runs in prop::collection::vec(steps(50), 1..4),
        order in prop::collection::vec(any::<u8>(), 1..30),
        fate in prop::collection::vec(any::<u8>(), 1..60),
        page in 1usize..20,
    ) {
        let feeds = feeds(&runs);
        let lines = interleave(&feeds, &order);
        let full = by_id(spans_of(&sse("random", &lines, 4)));
        let repaired = by_id(spans_with_gaps(&feeds, &lines, &fate, page, true));
        // A run of which nothing ever arrived is looked for by the source, not by the core.
        let seen: Vec<&Vec<u8>> = repaired.keys().map(|(trace, _)| trace).collect();
        let full: BTreeMap<_, _> =
            full.into_iter().filter(|((trace, _), _)| seen.contains(&trace)).collect();
        let difference = difference(&repaired, &full);
        prop_assert!(difference.is_none(), "{}", difference.unwrap_or_default());
    }

    #[test]
    fn a_gap_that_nobody_noticed_never_gives_an_id_two_contents(
        runs in prop::collection::vec(steps(50), 1..4),
        order in prop::collection::vec(any::<u8>(), 1..30),
        fate in prop::collection::vec(any::<u8>(), 1..60),
        page in 1usize..20,
    ) {
        let feeds = feeds(&runs);
        let lines = interleave(&feeds, &order);
        by_id(spans_with_gaps(&feeds, &lines, &fate, page, false));
    }
}
