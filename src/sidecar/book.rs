//! The book of runs: what the API tells of runs that go on, and of those that
//! ended lately. Bounded in runs and in bytes; the runs that ended first are
//! forgotten first, and only then the spans of open ones.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::Serialize;

use crate::printed::printed;
use crate::run::outputs::OpenRun;
use crate::run::summary::{RunSummary, TaskCounts, as_hex, as_rfc3339, as_rfc3339_or_null, millis};
use crate::run::trace_id::TraceId;
use crate::wire::time::Time;

/// A run in one line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunRow {
    /// The run's id.
    pub execution_id: Arc<str>,
    /// Its trace, in hexadecimal.
    #[serde(serialize_with = "as_hex")]
    pub trace_id: TraceId,
    /// The kind of server.
    pub system: &'static str,
    /// The project's id.
    pub project: Option<i64>,
    /// The workflow's name.
    pub workflow: Arc<str>,
    /// `running` or `waiting`, else how it ended.
    pub state: &'static str,
    /// When it started, RFC 3339.
    #[serde(serialize_with = "as_rfc3339")]
    pub started_at: Time,
    /// When it ended, RFC 3339.
    #[serde(serialize_with = "as_rfc3339_or_null")]
    pub finished_at: Option<Time>,
    /// From the start to the end, or to now.
    pub duration_ms: u64,
    /// How its tasks ended so far, by name.
    pub tasks: TaskCounts,
    /// Tokens in, sub-runs included.
    pub input_tokens: u64,
    /// Tokens out, sub-runs included.
    pub output_tokens: u64,
    /// What it cost, where that is known.
    pub cost_usd: Option<f64>,
    /// Why it failed: the stable code, else the kind.
    pub error_type: Option<String>,
    /// Whether its sums agree with the server's; null while it goes on.
    pub verified: Option<&'static str>,
}

/// Spans of one run, as many as are kept.
#[derive(Debug, Clone, Default)]
pub struct KeptSpans {
    /// Encoded spans, in the order in which they ended.
    pub spans: Vec<Arc<[u8]>>,
    /// How many were there, but are not kept.
    pub forgotten: u64,
}

/// A run that ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// In one line.
    pub row: RunRow,
    /// Its summary, as JSON.
    pub summary: Arc<str>,
}

