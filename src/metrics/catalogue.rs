//! Every metric there is: the one table from which the registry, the
//! documentation and the checks of the dashboards are made.
//!
//! A label is either closed, its values being known here, or free: names that
//! workflows bring along, which `bounded` keeps in bounds. The last value of
//! a closed label whose values come as text stands for those not known here.

use std::fmt;

use super::export::{RefusalReason, RequestResult};
pub use crate::run::cost::CostBasis;
use crate::run::finished::Verified;
use crate::run::standing::WaitKind;
use crate::wire::event::{NodeOutcome, RunOutcome};
use crate::wire::rejection::Rejection;

/// One metric.
#[derive(Debug)]
pub struct Descriptor {
    /// Which one; also its place in the table.
    pub id: Id,
    /// Its full name.
    pub name: &'static str,
    /// What it says, in one sentence, with the unit.
    pub help: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// The part of the program that feeds it.
    pub group: Group,
    /// Whether it carries [`RUN_LABELS`].
    pub of_runs: bool,
    /// Its other labels.
    pub labels: &'static [Label],
}

/// What kind of metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A counter of whole things.
    Counter,
    /// A counter of seconds or money.
    Sum,
    /// A gauge.
    Gauge,
    /// A histogram, with the upper bounds of its buckets.
    Histogram(&'static [f64]),
}

/// The part of the program that feeds a metric. A metric that nobody feeds is
/// not shown: a zero would be a lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// The runs themselves.
    Run,
    /// The feed that tells of them.
    Feed,
    /// The repair of what the feed lost.
    Repair,
    /// The sending of spans.
    Export,
    /// What is kept until it is safe elsewhere.
    Store,
    /// The program itself.
    Build,
}

/// One label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// A label whose values are all known.
    Closed {
        /// Its name.
        name: &'static str,
        /// Its values.
        values: &'static [&'static str],
    },
    /// A label whose values come from outside.
    Free(FreeLabel),
}

/// The labels whose values come from outside. All metrics with such a label
/// share one space of values: 200 tasks are 200 tasks in all of them together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FreeLabel {
    /// The kind of server; as many as are configured.
    System,
    /// A project's id.
    Project,
    /// A project's name.
    ProjectName,
    /// A workflow's name.
    Workflow,
    /// A task's name.
    Task,
    /// A server of tools.
    Server,
    /// A tool's name.
    Tool,
    /// Who serves a model.
    Provider,
    /// A model's name.
    Model,
    /// A stable error code, or a kind.
    ErrorType,
    /// The type of an event, as the dialect lists them.
    EventType,
    /// The name of a metric.
    Metric,
    /// A version of the program.
    Version,
}

/// The catalogue is a table of constants; this says what is wrong with it, or
/// with the bound that it has to fit into.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// A row that the registry does not take.
    #[error("metric {name} cannot be registered: {reason}")]
    Row {
        /// The metric.
        name: &'static str,
        /// What the registry says.
        reason: String,
    },
    /// Too little room for even the fixed series.
    #[error("metric_series_max is {max}, but the series that always exist are {least}")]
    TooFewSeries {
        /// The bound that was given.
        max: usize,
        /// The least that works.
        least: usize,
    },
}

/// The labels of everything that is counted by run, in this order.
pub const RUN_LABELS: [Label; 3] = [
    Label::Free(FreeLabel::System),
    Label::Free(FreeLabel::Project),
    Label::Free(FreeLabel::Workflow),
];

/// The states of an open run.
pub const RUN_STATES: [&str; 2] = ["running", "waiting"];
/// The summary's verdict on a task.
pub const TASK_RESULTS: [&str; 2] = ["passed", "failed"];
/// The ways of tokens.
pub const DIRECTIONS: [&str; 2] = ["input", "output"];
/// Parts of the tokens of one direction.
pub const TOKEN_DETAILS: [&str; 3] = ["cache_read", "cache_write", "reasoning"];
/// Why a feed lost something.
pub const GAP_CAUSES: [&str; 6] = [
    "lagged",
    "disconnect",
    "joined_late",
    "totals",
    "restart",
    "unknown",
];
/// How a repair went.
pub const REPAIR_RESULTS: [&str; 4] = ["repaired", "unavailable", "gave_up", "unknown"];
/// Why the reading of a source rests.
pub const PAUSE_REASONS: [&str; 4] = ["refused", "outbox_full", "disk_full", "unknown"];

