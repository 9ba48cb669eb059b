//! The pure core, put together: bytes of a feed and answers of a server come in;
//! batches of spans, summaries, metric deltas and wishes come out.
//!
//! The methods sort into inputs (`handle_*`) and outputs (`poll_*`, [`Core::deltas`]).
//! After each input the outputs are taken, in any order, until there are no more.
//! Nothing here looks at a clock: `now` is the time of arrival. Without it, as in
//! a replay, the newest time of the feed stands in.

mod digest;
mod feed;
mod reader;
mod selection;

use std::sync::Arc;
use std::time::Duration;

pub use self::selection::{Selection, SelectionError};

use self::digest::Digest;
use self::feed::Feed;
use self::reader::Reader;
use crate::limits::Limits;
use crate::metrics::delta::Deltas;
use crate::run::RunSettings;
use crate::run::outputs::{GapCause, OpenRun, Output, RunStatus, Wish};
use crate::run::summary::RunSummary;
use crate::run::table::RunTable;
use crate::run::trace_id::TraceId;
use crate::trace::batch::{Batch, ResourceInfo};
use crate::trace::span::TraceSettings;
use crate::wire::dialect::Dialect;
use crate::wire::event::RunRef;
use crate::wire::item::Item;
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
    /// What the table says, between two steps.
    outputs: Vec<Output>,
}

/// One of the feeds.
#[derive(Debug)]
struct OneFeed {
    decoder: Feed,
    /// The project that it tells of, or all.
    project: Option<i64>,
    /// Whether its connection is lost.
    away: bool,
}

impl Core {
    /// A core that has seen nothing.
    pub fn new(settings: CoreSettings) -> Result<Self, UnknownSystem> {
        let capture = settings.trace.content.captures();
        let dialect = Dialect::of(&settings.system, capture)
            .ok_or_else(|| UnknownSystem(settings.system.clone()))?;
        let digest = Digest::new(&settings, dialect.event_types().len());
        let (limits, selection) = (settings.limits, settings.selection);
        let run_settings = RunSettings {
            limits: limits.clone(),
            repair: settings.repair && dialect.has_log(),
        };
        Ok(Self {
            feeds: (settings.feeds.iter())
                .map(|project| OneFeed {
                    decoder: Feed::new(&limits),
                    project: *project,
                    away: false,
                })
                .collect(),
            runs: RunTable::new(dialect.system(), Arc::from(settings.source), run_settings),
            digest,
            selection,
            dialect,
            outputs: Vec::new(),
        })
    }

    /// Takes bytes of a feed, cut anywhere, that arrived at `now`.
    pub fn handle_bytes(&mut self, feed: usize, mut bytes: &[u8], now: Option<Time>) {
        let Some((decoder, mut reader)) = self.reading(feed, now) else {
            return;
        };
        while let Some(taken) = decoder.next(&mut bytes) {
            reader.take(taken);
        }
    }

    /// A feed is at its end. What is still open stays open: see
    /// [`Self::handle_end_of_runs`].
    pub fn handle_end_of_input(&mut self, feed: usize, now: Option<Time>) {
        let Some((decoder, mut reader)) = self.reading(feed, now) else {
            return;
        };
        if let Some(taken) = decoder.finish() {
            reader.take(taken);
        }
    }

    /// Nothing more will come: open runs are abandoned, open batches closed.
    pub fn handle_end_of_runs(&mut self) {
        self.runs.handle_end(&mut self.outputs);
        self.settle(None);
        self.digest.flush();
    }

    /// A feed may have lost something.
    pub fn handle_gap(&mut self, feed: usize, cause: GapCause, now: Time) {
        let Some(feed) = self.feeds.get_mut(feed) else {
            return;
        };
        feed.away |= cause == GapCause::Disconnect;
        let runs = &mut self.runs;
        runs.handle_gap(cause, feed.project, now, &mut self.outputs);
        self.settle(Some(now));
    }

