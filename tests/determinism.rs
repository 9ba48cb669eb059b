//! The same feed gives the same spans, however it comes: cut anywhere, runs
//! interleaved in any way, read twice, or with gaps that are repaired.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

mod support;

use opentelemetry_proto::tonic::trace::v1::Span;
use proptest::prelude::*;
use runtrail::core::{Core, CoreSettings};
use runtrail::run::outputs::GapCause;
use runtrail::wire::time::Time;
use support::asked::{
    Came, Server, WAY, Way, apart, by_id, came, difference, feed_bytes, feeds, whole,
};
use support::workload::{interleave, run, run_id, steps, without_crashes};
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
        // What a crash cut short ends with the last event before, which may be a chunk.
        let feeds = feeds(&without_crashes(&runs));
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