/// The names of an enum that knows all of its values.
macro_rules! names {
    ($kind:ident) => {{
        let mut names = [""; $kind::ALL.len()];
        let mut i = 0;
        while i < names.len() {
            names[i] = $kind::ALL[i].as_str();
            i += 1;
        }
        names
    }};
}
const RUN_OUTCOMES: [&str; RunOutcome::ALL.len()] = names!(RunOutcome);
const NODE_OUTCOMES: [&str; NodeOutcome::ALL.len()] = names!(NodeOutcome);
const COST_BASES: [&str; CostBasis::ALL.len()] = names!(CostBasis);
/// What a wait is for.
pub const WAIT_KINDS: [&str; WaitKind::ALL.len()] = names!(WaitKind);
const VERDICTS: [&str; Verified::ALL.len()] = names!(Verified);
const REJECTIONS: [&str; Rejection::ALL.len()] = names!(Rejection);
const REQUEST_RESULTS: [&str; RequestResult::ALL.len()] = names!(RequestResult);
const REFUSAL_REASONS: [&str; RefusalReason::ALL.len()] = names!(RefusalReason);

const RUN_SECONDS: &[f64] = &[
    1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0,
];
const TASK_SECONDS: &[f64] = &[
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
];
const TOOL_SECONDS: &[f64] = &[
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
const FIRST_CHUNK_SECONDS: &[f64] = &[
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];
const OUTPUT_TOKEN_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5,
];
const DELAY_SECONDS: &[f64] = &[
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];

const PROJECT: Label = Label::Free(FreeLabel::Project);
const TASK: Label = Label::Free(FreeLabel::Task);
const SERVER: Label = Label::Free(FreeLabel::Server);
const TOOL: Label = Label::Free(FreeLabel::Tool);
const PROVIDER: Label = Label::Free(FreeLabel::Provider);
const MODEL: Label = Label::Free(FreeLabel::Model);
const RUN_OUTCOME: Label = closed("outcome", &RUN_OUTCOMES);
const NODE_OUTCOME: Label = closed("outcome", &NODE_OUTCOMES);
const DIRECTION: Label = closed("direction", &DIRECTIONS);

