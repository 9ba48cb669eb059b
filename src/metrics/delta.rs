//! What the core says to the metrics: plain facts, in the order in which they
//! became true. Nothing here knows of a registry.

use std::sync::Arc;
use std::time::Duration;

use crate::run::cost::CostBasis;
use crate::run::finished::{RunMeta, Verified};
pub use crate::run::outputs::RunSlot;
use crate::run::standing::{Standing, WaitKind};
pub use crate::run::summary::ModelTokens;
use crate::run::trace_id::TraceId;
use crate::trace::ids::SpanId;
use crate::wire::event::{NodeOutcome, RunOutcome};
use crate::wire::rejection::Rejection;
use crate::wire::time::Time;

/// Everything that changed since it was drained last.
#[derive(Debug, Default)]
pub struct Deltas {
    /// Events by type: the index is that of the dialect's table of names.
    pub events_by_type: Vec<u64>,
    /// What was rejected, by reason: the index is that of [`Rejection::ALL`].
    pub rejected: [u64; Rejection::ALL.len()],
    /// Chunk and reasoning events left out by thinning.
    pub chunk_events_thinned: u64,
    /// Spans that found no room and can not be made again.
    pub spans_lost: u64,
    /// The rest, in order.
    pub in_order: Vec<Delta>,
}

/// The span that shows what was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exemplar {
    /// Its trace.
    pub trace_id: TraceId,
    /// Its id.
    pub span_id: SpanId,
    /// When it ended.
    pub at: Time,
}

/// One fact.
#[derive(Debug, Clone, PartialEq)]
pub enum Delta {
    /// A run was seen for the first time; the slot stands for it until its end.
    RunStarted {
        /// Its place.
        run: RunSlot,
        /// Who it is.
        meta: Arc<RunMeta>,
        /// When it started, as far as is known.
        start: Time,
    },
    /// Since when a run has been open, or has waited, is not what it was.
    RunStands {
        /// Its place.
        run: RunSlot,
        /// How it stands.
        standing: Standing,
    },
    /// A task starts, sub-runs included.
    TaskStarted {
        /// Its run's place.
        run: RunSlot,
        /// Its name.
        task: Arc<str>,
    },
    /// An end of a task, sub-runs included.
    TaskFinished {
        /// Its run's place.
        run: RunSlot,
        /// Its name.
        task: Arc<str>,
        /// How it ended.
        outcome: NodeOutcome,
        /// How long it took.
        duration: Duration,
        /// How many attempts it made.
        attempts: u64,
        /// How many answers did not fit.
        validation_failures: u64,
        /// Whether a stronger agent took over before it.
        escalated: bool,
        /// Whether a cache gave the result.
        cached: bool,
        /// What it used.
        tokens: Option<ModelTokens>,
        /// From the start to the first chunk, unless a cache gave the result.
        time_to_first_chunk: Option<Duration>,
        /// Each token after the first one, where that is known.
        time_per_output_token: Option<Duration>,
        /// Its span, if that is sent.
        exemplar: Option<Exemplar>,
    },
    /// A tool call ended.
    ToolFinished {
        /// Its run's place.
        run: RunSlot,
        /// The server that offers the tool.
        server: Arc<str>,
        /// The tool.
        tool: Arc<str>,
        /// How it ended.
        outcome: NodeOutcome,
        /// How long it took.
        duration: Duration,
        /// Its span, if that is sent.
        exemplar: Option<Exemplar>,
    },
    /// A wait ended.
    WaitFinished {
        /// Its run's place.
        run: RunSlot,
        /// What was waited for.
        kind: WaitKind,
        /// How long it took.
        duration: Duration,
    },
    /// A run that is about to end cost something, or a part of it did.
    Cost {
        /// Its place.
        run: RunSlot,
        /// Who served the model.
        provider: Arc<str>,
        /// The model.
        model: Arc<str>,
        /// Who says so.
        basis: CostBasis,
        /// In US dollars.
        usd: f64,
    },
    /// Tokens of a run that is about to end have no price.
    TokensUnpriced {
        /// Its place.
        run: RunSlot,
        /// Who served the model.
        provider: Arc<str>,
        /// The model.
        model: Arc<str>,
        /// In and out.
        tokens: u64,
    },
    /// A run ended; its place is free.
    RunFinished {
        /// Its place.
        run: RunSlot,
        /// How.
        outcome: RunOutcome,
        /// Why it failed.
        error_type: Option<Arc<str>>,
        /// How long it took.
        duration: Duration,
        /// Tasks that passed, by the summary.
        tasks_passed: u64,
        /// Tasks that did not.
        tasks_failed: u64,
        /// Whether the sums agree.
        verified: Verified,
        /// Its root, if that is sent.
        exemplar: Option<Exemplar>,
    },
    /// A run was repaired from the server's log, or could not be.
    RunRepaired {
        /// How that went: `repaired`, `unavailable`, `gave_up`.
        result: &'static str,
    },
    /// The feed lost something.
    Gap {
        /// Why: `lagged`, `disconnect`, `joined_late`, `totals`, `restart`.
        cause: &'static str,
    },
    /// How old the newest event of a frame was at its arrival.
    FeedDelay(Duration),
}

impl Deltas {
    /// Forgets everything, and keeps the room.
    pub fn clear(&mut self) {
        self.events_by_type.fill(0);
        self.rejected.fill(0);
        self.chunk_events_thinned = 0;
        self.spans_lost = 0;
        self.in_order.clear();
    }
}
