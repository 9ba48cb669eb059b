//! The same feed gives the same spans, however it comes: cut anywhere, runs
//! interleaved in any way, read twice, or with gaps that are repaired.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

mod support;

use std::borrow::Cow;
use std::collections::BTreeMap;

use opentelemetry_proto::tonic::trace::v1::Span;
use proptest::prelude::*;
use runtrail::core::{Core, CoreSettings};
use runtrail::metrics::delta::Delta;
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
        core.handle_bytes(0, &rest[..size], None);
        rest = &rest[size..];
    }
    finished(core).into_iter().map(|batch| batch.body).collect()
}

fn finished(mut core: Core) -> Vec<runtrail::trace::batch::Batch> {
    core.handle_end_of_input(0, None);
    core.handle_end_of_runs();
    batches(&mut core)
}

fn spans_of(bytes: &[u8]) -> Vec<Span> {
    let mut core = core(settings(false));
    core.handle_bytes(0, bytes, None);
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

/// How a feed with gaps comes, and what the server's log is like.
#[derive(Debug, Clone, Copy)]
struct Way {
    /// Events on a page of the log.
    page: usize,
    /// A page arrives when more has happened since it was asked for.
    late: bool,
    /// Whether gaps are noticed.
    noticed: bool,
    /// Whether anything is really lost in a gap.
    loses: bool,
    /// Whether events tell their place in the log; if not, only frames do.
    places: bool,
    /// Whether the log keeps the pieces of streams.
    chunks: bool,
}

const WAY: Way = Way {
    page: 5,
    late: false,
    noticed: true,
    loses: true,
    places: true,
    chunks: true,
};

/// A server with a log of each run.
struct Server<'f> {
    feeds: &'f [Feed],
    /// How many events of each run have happened.
    happened: BTreeMap<String, usize>,
    way: Way,
    /// Pages on their way.
    sent: Vec<(String, u64, String)>,
}

impl Server<'_> {
    fn feed_of(&self, run: &str) -> &Feed {
        self.feeds
            .iter()
            .find(|feed| feed.run == run)
            .expect("a run of the workload")
    }

    /// Answers what the core asks for, from what has happened so far.
    fn answer(&mut self, core: &mut Core, now: Time) {
        if !self.way.late {
            self.read(core, now);
        }
        self.deliver(core, now);
        self.read(core, now);
    }

    /// Answers until nothing is asked for any more.
    fn answer_all(&mut self, core: &mut Core, now: Time) {
        for _ in 0..10_000 {
            self.read(core, now);
            if self.sent.is_empty() {
                return;
            }
            self.deliver(core, now);
        }
        panic!("the core asks for ever");
    }

    fn read(&mut self, core: &mut Core, now: Time) {
        while let Some(wish) = core.poll_wish() {
            match &wish {
                Wish::ReadLog { run_id, after, .. } => {
                    let page = self.page(run_id, *after);
                    self.sent.push((run_id.to_string(), *after, page));
                }
                Wish::ListRuns { .. } => {
                    let rows = self.rows();
                    core.handle_rows(&wish, Some(rows.as_bytes()), now);
                }
                Wish::AskRow { .. } | Wish::AskFacts { .. } => {}
            }
        }
    }

    /// All runs that have begun.
    fn rows(&self) -> String {
        let begun = self
            .feeds
            .iter()
            .filter(|feed| self.happened[&feed.run] > 0);
        let row = |feed: &Feed| {
            let ended = self.happened[&feed.run] == feed.lines.len();
            json!({
                "id": feed.run,
                "project_id": 1,
                "script_name": feed.script,
                "status": if ended { "completed" } else { "running" },
            })
        };
        Value::Array(begun.map(row).collect()).to_string()
    }

    fn deliver(&mut self, core: &mut Core, now: Time) {
        for (run_id, after, page) in std::mem::take(&mut self.sent) {
            let run = RunRef {
                project: Some(1),
                workflow: Cow::Borrowed("random"),
                id: Some(Cow::Borrowed(&run_id)),
                epoch: None,
            };
            core.handle_log_page(&run, after, page.as_bytes(), now);
        }
    }

    fn page(&self, run_id: &str, after: u64) -> String {
        let feed = self.feed_of(run_id);
        let log = &feed.lines[..self.happened[run_id]];
        let kept = |line: &&Line| self.way.chunks || line.event["type"] != "AgentOutput";
        let page: Vec<&Line> = log
            .iter()
            .filter(|line| line.seq > after)
            .take(self.way.page)
            .collect();
        let next = page.last().map_or(after, |line| line.seq);
        let events: Vec<Value> = page
            .into_iter()
            .filter(kept)
            .map(|line| line.logged())
            .collect();
        json!({
            "execution_id": run_id,
            "status": "running",
            "complete": log.len() == feed.lines.len(),
            "events": events,
            "next_after_id": next,
            "has_more": log.last().is_some_and(|line| line.seq > next),
        })
        .to_string()
    }
}