const fn closed(name: &'static str, values: &'static [&'static str]) -> Label {
    Label::Closed { name, values }
}

/// The rows, each under the id that is also its place.
macro_rules! catalogue {
    ($($id:ident: $name:literal, $kind:expr, $group:ident, $scope:ident [$($label:expr),*], $help:literal;)+) => {
        /// Names the metrics in the program.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Id {
            $(#[doc = $help] $id,)+
        }

        /// All metrics.
        pub const CATALOGUE: &[Descriptor] = &[$(Descriptor {
            id: Id::$id,
            name: concat!("runtrail_", $name),
            help: $help,
            kind: $kind,
            group: Group::$group,
            of_runs: catalogue!(@ $scope),
            labels: &[$($label),*],
        },)+];
    };
    (@ of_runs) => { true };
    (@ of_all) => { false };
}

catalogue! {
    RunsStarted: "runs_started_total", Kind::Counter, Run, of_runs [],
        "Runs seen for the first time.";
    RunsFinished: "runs_finished_total", Kind::Counter, Run, of_runs [RUN_OUTCOME],
        "Runs that ended, by outcome.";
    RunErrors: "run_errors_total", Kind::Counter, Run, of_runs [Label::Free(FreeLabel::ErrorType)],
        "Runs that ended in an error or ran past their time, by the error's stable code.";
    RunsOpen: "runs_open", Kind::Gauge, Run, of_runs [closed("state", &RUN_STATES)],
        "Runs that are open now, by whether they work or wait.";
    RunsOpenOldest: "runs_open_oldest_timestamp_seconds", Kind::Gauge, Run, of_runs [],
        "When the oldest run that is open now started, in seconds since the Unix epoch.";
    RunsWaitingOldest: "runs_waiting_oldest_timestamp_seconds", Kind::Gauge, Run,
        of_runs [closed("kind", &WAIT_KINDS)],
        "Since when the oldest wait that is open now has lasted, in seconds since the Unix epoch.";
    RunDuration: "run_duration_seconds", Kind::Histogram(RUN_SECONDS), Run, of_runs [RUN_OUTCOME],
        "How long runs took from start to end, waits included, in seconds.";
    RunWait: "run_wait_seconds_total", Kind::Sum, Run, of_runs [closed("kind", &WAIT_KINDS)],
        "Seconds that runs spent waiting for a person, an approval, a debugger or a batch.";
    RunTasks: "run_tasks_total", Kind::Counter, Run, of_runs [closed("result", &TASK_RESULTS)],
        "Tasks of ended runs, each name once a run by its last attempt, without those of sub-scripts.";
    TasksFinished: "tasks_finished_total", Kind::Counter, Run, of_runs [TASK, NODE_OUTCOME],
        "Ends of tasks, every one, those of sub-scripts included.";
    TaskDuration: "task_duration_seconds", Kind::Histogram(TASK_SECONDS), Run, of_runs [TASK],
        "How long tasks took, in seconds.";
    TaskAttempts: "task_attempts_total", Kind::Counter, Run, of_runs [TASK],
        "Attempts that tasks made, the first ones included.";
    ValidationFailures: "validation_failures_total", Kind::Counter, Run, of_runs [TASK],
        "Answers of models that did not fit the task's schema.";
    TaskEscalations: "task_escalations_total", Kind::Counter, Run, of_runs [TASK],
        "Tasks that a stronger agent took over.";
    TaskCacheHits: "task_cache_hits_total", Kind::Counter, Run, of_runs [TASK],
        "Tasks whose result came from a cache.";
    Tokens: "tokens_total", Kind::Counter, Run, of_runs [PROVIDER, MODEL, DIRECTION],
        "Tokens that went into models and came out of them, cached ones and reasoning included.";
    TokenDetails: "token_details_total", Kind::Counter, Run,
        of_runs [PROVIDER, MODEL, DIRECTION, closed("detail", &TOKEN_DETAILS)],
        "Tokens that are a part of those in runtrail_tokens_total: never add the two.";
    Cost: "cost_usd_total", Kind::Sum, Run, of_runs [PROVIDER, MODEL, closed("basis", &COST_BASES)],
        "What models cost in US dollars, as the server says or by the configured prices.";
    TokensUnpriced: "tokens_unpriced_total", Kind::Counter, Run, of_runs [PROVIDER, MODEL],
        "Tokens of models that the configured prices leave out, of runs whose cost no server told.";
    TimeToFirstChunk: "time_to_first_chunk_seconds", Kind::Histogram(FIRST_CHUNK_SECONDS), Run,
        of_runs [PROVIDER, MODEL],
        "Time from a task's start to its model's first chunk in seconds, cache hits left out.";
    TimePerOutputToken: "time_per_output_token_seconds", Kind::Histogram(OUTPUT_TOKEN_SECONDS), Run,
        of_runs [PROVIDER, MODEL],
        "Time from a model's first chunk to its task's end for each output token after the first, in seconds, cache hits and tasks of several attempts left out.";
    ToolCalls: "tool_calls_total", Kind::Counter, Run, of_runs [SERVER, TOOL, NODE_OUTCOME],
        "Tool calls that ended.";
    ToolDuration: "tool_duration_seconds", Kind::Histogram(TOOL_SECONDS), Run,
        of_runs [SERVER, TOOL, NODE_OUTCOME],
        "How long tool calls took, in seconds.";
    RunsVerified: "runs_verified_total", Kind::Counter, Run, of_all [closed("result", &VERDICTS)],
        "Ended runs by whether our sums agree with the server's own.";
    ChunkEventsThinned: "chunk_events_thinned_total", Kind::Counter, Run, of_all [],
        "Chunk and reasoning events left out of spans to keep these in bounds.";
    ProjectInfo: "project_info", Kind::Gauge, Run,
        of_all [PROJECT, Label::Free(FreeLabel::ProjectName)],
        "Always 1: joins a project's name to its id.";
    BuildInfo: "build_info", Kind::Gauge, Build, of_all [Label::Free(FreeLabel::Version)],
        "Always 1: tells the version of this program.";
    SeriesOverflow: "series_overflow_total", Kind::Counter, Build,
        of_all [Label::Free(FreeLabel::Metric)],
        "Samples that went to an __other__ series because their own found no room, by metric.";
    SourceConnected: "source_connected", Kind::Gauge, Feed, of_all [],
        "1 while the feed is connected, else 0.";
    SourcePaused: "source_paused", Kind::Gauge, Feed, of_all [closed("reason", &PAUSE_REASONS)],
        "1 while the reading of the feed rests for this reason, else 0.";
    SourceReconnects: "source_reconnects_total", Kind::Counter, Feed, of_all [],
        "Connections to the feed after the first one.";
    SourceLastEvent: "source_last_event_timestamp_seconds", Kind::Gauge, Feed, of_all [],
        "When the newest event arrived, in seconds since the Unix epoch.";
    FeedDelay: "feed_delay_seconds", Kind::Histogram(DELAY_SECONDS), Feed, of_all [],
        "How old the newest event of a frame was at its arrival, in seconds.";
    FeedGaps: "feed_gaps_total", Kind::Counter, Feed, of_all [closed("cause", &GAP_CAUSES)],
        "Times that the feed lost something, by cause.";
    Events: "events_total", Kind::Counter, Feed, of_all [Label::Free(FreeLabel::EventType)],
        "Events that were read, by type.";
    EventsRejected: "events_rejected_total", Kind::Counter, Feed,
        of_all [closed("reason", &REJECTIONS)],
        "Parts of the feed that were not taken, or not as they were, by reason.";
    RunsRepaired: "runs_repaired_total", Kind::Counter, Repair,
        of_all [closed("result", &REPAIR_RESULTS)],
        "Runs that the feed had lost something of, by how their repair went.";
    RunsOwed: "runs_owed", Kind::Gauge, Store, of_all [],
        "Ended runs whose spans are to be rebuilt once there is room.";
    OutboxBytes: "outbox_bytes", Kind::Gauge, Export, of_all [],
        "Bytes that wait to be sent.";
    OutboxLimitBytes: "outbox_limit_bytes", Kind::Gauge, Export, of_all [],
        "Bytes that may wait to be sent.";
    OutboxBatches: "outbox_batches", Kind::Gauge, Export, of_all [],
        "Batches that wait to be sent.";
    OutboxOldest: "outbox_oldest_timestamp_seconds", Kind::Gauge, Export, of_all [],
        "When the oldest batch that waits was made, in seconds since the Unix epoch.";
    RunsGivenUp: "runs_given_up_total", Kind::Counter, Store, of_all [],
        "Ended runs whose spans will not be rebuilt, because too many were owed already.";
    QuarantineBatches: "quarantine_batches", Kind::Gauge, Store, of_all [],
        "Batches set aside because the backend refused them for good.";
    QuarantineDroppedBatches: "quarantine_dropped_batches_total", Kind::Counter, Store, of_all [],
        "Batches that were set aside and had to go, because there were too many.";
    StoreSuspended: "store_suspended", Kind::Gauge, Store, of_all [],
        "1 while the disk takes nothing more, else 0.";
    StoreCorruptRecords: "store_corrupt_records_total", Kind::Counter, Store, of_all [],
        "Records on disk that were damaged and left out.";
    CheckpointLastSuccess: "checkpoint_last_success_timestamp_seconds", Kind::Gauge, Store, of_all [],
        "When the state of the open runs was last written to disk, in seconds since the Unix epoch.";
    ExportRedeliveredBatches: "export_redelivered_batches_total", Kind::Counter, Store, of_all [],
        "Batches that may have been sent twice, because the process died before it was noted that the backend has them.";
    JournalLimitBytes: "journal_limit_bytes", Kind::Gauge, Store, of_all [],
        "Bytes of accepted events that may be kept.";
    JournalBytes: "journal_bytes", Kind::Gauge, Store, of_all [],
        "Bytes of accepted events that are kept until their spans are safe.";
    ExportRequests: "export_requests_total", Kind::Counter, Export,
        of_all [closed("result", &REQUEST_RESULTS)],
        "Requests to the trace backend, by result.";
    ExportLastSuccess: "export_last_success_timestamp_seconds", Kind::Gauge, Export, of_all [],
        "When the backend last took a batch, in seconds since the Unix epoch.";
    SpansExported: "spans_exported_total", Kind::Counter, Export, of_all [],
        "Spans that the backend has taken.";
    SpansRefused: "spans_refused_total", Kind::Counter, Export,
        of_all [closed("reason", &REFUSAL_REASONS)],
        "Spans that the backend will never have, by reason: refused for good, or without room.";
}

impl Id {
    /// Its row: the rows stand in the order of the ids.
    pub const fn descriptor(self) -> &'static Descriptor {
        &CATALOGUE[self as usize]
    }
}