/// The book.
#[derive(Debug)]
pub struct Book {
    runs_max: usize,
    bytes_max: usize,
    entries: FxHashMap<[u8; 16], Entry>,
    /// Runs that ended, in the order of their ends.
    finished: VecDeque<[u8; 16]>,
    /// Runs with spans that have not ended, in the order of their first span.
    open: VecDeque<[u8; 16]>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Entry {
    kept: KeptSpans,
    finished: Option<Finished>,
    bytes: usize,
}

/// What an entry, or a span in it, takes beside its text.
const OVERHEAD_BYTES: usize = 512;
const SPAN_OVERHEAD_BYTES: usize = 48;

impl Book {
    /// An empty one.
    pub fn new(runs_max: usize, bytes_max: usize) -> Self {
        Self {
            runs_max,
            bytes_max,
            entries: FxHashMap::default(),
            finished: VecDeque::new(),
            open: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Whether anything of a run is kept.
    pub fn has(&self, trace_id: &[u8; 16]) -> bool {
        self.entries.contains_key(trace_id)
    }

    /// Keeps a span of a run. It is for whoever calls to see that the run is
    /// open, or is known here: nobody would tell of its end otherwise.
    pub fn add_span(&mut self, trace_id: [u8; 16], span: &[u8]) {
        let open = &mut self.open;
        let bytes = &mut self.bytes;
        let entry = self.entries.entry(trace_id).or_insert_with(|| {
            open.push_back(trace_id);
            *bytes += OVERHEAD_BYTES;
            Entry {
                bytes: OVERHEAD_BYTES,
                ..Entry::default()
            }
        });
        let size = span.len() + SPAN_OVERHEAD_BYTES;
        entry.kept.spans.push(Arc::from(span));
        entry.bytes += size;
        self.bytes += size;
        self.shed();
    }

    /// Keeps how a run ended.
    pub fn add_finished(&mut self, run: Finished) {
        let trace_id = run.row.trace_id;
        let size = run.summary.len() + OVERHEAD_BYTES;
        let entry = self.entries.entry(trace_id).or_default();
        if entry.finished.is_some() {
            return;
        }
        entry.finished = Some(run);
        entry.bytes += size;
        self.bytes += size;
        self.open.retain(|open| *open != trace_id);
        self.finished.push_back(trace_id);
        self.shed();
    }

    /// A run that ended.
    pub fn finished(&self, trace_id: &[u8; 16]) -> Option<&Finished> {
        self.entries.get(trace_id)?.finished.as_ref()
    }

    /// The runs that ended, the last one first.
    pub fn all_finished(&self) -> impl Iterator<Item = &Finished> {
        let newest_first = self.finished.iter().rev();
        newest_first.filter_map(|trace_id| self.finished(trace_id))
    }

    /// The spans of a run.
    pub fn spans(&self, trace_id: &[u8; 16]) -> KeptSpans {
        let entry = self.entries.get(trace_id);
        entry.map(|entry| entry.kept.clone()).unwrap_or_default()
    }

    /// What it holds, roughly, in bytes.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    fn shed(&mut self) {
        while self.finished.len() > self.runs_max || self.bytes > self.bytes_max {
            if let Some(oldest) = self.finished.pop_front() {
                self.forget(oldest);
                continue;
            }
            let Some(oldest) = self.open.pop_front() else {
                return;
            };
            let Some(entry) = self.entries.get_mut(&oldest) else {
                continue;
            };
            let freed = entry.bytes - OVERHEAD_BYTES;
            if freed == 0 {
                // Nothing but its name is left, and nobody told of its end.
                self.forget(oldest);
                continue;
            }
            entry.kept.forgotten += entry.kept.spans.len() as u64;
            entry.kept.spans = Vec::new();
            entry.bytes = OVERHEAD_BYTES;
            self.bytes -= freed;
            self.open.push_back(oldest);
        }
    }

    fn forget(&mut self, trace_id: [u8; 16]) {
        if let Some(entry) = self.entries.remove(&trace_id) {
            self.bytes -= entry.bytes;
        }
    }
}

impl Finished {
    /// A run that ended like this.
    pub fn new(summary: &RunSummary) -> Self {
        Self {
            row: RunRow::of_finished(summary),
            // A summary of ours has no key that is no text.
            summary: Arc::from(printed(serde_json::to_string(summary).unwrap_or_default())),
        }
    }
}

impl RunRow {
    /// The row of a run that goes on.
    pub fn of_open(run: &OpenRun, now: Time) -> Self {
        Self {
            execution_id: Arc::clone(&run.meta.run_id),
            trace_id: run.meta.trace_id,
            system: run.meta.system,
            project: run.meta.project,
            workflow: Arc::clone(&run.meta.workflow),
            state: run.state(),
            started_at: run.start,
            finished_at: None,
            duration_ms: millis(now.max(run.last).since(run.start)),
            tasks: run.tasks,
            input_tokens: run.input_tokens,
            output_tokens: run.output_tokens,
            cost_usd: None,
            error_type: None,
            verified: None,
        }
    }

