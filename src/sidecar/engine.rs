//! The main loop: it owns the core, the metrics and the book, and nothing else
//! touches them. What comes in: news of the feeds, questions, and time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::book::{Book, Finished, RunRow};
use crate::admin::{Ask, RunDetail, RunsPage, RunsQuery};
use crate::core::Core;
use crate::export::ExportTally;
use crate::limits::{FEED_PIECE_BYTES_MAX, FEED_PIECES_MAX};
use crate::logs::{LineWriter, Logs};
use crate::metrics::Metrics;
use crate::net::clock::now;
use crate::run::outputs::{GapCause, OpenRun};
use crate::run::summary::RunSummary;
use crate::run::trace_id;
use crate::source::{FeedNews, FromFeed, Loss, LossKind, Resume};
use crate::store::outbox::Outbox;
use crate::trace::batch::Batch;
use crate::trace::body::spans;
use crate::wire::time::Time;

/// What the main loop is made of.
pub struct Parts {
    /// The core.
    pub core: Core,
    /// The metrics.
    pub metrics: Metrics,
    /// Recent runs.
    pub book: Book,
    /// How many feeds there are.
    pub feeds: usize,
    /// The way to the backend, if there is one.
    pub export: Option<ExportParts>,
    /// Where each finished run is a line, when that is asked for.
    pub run_lines: Option<LineWriter>,
    /// Who else wants to see each finished run, with its spans.
    pub finished: Option<mpsc::Sender<FinishedRun>>,
    /// Our own logs, when they are ours to keep.
    pub logs: Option<Arc<Logs>>,
}

/// A run that ended, for whoever watches.
#[derive(Debug, Clone)]
pub struct FinishedRun {
    /// Its summary.
    pub summary: RunSummary,
    /// Its encoded spans, as many as are kept.
    pub spans: Vec<Arc<[u8]>>,
}

/// The way to the backend.
#[derive(Debug)]
pub struct ExportParts {
    /// Batches to be packed, until there are no more.
    pub batches: Option<mpsc::Sender<Batch>>,
    /// What waits for the backend.
    pub outbox: Arc<Outbox>,
    /// How sending goes.
    pub tally: Arc<ExportTally>,
}

/// How far the program is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It runs, or drains and has time.
    Running,
    /// It drains, and has no more time to read.
    Hurry,
    /// All is done.
    End,
}

/// Ends when it is so far, or nobody is left to say so.
async fn reached(phase: &mut watch::Receiver<Phase>, wanted: Phase) {
    let _ = phase.wait_for(|phase| *phase >= wanted).await;
}

/// How often time is told to those who wait for it.
const TICK: Duration = Duration::from_millis(250);

/// How often idle series are looked for, and logs that were held back are told.
const SWEEP: Duration = Duration::from_secs(30);

/// The main loop.
pub struct Engine {
    parts: Parts,
    feeds: Vec<FeedState>,
    last_event: Option<Time>,
    swept: Instant,
    pace: Pace,
}

/// Notices when the clock on the wall is set, or stood still with the machine.
#[derive(Debug)]
struct Pace {
    wall: Time,
    steady: Instant,
}

/// A difference that no adjustment of a running clock makes.
const JUMP: Duration = Duration::from_secs(5);

impl Pace {
    /// Whether the wall went on otherwise than time did since this was asked last.
    fn has_jumped(&mut self, wall: Time, steady: Instant) -> bool {
        let expected = self.wall.plus(steady.duration_since(self.steady));
        *self = Self { wall, steady };
        wall.since(expected) > JUMP || expected.since(wall) > JUMP
    }
}

/// A run on a page of the API.
enum Listed<'b> {
    Open(OpenRun),
    Finished(&'b Finished),
}

/// What is known of a feed's connection.
#[derive(Debug, Clone, Copy, Default)]
struct FeedState {
    connected: bool,
    /// Whether it ever was.
    seen: bool,
    refused: bool,
}

impl Engine {
    /// A loop that has not begun.
    pub fn new(parts: Parts) -> Self {
        Self {
            feeds: vec![FeedState::default(); parts.feeds],
            parts,
            last_event: None,
            swept: Instant::now(),
            pace: Pace {
                wall: now(),
                steady: Instant::now(),
            },
        }
    }