impl Descriptor {
    /// All labels: those of runs first.
    pub fn all_labels(&self) -> impl Iterator<Item = &'static Label> {
        let of_runs: &'static [Label] = if self.of_runs { &RUN_LABELS } else { &[] };
        of_runs.iter().chain(self.labels)
    }

    /// How many series of the page one label set makes.
    pub const fn weight(&self) -> usize {
        match self.kind {
            Kind::Counter | Kind::Sum | Kind::Gauge => 1,
            // The bucket without bound, the sum and the count.
            Kind::Histogram(buckets) => buckets.len() + 3,
        }
    }
}

impl Label {
    /// Its name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Closed { name, .. } => name,
            Self::Free(label) => label.name(),
        }
    }
}

impl FreeLabel {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::System,
        Self::Project,
        Self::ProjectName,
        Self::Workflow,
        Self::Task,
        Self::Server,
        Self::Tool,
        Self::Provider,
        Self::Model,
        Self::ErrorType,
        Self::EventType,
        Self::Metric,
        Self::Version,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Project => "project",
            Self::ProjectName => "name",
            Self::Workflow => "workflow",
            Self::Task => "task",
            Self::Server => "server",
            Self::Tool => "tool",
            Self::Provider => "provider",
            Self::Model => "model",
            Self::ErrorType => "error_type",
            Self::EventType => "type",
            Self::Metric => "metric",
            Self::Version => "version",
        }
    }
}