    /// A feed was connected anew, and begins with a new stream of bytes.
    pub fn handle_reconnect(&mut self, feed: usize, now: Option<Time>) {
        self.handle_end_of_input(feed, now);
        if let Some(feed) = self.feeds.get_mut(feed) {
            feed.away = false;
            self.runs.handle_reconnect(feed.project, now);
        }
    }

    /// Takes a page of the server's log of a run, as it was asked for by
    /// [`Wish::ReadLog`]. One that nobody waits for any longer is ignored.
    pub fn handle_log_page(&mut self, run: &RunRef<'_>, after: u64, page: &[u8], now: Time) {
        if !self.runs.expects_page(run, after) {
            return;
        }
        let Self {
            dialect,
            runs,
            digest,
            outputs,
            ..
        } = self;
        let read = dialect.read_log(run, page, &mut |item| match item {
            Item::Event { event, .. } => runs.handle_logged_event(event),
            Item::Rejected(rejection) => digest.reject(rejection),
            Item::Other { .. } | Item::Lost { .. } => {}
        });
        match read {
            Ok(page) => runs.handle_log_page(run, page, outputs),
            Err(rejection) => {
                digest.reject(rejection);
                runs.handle_log_refused(run, outputs);
            }
        }
        self.settle(Some(now));
    }

    /// The server will not give a run's log.
    pub fn handle_log_refused(&mut self, run: &RunRef<'_>, now: Time) {
        self.runs.handle_log_refused(run, &mut self.outputs);
        self.settle(Some(now));
    }

    /// What the server says of a run, as it was asked for by [`Wish::AskStatus`].
    pub fn handle_status(&mut self, run: &RunRef<'_>, status: RunStatus, now: Time) {
        self.runs.handle_status(run, status, now, &mut self.outputs);
        self.settle(Some(now));
    }

    /// Time goes by. Runs of a feed that is away are not silent: nobody could
    /// hear them.
    pub fn handle_tick(&mut self, now: Time) {
        let feeds = &self.feeds;
        let is_away = |project: Option<i64>| {
            let tells_of = |feed: &OneFeed| feed.project.is_none() || feed.project == project;
            feeds.iter().any(|feed| feed.away && tells_of(feed))
        };
        self.runs.handle_tick(now, is_away, &mut self.outputs);
        self.settle(Some(now));
        self.digest.tick(now);
    }

    /// The clock was set: silences, waits and the age of a batch count from now.
    pub fn handle_clock_set(&mut self, now: Time) {
        self.runs.handle_clock_set(now);
        self.digest.flush();
    }

    /// The program ends: what is finished goes out at once. Open runs stay open.
    pub fn handle_drain(&mut self) {
        self.digest.flush();
    }

    /// The next batch of spans that is ready.
    pub fn poll_batch(&mut self) -> Option<Batch> {
        self.digest.batches.pop_front()
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

    /// The names of the event types that the deltas count.
    pub const fn event_types(&self) -> &'static [&'static str] {
        self.dialect.event_types()
    }

    /// The cursor to resume a feed from; empty when there is none.
    pub fn last_event_id(&self, feed: usize) -> &str {
        let feed = self.feeds.get(feed);
        feed.map_or("", |feed| feed.decoder.last_event_id())
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

    /// Whether the run of this trace is open.
    pub fn is_open(&self, trace_id: &TraceId) -> bool {
        self.runs.has(trace_id)
    }

    /// The open runs, in no order that matters.
    pub fn runs(&self) -> impl Iterator<Item = OpenRun> {
        self.runs.open_runs()
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

    /// The decoder of a feed, and what takes what comes out of it.
    fn reading(&mut self, feed: usize, now: Option<Time>) -> Option<(&mut Feed, Reader<'_>)> {
        let feed = self.feeds.get_mut(feed)?;
        let reader = Reader {
            dialect: &mut self.dialect,
            runs: &mut self.runs,
            digest: &mut self.digest,
            selection: &self.selection,
            outputs: &mut self.outputs,
            project: feed.project,
            now,
        };
        Some((&mut feed.decoder, reader))
    }

    fn settle(&mut self, now: Option<Time>) {
        let now = now.unwrap_or(self.runs.clock());
        self.digest.take(&mut self.outputs, now);
    }
}