/// What came of a feed: its spans, the summaries, and what the metrics were told.
struct Came {
    spans: Vec<Span>,
    summaries: BTreeMap<String, String>,
    counted: Vec<String>,
}

/// What comes of a feed of which some stretches are lost and repaired. Each
/// number says whether its event arrives, and whether the server answers now.
fn with_gaps(feeds: &[Feed], lines: &[Line], fate: &[u8], way: Way) -> Came {
    let mut core = core(CoreSettings {
        repair: true,
        ..settings(false)
    });
    let mut server = Server {
        feeds,
        happened: feeds.iter().map(|feed| (feed.run.clone(), 0)).collect(),
        way,
        sent: Vec::new(),
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
        let gap = fate < 60;
        if gap && way.loses {
            lost = true;
            continue;
        }
        if (lost || gap) && way.noticed {
            core.handle_gap(0, GapCause::Disconnect, now);
            core.handle_reconnect(0, Some(now));
        }
        lost = false;
        core.handle_bytes(0, &feed_bytes(std::slice::from_ref(line), way), Some(now));
        if fate % 3 == 0 {
            server.answer(&mut core, now);
        }
    }
    let now = Time(1_778_148_900_000_000_000);
    core.handle_gap(0, GapCause::Disconnect, now);
    core.handle_reconnect(0, Some(now));
    server.answer_all(&mut core, now);
    came(core)
}

fn feed_bytes(lines: &[Line], way: Way) -> Vec<u8> {
    let bytes = sse("random", lines, 1);
    if way.places {
        return bytes;
    }
    String::from_utf8(bytes)
        .expect("a feed is text")
        .replace("\"seq\":", "\"was\":")
        .into_bytes()
}

fn came(mut core: Core) -> Came {
    core.handle_end_of_input(0, None);
    core.handle_end_of_runs();
    let summaries = std::iter::from_fn(|| core.poll_summary())
        .map(|summary| {
            let line = serde_json::to_string(&summary).expect("a summary is JSON");
            (summary.execution_id.to_string(), line)
        })
        .collect();
    // What a place in the table says differs with the order of things.
    let mut counted: Vec<String> = core
        .deltas()
        .in_order
        .iter()
        .filter(|delta| {
            matches!(
                delta,
                Delta::TaskFinished { .. }
                    | Delta::ToolFinished { .. }
                    | Delta::WaitFinished { .. }
                    | Delta::RunFinished { .. }
            )
        })
        .map(|delta| format!("{delta:?}").replace(|c: char| c.is_ascii_whitespace(), ""))
        .map(|delta| {
            delta
                .split_once(',')
                .map_or(String::new(), |(_, rest)| rest.to_owned())
        })
        .collect();
    counted.sort();
    Came {
        spans: support::trace::spans(&batches(&mut core)),
        summaries,
        counted,
    }
}

