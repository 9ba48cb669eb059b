//! The main loop: it owns the core, the metrics and the book, and nothing else
//! touches them. What comes in: news of the feeds, questions, and time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::book::{Book, RunRow, trace_id};
use super::clock::now;
use crate::admin::{Ask, RunDetail, RunsPage, RunsQuery};
use crate::core::Core;
use crate::export::ExportTally;
use crate::logs::{LineWriter, Logs};
use crate::metrics::Metrics;
use crate::run::outputs::GapCause;
use crate::run::summary::RunSummary;
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
    /// Batches to be packed.
    pub batches: mpsc::Sender<Batch>,
    /// What waits for the backend.
    pub outbox: Arc<Outbox>,
    /// How sending goes.
    pub tally: Arc<ExportTally>,
}

/// Ends when it is said, or nobody is left to say it.
async fn said(flag: &mut watch::Receiver<bool>) {
    if flag.wait_for(|said| *said).await.is_err() {
        std::future::pending().await
    }
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
        }
    }

    /// Runs until the feeds have ended, which they do when they are told to
    /// stop, or until `hurry` says that there is no time left. Then gives the
    /// last batches away.
    pub async fn run(
        mut self,
        mut feeds: mpsc::Receiver<FromFeed>,
        mut asks: mpsc::Receiver<Ask>,
        mut hurry: watch::Receiver<bool>,
    ) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                news = feeds.recv() => match news {
                    Some(news) => self.hear(news),
                    None => break,
                },
                Some(ask) = asks.recv() => self.answer(ask),
                _ = tick.tick() => self.tick(),
                () = said(&mut hurry) => break,
            }
            self.give_out().await;
        }
        self.parts.core.handle_drain();
        self.give_out().await;
        self.tell_export(now());
    }

    fn hear(&mut self, FromFeed { feed, news }: FromFeed) {
        let now = now();
        match news {
            FeedNews::Bytes(bytes) => self.parts.core.handle_bytes(feed, &bytes, Some(now)),
            FeedNews::Resume(reply) => {
                // What the last connection left unfinished is not part of the next.
                self.parts.core.handle_end_of_input(feed, Some(now));
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
        // Runs fall silent by time in which they could have been heard.
        if self.feeds.iter().all(|feed| feed.connected) {
            self.parts.core.handle_tick(now);
        }
        self.parts.core.handle_batch_age(now);
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
        let summaries: Vec<_> = std::iter::from_fn(|| parts.core.poll_summary()).collect();
        if !summaries.is_empty() && parts.finished.is_some() {
            // Whoever watches wants to see a finished run with all its spans.
            parts.core.handle_drain();
        }
        while let Some(batch) = self.parts.core.poll_batch() {
            for span in spans(&batch.body) {
                self.parts.book.add_span(span.trace_id, span.bytes);
            }
            if let Some(export) = &self.parts.export {
                // The packer ends only after this loop.
                let _ = export.batches.send(batch).await;
            }
        }
        for summary in summaries {
            self.finished(summary);
        }
        // Nobody can be asked yet: what the core wishes to know stays unknown.
        while self.parts.core.poll_wish().is_some() {}
    }

    fn finished(&mut self, summary: RunSummary) {
        if let Some(lines) = &self.parts.run_lines
            && let Ok(mut line) = serde_json::to_vec(&summary)
        {
            line.push(b'\n');
            lines.line(line);
        }
        let Some(id) = trace_id(&summary.trace_id) else {
            return;
        };
        let row = RunRow::of_finished(&summary);
        self.parts.book.add_finished(id, &summary, row);
        if let Some(watcher) = &self.parts.finished {
            let spans = self.parts.book.spans(&id).spans;
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
        let mut open: Vec<_> = core
            .runs()
            .filter(|run| {
                let state = if run.waiting { "waiting" } else { "running" };
                fits(state, &run.meta.workflow, true)
            })
            .collect();
        open.sort_unstable_by_key(|run| std::cmp::Reverse((run.start, run.meta.trace_id)));
        let open = open.iter().map(|run| RunRow::of_open(run, now));
        let finished = self.parts.book.all_finished();
        let finished = finished.filter(|run| fits(run.row.state, &run.row.workflow, false));
        RunsPage {
            open: core.open_runs(),
            finished: self.parts.book.all_finished().count(),
            runs: open
                .chain(finished.map(|run| run.row.clone()))
                .take(query.limit)
                .collect(),
        }
    }

    fn run_detail(&self, id: &str) -> Option<RunDetail> {
        let (core, book) = (&self.parts.core, &self.parts.book);
        let by_trace = trace_id(id);
        let open = core
            .runs()
            .find(|run| Some(run.meta.trace_id) == by_trace || *run.meta.run_id == *id);
        if let Some(run) = open {
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
        let trace_id = trace_id(&finished.row.trace_id)?;
        Some(RunDetail {
            row: finished.row.clone(),
            summary: Arc::clone(&finished.summary),
            spans: book.spans(&trace_id),
        })
    }
}
