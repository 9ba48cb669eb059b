//! The pure core, put together: bytes of a feed and answers of a server come in;
//! batches of spans, summaries, metric deltas and wishes come out.
//!
//! The methods sort into inputs (`handle_*`) and outputs (`poll_*`, [`Core::deltas`]).
//! After each input the outputs are taken, in any order, until there are no more.
//! Nothing here looks at a clock: `now` is the time of arrival. Without it, as in
//! a replay, the newest time of the feed stands in.
//!
//! Each input has a place in the order of all. A core that records writes each
//! one down ([`Core::entries`]), so that another one that is told the same
//! ([`Core::replay`]) comes to the same state and says the same. Whoever keeps
//! entries gives no output away before the entries of its inputs are in safety.

mod asked;
mod digest;
mod entry;
mod feed;
mod reader;
mod safe;
mod saved;
mod selection;

use std::sync::Arc;
use std::time::Duration;

pub use self::saved::{Part, RestoreError};
pub use self::selection::{Selection, SelectionError};

use self::digest::Digest;
use self::entry::{Head, Recorder, Step};
use self::feed::Feed;
use self::reader::{Reader, Taker};
use crate::limits::Limits;
use crate::metrics::delta::Deltas;
use crate::run::RunSettings;
use crate::run::outputs::{GapCause, OpenRun, Output, RunSlot, Wish};
use crate::run::prices::PriceTable;
use crate::run::summary::RunSummary;
use crate::run::table::RunTable;
use crate::run::trace_id::TraceId;
use crate::trace::batch::{Batch, ResourceInfo};
use crate::trace::span::TraceSettings;
use crate::wire::dialect::Dialect;
use crate::wire::event::Event;
use crate::wire::time::Time;

/// What the core needs to know before it begins.
#[derive(Debug, Clone)]
pub struct CoreSettings {
    /// The system whose feed it is; see [`Dialect::SYSTEMS`].
    pub system: String,
    /// The configured name of the source.
    pub source: String,
    /// The feeds: of each the project that it tells of, or `None` when it tells
    /// of all. Never empty.
    pub feeds: Vec<Option<i64>>,
    /// What all spans say of where they come from.
    pub resource: ResourceInfo,
    /// What people choose about spans.
    pub trace: TraceSettings,
    /// Whether runs that are open for a while send a marker.
    pub markers: bool,
    /// Whether somebody can ask the server for what is missing.
    pub repair: bool,
    /// Whether the server is asked what else it knows of a run that has ended.
    pub enrich: bool,
    /// What models cost, where the server does not say it.
    pub prices: Option<Arc<PriceTable>>,
    /// Which runs are told of.
    pub selection: Selection,
    /// The bounds.
    pub limits: Limits,
}

/// There is no dialect of this name.
#[derive(Debug, thiserror::Error)]
#[error("unknown system {0:?}: known are {known}", known = Dialect::SYSTEMS.join(", "))]
pub struct UnknownSystem(pub String);

/// The core of one source.
#[derive(Debug)]
pub struct Core {
    feeds: Vec<OneFeed>,
    dialect: Dialect,
    runs: RunTable,
    digest: Digest,
    selection: Selection,
    recorder: Recorder,
    settings: RunSettings,
    /// What the table says, between two steps.
    outputs: Vec<Output>,
}

/// One of the feeds.
#[derive(Debug)]
struct OneFeed {
    decoder: Feed,
    /// The project that it tells of, or all.
    project: Option<i64>,
    /// The place to go on from.
    cursor: String,
    /// Whether its connection is lost.
    away: bool,
}

impl OneFeed {
    fn new(project: Option<i64>, limits: &Limits) -> Self {
        Self {
            decoder: Feed::new(limits),
            project,
            cursor: String::new(),
            away: false,
        }
    }
}

impl Core {
    /// A core that has seen nothing.
    pub fn new(settings: CoreSettings) -> Result<Self, UnknownSystem> {
        let capture = settings.trace.content.captures();
        let dialect = Dialect::of(&settings.system, capture)
            .ok_or_else(|| UnknownSystem(settings.system.clone()))?;
        let digest = Digest::new(&settings, dialect.event_types().len());
        let run_settings = RunSettings {
            limits: settings.limits,
            repair: settings.repair && dialect.has_log(),
            enrich: settings.enrich,
            prices: settings.prices,
        };
        let source = Arc::from(settings.source);
        Ok(Self {
            feeds: (settings.feeds.iter())
                .map(|project| OneFeed::new(*project, &run_settings.limits))
                .collect(),
            runs: RunTable::new(dialect.system(), source, run_settings.clone()),
            digest,
            selection: settings.selection,
            dialect,
            recorder: Recorder::default(),
            settings: run_settings,
            outputs: Vec::new(),
        })
    }

