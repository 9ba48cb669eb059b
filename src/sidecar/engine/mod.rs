//! The main loop: it owns the core, the metrics and the book, and nothing else
//! touches them. What comes in: news of the feeds, questions, and time.
//!
//! - `heard`: news of the feeds, and answers of the server
//! - `kept`: what is put into safety before anything that came of it is given away
//! - `answers`: what is said to who asks

mod answers;
#[cfg(test)]
mod hanging;
mod heard;
mod kept;
#[cfg(test)]
mod outlive;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::book::{Book, Finished};
use super::safety::Safety;
use crate::admin::Ask;
use crate::core::Core;
use crate::export::ExportTally;
use crate::limits::WITHHELD_BATCHES_MAX;
use crate::logs::{LineWriter, Logs};
use crate::metrics::Metrics;
use crate::metrics::store::StoreStatus;
use crate::net::clock::now;
use crate::run::outputs::Wish;
use crate::run::summary::RunSummary;
use crate::source::FromFeed;
use crate::source::ask::Answer;
use crate::store::outbox::Outbox;
use crate::store::{Quarantine, StoreFailed};
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
    /// The way to ask the server, if that is wanted.
    pub asker: Option<AskerParts>,
    /// What makes all of this outlive the process, if there is a store.
    pub safety: Option<Safety>,
    /// What the store has told so far.
    pub store: StoreStatus,
    /// What the batches complete that were given away before.
    pub given_through: u64,
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
    /// What of the order of inputs the stored batches complete.
    pub durable_through: watch::Receiver<u64>,
    /// The same, as it was found at the start.
    pub found_through: u64,
    /// How many bodies it held then.
    pub found_batches: usize,
    /// How many damaged records there were.
    pub found_damaged: u64,
    /// What waits for the backend.
    pub outbox: Arc<Outbox>,
    /// What the backend refused for good.
    pub quarantine: Arc<Quarantine>,
    /// How sending goes.
    pub tally: Arc<ExportTally>,
}