    /// Runs until the feeds have ended, which they do when they are told to
    /// stop, or until there is no time left. Then gives the last batches away,
    /// says so, and goes on to answer and to count until its end is called.
    pub async fn run(
        mut self,
        mut feeds: mpsc::Receiver<FromFeed>,
        mut asks: mpsc::Receiver<Ask>,
        mut phase: watch::Receiver<Phase>,
        flushed: oneshot::Sender<()>,
    ) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                news = feeds.recv() => match news {
                    Some(news) => self.hear_all(news, &mut feeds),
                    None => break,
                },
                Some(ask) = asks.recv() => self.answer(ask),
                _ = tick.tick() => self.tick(),
                () = reached(&mut phase, Phase::Hurry) => break,
            }
            self.give_out().await;
        }
        self.parts.core.handle_drain();
        self.give_out().await;
        if let Some(export) = &mut self.parts.export {
            export.batches = None;
        }
        let _ = flushed.send(());
        loop {
            tokio::select! {
                Some(ask) = asks.recv() => self.answer(ask),
                _ = tick.tick() => self.tell_export(now()),
                () = reached(&mut phase, Phase::End) => break,
            }
        }
        self.tell_export(now());
    }

    /// Hears what waits, up to the bytes of one large piece: a server sends many
    /// small ones, and what is to be done after them is done once for all.
    fn hear_all(&mut self, first: FromFeed, feeds: &mut mpsc::Receiver<FromFeed>) {
        let mut bytes = first.news.size();
        self.hear(first);
        for _ in 1..FEED_PIECES_MAX {
            if bytes >= FEED_PIECE_BYTES_MAX {
                return;
            }
            let Ok(next) = feeds.try_recv() else { return };
            bytes += next.news.size();
            self.hear(next);
        }
    }

    fn hear(&mut self, FromFeed { feed, news }: FromFeed) {
        let now = now();
        match news {
            FeedNews::Bytes(bytes) => self.parts.core.handle_bytes(feed, &bytes, Some(now)),
            FeedNews::Resume(reply) => {
                let resume = Resume {
                    cursor: self.parts.core.last_event_id(feed).to_owned(),
                    retry: self.parts.core.retry(feed),
                };
                // A feed that was stopped meanwhile does not listen.
                let _ = reply.send(resume);
            }
            FeedNews::Connected => self.connected(feed, now),
            FeedNews::Lost(loss) => self.lost(feed, &loss, now),
        }
    }

    fn connected(&mut self, feed: usize, now: Time) {
        let Some(state) = self.feeds.get_mut(feed) else {
            return;
        };
        if state.seen {
            self.parts.metrics.source_reconnected(now);
            self.parts.core.handle_reconnect(feed, Some(now));
        }
        *state = FeedState {
            connected: true,
            seen: true,
            refused: false,
        };
        self.tell_feeds(now);
    }

    fn lost(&mut self, feed: usize, loss: &Loss, now: Time) {
        let Some(state) = self.feeds.get_mut(feed) else {
            return;
        };
        state.connected = false;
        state.refused = matches!(loss.kind, LossKind::Refused(_) | LossKind::Token);
        if loss.was_connected {
            self.parts.core.handle_end_of_input(feed, Some(now));
            self.parts.core.handle_gap(feed, GapCause::Disconnect, now);
        }
        self.tell_feeds(now);
    }

    fn tell_feeds(&mut self, now: Time) {
        let connected = self.feeds.iter().all(|feed| feed.connected);
        let refused = self.feeds.iter().any(|feed| feed.refused);
        self.parts.metrics.set_source_connected(connected, now);
        self.parts
            .metrics
            .set_source_paused("refused", refused, now);
    }

    fn tick(&mut self) {
        let now = now();
        if self.pace.has_jumped(now, Instant::now()) {
            tracing::warn!("the clock was set: waits and silences count from now");
            self.parts.core.handle_clock_set(now);
        }
        self.parts.core.handle_tick(now);
        if let Some(at) = self.last_event {
            self.parts.metrics.set_source_last_event(at, now);
        }
        self.tell_export(now);
        if self.swept.elapsed() >= SWEEP {
            self.swept = Instant::now();
            self.parts.metrics.sweep(now);
            if let Some(logs) = &self.parts.logs {
                logs.tell_held_back();
            }
        }
    }

    fn tell_export(&mut self, now: Time) {
        if let Some(export) = &self.parts.export {
            let status = export.outbox.status();
            let metrics = &mut self.parts.metrics;
            metrics.apply_export(&export.tally.counts(), &status, now);
        }
    }

    /// Takes what the core has to say, to its end.
    async fn give_out(&mut self) {
        let now = now();
        let parts = &mut self.parts;
        let deltas = parts.core.deltas();
        if deltas.events_by_type.iter().any(|count| *count > 0) {
            self.last_event = Some(now);
        }
        let types = parts.core.event_types();
        parts.metrics.apply(parts.core.deltas(), types, now);
        parts.core.deltas().clear();
        let mut ended = Vec::new();
        while let Some(summary) = self.parts.core.poll_summary() {
            self.finished(&summary);
            ended.push(summary);
        }
        if !ended.is_empty() && self.parts.finished.is_some() {
            // Whoever watches wants to see a finished run with all its spans.
            self.parts.core.handle_drain();
        }
        while let Some(batch) = self.parts.core.poll_batch() {
            self.keep_spans(&batch);
            if let Some(export) = &self.parts.export
                && let Some(batches) = &export.batches
            {
                // The packer ends only after this loop.
                let _ = batches.send(batch).await;
            }
        }
        self.show(ended);
        // Nobody can be asked yet: what the core wishes to know stays unknown.
        while self.parts.core.poll_wish().is_some() {}
    }

    fn finished(&mut self, summary: &RunSummary) {
        let run = Finished::new(summary);
        if let Some(lines) = &self.parts.run_lines {
            lines.line(format!("{}\n", run.summary).into_bytes());
        }
        self.parts.book.add_finished(run);
    }

    /// Spans of runs that the book has forgotten already would never leave it.
    fn keep_spans(&mut self, batch: &Batch) {
        let Parts { core, book, .. } = &mut self.parts;
        for span in spans(&batch.body) {
            if book.has(&span.trace_id) || core.is_open(&span.trace_id) {
                book.add_span(span.trace_id, span.bytes);
            }
        }
    }

    fn show(&mut self, ended: Vec<RunSummary>) {
        let Some(watcher) = &self.parts.finished else {
            return;
        };
        for summary in ended {
            let spans = self.parts.book.spans(&summary.trace_id).spans;
            // Whoever watches too slowly misses some.
            let _ = watcher.try_send(FinishedRun { summary, spans });
        }
    }

    fn answer(&self, ask: Ask) {
        // Whoever no longer waits for the answer does not get it.
        match ask {
            Ask::Alive(reply) => drop(reply.send(())),
            Ask::Runs(query, reply) => drop(reply.send(self.runs(&query))),
            Ask::Run(id, reply) => drop(reply.send(self.run_detail(&id))),
        }
    }

    fn runs(&self, query: &RunsQuery) -> RunsPage {
        let now = now();
        let fits = |state: &str, workflow: &str, open: bool| {
            let by_state = match query.state.as_deref() {
                None => true,
                Some("open") => open,
                Some("finished") => !open,
                Some(wanted) => state == wanted,
            };
            by_state
                && query
                    .workflow
                    .as_deref()
                    .is_none_or(|wanted| workflow == wanted)
        };
        let core = &self.parts.core;
        let open = core.runs();
        let open = open.filter(|run| fits(run.state(), &run.meta.workflow, true));
        let finished = self.parts.book.all_finished();
        let finished = finished.filter(|run| fits(run.row.state, &run.row.workflow, false));
        // A page is short, and the rows of all runs are not: only those on it are made.
        let mut all: Vec<(Time, Listed<'_>)> = open
            .map(|run| (run.start, Listed::Open(run)))
            .chain(finished.map(|run| (run.row.started_at, Listed::Finished(run))))
            .collect();
        all.sort_unstable_by_key(|(start, _)| std::cmp::Reverse(*start));
        all.truncate(query.limit);
        let row = |listed: Listed<'_>| match listed {
            Listed::Open(run) => RunRow::of_open(&run, now),
            Listed::Finished(run) => run.row.clone(),
        };
        RunsPage {
            open: core.open_runs(),
            finished: self.parts.book.all_finished().count(),
            runs: all.into_iter().map(|(_, listed)| row(listed)).collect(),
        }
    }

    fn run_detail(&self, id: &str) -> Option<RunDetail> {
        let (core, book) = (&self.parts.core, &self.parts.book);
        let by_trace = trace_id::parse(id);
        let open = by_trace.and_then(|trace_id| core.run(&trace_id));
        if let Some(run) = open.or_else(|| core.runs().find(|run| *run.meta.run_id == *id)) {
            let summary = core.summary_so_far(&run.meta.trace_id)?;
            return Some(RunDetail {
                row: RunRow::of_open(&run, now()),
                summary: Arc::from(serde_json::to_string(&summary).ok()?),
                spans: book.spans(&run.meta.trace_id),
            });
        }
        let finished = match by_trace.and_then(|trace_id| book.finished(&trace_id)) {
            Some(finished) => finished,
            None => book
                .all_finished()
                .find(|run| *run.row.execution_id == *id)?,
        };
        Some(RunDetail {
            row: finished.row.clone(),
            summary: Arc::clone(&finished.summary),
            spans: book.spans(&finished.row.trace_id),
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::config::{Config, Environment, Flags};
    use crate::metrics::Settings;
    use crate::wire::dialect::Dialect;

    /// What is counted of a recording that waits in pieces of this size.
    async fn counted(piece_bytes: usize) -> String {
        let feed = Bytes::from_static(include_bytes!("../../examples/feeds/review.sse"));
        let variables = Environment::from_iter([("AKRIBES_URL", "http://localhost:1")]);
        let config = Config::load(&Flags::default(), &variables).unwrap();
        let metrics = Metrics::new(&Settings::new(&config.limits, Dialect::SYSTEMS)).unwrap();
        let registry = metrics.registry().clone();
        let mut engine = Engine::new(Parts {
            core: Core::new(config.core_settings()).unwrap(),
            metrics,
            book: Book::new(10, 1 << 20),
            feeds: 1,
            export: None,
            run_lines: None,
            finished: None,
            logs: None,
        });
        let (pieces, mut to_hear) = mpsc::channel(feed.len());
        let mut left = feed;
        while !left.is_empty() {
            let piece = left.split_to(left.len().min(piece_bytes));
            let news = FeedNews::Bytes(piece);
            pieces.try_send(FromFeed { feed: 0, news }).unwrap();
        }
        drop(pieces);
        let (_asks, asked) = mpsc::channel(1);
        let (_phase, phases) = watch::channel(Phase::End);
        let (flushed, _) = oneshot::channel();
        while let Ok(news) = to_hear.try_recv() {
            engine.hear_all(news, &mut to_hear);
        }
        engine.run(to_hear, asked, phases, flushed).await;
        let families = registry.gather();
        let of_events = families
            .iter()
            .filter(|family| family.name() == "runtrail_events_total");
        let series: Vec<_> = of_events.flat_map(|family| family.get_metric()).collect();
        format!("{series:?}")
    }

    #[tokio::test]
    async fn pieces_that_wait_together_are_all_heard_in_their_order() {
        let whole = counted(usize::MAX).await;
        assert!(whole.contains("AgentOutput"), "{whole}");
        for piece_bytes in [1, 97, 7_000, FEED_PIECE_BYTES_MAX] {
            assert_eq!(counted(piece_bytes).await, whole, "{piece_bytes}");
        }
    }

    #[test]
    fn a_clock_that_is_set_is_told_from_one_that_goes() {
        let steady = Instant::now();
        let second = |n: u64| Time(1_000_000_000_000 + n * 1_000_000_000);
        let mut pace = Pace {
            wall: second(0),
            steady,
        };
        let mut jumped =
            |wall, after| pace.has_jumped(second(wall), steady + Duration::from_secs(after));
        assert!(!jumped(1, 1));
        assert!(!jumped(3, 4), "a second is an adjustment");
        assert!(jumped(3_600, 5), "forward");
        assert!(!jumped(3_601, 6), "it goes on from there");
        assert!(jumped(10, 7), "back");
        assert!(!jumped(60, 57), "a tick that came late");
    }
}