impl Kind {
    /// The word of the exposition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter | Self::Sum => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }

    /// The upper bounds of its buckets, but for the last one; none if it has none.
    pub const fn bounds(self) -> &'static [f64] {
        match self {
            Self::Histogram(bounds) => bounds,
            Self::Counter | Self::Sum | Self::Gauge => &[],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Section 5 of the design, written out: name, kind, labels beside those of runs;
    /// and behind it what is of use when the store is in trouble.
    const DESIGN: &[(&str, &str, &str)] = &[
        ("run runs_started_total", "counter", ""),
        ("run runs_finished_total", "counter", "outcome"),
        ("run run_errors_total", "counter", "error_type"),
        ("run runs_open", "gauge", "state"),
        ("run runs_open_oldest_timestamp_seconds", "gauge", ""),
        ("run runs_waiting_oldest_timestamp_seconds", "gauge", "kind"),
        ("run run_duration_seconds", "histogram", "outcome"),
        ("run run_wait_seconds_total", "counter", "kind"),
        ("run run_tasks_total", "counter", "result"),
        ("run tasks_finished_total", "counter", "task outcome"),
        ("run task_duration_seconds", "histogram", "task"),
        ("run task_attempts_total", "counter", "task"),
        ("run validation_failures_total", "counter", "task"),
        ("run task_escalations_total", "counter", "task"),
        ("run task_cache_hits_total", "counter", "task"),
        ("run tokens_total", "counter", "provider model direction"),
        (
            "run token_details_total",
            "counter",
            "provider model direction detail",
        ),
        ("run cost_usd_total", "counter", "provider model basis"),
        ("run tokens_unpriced_total", "counter", "provider model"),
        (
            "run time_to_first_chunk_seconds",
            "histogram",
            "provider model",
        ),
        (
            "run time_per_output_token_seconds",
            "histogram",
            "provider model",
        ),
        ("run tool_calls_total", "counter", "server tool outcome"),
        (
            "run tool_duration_seconds",
            "histogram",
            "server tool outcome",
        ),
        ("project_info", "gauge", "project name"),
        ("build_info", "gauge", "version"),
        ("source_connected", "gauge", ""),
        ("source_paused", "gauge", "reason"),
        ("source_reconnects_total", "counter", ""),
        ("source_last_event_timestamp_seconds", "gauge", ""),
        ("feed_delay_seconds", "histogram", ""),
        ("feed_gaps_total", "counter", "cause"),
        ("events_total", "counter", "type"),
        ("events_rejected_total", "counter", "reason"),
        ("runs_repaired_total", "counter", "result"),
        ("runs_verified_total", "counter", "result"),
        ("runs_owed", "gauge", ""),
        ("chunk_events_thinned_total", "counter", ""),
        ("series_overflow_total", "counter", "metric"),
        ("outbox_bytes", "gauge", ""),
        ("outbox_limit_bytes", "gauge", ""),
        ("outbox_batches", "gauge", ""),
        ("outbox_oldest_timestamp_seconds", "gauge", ""),
        ("quarantine_batches", "gauge", ""),
        ("export_requests_total", "counter", "result"),
        ("export_last_success_timestamp_seconds", "gauge", ""),
        ("spans_exported_total", "counter", ""),
        ("spans_refused_total", "counter", "reason"),
        ("journal_bytes", "gauge", ""),
        ("journal_limit_bytes", "gauge", ""),
        ("store_suspended", "gauge", ""),
        ("store_corrupt_records_total", "counter", ""),
        ("checkpoint_last_success_timestamp_seconds", "gauge", ""),
        ("export_redelivered_batches_total", "counter", ""),
        ("quarantine_dropped_batches_total", "counter", ""),
        ("runs_given_up_total", "counter", ""),
    ];

    #[test]
    fn the_catalogue_is_the_design_no_more_and_no_less() {
        let mut designed: Vec<_> = DESIGN
            .iter()
            .map(|(name, kind, labels)| {
                let (of_runs, name) = match name.strip_prefix("run ") {
                    Some(name) => (true, name),
                    None => (false, *name),
                };
                (
                    format!("runtrail_{name}"),
                    *kind,
                    of_runs,
                    labels.to_string(),
                )
            })
            .collect();
        let mut built: Vec<_> = CATALOGUE
            .iter()
            .map(|d| {
                let labels: Vec<_> = d.labels.iter().map(Label::name).collect();
                (
                    d.name.to_owned(),
                    d.kind.as_str(),
                    d.of_runs,
                    labels.join(" "),
                )
            })
            .collect();
        designed.sort();
        built.sort();
        assert_eq!(designed, built);
    }

    #[test]
    fn a_row_stands_at_the_place_of_its_id() {
        for (place, descriptor) in CATALOGUE.iter().enumerate() {
            assert_eq!(descriptor.id as usize, place);
            assert_eq!(descriptor.id.descriptor().name, descriptor.name);
        }
        for (place, label) in FreeLabel::ALL.into_iter().enumerate() {
            assert_eq!(label as usize, place);
        }
    }

    #[test]
    fn an_enum_is_its_place_among_the_values_of_its_label() {
        for (place, value) in RunOutcome::ALL.into_iter().enumerate() {
            assert_eq!(
                (value as usize, value.as_str()),
                (place, RUN_OUTCOMES[place])
            );
        }
        for (place, value) in NodeOutcome::ALL.into_iter().enumerate() {
            assert_eq!(
                (value as usize, value.as_str()),
                (place, NODE_OUTCOMES[place])
            );
        }
        for (place, value) in CostBasis::ALL.into_iter().enumerate() {
            assert_eq!((value as usize, value.as_str()), (place, COST_BASES[place]));
        }
        for (place, value) in WaitKind::ALL.into_iter().enumerate() {
            assert_eq!((value as usize, value.as_str()), (place, WAIT_KINDS[place]));
        }
        for (place, value) in Verified::ALL.into_iter().enumerate() {
            assert_eq!((value as usize, value.as_str()), (place, VERDICTS[place]));
        }
        for (place, value) in Rejection::ALL.into_iter().enumerate() {
            assert_eq!((value as usize, value.as_str()), (place, REJECTIONS[place]));
        }
        for (place, value) in RequestResult::ALL.into_iter().enumerate() {
            let name = REQUEST_RESULTS[place];
            assert_eq!((value as usize, value.as_str()), (place, name));
        }
        for (place, value) in RefusalReason::ALL.into_iter().enumerate() {
            let name = REFUSAL_REASONS[place];
            assert_eq!((value as usize, value.as_str()), (place, name));
        }
    }

    #[test]
    fn names_end_in_total_if_and_only_if_they_count() {
        for d in CATALOGUE {
            assert_eq!(
                d.name.ends_with("_total"),
                d.kind.as_str() == "counter",
                "{}",
                d.name
            );
        }
    }

    #[test]
    fn units_are_base_units_and_stand_in_the_help_too() {
        for d in CATALOGUE {
            for unit in [
                "_ms", "_millis", "_minutes", "_hours", "_kb", "_mb", "_cents", "_percent",
            ] {
                assert!(!d.name.contains(unit), "{}", d.name);
            }
            for unit in ["seconds", "bytes"] {
                let helped = d.help.to_lowercase().contains(unit);
                assert!(!d.name.contains(unit) || helped, "{}: {}", d.name, d.help);
            }
            assert!(
                d.help.ends_with('.') && !d.help.contains('\n'),
                "{}",
                d.name
            );
        }
    }

    #[test]
    fn buckets_rise_and_no_label_is_named_twice_or_reserved() {
        for d in CATALOGUE {
            if let Kind::Histogram(buckets) = d.kind {
                assert!(
                    buckets.windows(2).all(|pair| pair[0] < pair[1]),
                    "{}",
                    d.name
                );
            }
            let mut names: Vec<_> = d.all_labels().map(Label::name).collect();
            assert!(
                names.iter().all(|n| !n.starts_with("__") && *n != "le"),
                "{}",
                d.name
            );
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count, "{}", d.name);
        }
    }
}