/// The way to ask the server.
#[derive(Debug)]
pub struct AskerParts {
    /// What the core would like to know.
    pub wishes: mpsc::Sender<Wish>,
    /// What the server answers.
    pub answers: mpsc::Receiver<Answer>,
    /// What asks.
    pub _running: JoinHandle<()>,
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

/// The next answer of the server; none ever comes when nobody asks.
async fn answered(asker: &mut Option<AskerParts>) -> Option<Answer> {
    match asker {
        Some(asker) => match asker.answers.recv().await {
            Some(answer) => Some(answer),
            // It ends when all of this does.
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// Ends when it is so far, or nobody is left to say so.
async fn reached(phase: &mut watch::Receiver<Phase>, wanted: Phase) {
    let _ = phase.wait_for(|phase| *phase >= wanted).await;
}

/// How many batches are given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Amount {
    All,
    AsFits,
}

/// Ends when the packer takes a batch again, or none ever.
async fn has_room(batches: &Option<mpsc::Sender<Batch>>) {
    if let Some(batches) = batches {
        drop(batches.reserve().await);
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
    pace: Pace,
    /// Whether there is room for spans.
    room: bool,
    /// What the last batch that was given away completes.
    given_through: u64,
    /// Whether feeds and answers were read when this was looked at last.
    was_reading: bool,
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
            given_through: parts.given_through,
            parts,
            last_event: None,
            swept: Instant::now(),
            pace: Pace {
                wall: now(),
                steady: Instant::now(),
            },
            room: true,
            was_reading: true,
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
    ) -> Result<(), StoreFailed> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // What was recovered has something to say already.
        self.settle(&mut asks).await?;
        loop {
            let room = self.room_to_pack();
            let reads = self.reads();
            tokio::select! {
                news = feeds.recv(), if reads => match news {
                    Some(news) => self.hear_all(news, &mut feeds),
                    None => break,
                },
                Some(answer) = answered(&mut self.parts.asker), if reads => self.learn(answer),
                Some(ask) = asks.recv() => self.answer(ask),
                _ = tick.tick() => self.tick(),
                () = has_room(&room), if room.is_some() => {}
                () = reached(&mut phase, Phase::Hurry) => break,
            }
            self.settle(&mut asks).await?;
        }
        if self.parts.safety.is_none() {
            // Nobody asks any longer, and nothing is kept of what waits for an answer.
            self.parts.core.handle_no_more_answers(now());
        }
        self.parts.core.handle_drain();
        self.give_all(&mut asks).await;
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
        self.save_last(&mut asks).await
    }

    /// Puts what was heard into safety, and gives away what came of it.
    async fn settle(&mut self, asks: &mut mpsc::Receiver<Ask>) -> Result<(), StoreFailed> {
        self.look_for_room(now());
        self.keep(asks).await?;
        self.give_out(Amount::AsFits).await;
        self.checkpoint(asks).await
    }

    fn tick(&mut self) {
        let now = now();
        if self.pace.has_jumped(now, Instant::now()) {
            tracing::warn!("the clock was set: waits and silences count from now");
            self.parts.core.handle_clock_set(now);
        }
        self.tick_core(now);
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
            let quarantine = export.quarantine.status();
            self.parts.store.quarantine_batches = quarantine.batches;
            self.parts.store.quarantine_dropped_batches = quarantine.dropped_batches;
        }
        let store = &mut self.parts.store;
        store.runs_owed = self.parts.core.owed_runs() as u64;
        if let Some(safety) = &self.parts.safety {
            let (bytes, limit_bytes) = safety.journal_bytes();
            store.journal_bytes = bytes;
            store.journal_limit_bytes = limit_bytes;
            store.checkpoint_last_success = safety.last_success();
            store.suspended = safety.is_suspended();
        }
        self.parts.metrics.apply_store(&self.parts.store, now);
    }

    /// Time goes by for the runs, unless nothing of them is read: then neither
    /// their silence nor a missing answer says anything.
    fn tick_core(&mut self, now: Time) {
        let reads = self.reads();
        if reads && !self.was_reading {
            self.parts.core.handle_clock_set(now);
        }
        self.was_reading = reads;
        if reads {
            self.parts.core.handle_tick(now);
        }
    }

    /// Notices when there is no room for spans, and when there is again.
    fn look_for_room(&mut self, now: Time) {
        let suspended = self.parts.safety.as_ref().is_some_and(Safety::is_suspended);
        let full = self.parts.export.as_ref().is_some_and(|export| {
            let status = export.outbox.status();
            let limit = status.limit_bytes as u64;
            match self.room {
                true => status.room_bytes < limit / 4,
                false => status.room_bytes < limit / 2,
            }
        });
        let room = !suspended && !full;
        if room == self.room {
            return;
        }
        self.room = room;
        let core = &mut self.parts.core;
        let withheld = core.is_withholding();
        core.handle_room(room, now);
        if core.is_withholding() == withheld {
            // Nobody may read logs: nothing changes, and who packs says what is so.
            return;
        }
        if room {
            tracing::info!(
                "there is room for spans again: what is owed is made from the server's log"
            );
        } else {
            tracing::warn!(
                "there is no room for more spans, since the backend does not take them fast enough or the disk is full: metrics and summaries go on, and the spans of runs that end now are owed"
            );
        }
    }

    /// Whether feeds and answers are read: while batches are taken from us, or
    /// hardly any more come of it. Questions are answered all the same.
    fn reads(&self) -> bool {
        let core = &self.parts.core;
        let waits = core.is_withholding() && core.batches() <= WITHHELD_BATCHES_MAX;
        (waits || self.room_to_pack().is_none()) && !self.is_crowded()
    }

    /// The way to the packer, while it takes nothing more.
    fn room_to_pack(&self) -> Option<mpsc::Sender<Batch>> {
        let batches = self.parts.export.as_ref()?.batches.as_ref()?;
        (batches.capacity() == 0).then(|| batches.clone())
    }

    /// Takes what the core has to say: all of it, or as many batches as are taken
    /// at once.
    async fn give_out(&mut self, mut amount: Amount) {
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
            amount = Amount::All;
        }
        while (amount == Amount::All || self.room_to_pack().is_none())
            && let Some(batch) = self.parts.core.poll_batch()
        {
            self.keep_spans(&batch);
            self.given_through = self.given_through.max(batch.given_through());
            if let Some(export) = &self.parts.export
                && let Some(batches) = &export.batches
            {
                // The packer ends only after this loop.
                let _ = batches.send(batch).await;
            }
        }
        self.show(ended);
        self.ask();
    }

    /// Passes on what the core would like to know, as far as there is room.
    fn ask(&mut self) {
        let Some(asker) = &self.parts.asker else {
            return;
        };
        while let Ok(place) = asker.wishes.try_reserve() {
            let Some(wish) = self.parts.core.poll_wish() else {
                return;
            };
            place.send(wish);
        }
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
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::config::{Config, Environment, Flags};
    use crate::limits::FEED_PIECE_BYTES_MAX;
    use crate::metrics::Settings;
    use crate::source::FeedNews;
    use crate::wire::dialect::Dialect;

    /// What is counted of a recording that waits in pieces of this size.
    async fn counted(piece_bytes: usize) -> String {
        let feed = Bytes::from_static(include_bytes!("../../../examples/feeds/review.sse"));
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
            asker: None,
            safety: None,
            store: StoreStatus::default(),
            given_through: 0,
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
        engine.run(to_hear, asked, phases, flushed).await.unwrap();
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