/// What comes of the whole feed.
fn whole(lines: &[Line], way: Way) -> Came {
    let mut core = core(settings(false));
    core.handle_bytes(0, &feed_bytes(lines, way), None);
    came(core)
}

/// The first difference between a feed with gaps and the whole one.
fn gap_difference(feeds: &[Feed], lines: &[Line], fate: &[u8], way: Way) -> Option<String> {
    let repaired = with_gaps(feeds, lines, fate, way);
    // A run of which nothing ever arrived is looked for by the source, not by the core.
    let seen = |line: &&Line| repaired.summaries.contains_key(&line.run);
    let lines: Vec<Line> = lines.iter().filter(seen).cloned().collect();
    let whole = whole(&lines, way);
    let spans = difference(&by_id(repaired.spans), &by_id(whole.spans));
    let summaries = (repaired.summaries != whole.summaries)
        .then(|| format!("{:?}\n{:?}", repaired.summaries, whole.summaries));
    let counted = (repaired.counted != whole.counted)
        .then(|| format!("{:#?}\n{:#?}", repaired.counted, whole.counted));
    spans.or(summaries).or(counted)
}

/// The same steps, each at a moment of its own.
fn apart(runs: &[Vec<support::workload::Step>]) -> Vec<Vec<support::workload::Step>> {
    runs.iter()
        .map(|run| run.iter().map(|(a, b, ms)| (*a, *b, ms + 1)).collect())
        .collect()
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
        core.handle_bytes(0, &sse("random", &feed.lines[..seen], 3), None);
        core.handle_reconnect(0, None);
        let mut again = String::from_utf8(feed.sse(3)).expect("a feed is text");
        if !with_places {
            again = again.replace("\"seq\":", "\"was\":");
        }
        core.handle_bytes(0, again.as_bytes(), None);
        let spans = support::trace::spans(&finished(core));
        let difference = difference(&by_id(spans), &by_id(spans_of(&feed.sse(3))));
        prop_assert!(difference.is_none(), "{}", difference.unwrap_or_default());
    }

    #[test]
    fn a_feed_with_gaps_and_its_rebuild_give_what_the_full_feed_gives(
        runs in prop::collection::vec(steps(50), 1..4),
        order in prop::collection::vec(any::<u8>(), 1..30),
        fate in prop::collection::vec(any::<u8>(), 1..60),
        page in 1usize..20,
        late in any::<bool>(),
    ) {
        let feeds = feeds(&runs);
        let lines = interleave(&feeds, &order);
        let difference = gap_difference(&feeds, &lines, &fate, Way { page, late, ..WAY });
        prop_assert!(difference.is_none(), "{}", difference.unwrap_or_default());
    }

    #[test]
    fn the_same_where_only_frames_tell_their_place(
        runs in prop::collection::vec(steps(50), 1..4),
        order in prop::collection::vec(any::<u8>(), 1..30),
        fate in prop::collection::vec(any::<u8>(), 1..60),
        page in 1usize..20,
        late in any::<bool>(),
    ) {
        let feeds = feeds(&apart(&runs));
        let lines = interleave(&feeds, &order);
        let way = Way { page, late, places: false, ..WAY };
        let difference = gap_difference(&feeds, &lines, &fate, way);
        prop_assert!(difference.is_none(), "{}", difference.unwrap_or_default());
    }

    #[test]
    fn a_log_without_chunks_costs_none_that_came_live(
        runs in prop::collection::vec(steps(50), 1..4),
        order in prop::collection::vec(any::<u8>(), 1..30),
        fate in prop::collection::vec(any::<u8>(), 1..60),
        page in 1usize..20,
    ) {
        let feeds = feeds(&runs);
        let lines = interleave(&feeds, &order);
        let way = Way { page, chunks: false, loses: false, ..WAY };
        let difference = gap_difference(&feeds, &lines, &fate, way);
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
        by_id(with_gaps(&feeds, &lines, &fate, Way { page, noticed: false, ..WAY }).spans);
    }
}