    /// Takes bytes of a feed, cut anywhere, that arrived at `now`.
    pub fn handle_bytes(&mut self, feed: usize, mut bytes: &[u8], now: Option<Time>) {
        self.read(feed, now, |decoder, reader| {
            while let Some(taken) = decoder.next(&mut bytes) {
                reader.take(taken);
            }
        });
    }

    /// A feed is at its end. What is still open stays open: see
    /// [`Self::handle_end_of_runs`].
    pub fn handle_end_of_input(&mut self, feed: usize, now: Option<Time>) {
        self.read(feed, now, |decoder, reader| {
            if let Some(taken) = decoder.finish() {
                reader.take(taken);
            }
        });
    }

    /// Nothing more will come: open runs are abandoned, open batches closed.
    pub fn handle_end_of_runs(&mut self) {
        self.digest.begin(self.recorder.current());
        self.runs.handle_end(&mut self.outputs);
        self.settle(None);
        self.digest.flush();
    }

    /// A feed may have lost something, or is lost.
    pub fn handle_gap(&mut self, feed: usize, cause: GapCause, now: Time) {
        let Some(one) = self.feeds.get_mut(feed) else {
            return;
        };
        one.away |= cause != GapCause::Lagged;
        let project = one.project;
        let feed = feed as u32;
        self.begin(&Head::Gap { feed, cause, now });
        (self.runs).handle_gap(cause, project, now, &mut self.outputs);
        self.settle(Some(now));
    }

    /// A feed was connected, for the first time since it was configured.
    pub fn handle_connect(&mut self, feed: usize, now: Option<Time>) {
        let again = self.feeds.get(feed).is_some_and(|feed| feed.away);
        self.connected(feed, again, now);
    }

    /// A feed was connected anew, and begins with a new stream of bytes.
    pub fn handle_reconnect(&mut self, feed: usize, now: Option<Time>) {
        self.handle_end_of_input(feed, now);
        self.connected(feed, true, now);
    }

    /// Time goes by. Runs of a feed that is away are not silent: nobody could
    /// hear them.
    pub fn handle_tick(&mut self, now: Time) {
        let wished = self.runs.wishes();
        self.digest.begin(self.recorder.current());
        self.tick(now);
        // Only a time at which something was due is worth keeping.
        let was_due = !self.outputs.is_empty() || self.runs.wishes() != wished;
        if was_due {
            self.begin(&Head::Tick { now });
            self.settle(Some(now));
        }
        self.digest.tick(now);
    }

    /// The clock was set: silences, waits and the age of a batch count from now.
    pub fn handle_clock_set(&mut self, now: Time) {
        self.begin(&Head::ClockSet { now });
        self.runs.handle_clock_set(now);
        self.settle(Some(now));
        self.digest.flush();
    }

    /// There is room for spans, or there is none: then runs are counted and told
    /// as they end, and their spans are made from the server's log later on.
    pub fn handle_room(&mut self, room: bool, now: Time) {
        self.begin(&Head::Room { room, now });
        self.runs.handle_room(room, now);
        self.settle(Some(now));
    }

    /// What is finished goes out at once. Open runs stay open.
    pub fn handle_drain(&mut self) {
        self.digest.flush();
    }

    /// The next batch of spans that is ready.
    pub fn poll_batch(&mut self) -> Option<Batch> {
        self.digest.batches.pop_front()
    }

    /// How many such batches there are.
    pub fn batches(&self) -> usize {
        self.digest.batches.len()
    }

    /// Whether runs end without their spans, since there is no room for these.
    pub const fn is_withholding(&self) -> bool {
        self.runs.is_withholding()
    }

    /// The summary of the next run that ended.
    pub fn poll_summary(&mut self) -> Option<RunSummary> {
        self.digest.summaries.pop_front()
    }

    /// What the core would like to know from the server.
    pub fn poll_wish(&mut self) -> Option<Wish> {
        self.runs.poll_wish()
    }

    /// What changed since this was cleared last.
    pub const fn deltas(&mut self) -> &mut Deltas {
        &mut self.digest.deltas
    }

    /// What has been written down of the inputs since [`Self::clear_entries`].
    pub fn entries(&self) -> impl Iterator<Item = &[u8]> {
        self.recorder.entries()
    }

    /// The entries are in safety, or nobody keeps them.
    pub fn clear_entries(&mut self) {
        self.recorder.clear();
    }