    /// The row of a run that ended.
    pub fn of_finished(summary: &RunSummary) -> Self {
        let sum = |tokens: fn(&crate::run::summary::ModelTokens) -> u64| {
            summary
                .tokens
                .iter()
                .map(tokens)
                .fold(0, u64::saturating_add)
        };
        let cost = summary.cost.as_ref().map(|cost| cost.total_usd);
        Self {
            execution_id: Arc::clone(&summary.execution_id),
            trace_id: summary.trace_id,
            system: summary.system,
            project: summary.project,
            workflow: Arc::clone(&summary.workflow),
            state: summary.outcome,
            started_at: summary.started_at,
            finished_at: summary.finished_at,
            duration_ms: summary.duration.total_ms,
            tasks: summary.tasks,
            input_tokens: sum(|model| model.input),
            output_tokens: sum(|model| model.output),
            cost_usd: cost.filter(|usd| *usd > 0.0),
            error_type: summary.error.as_ref().map(|error| error.error_type.clone()),
            verified: Some(summary.verified),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::run::summary::Durations;

    use super::*;

    fn summary(trace_id: u8) -> RunSummary {
        RunSummary {
            execution_id: Arc::from(format!("run-{trace_id}")),
            trace_id: [trace_id; 16],
            output: None,
            cost: None,
            duration: Durations {
                total_ms: 5,
                per_task_ms: BTreeMap::new(),
            },
            tasks: TaskCounts::default(),
            system: "akribes",
            project: None,
            workflow: Arc::from("w"),
            outcome: "success",
            error: None,
            started_at: Time::ZERO,
            finished_at: None,
            tokens: Vec::new(),
            verified: "match",
        }
    }

    fn finish(book: &mut Book, trace_id: u8) {
        book.add_finished(Finished::new(&summary(trace_id)));
    }

    fn names(book: &Book) -> Vec<String> {
        let rows = book.all_finished().map(|run| &run.row);
        rows.map(|row| row.execution_id.to_string()).collect()
    }

    #[test]
    fn the_run_that_ended_first_is_forgotten_first() {
        let mut book = Book::new(2, 1 << 20);
        for run in [1, 2, 3] {
            book.add_span([run; 16], b"span");
            finish(&mut book, run);
        }
        assert_eq!(names(&book), ["run-3", "run-2"]);
        assert!(book.spans(&[1; 16]).spans.is_empty());
        assert_eq!(book.spans(&[3; 16]).spans.len(), 1);
    }

    #[test]
    fn spans_of_open_runs_go_only_when_no_ended_run_is_left() {
        let mut book = Book::new(10, 8_000);
        finish(&mut book, 1);
        book.add_span([2; 16], &[0; 3_000]);
        book.add_span([3; 16], &[0; 3_000]);
        assert_eq!(names(&book), ["run-1"], "everything fits");
        book.add_span([3; 16], &[0; 3_000]);
        assert!(names(&book).is_empty());
        assert_eq!(book.spans(&[2; 16]).forgotten, 1);
        assert_eq!(book.spans(&[3; 16]).spans.len(), 2);
        assert!(book.bytes() <= 8_000);
    }

    #[test]
    fn a_run_keeps_its_spans_when_it_ends_and_takes_those_that_come_later() {
        let mut book = Book::new(10, 1 << 20);
        book.add_span([1; 16], b"task");
        finish(&mut book, 1);
        book.add_span([1; 16], b"root");
        let spans = book.spans(&[1; 16]).spans;
        assert_eq!(
            spans.iter().map(|span| &**span).collect::<Vec<_>>(),
            [b"task", b"root"]
        );
    }

    #[test]
    fn it_never_holds_more_than_its_bound_and_ends_empty() {
        let mut book = Book::new(5, 20_000);
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..5_000 {
            let run = random.u8(0..40);
            match random.bool() {
                true => book.add_span([run; 16], &vec![0; random.usize(0..2_000)]),
                false => finish(&mut book, run),
            }
            assert!(book.bytes() <= 20_000);
            assert!(book.finished.len() <= 5);
            assert_eq!(book.entries.len(), book.finished.len() + book.open.len());
        }
        book.bytes_max = 0;
        book.shed();
        assert_eq!((book.bytes(), book.entries.len()), (0, 0));
    }
}