    /// The place of the last input in the order of all.
    pub const fn position(&self) -> u64 {
        self.recorder.position
    }

    /// The names of the event types that the deltas count.
    pub const fn event_types(&self) -> &'static [&'static str] {
        self.dialect.event_types()
    }

    /// The cursor to resume a feed from; empty when there is none.
    pub fn last_event_id(&self, feed: usize) -> &str {
        self.feeds.get(feed).map_or("", |feed| &feed.cursor)
    }

    /// How long the server of a feed asked to wait before the next connection.
    pub fn retry(&self, feed: usize) -> Option<Duration> {
        self.feeds.get(feed)?.decoder.retry()
    }

    /// The newest time of the feed.
    pub const fn clock(&self) -> Time {
        self.runs.clock()
    }

    /// How many runs are open.
    pub fn open_runs(&self) -> usize {
        self.runs.len()
    }

    /// How many ended runs wait for room for their spans.
    pub fn owed_runs(&self) -> usize {
        self.runs.owed()
    }

    /// Whether the run of this trace is open.
    pub fn is_open(&self, trace_id: &TraceId) -> bool {
        self.runs.has(trace_id)
    }

    /// The open runs, in no order that matters.
    pub fn runs(&self) -> impl Iterator<Item = OpenRun> {
        self.runs.open_runs()
    }

    /// The open runs, with their places and whether they wait.
    pub fn run_slots(&self) -> impl Iterator<Item = (RunSlot, OpenRun)> {
        self.runs.open_run_slots()
    }

    /// The open run of this trace.
    pub fn run(&self, trace_id: &TraceId) -> Option<OpenRun> {
        self.runs.open_run(trace_id)
    }

    /// The summary of an open run as it stands.
    pub fn summary_so_far(&self, trace_id: &[u8; 16]) -> Option<RunSummary> {
        let summary = self.runs.summary_so_far(trace_id)?;
        Some(self.digest.private(summary))
    }

    /// What the open runs hold, roughly, in bytes.
    pub const fn open_runs_bytes(&self) -> usize {
        self.runs.bytes()
    }

    /// Reads from a feed, and writes down what came of it.
    fn read(
        &mut self,
        feed: usize,
        now: Option<Time>,
        read: impl FnOnce(&mut Feed, &mut Reader<'_>),
    ) {
        let Some(one) = self.feeds.get_mut(feed) else {
            return;
        };
        let before = one.decoder.last_event_id().to_owned();
        let mut reader = Reader {
            dialect: &mut self.dialect,
            recorder: &mut self.recorder,
            selection: &self.selection,
            feed: feed as u32,
            taker: Taker {
                runs: &mut self.runs,
                digest: &mut self.digest,
                outputs: &mut self.outputs,
                project: one.project,
                now,
            },
        };
        reader.begin();
        read(&mut one.decoder, &mut reader);
        let cursor = one.decoder.last_event_id();
        if cursor != before {
            cursor.clone_into(&mut one.cursor);
            self.recorder
                .step(&Step::<Event<'_>>::Cursor(cursor.into()));
        }
        if self.recorder.on && !self.recorder.has_steps() {
            self.recorder.forget();
        } else {
            self.recorder.end();
            self.digest.settled();
        }
        if let Some(now) = now {
            self.digest.tick(now);
        }
    }

    fn connected(&mut self, feed: usize, again: bool, now: Option<Time>) {
        let Some(one) = self.feeds.get_mut(feed) else {
            return;
        };
        one.away = false;
        let project = one.project;
        let feed = feed as u32;
        self.begin(&Head::Connected { feed, again, now });
        self.runs.handle_connected(project, again, now);
        self.settle(now);
    }

    fn tick(&mut self, now: Time) {
        let feeds = &self.feeds;
        let is_away = |project| is_away(feeds, project);
        self.runs.handle_tick(now, is_away, &mut self.outputs);
    }

    /// An input begins that is nothing but its head.
    fn begin(&mut self, head: &Head<'_>) {
        self.recorder.begin(head);
        self.digest.begin(self.recorder.current());
    }

    /// An input is at its end.
    fn settle(&mut self, now: Option<Time>) {
        let now = now.unwrap_or(self.runs.clock());
        self.digest.take(&mut self.outputs, now);
        self.recorder.end();
        self.digest.settled();
        self.digest.tick(now);
    }
}

/// Whether a feed that tells of a project is away.
fn is_away(feeds: &[OneFeed], project: Option<i64>) -> bool {
    let tells_of = |feed: &OneFeed| feed.project.is_none() || feed.project == project;
    feeds.iter().any(|feed| feed.away && tells_of(feed))
}
